"""Writing H.264 video that browsers play, whole or not at all. Knows nothing of what is in the pictures."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import UsageError
from vis.video.audio import AudioCopy
from vis.video.mp4 import LONGEST_SIDE, PictureTrack, add_h264, container_options
from vis.video.picture_writer import AtomicVideoOutput, PictureWriter

__all__ = ["VideoWriter"]


class VideoWriter(PictureWriter):
    """An MP4 file of RGB pictures: H.264, 8-bit yuv420p (BT.709), index in front.

    ``size`` is (height, width). Odd sizes are padded to even ones by repeating the last row or column:
    H.264 wants that, and it changes the picture only. ``fps`` is kept as it is (29.97... stays
    30000/1001). With ``pts_seconds`` given to every ``write`` the frames keep these times, at a
    variable rate too; the first one becomes time 0. The same pictures and times give the same bytes.

    ``audio_from`` is the file whose sound is copied without encoding it again, cut to the frames
    written: from the first ``pts_seconds`` to the end of the last frame. Sound that MP4 cannot hold is
    left out with a :class:`FallbackWarning`; a file without sound is fine.

    ``preset`` is one of x264's, for smaller files in more time; None is a fast way (:mod:`vis.video.mp4`).

    The file has a temporary name in the same folder until ``close`` has written it, read it back and
    counted its frames. Use it in a ``with`` block: an exception inside leaves no file. A full disk is an
    :class:`OutputError`, and nothing stays behind.
    """

    channels = 3

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: Fraction | float,
        *,
        audio_from: str | Path | None = None,
        crf: int = 20,
        preset: str | None = None,
        expected_frames: int | None = None,
    ) -> None:
        super().__init__(path, size, fps)
        if max(size) > LONGEST_SIDE:
            raise UsageError(
                f"size: {size[1]}x{size[0]} pixels, and H.264 takes {LONGEST_SIDE} a side at most; scale them down"
            )
        self._audio: AudioCopy | None = None
        self._file = AtomicVideoOutput(
            self.path,
            format="mp4",
            options=container_options(self._timestamps),
            size=size,
            expected_frames=expected_frames,
        )
        with self._file.guarded():
            height, width = size
            even = height + height % 2, width + width % 2
            self._stream = add_h264(self._file.container, even, self._timestamps, crf=crf, preset=preset)
            self._track = PictureTrack(self._file.container)
            if audio_from is not None:
                self._audio = AudioCopy.open(Path(audio_from), self._file.container)
            if self._audio is not None:
                self._file.on_discard(self._audio.close)

    def _encode(self, image: NDArray[np.uint8], tick: int) -> None:
        import av

        picture = av.VideoFrame.from_ndarray(_even(image), format="rgb24")
        picture = picture.reformat(format="yuv420p", dst_colorspace="itu709", dst_color_range="MPEG")
        picture.pts, picture.time_base = tick, self._timestamps.time_base
        self._mux(self._stream.encode(picture))
        if self._audio is not None:
            timestamps = self._timestamps
            self._audio.copy_until(timestamps.last_seconds, from_seconds=timestamps.first_seconds)

    def _empty(self) -> None:
        timestamps = self._timestamps
        self._mux(self._stream.encode(None))
        self._track.finish(timestamps.last_tick + timestamps.gap)
        if self._audio is not None:
            self._audio.copy_until(timestamps.end_seconds, from_seconds=timestamps.first_seconds)

    def _mux(self, packets: list[Any]) -> None:
        for packet in packets:
            if packet.pts == self._timestamps.last_tick:
                packet.duration = self._timestamps.gap
            self._track.add(packet)


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with its last row and column repeated where its height or width is odd."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)
