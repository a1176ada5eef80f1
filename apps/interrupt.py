"""Ctrl-C that lets a run end in good order: what was finished before it is kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType

from vis.interfaces import CountedFrames, FrameSource
from vis.structures import Frame, VideoInfo

__all__ = ["StopOnCtrlC"]


class StopOnCtrlC:
    """In its ``with`` block the first Ctrl-C ends the frames of ``watched`` sources; the second one raises.

    Outside of the main thread, where Python allows no signal handlers, Ctrl-C stays what it is.
    """

    def __init__(self) -> None:
        self.asked = False
        self._before: signal._HANDLER = None

    def watched(self, source: FrameSource) -> FrameSource:
        """The same source, which ends after the frame in hand once Ctrl-C was pressed."""
        return _Watched(source, self)

    def __enter__(self) -> StopOnCtrlC:
        try:
            self._before = signal.signal(signal.SIGINT, self._ask)
        except ValueError:
            self._before = None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def release(self) -> None:
        """Let Ctrl-C raise again."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _ask(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - the signature is Python's
        self.asked = True
        self.release()
        print("\nvistubes: stopping; Ctrl-C again to stop at once and keep nothing", file=sys.stderr)


class _Watched:
    def __init__(self, source: FrameSource, stop: StopOnCtrlC) -> None:
        self._source, self._stop = source, stop

    @property
    def info(self) -> VideoInfo:
        return self._source.info

    @property
    def expected_frames(self) -> int | None:
        return self._source.expected_frames if isinstance(self._source, CountedFrames) else None

    def __iter__(self) -> Iterator[Frame]:
        for frame in self._source:
            if self._stop.asked:
                return
            yield frame
