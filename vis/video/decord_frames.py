"""decord as a reader that is chosen by name: never picked silently, and only for what it reads exactly.

decord 0.6 gives other pictures than asked for, without an error, where groups of pictures are open (x265's
default, many broadcasts), in MPEG-TS and in AVI; it gets 10-bit video and some
narrow pictures wrong, shows high dynamic range and interlaced video as it is stored, and passes over damage.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.background import prefetch
from vis.errors import DependencyError, VideoError
from vis.renamed import renamed_attribute
from vis.structures import Frame, VideoInfo
from vis.video.container import open_container, packet_index_of, video_stream
from vis.video.options import frames_ahead
from vis.video.reader import VideoReader

__all__ = ["DecordFrames", "DecordReader"]


class DecordFrames:
    """decord's own seeking, with the times that the container tells: a video whose frames are asked for by index.

    Opening decodes the file once with PyAV, without making pictures of it, to be sure that it is whole; and a
    few frames are compared with PyAV's, bit by bit. Raises :class:`VideoError` for a file that decord does not
    read exactly, :class:`DependencyError` where decord is not installed.
    """

    def __init__(self, stream: VideoReader) -> None:
        try:
            import decord
        except ImportError as error:
            raise DependencyError(
                "decord is not installed; pip install decord, or leave the reader out"
            ) from error
        self._path = stream.path
        reason = _why_not(stream)
        if reason is not None:
            raise self._refused(reason)
        self._times = stream.times(strict=True)
        try:
            self._reader: Any = decord.VideoReader(str(stream.path), num_threads=0)
        except Exception as error:  # its error type has another name in each fork
            raise self._refused(" ".join(str(error).split())[:120]) from error
        if len(self._reader) != len(self._times):
            raise self._refused(f"it counts {len(self._reader)} frames of {len(self._times)}")
        self._compare(stream)

    def __len__(self) -> int:
        return len(self._times)

    def pts_seconds(self, index: int) -> float:
        """When a frame is shown, by the container."""
        return self._times[index]

    def image(self, index: int) -> NDArray[np.uint8]:
        """Let decord seek."""
        try:
            return np.asarray(self._reader[index].asnumpy(), np.uint8)
        except Exception as error:
            raise self._refused(f"frame {index} does not decode") from error

    def _compare(self, stream: VideoReader) -> None:
        """A frame at the start, in the middle and at the end must be PyAV's."""
        last = len(self) - 1
        for index in sorted({0, last // 2, last}):
            part = VideoReader(
                self._path, start_frame=index, end_frame=index + 1, limits=stream.limits, ahead=0
            )
            if not np.array_equal(next(iter(part)).image, self.image(index)):
                raise self._refused(f"its picture of frame {index} is another than FFmpeg's")

    def _refused(self, reason: str) -> VideoError:
        return VideoError(f"{self._path}: decord does not read it exactly ({reason}); use the reader pyav")


class DecordReader:
    """Frames of a video file by decord, as :class:`VideoReader` gives them and with its options."""

    def __init__(self, path: str | Path, **options: Any) -> None:
        self._stream = VideoReader(path, **options)
        self._frames = DecordFrames(self._stream)
        self.path, self.frame_range = self._stream.path, self._stream.frame_range

    span = renamed_attribute("span", "frame_range")

    @property
    def info(self) -> VideoInfo:
        """What the whole video is."""
        return self._stream.info

    @property
    def expected_frames(self) -> int | None:
        """How many frames an iteration gives."""
        return self._stream.expected_frames

    def __iter__(self) -> Iterator[Frame]:
        given = 0
        for frame in prefetch(self._decode(), frames_ahead(self._stream.ahead, self.info.size)):
            given += 1
            yield frame
        if not given:
            raise VideoError(f"{self.path}: not one frame lies between the start and the end asked for")

    def __repr__(self) -> str:
        return f"DecordReader({str(self.path)!r}, {self.info.width}x{self.info.height}, {self.frame_range})"

    def _decode(self) -> Iterator[Frame]:
        times = ((index, self._frames.pts_seconds(index)) for index in range(len(self._frames)))
        for index, pts in self.frame_range.select(times):
            yield Frame(index, pts, self._frames.image(index))


def _why_not(stream: VideoReader) -> str | None:
    """What decord is known to get wrong in this file; None: nothing."""
    if stream.interlaced:
        return "it is interlaced"
    if stream.info.hdr:
        return "its dynamic range is high"
    if stream.info.rotation:
        return "it is rotated"
    with open_container(stream.path, stream.limits) as container:
        chosen = video_stream(stream.path, container, stream.limits)
        if len(container.streams.video) > 1:
            return "it has several pictures"
        depth = max((part.bits for part in chosen.codec_context.format.components), default=8)
        if depth != 8:
            return f"it has {depth} bits"
    table = packet_index_of(stream.path, stream.limits)
    if table is None:
        return "this container cannot be sought exactly, or its time stamps repeat"
    return None if table.closed else "its groups of pictures are open"
