"""When each written picture is shown: whole ticks of a clock that suits the rate. Knows no file."""

from __future__ import annotations

from fractions import Fraction

from vis.errors import UsageError

__all__ = ["Pacing"]

# Ticks per second of the output's clock, at least: other times are kept within 6 microseconds.
_CLOCK = 90_000


class Pacing:
    """Turns the times of pictures, or the lack of them, into rising ticks from 0.

    ``fps`` is kept as a fraction (29.97... is 30000/1001). The clock's ticks per second are a multiple of
    its numerator: every picture at the rate falls on a whole tick. Raises :class:`UsageError` for an
    impossible rate.
    """

    def __init__(self, fps: Fraction | float) -> None:
        if not 0.01 <= fps <= 1000:
            raise UsageError(f"fps: expected 0.01 to 1000, got {fps}")
        self.fps = Fraction(fps).limit_denominator(1001)
        self.clock = self.fps.numerator * -(-_CLOCK // self.fps.numerator)
        self.gap = int(self.clock / self.fps)
        """Ticks between the last two pictures; the last one is shown as long as the one before."""
        self.count = 0
        self.first_seconds = self.last_seconds = 0.0
        self.last_tick = -1
        self._timed: bool | None = None

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return Fraction(1, self.clock)

    @property
    def end_seconds(self) -> float:
        """When the last picture ends, on the caller's clock."""
        return self.last_seconds + self.gap / self.clock

    def next_tick(self, pts_seconds: float | None) -> int:
        """The tick of the next picture; the first one's is 0, whatever its time.

        Raises :class:`ValueError` when a time does not rise, or is given for some pictures only.
        """
        timed, first = self._timed, self.first_seconds
        if timed is None:
            timed, first = pts_seconds is not None, pts_seconds or 0.0
        if timed != (pts_seconds is not None):
            raise ValueError("write: give pts_seconds with every picture or with none")
        now = first + float(self.count / self.fps) if pts_seconds is None else pts_seconds
        tick = round((now - first) * self.clock)
        if tick <= self.last_tick:
            raise ValueError(f"write: pts_seconds must rise, got {now} after {self.last_seconds}")
        if timed and self.count:
            self.gap = tick - self.last_tick
        self._timed, self.first_seconds = timed, first
        self.last_seconds, self.last_tick = now, tick
        self.count += 1
        return tick
