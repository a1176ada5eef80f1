"""Any frame of a video by its index, for scrubbing. Streaming from first to last is ``VideoReader``'s work."""

from __future__ import annotations

import bisect
import contextlib
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vis.errors import UsageError, VideoError
from vis.structures import Frame, VideoInfo
from vis.video.container import open_container, start_seconds, upright, video_stream
from vis.video.folder import list_images, read_image
from vis.video.limits import DEFAULT_LIMITS, VideoLimits
from vis.video.source import probe

__all__ = ["RandomAccessReader"]


class RandomAccessReader:
    """Frames of a video file or a folder of images by index, the same as ``open_source`` streams them.

    ``reader[index]`` gives a ``Frame``; ``len(reader)`` counts them. Times are read from the container once,
    without decoding. ``backend`` is "auto" (decord where it reads this file, else PyAV), "decord" or
    "pyav"; ``reader.backend`` says which one it is ("images" for a folder). Safe to share between
    threads; close it, or use it in a ``with`` block.

    A frame costs the decoding from the key frame before it: 50 to 300 ms at 720p with key frames 250
    apart, and next to nothing when it follows the frame asked for before.

    Raises :class:`VideoError` when the file is no video or the frame does not decode, :class:`IndexError`
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
        self._lock = threading.Lock()
        self._stack = contextlib.ExitStack()
        self._frames: _Frames
        if self.path.is_dir():
            self._frames = _Images(self.path, fps or 1.0, limits)
            self._info, self.backend = self._frames.info, "images"
            return
        self._info = probe(self.path, limits=limits)
        self._frames = _PyAV(self.path, limits, self._info.rotation, self._stack)
        limits.check_length(
            str(self.path),
            len(self._frames),
            self._info.duration_seconds or 0.0,
            self._info.height * self._info.width,
        )
        self.backend = "pyav"
        if backend != "pyav":
            self._try_decord(insist=backend == "decord")

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
            image = self._frames.image(index)
        if image.shape[:2] != self._info.size:
            raise VideoError(
                f"{self.path}: frame {index} is {image.shape[1]}x{image.shape[0]} pixels where the first is "
                f"{self._info.width}x{self._info.height}; the size must not change"
            )
        return Frame(index, self._frames.pts_seconds(index), image)

    def index_at(self, pts_seconds: float) -> int:
        """The frame that is shown at a time: the last one that does not begin after it."""
        times = [self._frames.pts_seconds(i) for i in range(len(self))]
        return max(0, bisect.bisect_right(times, pts_seconds) - 1)

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

    def _try_decord(self, *, insist: bool) -> None:
        assert isinstance(self._frames, _PyAV)
        try:
            frames = _Decord(self.path, self._frames, self._info)
        except Exception as error:  # decord raises its own error, ImportError, OSError, RuntimeError
            if insist:
                raise VideoError(
                    f"{self.path}: decord does not read it ({str(error)[:100]}); use backend='pyav'"
                ) from error
            return
        self._frames, self.backend = frames, "decord"


class _Frames(Protocol):
    def __len__(self) -> int: ...
    def pts_seconds(self, index: int) -> float: ...
    def image(self, index: int) -> NDArray[np.uint8]: ...


class _Images:
    """The images of a folder."""

    def __init__(self, folder: Path, rate: float, limits: VideoLimits) -> None:
        self.info = probe(folder, limits=limits)
        self._images = list_images(folder)
        self._rate, self._limits = rate, limits

    def __len__(self) -> int:
        return len(self._images)

    def pts_seconds(self, index: int) -> float:
        return index / self._rate

    def image(self, index: int) -> NDArray[np.uint8]:
        return read_image(self._images[index], self._limits)


class _PyAV:
    """Seek to the key frame before, then decode up to the frame asked for."""

    def __init__(self, path: Path, limits: VideoLimits, rotation: int, stack: contextlib.ExitStack) -> None:
        self._path, self._limits, self._rotation = path, limits, rotation
        self._container: Any = stack.enter_context(open_container(path, limits))
        self._stream: Any = video_stream(path, self._container, limits)
        self._pts, self._keys = _timetable(self._container, self._stream)
        if not self._pts:
            raise VideoError(
                f"{path}: its frames have no times, so none can be looked up; convert it to MP4 first"
            )
        self._origin = start_seconds(self._stream)
        self._base: Fraction = self._stream.time_base
        self._pictures: Any = None
        self._at = self._pts[0]

    def __len__(self) -> int:
        return len(self._pts)

    def pts_seconds(self, index: int) -> float:
        return float(self._pts[index] * self._base - self._origin)

    def image(self, index: int) -> NDArray[np.uint8]:
        from av.error import FFmpegError

        wanted = self._pts[index]
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
        key = self._keys[max(0, bisect.bisect_right(self._keys, wanted) - 1)]
        if self._pictures is None or not key <= self._at < wanted:
            self._container.seek(key, stream=self._stream, backward=True)
            self._pictures = self._container.decode(self._stream)
        pictures: Iterator[Any] = self._pictures
        return pictures


class _Decord:
    """decord's own random access, with the times that PyAV read."""

    def __init__(self, path: Path, times: _PyAV, info: VideoInfo) -> None:
        import decord

        self._times = times
        self._reader = decord.VideoReader(str(path), num_threads=0)
        if len(self._reader) != len(times):
            raise ValueError(f"it counts {len(self._reader)} frames, the container {len(times)}")
        first: tuple[int, ...] = self._reader[0].shape
        if first[:2] != info.size:
            raise ValueError(f"its frames are {first[1]}x{first[0]}")

    def __len__(self) -> int:
        return len(self._times)

    def pts_seconds(self, index: int) -> float:
        return self._times.pts_seconds(index)

    def image(self, index: int) -> NDArray[np.uint8]:
        try:
            return np.asarray(self._reader[index].asnumpy(), np.uint8)
        except Exception:  # decord's own error type is not exported everywhere
            return self._times.image(index)


def _timetable(container: Any, stream: Any) -> tuple[list[int], list[int]]:
    """Presentation times of all frames and of the key frames, in ticks, rising; nothing is decoded."""
    from av.error import FFmpegError

    times, keys = set(), set()
    with contextlib.suppress(FFmpegError):  # a file that is cut off: what was read is what there is
        for packet in container.demux(stream):
            if packet.pts is not None and packet.size and not packet.is_discard:
                times.add(packet.pts)
                if packet.is_keyframe:
                    keys.add(packet.pts)
    return sorted(times), sorted(keys or times)
