"""What a batch leaves beside its run folders: ``failures.jsonl``, ``batch.json`` and ``batch.html``."""

from __future__ import annotations

import contextlib
import html
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from apps.batch.inputs import Item
from vis import __version__
from vis.files import write_json, write_text

__all__ = ["Failures", "page", "totals", "write_reports"]

MAX_SHEETS = 500
"""Contact sheets shown on the page; more would make it a burden to open."""


class Failures:
    """``failures.jsonl``: one line per failed video, there as soon as it fails.

    While the batch runs, lines are added in the order of time, and the last one may be cut off by a
    kill; ``close`` writes the file anew in the order of the items, so that it is the same whatever
    order they ran in.
    """

    def __init__(self, out: Path, items: Sequence[Item]) -> None:
        self._path = out / "failures.jsonl"
        self._items = items
        self.lines: dict[int, dict[str, Any]] = {}
        self._path.unlink(missing_ok=True)

    def add(self, item: int, data: Mapping[str, Any]) -> None:
        """A failed video, with error, message and whatever else is known."""
        line = {"name": self._items[item].name, "path": self._items[item].path, **data}
        self.lines[item] = line
        # A full disk is told by the work itself; the line stays in memory for the last write.
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()

    def close(self) -> None:
        """Write the whole file, or none when nothing failed."""
        if self.lines:
            write_text(
                self._path, "".join(json.dumps(self.lines[item]) + "\n" for item in sorted(self.lines))
            )


def totals(lines: Sequence[Mapping[str, Any]], seconds: float) -> dict[str, Any]:
    """Sums over the videos: how many of each status, frames, tubes, time per stage, peak memory."""
    stages: dict[str, float] = defaultdict(float)
    for line in lines:
        for stage, spent in line.get("seconds_per_stage", {}).items():
            stages[stage] += spent
    count = {status: sum(line["status"] == status for line in lines) for status in ("done", "kept", "failed")}
    fresh = sum(line["frames"] for line in lines if line["status"] == "done")
    return {
        "videos": len(lines),
        **count,
        "frames": sum(line.get("frames", 0) for line in lines),
        "tubes": sum(line.get("tubes", 0) for line in lines),
        "seconds": round(seconds, 3),
        "frames_per_second": round(fresh / seconds, 3) if seconds > 0 else 0.0,
        "seconds_per_stage": {stage: round(spent, 3) for stage, spent in stages.items()},
        "peak_memory_bytes_per_worker": max(
            (line.get("peak_memory_bytes") or 0 for line in lines), default=0
        ),
    }


def write_reports(out: Path, summary: Mapping[str, Any]) -> None:
    """``batch.json`` and ``batch.html``."""
    write_json(out / "batch.json", summary, indent=2)
    write_text(out / "batch.html", page(summary))


def page(summary: Mapping[str, Any]) -> str:
    """The report as one HTML page without scripts; every name is escaped."""
    sums = summary["totals"]
    stages = list(sums["seconds_per_stage"])
    head = "".join(f"<th>{html.escape(stage)} s</th>" for stage in stages)
    rows: list[str] = []
    sheets: list[str] = []
    for line in summary["videos"]:
        link = quote(line["name"])
        name = html.escape(line["name"])
        if line["status"] == "failed":
            rows.append(
                f'<tr class="failed"><td>{html.escape(line["path"])}</td><td>failed</td>'
                f'<td colspan="{5 + len(stages)}">{html.escape(line["message"])}</td></tr>'
            )
            continue
        spent = "".join(f"<td>{line['seconds_per_stage'].get(stage, 0):.1f}</td>" for stage in stages)
        speed = line["frames"] / max(line["seconds"], 1e-3)
        notes = html.escape("; ".join(line.get("warnings", [])))
        rows.append(
            f'<tr><td><a href="{link}/">{name}</a></td><td>{line["status"]}</td><td>{line["frames"]}</td>'
            f"<td>{line['tubes']}</td><td>{line['seconds']:.1f}</td><td>{speed:.1f}</td>{spent}<td>{notes}</td></tr>"
        )
        if len(sheets) < MAX_SHEETS:
            sheets.append(
                f'<figure><img src="{link}/contact_sheet.png" alt="{name}" loading="lazy">'
                f"<figcaption>{name}</figcaption></figure>"
            )
    peak = sums["peak_memory_bytes_per_worker"] / 2**20
    more = "" if len(sheets) < MAX_SHEETS else f"<p>The first {MAX_SHEETS} contact sheets are shown.</p>"
    passed = "".join(f"<li>{html.escape(name)}</li>" for name in summary.get("passed_over", []))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Batch of {sums["videos"]} videos</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem; color: #1a1a1a; background: #fff }}
table {{ border-collapse: collapse }}
th, td {{ padding: .2rem .8rem; text-align: right; border-bottom: 1px solid #ddd }}
th:first-child, td:first-child, td:last-child {{ text-align: left }} .failed td {{ color: #9b1c1c; text-align: left }}
figure {{ display: inline-block; margin: 0 1rem 1rem 0; vertical-align: top }} img {{ max-width: 30rem }}
</style></head><body>
<h1>Batch of {sums["videos"]} videos</h1>
<p>{sums["done"]} done, {sums["kept"]} kept from before, {sums["failed"]} failed; {sums["frames"]} frames,
{sums["tubes"]} tubes; {sums["seconds"]:.1f} s, {sums["frames_per_second"]:.2f} frames per second;
at most {peak:.0f} MiB per worker. vis-tubes {html.escape(__version__)}.</p>
<table><tr><th>video</th><th>status</th><th>frames</th><th>tubes</th><th>s</th><th>frames/s</th>{head}<th>notes</th></tr>
{"".join(rows)}</table>
{f"<h2>Files passed over</h2><ul>{passed}</ul>" if passed else ""}
<h2>Contact sheets</h2>{more}
{"".join(sheets)}
</body></html>
"""
