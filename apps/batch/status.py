"""The status of a running batch on stderr: a table that renews itself, or plain lines now and then."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

from apps.batch.events import Event
from apps.batch.item import Item

__all__ = ["Status"]

REDRAW_SECONDS = 0.5
PLAIN_LINE_SECONDS = 10.0


@dataclass(slots=True)
class _Busy:
    item: int
    stage: str = "start"
    frames: int = 0
    expected: int | None = None


@dataclass(slots=True)
class Status:
    """Counts and what each worker does; ``take`` events, ``close`` at the end."""

    items: Sequence[Item]
    stream: IO[str] = field(default_factory=lambda: sys.stderr)
    quiet: bool = False
    clock: Callable[[], float] = time.monotonic
    done: int = 0
    kept: int = 0
    failed: int = 0
    frames: int = 0
    _busy: dict[str, _Busy] = field(default_factory=dict)
    _lines: int = 0
    _shown: float = float("-inf")
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        self._start = self.clock()

    def take(self, event: Event) -> None:
        """Count the event and show the table when it is time."""
        name = self.items[event.item].name
        if event.kind == "start":
            self._busy[event.worker] = _Busy(event.item)
        elif event.kind == "progress" and event.worker in self._busy:
            busy = self._busy[event.worker]
            busy.stage, busy.frames, busy.expected = (
                event.data[key] for key in ("stage", "frames", "expected")
            )
        elif event.kind in ("done", "failed"):
            self._busy.pop(event.worker, None)
            if event.kind == "failed":
                self.failed += 1
                self._say(f"failed: {name}: {event.data['message']}")
            elif event.data["status"] == "kept":
                self.kept += 1
            else:
                self.done += 1
                self.frames += event.data["frames"]
                self._say(f"done: {name}: {event.data['tubes']} tubes, {event.data['frames']} frames")
        self._show()

    def close(self) -> None:
        """The last state of the totals, as a plain line."""
        self._erase()
        if not self.quiet:
            print(self.totals(), file=self.stream, flush=True)

    def totals(self) -> str:
        """Videos done, kept and failed, frames per second, and the time that remains."""
        seconds = max(self.clock() - self._start, 1e-9)
        finished = self.done + self.kept + self.failed
        text = f"{finished} of {len(self.items)} videos: {self.done} done, {self.kept} kept, {self.failed} failed"
        if self.frames:
            text += f"; {self.frames / seconds:.1f} frames/s"
        left = self.seconds_left()
        if left is not None and finished < len(self.items):
            text += f"; {_duration(left)} left"
        return text

    def seconds_left(self) -> float | None:
        """From the videos worked on since the start, parts of videos included; None before the first."""
        parts = sum(min(1.0, b.frames / b.expected) for b in self._busy.values() if b.expected)
        worked = self.done + self.failed + parts
        if worked < 0.05:
            return None
        left = len(self.items) - self.done - self.failed - self.kept - parts
        return (self.clock() - self._start) * left / worked

    def _show(self) -> None:
        now = self.clock()
        terminal = self.stream.isatty()
        if self.quiet or now - self._shown < (REDRAW_SECONDS if terminal else PLAIN_LINE_SECONDS):
            return
        self._shown = now
        if not terminal:
            print(self.totals(), file=self.stream, flush=True)
            return
        self._erase()
        width = shutil.get_terminal_size().columns - 1
        lines = [self._row(worker) for worker in sorted(self._busy, key=_natural)] + [self.totals()]
        self.stream.write("".join(f"{line[:width]}\n" for line in lines))
        self.stream.flush()
        self._lines = len(lines)

    def _row(self, worker: str) -> str:
        busy = self._busy[worker]
        of = f"/{busy.expected}" if busy.expected else ""
        return f"  {worker:>3}  {busy.stage:<6} {busy.frames:>6}{of:<7} {self.items[busy.item].name}"

    def _say(self, line: str) -> None:
        if self.quiet:
            return
        self._erase()
        print(line, file=self.stream, flush=True)

    def _erase(self) -> None:
        if self._lines:
            self.stream.write(f"\x1b[{self._lines}F\x1b[J")
            self._lines = 0


def _natural(text: str) -> tuple[int, str]:
    return len(text), text


def _duration(seconds: float) -> str:
    whole = round(seconds)
    hours, minutes = whole // 3600, whole % 3600 // 60
    return (
        f"{hours} h {minutes:02d} min"
        if hours
        else f"{minutes} min {whole % 60:02d} s"
        if minutes
        else f"{whole} s"
    )
