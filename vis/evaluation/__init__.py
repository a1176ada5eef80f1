"""How good tubes and masks are: AP of tubes and images, boundaries, J&F, HOTA, identities.

Numbers are exact: what a published evaluator defines comes out to the last digit. Everything works on
run lengths; no full frame is decoded. Knows no network and prints nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vis.evaluation.protocol import STATS
    from vis.evaluation.tracking_metrics import IdentityMetrics, identity_from_similarity, identity_metrics
    from vis.evaluation.tubes import TubeEvaluation, evaluate, evaluate_images, evaluate_tubes

__all__ = [
    "STATS",
    "IdentityMetrics",
    "TubeEvaluation",
    "evaluate",
    "evaluate_images",
    "evaluate_tubes",
    "identity_from_similarity",
    "identity_metrics",
]

_HOMES = {
    "protocol": ("STATS",),
    "tracking_metrics": ("IdentityMetrics", "identity_from_similarity", "identity_metrics"),
    "tubes": ("TubeEvaluation", "evaluate", "evaluate_images", "evaluate_tubes"),
}


def __getattr__(name: str) -> Any:
    # Imported when first used: J&F needs no compiled loops, and AP no scipy.
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"vis.evaluation.{home}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
