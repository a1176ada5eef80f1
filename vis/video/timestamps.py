"""When pictures are shown: times that a file's stamps give a reader, and ticks that a writer gives its file.

Knows no file.
"""

from __future__ import annotations

import math
import warnings
from fractions import Fraction

from vis.errors import FallbackWarning, UsageError

__all__ = ["MOST_TICKS", "OutputTimestamps", "RisingTicks", "RisingTimes"]

# Ticks per second of the output's clock, at least: other times are kept within 6 microseconds. The slower one is
# for less than a picture in 100 seconds: a day of them stays below MOST_TICKS.
_CLOCK, _SLOW_CLOCK = 90_000, 10_000
_SLOW = Fraction(1, 100)

# Beyond these a rate is no rate: a clock of 10^6 ticks still has room for half an hour between two pictures.
_SLOWEST, _FASTEST = Fraction(1, 100_000), Fraction(1_000_000)

MOST_TICKS = 2**31 - 2
"""The longest duration of a packet, and the longest way from decoding to showing, that an MP4 file holds."""
# x264 keeps a picture back until four others have been decoded at most.
_LONGEST_STEP = MOST_TICKS // 8


class RisingTimes:
    """Makes times rise strictly where a file's stamps repeat or fall back.

    ::

        stamps   0  1  2  2  4  5  6  0  1  2  3      the clock repeats once; then another stream was joined on
        times    0  1  2  3  4  5  6  7  8  9  10

    A stamp that repeats comes one ``step`` after the one before it. Where stamps fall back, time goes on with
    the smaller of the last two steps, and those that follow keep their distances. A stamp later than all times
    given before is taken as it is.
    """

    def __init__(self, step: Fraction) -> None:
        self.step = step
        self._steps = (step, step)
        self._stamp: Fraction | None = None
        self._last: Fraction | None = None
        self._shift = Fraction(0)

    @property
    def begun(self) -> bool:
        """Whether a time was given."""
        return self._last is not None

    def next(self, stamp: Fraction | None) -> Fraction:
        """The time of the next stamp, in the stamps' unit; None: one ``step`` after the one before."""
        if stamp is None:
            self._last = Fraction(0) if self._last is None else self._last + self.step
            return self._last
        before, last, self._stamp = self._stamp, self._last, stamp
        if before is not None and stamp > before:
            self._steps = self._steps[1], stamp - before
        if last is None or stamp > last:
            self._shift = Fraction(0)
        elif stamp + self._shift <= last:
            self._shift = last - stamp + (self.step if stamp == before else min(self._steps))
        self._last = stamp + self._shift
        return self._last


class RisingTicks:
    """Whole ticks that rise by 1 at least, and by what an MP4 file holds at most."""

    def __init__(self, clock: int) -> None:
        self.clock = clock
        self.last = -1
        self._left_out = 0

    def next(self, tick: int) -> int:
        """``tick``, or the nearest that may come after ``last``; a pause that is too long is told and shortened."""
        wanted = tick - self._left_out
        step = min(max(wanted - self.last, 1), _LONGEST_STEP)
        if wanted - self.last > step and self.last >= 0:
            if not self._left_out:
                warnings.warn(
                    f"a pause of {(wanted - self.last) / self.clock:,.0f} s is longer than the "
                    f"{step / self.clock:,.0f} s that a video file holds, and is shortened in it",
                    FallbackWarning,
                    stacklevel=5,
                )
            self._left_out += wanted - self.last - step
        self.last += step
        return self.last


class OutputTimestamps:
    """Turns the times of pictures, or the lack of them, into rising ticks from 0.

    ``fps`` is kept as a fraction (29.97... is 30000/1001), one beyond 1/100,000 or 1,000,000 as the nearest of
    them. The clock's ticks per second are a multiple of its numerator: every picture at the rate falls on a
    whole tick. Pictures that are shown within one tick get one each. Raises :class:`UsageError` for a rate that
    is no number above 0.
    """

    def __init__(self, fps: Fraction | float) -> None:
        if not (math.isfinite(fps) and fps > 0):
            raise UsageError(f"fps: expected a number above 0, got {fps}")
        self.fps = _simple(min(max(Fraction(fps), _SLOWEST), _FASTEST))
        least = _CLOCK if self.fps >= _SLOW else _SLOW_CLOCK
        self.clock = self.fps.numerator * -(-least // self.fps.numerator)
        self.gap = int(self.clock / self.fps)
        """Ticks between the last two pictures; the last one is shown as long as the one before."""
        self.count = 0
        self.first_seconds = self.last_seconds = 0.0
        self._ticks = RisingTicks(self.clock)
        self._timed: bool | None = None

    @property
    def time_base(self) -> Fraction:
        """Seconds per tick."""
        return Fraction(1, self.clock)

    @property
    def last_tick(self) -> int:
        """That of the picture before; -1 before the first."""
        return self._ticks.last

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
        if self.count and not now > self.last_seconds:
            raise ValueError(f"write: pts_seconds must rise, got {now} after {self.last_seconds}")
        before, tick = self.last_tick, self._ticks.next(round((now - first) * self.clock))
        if timed and self.count:
            self.gap = tick - before
        self._timed, self.first_seconds, self.last_seconds = timed, first, now
        self.count += 1
        return tick


def _simple(fps: Fraction) -> Fraction:
    """A rate as cameras and players write it: denominator (below 1: numerator) of at most 1001."""
    if fps > 1000:
        return Fraction(round(fps))
    return fps.limit_denominator(1001) if fps >= 1 else 1 / (1 / fps).limit_denominator(1001)
