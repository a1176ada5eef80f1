"""Anything that turns frames into :class:`vis.structures.Detections`. Imports ``vis`` only.

One file per detector, imported when it is asked for::

    detector = detectors.create("yolox", weights="yolox_s.onnx", score=0.3)
    detector.detect([image])  # RGB uint8 (H, W, 3) -> [Detections]
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from vis.errors import UsageError
from vis.interfaces import Detector

__all__ = ["DETECTORS", "create"]

Maker = Callable[..., Detector]


def _objects() -> Maker:
    from detectors.objects import Objects

    return Objects


def _ssd() -> Maker:
    from detectors.ssd import Ssd

    return Ssd


def _salient() -> Maker:
    from detectors.salient import Salient

    return Salient


def _yolox() -> Maker:
    from detectors.yolox import Yolox

    return Yolox


def _motion() -> Maker:
    from detectors.motion import Motion

    return Motion


def _precomputed() -> Maker:
    from detectors.precomputed import Precomputed

    return Precomputed


def _mask2former() -> Maker:
    from detectors.mask2former import Mask2Former

    return Mask2Former


def _mask2former_video() -> Maker:
    from detectors.mask2former_video import Mask2FormerVideo

    return Mask2FormerVideo


def _videomt() -> Maker:
    from detectors.videomt import Videomt

    return Videomt


def _maskrcnn() -> Maker:
    from detectors.maskrcnn import MaskRcnn

    return MaskRcnn


def _rfdetr_seg() -> Maker:
    from detectors.rfdetr import RfDetrSeg

    return RfDetrSeg


def _text() -> Maker:
    from detectors.text import TextDetector

    return TextDetector


def _everything() -> Maker:
    from detectors.everything import Everything

    return Everything


def _nothing() -> Maker:
    from detectors.nothing import Nothing

    return Nothing


DETECTORS: dict[str, Callable[[], Maker]] = {
    "objects": _objects,
    "ssd": _ssd,
    "salient": _salient,
    "yolox": _yolox,
    "motion": _motion,
    "precomputed": _precomputed,
    "mask2former": _mask2former,
    "mask2former-video": _mask2former_video,
    "videomt": _videomt,
    "maskrcnn": _maskrcnn,
    "rfdetr-seg": _rfdetr_seg,
    "text": _text,
    "everything": _everything,
    "none": _nothing,
}
"""Name -> function that imports the detector's class and gives it."""


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
    notice. Any other setting must exist. Raises :class:`UsageError` for an unknown name or setting;
    what the detector raises when a package or weights are missing passes through.
    """
    if name not in DETECTORS:
        near = difflib.get_close_matches(name, DETECTORS, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise UsageError(f"no detector named {name!r}; {hint}known: {', '.join(DETECTORS)}")
    maker = DETECTORS[name]()
    known = inspect.signature(maker).parameters
    for common, value in (("device", device), ("score", score), ("classes", classes)):
        if value is not None and common in known:
            settings[common] = value
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in known.values())
    unknown = [] if takes_any else sorted(set(settings) - set(known))
    missing = sorted(
        key
        for key, parameter in known.items()
        if parameter.default is parameter.empty
        and parameter.kind is not parameter.VAR_KEYWORD
        and key not in settings
    )
    if unknown or missing:
        what = "has no setting " + ", ".join(unknown) if unknown else "needs " + ", ".join(missing)
        raise UsageError(f"detector {name!r} {what}; its settings are {', '.join(known)}")
    return maker(**settings)
