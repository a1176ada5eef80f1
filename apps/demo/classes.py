"""Which class names the page offers before a run: the detector's own list, where it is known without its weights."""

from __future__ import annotations

import detectors
from apps.presets import PRESETS
from vis.errors import VisError

__all__ = ["offered_classes"]


def offered_classes(preset: str, detector: str | None) -> list[str]:
    """Names that the chosen detector (else the preset's) tells apart; empty where only its weights tell.

    Other names can still be typed: what the detector does not know is an error that names the nearest.
    """
    name = detector or PRESETS[preset].detector
    try:
        names = detectors.class_names(name) or ()
    except VisError:  # no such detector, or a broken one: the run says so
        names = ()
    return list(names) if len(names) > 1 else []
