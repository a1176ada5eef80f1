"""How good tubes and masks are: AP of tubes and images, boundaries, J&F, HOTA, identities.

Numbers are exact: what a published evaluator defines comes out to the last digit. Everything works on
run lengths; no full frame is decoded. Knows no network and prints nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vis.evaluation.protocol import STATS
from vis.evaluation.tubes import TubeEvaluation, evaluate, evaluate_images, evaluate_tubes

if TYPE_CHECKING:
    from vis.evaluation.identity import IdentityMetrics, identity_from_similarity, identity_metrics

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


def __getattr__(name: str) -> Any:
    # An evaluation of AP is short enough for this import to be felt.
    if name in ("IdentityMetrics", "identity_from_similarity", "identity_metrics"):
        from vis.evaluation import identity

        return getattr(identity, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
