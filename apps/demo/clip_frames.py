"""The visitor's clip, decoded in a process of its own: what it is, all of it, or one frame.

The server never decodes what a stranger sent: a file that crashes the decoder, hangs it or makes it hungry ends
a child (``vis.video.IsolatedReader``) and becomes a sentence on the page. Frames and their numbers are those of
``vis.video.open_source``, so masks are those of the command line.

A process that waits for the next frame of a clip is kept for the clips used last, and for none longer than half a
minute without use: a tab that was closed costs nothing, and one that is still open a new process (half a second).
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import OrderedDict
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.interrupt import ReadableFrames
from vis.errors import UsageError, VideoError
from vis.structures import Frame, VideoInfo, VideoResult

if TYPE_CHECKING:
    from vis.video import IsolatedReader

__all__ = ["ClipFrames", "OpenClips", "covered", "inspect", "stream"]

PATIENCE_SECONDS = 60.0  # for the start of a child or one frame, on a machine that is busy with networks
KEEP_BYTES = 128 * 2**20
KEEP_FRAMES = 24
READ_ON = 48
"""A frame at most so far ahead is read up to; a further one is sought, which costs a new child."""


def stream(path: Path, **options: Any) -> IsolatedReader:
    """Frames of a clip; ``options`` are those of ``vis.video.open_source``. Raises :class:`VideoError`.

    The clip may be of any length: what is done with it is limited by the part that is chosen
    (``upload.check_part``).
    """
    from vis.video import DEFAULT_LIMITS, WEB_LIMITS, IsolatedReader

    any_length = replace(
        WEB_LIMITS,
        frames=DEFAULT_LIMITS.frames,
        seconds=DEFAULT_LIMITS.seconds,
        total_pixels=DEFAULT_LIMITS.total_pixels,
    )
    return IsolatedReader(path, frame_seconds=PATIENCE_SECONDS, limits=any_length, **options)


def covered(path: Path, result: VideoResult) -> IsolatedReader:
    """The frames of a clip from the first to the last of a result."""
    return stream(path, start_frame=int(result.frames[0]) or None, end_frame=int(result.frames[-1]) + 1)


def inspect(path: Path) -> VideoInfo:
    """What a clip is. Where the container does not say how many frames it has, they are counted.

    One that reads no further in its middle ends there. Of a clip beyond the page's limits only as many are counted
    as they allow; the rest follows from its length and its rate. Raises :class:`VideoError` when it is no video, too
    large, or its first frame does not decode.
    """
    from vis.video import WEB_LIMITS

    with stream(path) as source:
        info, frames = source.info, ReadableFrames(source)
        if info.num_frames is not None:
            return info
        count, seconds, beyond = 0, 0.0, False
        for frame in frames:
            count, seconds = count + 1, frame.pts_seconds
            beyond = count >= WEB_LIMITS.frames or seconds >= WEB_LIMITS.seconds
            if beyond:
                break
        fps = info.fps or (count / seconds if seconds else None)
        length = seconds + (1 / fps if fps else 0)
        if frames.failure is None and info.duration_seconds:
            length = info.duration_seconds
        if beyond and fps:
            count = max(count, round(length * fps))
        return replace(info, num_frames=count, fps=fps, duration_seconds=length)


class OpenClips:
    """The clips that hold a decoding process and frames: ``most`` at a time, the one used longest ago goes first.

    One that nobody has asked for a frame for ``idle_seconds`` is put to rest too. Thread-safe.
    """

    def __init__(self, *, most: int = 4, idle_seconds: float = 30.0) -> None:
        self.most, self.idle_seconds = most, idle_seconds
        self._used: OrderedDict[ClipFrames, float] = OrderedDict()
        self._changed = threading.Condition()
        self._watching = False

    def note(self, clip: ClipFrames) -> None:
        """The clip has just been used."""
        with self._changed:
            self._used[clip] = time.monotonic()
            self._used.move_to_end(clip)
            waiting = list(self._used)[: -self.most]
            if not self._watching:
                self._watching = True
                threading.Thread(target=self._watch, name="vistubes-open-clips", daemon=True).start()
        self._rest(waiting)

    def forget(self, clip: ClipFrames) -> None:
        """The clip is closed."""
        with self._changed:
            self._used.pop(clip, None)
            self._changed.notify()

    def _rest(self, clips: list[ClipFrames]) -> None:
        # Forgotten first: one that is being read at this moment is not put to rest, and notes itself again.
        for clip in clips:
            self.forget(clip)
            clip.rest()

    def _watch(self) -> None:
        """End what is idle, and then itself."""
        while True:
            with self._changed:
                if not self._used:
                    self._watching = False
                    return
                now = time.monotonic()
                idle = [clip for clip, used in self._used.items() if now - used >= self.idle_seconds]
                if not idle:
                    self._changed.wait(min(self._used.values()) + self.idle_seconds - now)
                    continue
            self._rest(idle)


_open_clips = OpenClips()


class ClipFrames:
    """Frames by index. Going on is nearly free, a leap costs starting a child (half a second). Thread-safe.

    Rests when it has not been used for a while (:class:`OpenClips`), and wakes when it is asked again.
    """

    def __init__(self, path: Path, info: VideoInfo, *, among: OpenClips | None = None) -> None:
        self.path = path
        self._among = among or _open_clips
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
            frame = self._kept[index]
        self._among.note(self)
        return frame

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._stop()
        self._among.forget(self)

    def rest(self) -> None:
        """End the child and let go of the frames, unless a frame is being read at this moment."""
        if self._lock.acquire(blocking=False):
            try:
                self._stop()
                self._kept.clear()
            finally:
                self._lock.release()

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
