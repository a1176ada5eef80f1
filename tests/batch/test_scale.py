"""What a batch of very many videos must keep small, on a few tiny ones."""

from __future__ import annotations

import contextlib
import json
from html.parser import HTMLParser

import pytest

from apps.batch import summary
from apps.batch.lines import Lines
from apps.batch.sessions import Sessions
from apps.cli import main
from benchmarks import scale

LINE = {
    "status": "done",
    "warnings": [],
    "frames": 300,
    "tubes": 10,
    "overlay": True,
    "contact_sheet": True,
    "seconds": 123.456,
    "seconds_per_stage": dict.fromkeys(("decode", "detect", "track", "refine", "link", "draw"), 20.576),
    "peak_memory_bytes": 2**30,
}


class Rows(HTMLParser):
    """Counts the rows of a page's tables, and knows whether it is whole."""

    def __init__(self) -> None:
        super().__init__()
        self.rows, self.ended = 0, False

    def handle_starttag(self, tag: str, _attrs: object) -> None:
        self.rows += tag == "tr"

    def handle_endtag(self, tag: str) -> None:
        self.ended |= tag == "html"


def test_the_summary_of_ten_thousand_videos_is_small(tmp_path):
    lines = [
        LINE | {"name": f"2024-05/cam{n % 9}/clip{n}", "path": f"videos/2024-05/cam{n % 9}/clip{n}.mp4"}
        for n in range(10_000)
    ]
    told = {"totals": summary.totals(lines, 9.0), "passed_over": [], "videos": lines}
    summary.write_reports(tmp_path, told)
    assert json.loads((tmp_path / "batch.json").read_text()) == told
    page = Rows()
    page.feed((tmp_path / "batch.html").read_text())
    assert page.rows == 1 + summary.MAX_ROWS
    assert page.ended
    assert sum(file.stat().st_size for file in tmp_path.iterdir()) < 5 * 10**6


@pytest.mark.parametrize("videos", [[], [LINE | {"name": "a", "path": "a.mp4"}]])
def test_batch_json_of_few_videos_reads_back(tmp_path, videos):
    told = {"totals": summary.totals(videos, 9.0), "videos": videos, "passed_over": ["x"]}
    summary.write_reports(tmp_path, told)
    assert json.loads((tmp_path / "batch.json").read_text()) == told


def test_twenty_items_of_stored_masks(tmp_path):
    stored = scale.make_items(tmp_path / "items", tmp_path / "stored.json", 20, 2)
    words = ["batch", str(tmp_path / "items"), "--out", str(tmp_path / "out"), "--weights", str(stored)]
    assert main([*words, "--jobs", "1", *scale.OPTIONS]) == 0
    report = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert report["totals"]["done"] == report["totals"]["tubes"] == 20
    assert scale.done_in(tmp_path / "out") == 20
    # Two clips with the same objects: tubes.json names its video, what else there is repeats to the byte.
    files = scale.digests(tmp_path / "out")
    for name, different in {"tubes.json": 20, "results.json": 1, "contact_sheet.png": 2}.items():
        assert len({digest for path, digest in files.items() if path.endswith(f"/{name}")}) == different
    assert not list((tmp_path / "out" / ".batch").glob("chunks/*/*"))


def test_lines_come_back_in_the_order_of_the_items(tmp_path):
    """The newest of each, with names that are no UTF-8; nothing is left in the folder, and little in memory."""
    with contextlib.closing(Lines(tmp_path, 5)) as lines:
        for at in (3, 0, 4, 3):
            lines.add(at, {"name": f"clip\udcff{at}", "turn": len(lines)})
        assert len(lines) == 3
        assert [(line["name"][-1], line["turn"]) for line in lines] == [("0", 1), ("3", 3), ("4", 2)]
        assert next(iter(lines))["name"] == "clip\udcff0"
        assert not list(tmp_path.iterdir())


def test_sessions_of_short_videos_are_not_written_one_by_one(tmp_path):
    now = [0.0]
    sessions = Sessions(tmp_path, clock=lambda: now[0])
    file = tmp_path / ".batch" / "sessions.json"
    written = []
    for _ in range(10):
        now[0] += 0.25
        sessions.add(1)
        written.append(json.loads(file.read_text())[-1]["frames"])
    assert written == [1, 1, 1, 1, 5, 5, 5, 5, 9, 9]
    assert sessions.totals(kept=0) == (2.5, 10)
