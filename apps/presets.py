"""The presets: plain rows of defaults. A result records what really ran, not the preset's name alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults that options override one by one."""

    detector: str
    """Name in detectors.DETECTORS."""
    tracker: str
    """Name in trackers.TRACKERS."""
    tracker_settings: Mapping[str, Any]
    """Keyword arguments of that tracker."""
    model: str
    """Name in vis.weights.MODELS, for the refiner."""
    policy: str
    """Prompt policy of vis.refine."""
    min_score: float
    """Detections below it are not tracked."""
    min_frames: int
    """Tubes of fewer processed frames are dropped."""
    about: str
    """One line for --help."""


PRESETS = {
    "quick": Preset(
        detector="salient",
        tracker="iou",
        # One salient object at a time: a box that jumps is far likelier the same object than another.
        tracker_settings={"min_overlap": 0.1},
        model="hq-tiny",
        policy="box",
        min_score=0.3,
        min_frames=3,
        about="U2NetP saliency finds objects, Light HQ-SAM refines; needs nothing but a package index",
    ),
}
