"""What a batch leaves beside its run folders: ``failures.jsonl``, ``batch.json`` and ``batch.html``."""

from __future__ import annotations

import contextlib
import html
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from apps.batch.item import Item
from vis import __version__
from vis.files import write_text

__all__ = ["Failures", "page", "passed_over", "read_failures", "totals", "write_reports"]

SHOWN = 8
"""Names of files passed over that the terminal shows."""
MAX_ROWS = 2000
"""Finished videos listed on the page; a browser lays out two thousand in a second."""
MAX_SHEETS = 500
"""Contact sheets shown on the page; more would make it a burden to open."""
_JSON: dict[str, Any] = {"allow_nan": False, "ensure_ascii": False}


class Failures:
    """``failures.jsonl``: one line per failed video, there as soon as it fails.

    While the batch runs, lines are added in the order of time, and the last one may be cut off by a
    kill; ``close`` writes the file anew in the order of the items, so that it is the same whatever
    order they ran in. It is there, and empty, when none failed.
    """

    def __init__(self, out: Path, items: Sequence[Item], retried: Sequence[Mapping[str, Any]] = ()) -> None:
        """``retried``: lines of before whose videos are tried anew, and count as failed until that is done."""
        self._path = out / "failures.jsonl"
        self._items = items
        self.lines: dict[int, dict[str, Any]] = {}
        write_text(self._path, "".join(json.dumps(line) + "\n" for line in retried))

    def add(self, item: int, data: Mapping[str, Any]) -> None:
        """A failed video, with error, message and whatever else is known."""
        line = {"name": self._items[item].name, "path": self._items[item].path, **data}
        self.lines[item] = line
        # A full disk is told by the work itself; the line stays in memory for the last write.
        with contextlib.suppress(OSError), self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
            file.flush()

    def close(self) -> None:
        """Write the whole file, empty when nothing failed."""
        write_text(self._path, "".join(json.dumps(self.lines[item]) + "\n" for item in sorted(self.lines)))


def read_failures(out: Path) -> list[dict[str, Any]]:
    """The lines of ``failures.jsonl``, of each video the last one; [] where there is none that can be read."""
    try:
        text = (out / "failures.jsonl").read_text(encoding="utf-8")
    except (OSError, ValueError):
        return []
    lines: dict[tuple[str, str], dict[str, Any]] = {}
    for row in text.splitlines():
        with contextlib.suppress(ValueError, KeyError, TypeError):  # cut off by a kill
            line = json.loads(row)
            lines[line["name"], line["path"]] = line
    return list(lines.values())


def passed_over(files: Sequence[str]) -> str:
    """What was skipped, for the terminal: the first names; batch.json has all."""
    some = ", ".join(files[:SHOWN]) + (", ..." if len(files) > SHOWN else "")
    return f"passed over, since they are no videos or hold runs: {len(files)}: {some}"


def totals(lines: Sequence[Mapping[str, Any]], seconds: float, fresh: int | None = None) -> dict[str, Any]:
    """Sums over the videos: how many of each status, frames, tubes, time per stage, peak memory.

    ``seconds`` and ``fresh``, the frames that were computed in them, may be those of several runs of the command;
    without ``fresh`` they are those of the videos that this one did.
    """
    stages: dict[str, float] = defaultdict(float)
    for line in lines:
        for stage, spent in line.get("seconds_per_stage", {}).items():
            stages[stage] += spent
    count = {status: sum(line["status"] == status for line in lines) for status in ("done", "kept", "failed")}
    if fresh is None:
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
    """``batch.json``, one video a line, and ``batch.html``."""
    head = json.dumps({name: value for name, value in summary.items() if name != "videos"}, **_JSON, indent=2)
    lines = ",\n".join(json.dumps(line, **_JSON, separators=(",", ":")) for line in summary["videos"])
    write_text(out / "batch.json", f'{head[:-2]},\n  "videos": [\n{lines}\n  ]\n}}\n')
    write_text(out / "batch.html", page(summary))


def page(summary: Mapping[str, Any]) -> str:
    """The report as one HTML page without scripts; every name is escaped."""
    sums = summary["totals"]
    stages = list(sums["seconds_per_stage"])
    finished = [line for line in summary["videos"] if line["status"] != "failed"]
    failed = [line for line in summary["videos"] if line["status"] == "failed"]
    passed = "".join(f"<li>{html.escape(name)}</li>" for name in summary.get("passed_over", []))
    rows = "".join(_row(line, stages) for line in finished[:MAX_ROWS])
    rest = (
        f"<p>The first {MAX_ROWS:,} of {len(finished):,}; batch.json has all.</p>"
        if finished[MAX_ROWS:]
        else ""
    )
    more = f"<p>The first {MAX_SHEETS} of {len(finished)}.</p>" if len(finished) > MAX_SHEETS else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Batch of {sums["videos"]} videos</title><style>{STYLE}</style></head><body>
<h1>Batch of {sums["videos"]} videos</h1>
<ul class="sums">{"".join(f"<li><b>{value}</b> {what}</li>" for value, what in _headline(sums))}</ul>
{f'<h2>Failed</h2><div class="wide"><table class="failed">{_failed_rows(failed)}</table></div>' if failed else ""}
<h2>Videos</h2>{rest}<div class="wide"><table>{_head(stages)}{rows}</table></div>
{f"<h2>Passed over: no videos</h2><ul>{passed}</ul>" if passed else ""}
<h2>Contact sheets</h2>{more}<div class="sheets">{"".join(map(_sheet, finished[:MAX_SHEETS]))}</div>
<footer>vis-tubes {html.escape(__version__)}. Per stage and video: seconds of its worker.</footer>
</body></html>
"""


STYLE = """
:root { color-scheme: light dark; --line: #8884; --bad: light-dark(#9b1c1c, #ff9d9d) }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem }
h2 { margin: 2rem 0 .5rem } .wide { overflow-x: auto } table { border-collapse: collapse }
th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid var(--line); vertical-align: top }
td { font-variant-numeric: tabular-nums } th { white-space: nowrap }
.text, td:first-child { text-align: left } .failed td { text-align: left }
.failed td:nth-child(2) { color: var(--bad) }
.sums { display: flex; flex-wrap: wrap; gap: .3rem 1.8rem; list-style: none; padding: 0 } .sums b { font-size: 1.3em }
.sheets { display: grid; grid-template-columns: repeat(auto-fill, minmax(24rem, 1fr)); gap: 1rem }
td:first-child { white-space: nowrap } figure { margin: 0 } img { width: 100% } footer { margin-top: 2rem; opacity: .7 }
"""


def _headline(sums: Mapping[str, Any]) -> list[tuple[str, str]]:
    hours, rest = divmod(round(sums["seconds"]), 3600)
    time = f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"
    return [
        (f"{sums['done']:,}", "done"),
        (f"{sums['kept']:,}", "kept from before"),
        (f"{sums['failed']:,}", "failed"),
        (f"{sums['frames']:,}", "frames"),
        (f"{sums['tubes']:,}", "tubes"),
        (time, "in all"),
        (f"{sums['frames_per_second']:.2f}", "frames per second"),
        (f"{sums['peak_memory_bytes_per_worker'] / 2**20:,.0f} MiB", "at most per worker"),
    ]


def _failed_rows(lines: Sequence[Mapping[str, Any]]) -> str:
    """What and why; a message that begins with the path says it once."""
    return "".join(
        f"<tr><td>{html.escape(line['path'])}</td>"
        f"<td>{html.escape(line['message'].removeprefix(line['path'] + ': '))}</td></tr>"
        for line in lines
    )


def _head(stages: Sequence[str]) -> str:
    words = ["status", "frames", "tubes", "frames/s", "seconds", *stages]
    cells = "".join(f"<th>{html.escape(word)}</th>" for word in words)
    return f'<tr><th class="text">video</th>{cells}<th class="text">notes</th></tr>'


def _row(line: Mapping[str, Any], stages: Sequence[str]) -> str:
    numbers = [line["seconds"], *(line["seconds_per_stage"].get(stage, 0) for stage in stages)]
    cells = [line["status"], f"{line['frames']:,}", f"{line['tubes']:,}"]
    cells += [f"{line['frames'] / max(line['seconds'], 1e-3):.1f}", *(f"{number:,.1f}" for number in numbers)]
    notes = "; ".join(text.removeprefix(line["path"] + ": ") for text in line.get("warnings", []))
    # HTML needs no end tags here, and a row is written ten thousand times.
    note = f'<td class="text">{html.escape(notes)}</td>' if notes else ""
    return "\n<tr>" + "".join(f"<td>{cell}" for cell in (_link(line, ""), *cells)) + note


def _sheet(line: Mapping[str, Any]) -> str:
    target = quote(os.fsencode(line["name"])) + ("/overlay.mp4" if line.get("overlay") else "/")
    if not line.get("contact_sheet", True):
        return f"<figure><figcaption>{_link(line, '')}: no contact sheet</figcaption></figure>"
    picture = f'<img src="{quote(os.fsencode(line["name"]))}/contact_sheet.png" alt="" loading="lazy">'
    what = _link(line, "overlay.mp4") if line.get("overlay") else _link(line, "")
    return f'<figure><a href="{target}">{picture}</a><figcaption>{what}</figcaption></figure>'


def _link(line: Mapping[str, Any], file: str) -> str:
    return f'<a href="{quote(os.fsencode(line["name"]))}/{file}">{html.escape(line["name"])}</a>'
