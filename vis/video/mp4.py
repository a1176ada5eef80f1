"""The picture track of an MP4 file: packets of H.264 with the durations that players go by.

Encodes the same pictures to the same bytes, on every run and on every machine with the same x264::

    one thread      x264's choices depend on how many threads look ahead and how many encode, and their
                    default number is the machine's cores
    at most AVX2    where a CPU has AVX-512, x264 uses it, and was seen to give other bytes now and then

Overlays are looked at and made again: time counts before size. Of a 1080p overlay at crf 20, a frame takes 51 ms of CPU
and 48 kB by x264's preset veryfast (PSNR 41.7 dB), and 15 ms and 92 kB by what is set here (42.1 dB).
"""

from __future__ import annotations

from typing import Any

from vis.video.timestamps import MOST_TICKS, OutputTimestamps

__all__ = ["ENCODING", "LONGEST_SIDE", "PictureTrack", "add_h264", "container_options"]

_PRESET = "ultrafast"
_PARAMETERS = ("deblock=0,0", "8x8dct=1", "bframes=3", "b-adapt=0")
ENCODING = "fast1"
"""A name for the two: only what is encoded alike can be joined."""

LONGEST_SIDE = 16384
"""Of a picture, in pixels: x264 takes no more."""

# cv::CPU_AVX2, which OpenCV's Python does not name.
_CV_CPU_AVX2 = 11


def container_options(timestamps: OutputTimestamps) -> dict[str, str]:
    """Options of FFmpeg's MP4 muxer.

    The index moves to the front: a browser plays before it has everything. Edit lists, which say when a track
    begins and ends, count in the pictures' ticks: in FFmpeg's milliseconds a video of less than one is empty.
    """
    return {"movflags": "+faststart", "movie_timescale": str(timestamps.clock)}


def add_h264(
    container: Any, size: tuple[int, int], timestamps: OutputTimestamps, *, crf: int, preset: str | None
) -> Any:
    """A stream of ``container`` that encodes 8-bit yuv420p pictures (BT.709) of even ``size``.

    ``preset``: one of x264's in place of the fast way above.
    """
    parameters = [_instructions(), *(_PARAMETERS if preset is None else ())]
    options = {"crf": str(crf), "preset": preset or _PRESET, "x264-params": ":".join(parameters)}
    stream = container.add_stream("libx264", rate=timestamps.fps, options=options)
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    stream.time_base = context.time_base = timestamps.time_base
    context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
    context.color_range = 1  # limited, as all players expect
    return stream


class PictureTrack:
    """Passes packets on to a container, holding back the newest: it may be the last."""

    def __init__(self, container: Any) -> None:
        self._container = container
        self._held: Any = None
        self._first_dts: int | None = None
        self._last_shown = -1

    def add(self, packet: Any) -> None:
        """One packet, in storing order."""
        if self._first_dts is None:
            self._first_dts = packet.dts
        if self._held is not None:
            self._container.mux(self._held)
        self._held = packet
        self._last_shown = max(self._last_shown, packet.pts)

    def finish(self, end_tick: int) -> None:
        """The last packet; ``end_tick`` is when the picture shown last ends."""
        # Players take the latest end of a picture for the length of the video, or the sum of durations in
        # storing order, or the shorter of the two: neither may fall short.
        held = self._held
        lacking = end_tick - (held.dts - (self._first_dts or 0))
        wanted = max(1, lacking, end_tick - held.pts if held.pts == self._last_shown else 0)
        held.duration = min(wanted, MOST_TICKS)
        self._container.mux(held)


def _instructions() -> str:
    """x264's parameter that keeps it from AVX-512, for CPUs that have AVX2; else it chooses itself."""
    import cv2

    return "asm=avx2" if cv2.checkHardwareSupport(_CV_CPU_AVX2) else "asm=auto"
