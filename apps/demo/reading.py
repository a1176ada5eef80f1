"""The visitor's clip, decoded in a process of its own: what it is, all of it, or one frame.

The server never decodes what a stranger sent: a file that crashes the decoder, hangs it or makes it hungry ends
a child (``vis.video.IsolatedReader``) and becomes a sentence on the page. Frames and their numbers are those of
``vis.video.open_source``, so masks are those of the command line.
"""

from __future__ import annotations

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vis.errors import UsageError, VideoError
from vis.structures import Frame, VideoInfo

if TYPE_CHECKING:
    from vis.video import IsolatedReader

__all__ = ["ClipFrames", "inspect", "stream"]

PATIENCE_SECONDS = 60.0  # for the start of a child or one frame, on a machine that is busy with networks
KEEP_BYTES = 128 * 2**20
KEEP_FRAMES = 24
READ_ON = 48
"""A frame at most so far ahead is read up to; a further one is sought, which costs a new child."""


def stream(path: Path, **options: Any) -> IsolatedReader:
    """Frames of a clip; ``options`` are those of ``vis.video.open_source``. Raises :class:`VideoError`."""
    from vis.video import IsolatedReader

    return IsolatedReader(path, frame_seconds=PATIENCE_SECONDS, **options)


def inspect(path: Path) -> VideoInfo:
    """What a clip is. Where the container does not say how many frames it has, they are counted.

    Raises :class:`VideoError` when it is no video, beyond the limits, or its first frame does not decode.
    """
    with stream(path) as source:
        info = source.info
        if info.num_frames is not None:
            return info
        count, seconds = 0, 0.0
        for frame in source:
            count, seconds = count + 1, frame.pts_seconds
        fps = info.fps or (count / seconds if seconds else None)
        length = info.duration_seconds or seconds + (1 / fps if fps else 0)
        return replace(info, num_frames=count, fps=fps, duration_seconds=length)


class ClipFrames:
    """Frames by index. Going on is nearly free, a leap costs starting a child (half a second). Thread-safe."""

    def __init__(self, path: Path, info: VideoInfo) -> None:
        self.path = path
        self._count = max(1, info.num_frames or 1)
        self._room = max(2, min(KEEP_FRAMES, KEEP_BYTES // max(1, info.height * info.width * 3)))
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._frames: Generator[Frame] | None = None
        self._next = 0
        self._last = -1
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Frame:
        """The frame; of a clip that ends before its header says, the last one that there is.

        Raises :class:`VideoError` when there is none.
        """
        with self._lock:
            index = min(max(0, index), self._count - 1)
            if index not in self._kept:
                # Stepping back: the frames before it are likely the next ones to be asked for.
                back = index == self._last - 1
                self._read(max(0, index - self._room + 1) if back else index, index)
            if index not in self._kept:
                index = max(self._kept, default=-1)
                if index < 0:
                    raise VideoError(f"{self.path.name}: this frame does not decode; copy the file again")
            self._kept.move_to_end(index)
            self._last = index
            return self._kept[index]

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()

    def _read(self, first: int, last: int) -> None:
        """Keep the frames ``first`` .. ``last``, as far as they exist."""
        if self._frames is None or not self._next <= first <= self._next + READ_ON:
            self._start(first)
        if self._read_on(first, last):
            return
        # The header promised more than there is. Where the end is, only going there tells.
        if self._next == first > 0:
            self._start(0)
            self._read_on(0, last)
        self._count = max(1, self._next)
        self._stop()

    def _read_on(self, first: int, last: int) -> bool:
        """Keep what comes from ``first`` on; whether ``last`` came."""
        assert self._frames is not None
        with contextlib.suppress(UsageError, VideoError):  # beyond the end, or damaged: this is the end then
            for frame in self._frames:
                self._next = frame.index + 1
                if frame.index >= first:
                    self._kept[frame.index] = frame
                if len(self._kept) > self._room:
                    self._kept.popitem(last=False)
                if frame.index >= last:
                    return True
        return False

    def _start(self, first: int) -> None:
        self._stop()
        self._frames, self._next = _from(self.path, first), first

    def _stop(self) -> None:
        if self._frames is not None:
            self._frames.close()
        self._frames = None


def _from(path: Path, first: int) -> Generator[Frame]:
    with contextlib.closing(stream(path, start_frame=first or None)) as source:
        yield from source
