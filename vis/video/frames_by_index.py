"""Three ways to the picture of a frame by its index: images, seeking, and counting.

``RandomAccessReader`` chooses among them and is the one to use.
"""

from __future__ import annotations

import bisect
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vis.errors import VideoError
from vis.structures import Frame
from vis.video.container import start_seconds, upright, video_stream
from vis.video.folder import FolderReader
from vis.video.images import ImageReader
from vis.video.options import VideoLimits
from vis.video.packet_index import PacketIndex
from vis.video.reader import VideoReader

__all__ = ["FramesByIndex", "ImageFrames", "SeekingFrames", "SequentialFrames"]


class FramesByIndex(Protocol):
    """A video whose frames can be asked for in any order."""

    def __len__(self) -> int:
        """How many frames there are."""

    def pts_seconds(self, index: int) -> float:
        """When a frame is shown."""

    def image(self, index: int) -> NDArray[np.uint8]:
        """Its picture, RGB (H, W, 3); raises :class:`VideoError` when it does not decode."""


class ImageFrames:
    """The images of a folder."""

    def __init__(self, source: FolderReader, reader: ImageReader) -> None:
        self._source, self._reader = source, reader

    def __len__(self) -> int:
        return len(self._source.images)

    def pts_seconds(self, index: int) -> float:
        """Index divided by the folder's rate."""
        return index / (self._source.info.fps or 1.0)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Read one image."""
        return self._source.read(index, self._reader)


class SequentialFrames:
    """For containers that cannot be sought exactly: count frames from the start, or go on from the last."""

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self._path, self._limits = path, limits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # streaming warns of damage; here the frame asked for counts
            self._times = VideoReader(path, limits=limits).times()
        self._known = sorted(self._times)
        self._coming: Iterator[Frame] = iter(())
        self._next: int | None = None
        """The frame that the running decoder gives next; None: there is none."""

    def __len__(self) -> int:
        return self._known[-1] + 1 if self._known else 0

    def pts_seconds(self, index: int) -> float:
        """When a frame is shown; for one that does not decode, when the one before it is."""
        return self._times[self._known[max(0, bisect.bisect_right(self._known, index) - 1)]]

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decode on to the frame; back means from the start."""
        if self._next is None or index < self._next:
            self._coming = iter(VideoReader(self._path, start_frame=index, limits=self._limits, ahead=0))
        self._next = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for frame in self._coming if index in self._times else ():
                if frame.index == index:
                    self._next = index + 1
                    return frame.image
                if frame.index > index:
                    break
        raise VideoError(f"{self._path}: frame {index} does not decode; the file is damaged or cut off")


class SeekingFrames:
    """Seek to the key frame before, then decode up to the frame asked for."""

    def __init__(
        self, path: Path, limits: VideoLimits, rotation: int, container: Any, table: PacketIndex
    ) -> None:
        self._path, self._limits, self._rotation = path, limits, rotation
        self._container, self._table = container, table
        self._stream: Any = video_stream(path, container, limits)
        self._origin = start_seconds(self._stream)
        self._base: Fraction = self._stream.time_base
        self._pictures: Iterator[Any] | None = None
        self._at = 0

    def __len__(self) -> int:
        return len(self._table.pts)

    def pts_seconds(self, index: int) -> float:
        """When a frame is shown, from the stream's start."""
        return float(self._table.pts[index] * self._base - self._origin)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decode on to the frame, or from the key frame before it."""
        from av.error import FFmpegError

        wanted = self._table.pts[index]
        try:
            for picture in self._pictures_until(wanted):
                self._limits.check_frame(str(self._path), picture.height, picture.width)
                if picture.pts == wanted:
                    self._at = wanted
                    return upright(picture, self._rotation)
                if picture.pts is not None and picture.pts > wanted:
                    break
        except FFmpegError as error:
            self._pictures = None
            raise VideoError(f"{self._path}: frame {index} does not decode ({error.strerror})") from error
        self._pictures = None
        raise VideoError(f"{self._path}: frame {index} does not decode; the file is damaged or cut off")

    def _pictures_until(self, wanted: int) -> Iterator[Any]:
        """The running decoder where it can go on to ``wanted``, else a new one from the key frame before."""
        key = self._table.key_before(wanted)
        if key is None:
            key = self._table.pts[0]
        if self._pictures is None or not key <= self._at < wanted:
            self._container.seek(key, stream=self._stream)
            self._pictures = self._container.decode(self._stream)
        return self._pictures
