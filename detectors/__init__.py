"""Anything that turns frames into :class:`vis.structures.Detections`. Imports ``vis`` only.

One file per detector, imported when it is asked for::

    detector = detectors.create("yolox", weights="yolox_s.onnx", score=0.3)
    detector.detect([image])  # RGB uint8 (H, W, 3) -> [Detections]
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any

from vis.interfaces import Detector
from vis.registry import Registry

__all__ = ["DETECTORS", "class_names", "create", "names"]

DETECTORS = {
    "objects": "detectors.objects:Objects",
    "ssd": "detectors.ssd:Ssd",
    "salient": "detectors.salient:Salient",
    "yolox": "detectors.yolox:Yolox",
    "motion": "detectors.motion:Motion",
    "precomputed": "detectors.precomputed:Precomputed",
    "mask2former": "detectors.mask2former:Mask2Former",
    "mask2former-video": "detectors.mask2former_video:Mask2FormerVideo",
    "videomt": "detectors.videomt:Videomt",
    "maskrcnn": "detectors.maskrcnn:MaskRcnn",
    "semantic": "detectors.semantic:Semantic",
    "eomt": "detectors.eomt:Eomt",
    "dfine": "detectors.dfine:DFine",
    "rfdetr-seg": "detectors.rfdetr:RfDetrSeg",
    "text": "detectors.text:TextDetector",
    "sam3": "detectors.sam3:Sam3Concepts",
    "everything": "detectors.sam_automatic:Everything",
    "none": "detectors.none:Nothing",
}
"""Name -> "module:Class"."""

_REGISTRY = Registry("detector", DETECTORS, "vistubes.detectors", Detector)


def names() -> tuple[str, ...]:
    """All names that :func:`create` knows: those of DETECTORS, then those that installed packages add."""
    return _REGISTRY.names()


def class_names(name: str) -> tuple[str, ...] | None:
    """The class names of the detector of that name where they are known without its weights, else None.

    Raises as :func:`create` does for a name.
    """
    found = inspect.getattr_static(_REGISTRY.find(name), "class_names", None)
    return found if isinstance(found, tuple) else None


def create(
    name: str,
    *,
    device: str | None = None,
    score: float | None = None,
    classes: Sequence[str] | None = None,
    **settings: Any,
) -> Detector:
    """The detector of that name, with its settings as keyword arguments.

    ``device`` (auto, cpu, cuda, ...), ``score`` (least score, [0, 1]) and ``classes`` (names to look for) are what a
    user chooses once for whatever detector runs: they go to those that have such a setting, and the others take no
    notice. Any other setting must exist.

    Installed packages add names by entry points of the group ``vistubes.detectors``. Raises :class:`UsageError` for
    an unknown name or setting, :class:`DependencyError` for another package's detector that cannot be used;
    what a detector raises when a package or weights are missing passes through.
    """
    common = {"device": device, "score": score, "classes": classes}
    detector: Detector = _REGISTRY.create(name, settings, common=common)
    return detector
