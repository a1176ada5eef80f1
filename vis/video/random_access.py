"""Any frame of a video by its index, for scrubbing. Streaming from first to last is ``VideoReader``'s work."""

from __future__ import annotations

import bisect
import contextlib
import threading
from collections import OrderedDict
from pathlib import Path

from vis.errors import UsageError, VideoError
from vis.structures import Frame, VideoInfo
from vis.video.container import open_container, packet_index_of
from vis.video.decord_frames import DecordFrames
from vis.video.folder import FolderReader
from vis.video.frames_by_index import FramesByIndex, ImageFrames, SeekingFrames, SequentialFrames
from vis.video.images import ImageReader, is_stack
from vis.video.options import DEFAULT_LIMITS, VideoLimits
from vis.video.reader import VideoReader
from vis.video.source import READERS

__all__ = ["RandomAccessReader"]

# Pictures kept for stepping back, at most as many as this and as many as fit in that many bytes.
_KEEP_FRAMES = 16
_KEEP_BYTES = 128 * 2**20


class RandomAccessReader:
    """Frames of a video file or of images by index, the same as ``open_source`` streams them.

    ``frames[index]`` gives a ``Frame``, ``len(frames)`` counts them. ``reader``, ``fps`` and ``value_range`` are
    those of ``open_source``; ``frames.backend`` says what is used: "pyav", "decord", or "images". Safe to share
    between threads; close it, or use a ``with`` block.

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
        reader: str = "pyav",
        fps: float | None = None,
        value_range: tuple[float, float] | None = None,
        limits: VideoLimits = DEFAULT_LIMITS,
    ) -> None:
        if reader not in READERS:
            raise UsageError(f"reader {reader!r} is unknown; choose one of {', '.join(READERS)}")
        self.path = Path(path)
        self.backend = reader
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._frames: FramesByIndex
        if self.path.is_dir() or is_stack(self.path):
            folder = FolderReader(self.path, fps=fps, value_range=value_range, limits=limits)
            folder.tell_range()
            images = ImageReader(limits)
            self._stack.callback(images.close)
            self._info, self._frames, self.backend = folder.info, ImageFrames(folder, images), "images"
        else:
            stream = VideoReader(self.path, limits=limits)
            self._info = stream.info
            self._frames = DecordFrames(stream) if reader == "decord" else self._open(stream)
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

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RandomAccessReader({str(self.path)!r}, {len(self)} frames, {self.backend})"

    def _open(self, stream: VideoReader) -> FramesByIndex:
        """By seeking where packets tell which frame is where, else by counting."""
        # A whole picture of interlaced video is made of its neighbours too: only the streaming reader does that.
        table = None if stream.interlaced else packet_index_of(self.path, stream.limits)
        if table is None:
            return SequentialFrames(self.path, stream.limits)
        container = self._stack.enter_context(open_container(self.path, stream.limits))
        return SeekingFrames(self.path, stream.limits, self._info.rotation, container, table)

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
