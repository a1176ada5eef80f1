"""Which frames of a source are wanted. Knows no file and no decoder."""

from __future__ import annotations

from dataclasses import dataclass

from vis.errors import UsageError

__all__ = ["Span", "ceil"]


@dataclass(frozen=True, slots=True)
class Span:
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

    def count(self, num_frames: int | None, fps: float | None) -> int | None:
        """About how many frames are wanted of a source of ``num_frames``; None when unknown."""
        ends = [end for end in (num_frames, self.end_frame) if end is not None]
        start = self.start_frame or 0
        if fps is not None:
            ends += [] if self.end_seconds is None else [ceil(self.end_seconds * fps)]
            start = max(start, 0 if self.start_seconds is None else ceil(self.start_seconds * fps))
        return max(0, -(-(min(ends) - start) // self.stride)) if ends else None


def ceil(value: float) -> int:
    """The smallest integer that is not below ``value``."""
    return -int(-value // 1)
