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
    """Prompt policy of vis.prompt_policies."""
    multimask_selection: str
    """``single``: SAM's single mask; ``tube``: of its masks of the whole and of a part the better over the tube."""
    min_score: float
    """Detections below it are not tracked."""
    min_frames: int
    """Tubes of fewer processed frames are dropped."""
    top: int | None
    """At most so many tubes, the best by score; None: all."""
    link: bool
    """Whether tubes are stitched across gaps, and short gaps filled, once the whole video is known."""
    overlap: str
    """``keep``, or ``resolve``: masks of one frame share no pixel."""
    clean: bool
    """Whether the refiner removes specks and pin-holes from its masks."""
    speed: str
    """On which frames the networks look, a name in apps.plan.SPEEDS; of the preset's own detector alone."""
    about: str
    """One line for --help."""


PRESETS = {
    "quick": Preset(
        detector="objects",
        detector_settings={},
        tracker="bytetrack",
        # The detector is small, and its scores are low: half as high as those that ByteTrack was made for. A strong
        # box goes on with its track even where a leap leaves little overlap; weak ones only fill in.
        tracker_settings={
            "high_score": 0.3,
            "new_track_thresh": 0.3,
            "low_score": 0.15,
            "min_overlap": 0.1,
            "min_overlap_low": 0.5,
            "min_overlap_new": 0.05,
        },
        model="hq-tiny",
        policy="box",
        # Saliency's boxes are loose; on DAVIS this is worth 1.5 points there, and half a point where they fit.
        multimask_selection="tube",
        min_score=0.15,
        min_frames=2,
        top=None,
        link=True,
        overlap="resolve",
        clean=True,
        speed="balanced",
        about="SSD MobileNet finds and names people, animals, vehicles and things, U2NetP saliency what nobody named, "
        "Light HQ-SAM refines; needs nothing but package indexes",
    ),
    "balanced": Preset(
        detector="mask2former",
        detector_settings={},
        tracker="query",
        tracker_settings={},
        model="hq-b",
        # A strong detector's own mask knows the extent that a box throws away.
        policy="gated",
        multimask_selection="single",
        min_score=0.5,
        min_frames=3,
        top=None,
        link=False,
        overlap="keep",
        clean=False,
        speed="full",
        about="Mask2Former (COCO classes) and HQ-SAM ViT-B, from their hub",
    ),
    "best": Preset(
        detector="videomt",
        detector_settings={"weights": "tue-mps/videomt-dinov2-large-ytvis2021"},
        tracker="native",
        tracker_settings={},
        model="hq-l",
        policy="gated",
        multimask_selection="single",
        min_score=0.3,
        min_frames=3,
        top=None,
        link=False,
        overlap="keep",
        clean=False,
        speed="full",
        about="VidEoMT-L (YouTube-VIS classes, its own identities) and HQ-SAM ViT-L, from their hub",
    ),
    "concept": Preset(
        detector="sam3",
        detector_settings={},
        tracker="native",
        tracker_settings={},
        model="hq-l",
        policy="gated",
        multimask_selection="single",
        min_score=0.5,
        min_frames=3,
        top=None,
        link=False,
        overlap="keep",
        clean=False,
        speed="full",
        about="SAM 3 finds what --text names and gives it ids, HQ-SAM ViT-L refines, from their hub",
    ),
    "paper": Preset(
        detector="mask2former-video",
        detector_settings={"weights": "shivi/video-mask2former-swin-large-youtubevis-2019-instance"},
        tracker="query",
        tracker_settings={},
        model="hq-l",
        policy="box",
        multimask_selection="single",
        min_score=0.0,
        min_frames=1,
        top=10,
        link=False,
        overlap="keep",
        clean=False,
        speed="full",
        about="the HQ-SAM paper's video experiment: Mask2Former-VIS boxes, ten tubes a video, HQ-SAM ViT-L by box",
    ),
}
