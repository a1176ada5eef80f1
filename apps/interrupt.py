"""Runs that end early in good order, by Ctrl-C or by a video that reads no further: finished frames are kept."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from vis.errors import VideoError
from vis.interfaces import CountedFrames, FrameSource
from vis.structures import Frame, VideoInfo

if TYPE_CHECKING:
    from vis.video.options import FrameRange

__all__ = ["ReadableFrames", "StopOnCtrlC"]


class ReadableFrames:
    """A source whose frames end where reading fails; ``failure`` then says why.

    Only once there was a frame: a video of which nothing reads stays an error. What a file holds after a change
    of its size, say, costs no frame that was finished before.
    """

    def __init__(self, source: FrameSource) -> None:
        self._source = source
        self.failure: VideoError | None = None

    @property
    def info(self) -> VideoInfo:
        """What the video is."""
        return self._source.info

    @property
    def expected_frames(self) -> int | None:
        """About how many frames there are, as far as the source knows."""
        return self._source.expected_frames if isinstance(self._source, CountedFrames) else None

    @property
    def frame_range(self) -> FrameRange:
        """Which frames were asked for."""
        given: FrameRange = self._source.frame_range  # type: ignore[attr-defined]  # every source of vis.video has it
        return given

    def __iter__(self) -> Iterator[Frame]:
        some = False
        try:
            for frame in self._source:
                some = True
                yield frame
        except VideoError as error:
            if not some:
                raise
            self.failure = error


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
