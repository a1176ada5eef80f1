"""Four ways to the picture of a frame by its index: images, seeking, counting, and decord.

``RandomAccessReader`` chooses among them and is the one to use.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vis.errors import VideoError
from vis.structures import Frame, VideoInfo
from vis.video.container import start_seconds, upright, video_stream
from vis.video.folder import FolderReader, read_image
from vis.video.limits import VideoLimits
from vis.video.reader import VideoReader
from vis.video.timetable import Timetable

__all__ = ["CountedFrames", "DecordFrames", "FramesByIndex", "ImageFrames", "SoughtFrames"]


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

    def __init__(self, source: FolderReader) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source.images)

    def pts_seconds(self, index: int) -> float:
        """Index divided by the folder's rate."""
        return index / (self._source.info.fps or 1.0)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Read one image."""
        return read_image(self._source.images[index], self._source.limits)


class CountedFrames:
    """For containers that cannot be sought exactly: count frames from the start, or go on from the last."""

    def __init__(self, path: Path, limits: VideoLimits) -> None:
        self._path, self._limits = path, limits
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # streaming warns of damage; here the frame asked for counts
            self._times = VideoReader(path, limits=limits).times()
        self._coming: Iterator[Frame] = iter(())
        self._at = len(self._times)  # beyond all: the first frame asked for starts anew

    def __len__(self) -> int:
        return len(self._times)

    def pts_seconds(self, index: int) -> float:
        """When a frame is shown."""
        return self._times[index]

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decode on to the frame; back means from the start."""
        if index <= self._at:
            self._coming = iter(VideoReader(self._path, start_frame=index, limits=self._limits, ahead=0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for frame in self._coming:
                if frame.index == index:
                    self._at = index
                    return frame.image
        self._at = len(self._times)
        raise VideoError(f"{self._path}: frame {index} does not decode; the file is damaged or cut off")


class SoughtFrames:
    """Seek to the key frame before, then decode up to the frame asked for."""

    def __init__(self, path: Path, limits: VideoLimits, rotation: int, container: Any) -> None:
        self._path, self._limits, self._rotation = path, limits, rotation
        self._container = container
        self._stream: Any = video_stream(path, container, limits)
        self.table = Timetable.read(container, self._stream)
        self._origin = start_seconds(self._stream)
        self._base: Fraction = self._stream.time_base
        self._pictures: Iterator[Any] | None = None
        self._at = 0

    def __len__(self) -> int:
        return len(self.table.pts)

    def pts_seconds(self, index: int) -> float:
        """When a frame is shown, from the stream's start."""
        return float(self.table.pts[index] * self._base - self._origin)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decode on to the frame, or from the key frame before it."""
        from av.error import FFmpegError

        wanted = self.table.pts[index]
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
        key = self.table.key_before(wanted)
        if key is None:
            key = self.table.pts[0]
        if self._pictures is None or not key <= self._at < wanted:
            self._container.seek(key, stream=self._stream)
            self._pictures = self._container.decode(self._stream)
        return self._pictures


class DecordFrames:
    """decord's own seeking, with the times that the container tells.

    decord shows wrong pictures, without a word, where groups of pictures are open (x265's default, many
    broadcasts) and in MPEG-TS and AVI; so it is refused there. Elsewhere its pictures are PyAV's, bit by bit.
    """

    def __init__(self, path: Path, exact: SoughtFrames, info: VideoInfo) -> None:
        import decord

        if not exact.table.closed:
            raise ValueError("its groups of pictures are open, which decord gets wrong")
        self._exact = exact
        self._reader = decord.VideoReader(str(path), num_threads=0)
        if len(self._reader) != len(exact):
            raise ValueError(f"decord counts {len(self._reader)} frames, the container {len(exact)}")
        height, width = self._reader[0].shape[:2]
        if (height, width) != info.size:
            raise ValueError(f"decord's frames are {width}x{height}")

    def __len__(self) -> int:
        return len(self._exact)

    def pts_seconds(self, index: int) -> float:
        """When a frame is shown, by the container."""
        return self._exact.pts_seconds(index)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Let decord seek; what it cannot decode is asked from PyAV, whose error is clear."""
        try:
            return np.asarray(self._reader[index].asnumpy(), np.uint8)
        except Exception:  # its error type has another name in each fork
            return self._exact.image(index)
