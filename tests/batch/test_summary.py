"""The status table and the report say what happened, and names from files cannot speak HTML."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from apps.batch.events import Event
from apps.batch.failures import failure, is_disk_full, is_for_all
from apps.batch.item import Item
from apps.batch.status import Status
from apps.batch.summary import Failures, page, totals
from vis.errors import OutputError, VideoError, WeightsError

ITEMS = [Item(f"clip{n}", f"in/clip{n}.mp4") for n in range(4)]
DONE = {"status": "done", "frames": 10, "tubes": 2, "seconds": 4.0, "seconds_per_stage": {"track": 4.0}}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_remaining_time_follows_from_the_work_done_here() -> None:
    clock = Clock()
    status = Status(ITEMS, stream=io.StringIO(), clock=clock)
    assert status.seconds_left() is None
    status.take(Event("start", 0, "0"))
    status.take(Event("done", 0, "0", {**DONE, "status": "kept"}))
    assert status.seconds_left() is None  # what was kept tells nothing about speed
    status.take(Event("start", 1, "0"))
    clock.now = 10.0
    status.take(Event("progress", 1, "0", {"stage": "tubes", "frames": 5, "expected": 10}))
    assert status.seconds_left() == 10.0 * 2.5 / 0.5
    status.take(Event("done", 1, "0", DONE))
    assert "2 of 4 videos: 1 done, 1 kept, 0 failed; 1.0 frames/s; 20 s left" in status.totals()


def test_a_terminal_gets_a_table_and_a_pipe_plain_lines() -> None:
    for stream in (Terminal(), io.StringIO()):
        clock = Clock()
        status = Status(ITEMS, stream=stream, clock=clock)
        status.take(Event("start", 0, "0"))
        clock.now = 60.0
        status.take(Event("progress", 0, "0", {"stage": "tubes", "frames": 5, "expected": 10}))
        status.take(Event("failed", 0, "0", {"message": "broken"}))
        status.close()
        text = stream.getvalue()
        assert "failed: clip0: broken" in text
        assert ("\x1b[" in text) == isinstance(stream, Terminal)
        assert ("tubes       5/10" in text) == isinstance(stream, Terminal)


def line(**changes: Any) -> dict[str, Any]:
    return {
        "name": "clip",
        "path": "in/clip.mp4",
        "peak_memory_bytes": 2**20,
        "warnings": [],
        **DONE,
        **changes,
    }


def test_totals_add_up() -> None:
    lines = [
        line(),
        line(status="kept", peak_memory_bytes=2**22),
        {"name": "x", "path": "x", "status": "failed"},
    ]
    sums = totals(lines, 5.0)
    assert (sums["videos"], sums["done"], sums["kept"], sums["failed"]) == (3, 1, 1, 1)
    assert sums["frames"] == 20
    assert sums["frames_per_second"] == 2.0  # of what was done in this run
    assert sums["seconds_per_stage"] == {"track": 8.0}
    assert sums["peak_memory_bytes_per_worker"] == 2**22


def test_the_page_escapes_names_and_messages() -> None:
    evil = '<script>alert("x")</script>'
    failed = {"name": evil, "path": evil, "status": "failed", "error": "VideoError", "message": evil}
    text = page(
        {"totals": totals([line(name=evil)], 1.0), "videos": [line(name=evil, warnings=[evil]), failed]}
    )
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_page_links_what_there_is_and_says_why_once() -> None:
    failed = {"name": "b", "path": "in/b.mp4", "status": "failed", "message": "in/b.mp4: the file is empty"}
    lines = [
        line(name="day 1/a", overlay=True, warnings=["in/clip.mp4: cut off"]),
        line(overlay=False),
        failed,
    ]
    text = page({"totals": totals(lines, 5000.0), "videos": lines})
    assert 'href="day%201/a/overlay.mp4"' in text
    assert 'src="day%201/a/contact_sheet.png"' in text
    assert "clip/overlay.mp4" not in text
    assert "<td>in/b.mp4</td><td>the file is empty</td>" in text
    assert '<td class="text">cut off</td>' in text
    assert "<b>1 h 23 min</b> in all" in text


def test_names_that_are_no_utf8_are_linked_by_their_bytes() -> None:
    lines = [line(name="day/caf\udce9", overlay=True)]
    text = page({"totals": totals(lines, 1.0), "videos": lines})
    assert 'href="day/caf%E9/overlay.mp4"' in text
    assert 'src="day/caf%E9/contact_sheet.png"' in text


def test_failures_are_there_at_once_and_in_order_at_the_end(tmp_path: Path) -> None:
    failures = Failures(tmp_path, ITEMS)
    failures.add(2, {"error": "E", "message": "second"})
    failures.add(0, {"error": "E", "message": "first"})
    assert (tmp_path / "failures.jsonl").read_text().count("\n") == 2
    failures.close()
    first, second = (tmp_path / "failures.jsonl").read_text().splitlines()
    assert "first" in first
    assert "second" in second
    Failures(tmp_path, ITEMS).close()
    assert (tmp_path / "failures.jsonl").read_bytes() == b""  # another run in which nothing failed


def test_which_errors_are_for_all() -> None:
    full = OutputError("the disk is full")
    full.__cause__ = OSError(28, "No space left on device")
    assert is_disk_full(full)
    assert is_for_all(full)
    assert not is_disk_full(OutputError("it exists"))
    assert is_for_all(WeightsError("missing"))
    assert not is_for_all(VideoError("broken"))
    assert failure(VideoError("broken")) == {"error": "VideoError", "message": "broken"}
    assert "where" in failure(KeyError("bug"))
