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
    detector_settings: Mapping[str, Any]
    """Keyword arguments of that detector."""
    tracker: str
    """Name in trackers.TRACKERS."""
    tracker_settings: Mapping[str, Any]
    """Keyword arguments of that tracker."""
    model: str
    """Name in vis.weights.MODELS, for the refiner."""
    policy: str
    """Prompt policy of vis.refine."""
    whole_or_part: bool
    """Whether the refiner chooses between SAM's masks of the whole and of a part, instead of its single one."""
    min_score: float
    """Detections below it are not tracked."""
    min_frames: int
    """Tubes of fewer processed frames are dropped."""
    top: int | None
    """At most so many tubes, the best by score; None: all."""
    about: str
    """One line for --help."""


PRESETS = {
    "quick": Preset(
        detector="salient",
        detector_settings={},
        tracker="iou",
        # One salient object at a time: a box that jumps is far likelier the same object than another.
        tracker_settings={"min_overlap": 0.1},
        model="hq-tiny",
        policy="box",
        # Saliency's boxes are loose; on DAVIS this is worth 1.5 points there, and half a point where they fit.
        whole_or_part=True,
        min_score=0.3,
        min_frames=3,
        top=None,
        about="U2NetP saliency finds objects, Light HQ-SAM refines; needs nothing but a package index",
    ),
    "balanced": Preset(
        detector="mask2former",
        detector_settings={},
        tracker="query",
        tracker_settings={},
        model="hq-b",
        # A strong detector's own mask knows the extent that a box throws away.
        policy="gated",
        whole_or_part=False,
        min_score=0.5,
        min_frames=3,
        top=None,
        about="Mask2Former (COCO classes) and HQ-SAM ViT-B, from their hub",
    ),
    "best": Preset(
        detector="videomt",
        detector_settings={"weights": "tue-mps/videomt-dinov2-large-ytvis2021"},
        tracker="native",
        tracker_settings={},
        model="hq-l",
        policy="gated",
        whole_or_part=False,
        min_score=0.3,
        min_frames=3,
        top=None,
        about="VidEoMT-L (YouTube-VIS classes, its own identities) and HQ-SAM ViT-L, from their hub",
    ),
    "paper": Preset(
        detector="mask2former-video",
        detector_settings={"weights": "shivi/video-mask2former-swin-large-youtubevis-2019-instance"},
        tracker="query",
        tracker_settings={},
        model="hq-l",
        policy="box",
        whole_or_part=False,
        min_score=0.0,
        min_frames=1,
        top=10,
        about="the HQ-SAM paper's video experiment: Mask2Former-VIS boxes, ten tubes a video, HQ-SAM ViT-L by box",
    ),
}
