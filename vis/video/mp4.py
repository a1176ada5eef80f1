"""The picture track of an MP4 file: packets of H.264 with the durations that players go by.

Encodes the same pictures to the same bytes, on every run and on every machine with the same x264::

    one thread      x264's choices depend on how many threads look ahead and how many encode, and their
                    default number is the machine's cores
    at most AVX2    where a processor has AVX-512, x264 uses it, and was seen to give other bytes now and then
"""

from __future__ import annotations

from typing import Any

from vis.video.pacing import Pacing

__all__ = ["PictureTrack", "add_h264"]

# cv::CPU_AVX2, which OpenCV's Python does not name.
_CV_CPU_AVX2 = 11


def add_h264(container: Any, size: tuple[int, int], pacing: Pacing, *, crf: int, preset: str) -> Any:
    """A stream of ``container`` that encodes 8-bit yuv420p pictures (BT.709) of even ``size``."""
    options = {"crf": str(crf), "preset": preset, "x264-params": _instructions()}
    stream = container.add_stream("libx264", rate=pacing.fps, options=options)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    stream.time_base = context.time_base = pacing.time_base
    context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
    context.color_range = 1  # limited, as all players expect
    return stream


class PictureTrack:
    """Passes packets on to a container, holding back the newest: it may be the last."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._held: Any = None
        self._first_dts: int | None = None

    def add(self, packet: Any) -> None:
        """One packet, in storing order."""
        if self._first_dts is None:
            self._first_dts = packet.dts
        if self._held is not None:
            self._container.mux(self._held)
        self._held = packet

    def finish(self, end_tick: int) -> None:
        """The last packet; ``end_tick`` is when the picture shown last ends."""
        # The last packet in storing order need not be shown last, and MP4 takes the sum of durations in
        # storing order for the length of the video: the last one makes up what is missing.
        stored = self._held.dts - (self._first_dts or 0)
        self._held.duration = max(1, end_tick - stored)
        self._container.mux(self._held)


def _instructions() -> str:
    """x264's parameter that keeps it from AVX-512, for processors that have AVX2; else it chooses itself."""
    import cv2

    return "asm=avx2" if cv2.checkHardwareSupport(_CV_CPU_AVX2) else "asm=auto"
