"""The presets: plain rows of defaults. A result records what really ran, not the preset's name alone."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PRESETS", "Preset"]


@dataclass(frozen=True, slots=True)
class Preset:
    """Defaults that options override one by one."""

    detector: str
    """Name in detectors.DETECTORS."""
    tracker: str
    """Name in trackers.TRACKERS."""
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
        model="hq-tiny",
        policy="box",
        min_score=0.3,
        min_frames=3,
        about="U2NetP saliency finds objects, Light HQ-SAM refines; needs nothing but a package index",
    ),
}
