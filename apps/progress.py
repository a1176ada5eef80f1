"""Progress on stderr, and the time that each stage takes."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vis.background import Background
from vis.errors import UsageError
from vis.interfaces import CameraCompensator, Detector, Refiner, Tracker
from vis.structures import Detections, Frame

__all__ = ["Stopwatch", "TimedDetector", "TimedRefiner", "TimedTracker", "progress", "timed"]

Item = TypeVar("Item")
PLAIN_LINE_SECONDS = 10.0


def progress(
    items: Iterable[Item], *, what: str, total: int | None, quiet: bool = False, unit: str = "frames"
) -> Iterator[Item]:
    """Pass items through and show count, speed and remaining time on stderr.

    A bar on a terminal; elsewhere one plain line every ten seconds, without control characters. ``unit``: what the
    items are.
    """
    if quiet:
        yield from items
    elif sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(items, desc=what, total=total, unit=f" {unit}", file=sys.stderr, dynamic_ncols=True)
    else:
        yield from _plain_lines(items, what, total, unit)


def _plain_lines(items: Iterable[Item], what: str, total: int | None, unit: str) -> Iterator[Item]:
    start = last = time.monotonic()
    count = 0
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= PLAIN_LINE_SECONDS:
            last = now
            print(_line(what, count, total, now - start, unit), file=sys.stderr, flush=True)
    print(_line(what, count, None, time.monotonic() - start, unit) + ", done", file=sys.stderr, flush=True)


def _line(what: str, count: int, total: int | None, seconds: float, unit: str) -> str:
    speed = count / seconds if seconds > 0 else 0.0
    rate = f"{speed:.1f} fps" if unit == "frames" else f"{speed:.3g} a second"
    line = f"{what}: {count}" + (f" of {total}" if total else "") + f" {unit}, {rate}"
    if total and speed > 0:
        line += f", {max(0, total - count) / speed:.0f} s left"
    return line


class Stopwatch:
    """Seconds spent per named stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)
        self.beside: dict[str, dict[str, float]] = {}
        """Of stages that a thread of their own does beside the others: seconds ``busy``, ``waiting`` for work, and
        ``held_up``, which the others waited for them."""

    def note(self, stage: str, done: Background[Any]) -> None:
        """What a stage took that ran beside the others."""
        names = ("busy", "waiting", "held_up")
        self.beside[stage] = {name: round(getattr(done, name), 3) for name in names}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Add the time of the block to ``stage``."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] += time.perf_counter() - start

    def report(self) -> dict[str, float]:
        """Stage -> seconds, to the millisecond."""
        return {stage: round(seconds, 3) for stage, seconds in self.seconds.items()}


def timed(items: Iterable[Item], watch: Stopwatch, stage: str) -> Iterator[Item]:
    """Pass items through; the time that each one takes to come is counted as ``stage``."""
    stream = iter(items)
    while True:
        with watch(stage):
            item = next(stream, None)
        if item is None:
            return
        yield item


class TimedDetector:
    """A detector whose time is counted as stage ``detect``."""

    def __init__(self, detector: Detector, watch: Stopwatch) -> None:
        self._detector, self._watch = detector, watch

    @property
    def class_names(self) -> tuple[str, ...]:
        """The wrapped detector's class names."""
        return self._detector.class_names

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """As the wrapped detector."""
        with self._watch("detect"):
            return self._detector.detect(images)

    def detect_frames(self, frames: Sequence[Frame]) -> list[Detections]:
        """As the wrapped detector: by frame number if it knows numbers, else by picture."""
        from vis import pipeline

        with self._watch("detect"):
            return pipeline.detect(self._detector, frames)


class TimedTracker:
    """A tracker whose time is counted as stage ``track``."""

    def __init__(self, tracker: Tracker, watch: Stopwatch) -> None:
        self._tracker, self._watch = tracker, watch

    def update(self, detections: Detections, pts_seconds: float) -> Detections:
        """As the wrapped tracker."""
        with self._watch("track"):
            return self._tracker.update(detections, pts_seconds)

    def compensate(self, affine: NDArray[np.float64]) -> None:
        """As the wrapped tracker, which must take camera motion."""
        if not isinstance(self._tracker, CameraCompensator):
            raise UsageError(
                f"{type(self._tracker).__name__} takes no camera motion; leave --camera-motion out"
            )
        with self._watch("track"):
            self._tracker.compensate(affine)

    @property
    def live_ids(self) -> tuple[int, ...]:
        """The wrapped tracker's live ids."""
        return self._tracker.live_ids

    def reset(self) -> None:
        """As the wrapped tracker."""
        self._tracker.reset()

    def state_dict(self) -> dict[str, Any]:
        """As the wrapped tracker."""
        return self._tracker.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As the wrapped tracker."""
        self._tracker.load_state_dict(state)


class TimedRefiner:
    """A refiner whose time is counted as stage ``refine``."""

    def __init__(self, refiner: Refiner, watch: Stopwatch) -> None:
        self._refiner, self._watch = refiner, watch

    def refine(self, image: NDArray[np.uint8], detections: Detections) -> Detections:
        """As the wrapped refiner."""
        with self._watch("refine"):
            return self._refiner.refine(image, detections)

    def reset(self) -> None:
        """As the wrapped refiner."""
        self._refiner.reset()
