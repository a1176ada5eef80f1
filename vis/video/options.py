"""What a reader is told: which frames are wanted, and how big a video may be before it is refused.

The limits guard against decompression bombs: a 199 KB file of 30 black frames of 8192x8192 takes more than
1 GB to decode. The header is checked before a frame is decoded, and every frame after it is, because a header
can lie and a size can change in mid-stream. Knows no video library.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from vis.errors import UsageError, VideoError

__all__ = ["DEFAULT_LIMITS", "WEB_LIMITS", "FrameRange", "VideoLimits", "frames_ahead"]

# Decoded pictures that wait to be taken, at most.
_AHEAD_BYTES = 2**28

Place = TypeVar("Place", bound=tuple[Any, ...])  # (index, pts_seconds, ...)


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Which frames of a source are wanted: a half-open range by index, by time, or by both."""

    start_frame: int | None = None
    end_frame: int | None = None
    start_seconds: float | None = None
    end_seconds: float | None = None
    stride: int = 1

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise UsageError(f"stride: expected 1 or more, got {self.stride}")
        for name in ("frame", "seconds"):
            start, end = getattr(self, f"start_{name}"), getattr(self, f"end_{name}")
            if start is not None and start < 0:
                raise UsageError(f"start_{name}: expected 0 or more, got {start}")
            if end is not None and end <= (start or 0):
                raise UsageError(f"end_{name}: expected more than the start ({start or 0}), got {end}")

    def check_within(self, name: str, num_frames: int | None, seconds: float | None) -> None:
        """Raise :class:`UsageError` when the start lies beyond the end of a source, as far as it is known."""
        if self.start_frame is not None and num_frames is not None and self.start_frame >= num_frames:
            raise UsageError(
                f"{name}: starts at frame {self.start_frame}, but has only frames 0 to {num_frames - 1}; start earlier"
            )
        if self.start_seconds is not None and seconds is not None and self.start_seconds >= seconds:
            raise UsageError(
                f"{name}: starts at {self.start_seconds:g} s, but lasts only {seconds:.2f} s; start earlier"
            )

    def is_past(self, index: int, pts_seconds: float) -> bool:
        """Whether this frame and all later ones are not wanted."""
        return (self.end_frame is not None and index >= self.end_frame) or (
            self.end_seconds is not None and pts_seconds >= self.end_seconds
        )

    def starts_after(self, index: int, pts_seconds: float) -> bool:
        """Whether this frame comes before the first wanted one."""
        return (self.start_frame is not None and index < self.start_frame) or (
            self.start_seconds is not None and pts_seconds < self.start_seconds
        )

    def select(self, places: Iterable[Place]) -> Iterator[Place]:
        """The wanted ones of (index, pts_seconds, ...) in order, every ``stride``-th from the first of them on."""
        begin: int | None = None
        for place in places:
            index, pts_seconds = place[:2]
            if self.is_past(index, pts_seconds):
                return
            if self.starts_after(index, pts_seconds):
                continue
            begin = index if begin is None else begin
            if (index - begin) % self.stride == 0:
                yield place

    def count(self, num_frames: int | None, fps: float | None) -> int | None:
        """About how many frames are wanted of a source of ``num_frames``; None when unknown."""
        ends = [end for end in (num_frames, self.end_frame) if end is not None]
        start = self.start_frame or 0
        if fps is not None:
            ends += [] if self.end_seconds is None else [math.ceil(self.end_seconds * fps)]
            start = max(start, 0 if self.start_seconds is None else math.ceil(self.start_seconds * fps))
        return max(0, -(-(min(ends) - start) // self.stride)) if ends else None


@dataclass(frozen=True, slots=True)
class VideoLimits:
    """What a reader accepts; every value is the largest that still passes."""

    pixels_per_frame: int = 8192 * 8192
    """Height times width of one frame."""
    pixels_per_side: int = 65_500
    """Height or width of one frame: what JPEG holds, as which the page shows it."""
    frames: int = 2_000_000
    """Frames decoded, skipped ones included."""
    seconds: float = 24 * 3600.0
    """Length of what is decoded."""
    total_pixels: int = 10**13
    """Frames decoded times pixels per frame: 10^13 is 30 hours of 720p at 30 frames per second."""
    bytes: int = 2**38
    """Size of the file, or of one image of a folder."""

    def check_bytes(self, name: str, size: int) -> None:
        """Raise :class:`VideoError` when a file of ``size`` bytes is too big."""
        if size > self.bytes:
            raise VideoError(f"{name}: {size:,} bytes, over the limit of {self.bytes:,}; cut the file first")

    def check_frame(self, name: str, height: int, width: int) -> None:
        """Raise :class:`VideoError` when one frame has too many pixels."""
        if max(height, width) > self.pixels_per_side:
            raise VideoError(
                f"{name}: frames of {width}x{height} pixels, over the limit of {self.pixels_per_side:,} pixels per "
                "side; scale the video down first"
            )
        if height * width > self.pixels_per_frame:
            raise VideoError(
                f"{name}: frames of {width}x{height} pixels, over the limit of "
                f"{self.pixels_per_frame:,} pixels per frame; scale the video down first"
            )

    def check_length(self, name: str, frames: int, seconds: float, pixels_per_frame: int) -> None:
        """Raise :class:`VideoError` when ``frames`` frames that last ``seconds`` are too much work."""
        advice = "read a part of it with a start and an end"
        if frames > self.frames:
            raise VideoError(f"{name}: {frames:,} frames, over the limit of {self.frames:,}; {advice}")
        if seconds > self.seconds:
            raise VideoError(
                f"{name}: {seconds:,.0f} s long, over the limit of {self.seconds:,.0f} s; {advice}"
            )
        if frames * pixels_per_frame > self.total_pixels:
            raise VideoError(
                f"{name}: {frames * pixels_per_frame:,} pixels in all, over the limit of "
                f"{self.total_pixels:,}; {advice}"
            )


DEFAULT_LIMITS = VideoLimits()
"""For the command line: what a patient user may mean."""

WEB_LIMITS = VideoLimits(
    pixels_per_frame=4096 * 2304, frames=20_000, seconds=600.0, total_pixels=2 * 10**10, bytes=2**28
)
"""For a page that strangers can reach."""


def frames_ahead(wanted: int, size: tuple[int, int]) -> int:
    """How many frames of ``size`` (height, width) to decode in advance: as many as wanted, fewer large ones."""
    return min(wanted, max(1, _AHEAD_BYTES // (3 * size[0] * size[1])))
