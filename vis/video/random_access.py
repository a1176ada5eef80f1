"""Any frame of a video by its index, for scrubbing. Streaming from first to last is ``VideoReader``'s work."""

from __future__ import annotations

import bisect
import contextlib
import threading
from collections import OrderedDict
from pathlib import Path
from types import TracebackType

from vis.errors import UsageError, VideoError
from vis.structures import Frame, VideoInfo
from vis.video.container import open_container, video_stream
from vis.video.folder import FolderReader
from vis.video.frames_by_index import CountedFrames, DecordFrames, FramesByIndex, ImageFrames, SoughtFrames
from vis.video.limits import DEFAULT_LIMITS, VideoLimits
from vis.video.reader import VideoReader
from vis.video.timetable import has_timetable

__all__ = ["RandomAccessReader"]

# Pictures kept for stepping back, at most as many as this and as many as fit in that many bytes.
_KEEP_FRAMES = 16
_KEEP_BYTES = 128 * 2**20


class RandomAccessReader:
    """Frames of a video file or a folder of images by index, the same as ``open_source`` streams them.

    ``reader[index]`` gives a ``Frame``, ``len(reader)`` counts them. ``backend`` is "auto" (decord where it is
    exact, else PyAV), "decord" (or an error) or "pyav"; ``reader.backend`` says what is used: "decord",
    "pyav", or "images" for a folder. Safe to share between threads; close it, or use a ``with`` block.

    Opening an MP4 or Matroska file reads it once without decoding; other containers, which cannot be
    sought exactly, are decoded once. A frame costs the decoding from the key frame before it (at 720p
    with key frames 250 apart, up to half a second); its successor is nearly free, and stepping back
    decodes a few at once and keeps them.

    Raises :class:`VideoError` when the file is no video or a frame does not decode, :class:`IndexError`
    when there is no such frame.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        backend: str = "auto",
        fps: float | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
    ) -> None:
        if backend not in ("auto", "decord", "pyav"):
            raise UsageError(f"backend {backend!r} is unknown; choose auto, decord or pyav")
        self.path = Path(path)
        self.backend = "pyav"
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._frames: FramesByIndex
        if self.path.is_dir():
            folder = FolderReader(self.path, fps=fps, limits=limits)
            self._info, self._frames, self.backend = folder.info, ImageFrames(folder), "images"
        else:
            reader = VideoReader(self.path, limits=limits)
            self._info = reader.info
            self._frames = self._open(backend, limits, interlaced=reader.interlaced)
        height, width = self._info.size
        self._room = max(2, min(_KEEP_FRAMES, _KEEP_BYTES // (height * width * 3)))
        self._kept: OrderedDict[int, Frame] = OrderedDict()
        self._last = -1

    @property
    def info(self) -> VideoInfo:
        """What the video is."""
        return self._info

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Frame:
        count = len(self)
        if not 0 <= index < count:
            raise IndexError(f"{self.path}: frame {index} of {count}; expected 0 to {count - 1}")
        with self._lock:
            if index not in self._kept:
                # One step back costs as much as many: decode those before it too, while we are there.
                first = max(0, index - self._room + 1) if index == self._last - 1 else index
                for earlier in range(first, index):
                    with contextlib.suppress(VideoError):
                        self._keep(earlier)
                self._keep(index)
            self._last = index
            return self._kept[index]

    def index_at(self, pts_seconds: float) -> int:
        """The frame that is shown at a time: the last one that does not begin after it."""
        after = bisect.bisect_right(range(len(self)), pts_seconds, key=self._frames.pts_seconds)
        return max(0, after - 1)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._stack.close()

    def __enter__(self) -> RandomAccessReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RandomAccessReader({str(self.path)!r}, {len(self)} frames, {self.backend})"

    def _open(self, backend: str, limits: VideoLimits, *, interlaced: bool) -> FramesByIndex:
        if backend == "decord" and (interlaced or self._info.hdr):
            what = "interlaced video" if interlaced else "high dynamic range"
            raise VideoError(f"{self.path}: decord shows {what} as it is stored; use backend='pyav'")
        if interlaced:
            # A whole picture is made of its neighbours too: only the streaming reader does that.
            return CountedFrames(self.path, limits)
        container = self._stack.enter_context(open_container(self.path, limits))
        if not has_timetable(container, video_stream(self.path, container, limits)):
            self._stack.close()
            if backend == "decord":
                raise VideoError(f"{self.path}: decord seeks inexactly in this container; use backend='pyav'")
            return CountedFrames(self.path, limits)
        exact = SoughtFrames(self.path, limits, self._info.rotation, container)
        if backend == "pyav" or self._info.hdr:
            return exact
        try:
            frames = DecordFrames(self.path, exact, self._info)
        except Exception as error:  # not installed, its own error type, or one of our reasons
            if backend == "decord":
                reason = str(error).splitlines()[0][:120]
                raise VideoError(f"{self.path}: not with decord ({reason}); use backend='pyav'") from error
            return exact
        self.backend = "decord"
        return frames

    def _keep(self, index: int) -> None:
        """Decode a frame into the kept ones; the one unused for longest goes."""
        if index in self._kept:
            self._kept.move_to_end(index)
            return
        image = self._frames.image(index)
        if image.shape[:2] != self._info.size:
            raise VideoError(
                f"{self.path}: frame {index} is {image.shape[1]}x{image.shape[0]} pixels where the first is "
                f"{self._info.width}x{self._info.height}; the size must not change"
            )
        self._kept[index] = Frame(index, self._frames.pts_seconds(index), image)
        if len(self._kept) > self._room:
            self._kept.popitem(last=False)
