"""What the runs of a batch's command cost together: a night that was killed, and the morning that finished it."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vis.errors import OutputError, VisError
from vis.files import read_json, write_json

__all__ = ["Sessions"]

WRITE_SECONDS = 1.0
"""Least time between two writes."""


class Sessions:
    """Seconds and frames of each run that finished a video, kept in ``.batch/sessions.json``.

    Written after every video, of short ones once a second, so that a killed run counts up to its last one. A run with
    nothing to do adds none; one that keeps nothing of before makes all of it anew, and earlier runs no longer count.
    """

    def __init__(self, out: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = out / ".batch" / "sessions.json"
        self._clock, self._begun = clock, clock()
        self._before = _rows(self._path) or _of_report(out / "batch.json")
        self._frames = self._videos = 0
        self._written = float("-inf")

    def add(self, frames: int) -> None:
        """A video was done."""
        self._frames += frames
        self._videos += 1
        if self._clock() - self._written >= WRITE_SECONDS:
            self._written = self._clock()
            self._write([*self._before, self._own()])

    def totals(self, *, kept: int) -> tuple[float, int]:
        """Seconds and frames of all runs that count; ``kept``: videos of before that stay."""
        counted = self._before if kept or not self._videos else []
        if self._videos:
            counted = [*counted, self._own()]
        self._write(counted)
        if not counted:
            return self._own()["seconds"], 0
        return sum(row["seconds"] for row in counted), sum(row["frames"] for row in counted)

    def _write(self, rows: list[dict[str, Any]]) -> None:
        # A full disk is told by the work itself.
        with contextlib.suppress(OutputError):
            write_json(self._path, rows)

    def _own(self) -> dict[str, Any]:
        return {"seconds": round(self._clock() - self._begun, 3), "frames": self._frames}


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [{"seconds": float(row["seconds"]), "frames": int(row["frames"])} for row in read_json(path)]
    except (VisError, KeyError, TypeError, ValueError):
        return []


def _of_report(path: Path) -> list[dict[str, Any]]:
    """The one run that a batch.json tells of which nobody counted; [] where it did nothing."""
    try:
        report: Mapping[str, Any] = read_json(path)
        frames = sum(int(line["frames"]) for line in report["videos"] if line["status"] == "done")
        return [{"seconds": float(report["totals"]["seconds"]), "frames": frames}] if frames else []
    except (VisError, KeyError, TypeError, ValueError):
        return []
