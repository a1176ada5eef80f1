"""How long a run will take and how much memory it needs, told before it begins.

What was measured on this machine goes first: the time of an earlier run of the same networks, else one frame
of the default networks, taken when the server warms up. Other networks are scaled from that by the table
below, which is of one machine; the words on the card say how far each number can be trusted.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from apps.plan import Plan

__all__ = ["Estimate", "Estimator", "free_memory_gb", "time_of_a_frame"]

COSTS: dict[str, tuple[float, float]] = {
    "vit_tiny": (1.0, 0.9),
    "vit_b": (6.0, 1.4),
    "vit_l": (16.0, 2.4),
    "vit_h": (30.0, 3.8),
}
"""Size -> (CPU time of a frame where vit_tiny's is 1, gigabytes of the whole program at its peak)."""
SHARES = {"full": 1.0, "balanced": 0.35, "fastest": 0.3}
"""Speed -> CPU time of a frame where that of ``full`` is 1, as of lively clips: still scenes take less."""
LIGHT_DETECTORS = ("objects", "ssd", "salient", "motion", "yolox")
"""Detectors whose time is small beside the refiner's; of the others the time is known after a run only."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run will need; None where nothing is known."""

    seconds: float | None = None
    trust: str = "about"
    """"about" where it was measured, "roughly" where it was scaled, "more than" where a part is not known."""
    memory_gb: float | None = None
    free_gb: float | None = None


class Estimator:
    """What was measured so far. Safe to share between threads: single values are set and read."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._unit: float | None = None

    def note(self, plan: Plan, frames: int, seconds: float) -> None:
        """A run of these networks took so long; the first frame's share of loading is in it."""
        if frames > 1:
            self._seconds[_key(plan)] = seconds / frames

    def note_frame(self, plan: Plan, seconds: float) -> None:
        """One frame of these networks, warm, took so long where they looked at it."""
        self._unit = seconds / _cost(plan)[0]

    def estimate(self, plan: Plan, frames: int | None) -> Estimate:
        """For ``frames`` frames of a plan."""
        factor, memory = _cost(plan)
        known = LIGHT_DETECTORS
        found = Estimate(memory_gb=memory if plan.detector in known else None, free_gb=free_memory_gb())
        if frames is None:
            return found
        pace, trust = self._seconds.get(_key(plan)), "about"
        if pace is None and self._unit is not None:
            pace = self._unit * factor * SHARES[plan.speed]
            trust = "roughly" if plan.detector in known else "more than"
        return Estimate(None if pace is None else pace * frames, trust, found.memory_gb, found.free_gb)


def time_of_a_frame(job: Any) -> float:
    """Seconds of one 720p frame with one object, after a first one that nobody waits for."""
    noise = np.random.default_rng(0)
    image = noise.integers(0, 255, (720, 1280, 3), np.uint8)
    box = np.array([[400, 200, 800, 500]], np.float32)
    seconds = 0.0
    for _ in range(2):
        start = time.perf_counter()
        job.detector.detect([image])
        if job.refiner is not None:
            predictor = job.refiner.predictor
            predictor.decode(predictor.embed(image), boxes=box)
        seconds = time.perf_counter() - start
    return seconds


def free_memory_gb() -> float | None:
    """Gigabytes that a program may still take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = [int(line.split()[1]) for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        return None
    return found[0] * 1024 / 1e9 if found else None


def _cost(plan: Plan) -> tuple[float, float]:
    from vis import weights

    # A file of the user's own, or no refiner: as the smallest.
    model = weights.MODELS.get(plan.model or "")
    return COSTS.get(model.size if model is not None else "vit_tiny", COSTS["vit_tiny"])


def _key(plan: Plan) -> str:
    return f"{plan.detector}+{plan.model}+{plan.speed}"
