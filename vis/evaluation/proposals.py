"""Average recall of object proposals: overall, by size, and by how frequent LVIS' classes are."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from vis.evaluation.records import ResultTube, Truth
from vis.evaluation.tubes import TubeEvaluation, evaluate

__all__ = ["average_recall"]

FREQUENCIES = {"frequent": "f", "common": "c", "rare": "r"}
"""LVIS' letters."""
SIZES = {"all": 8, "small": 9, "medium": 10, "large": 11}
"""Where the statistics hold average recall at the largest limit."""


def average_recall(
    whole: TubeEvaluation, truth: Truth, results: list[ResultTube], **options: Any
) -> dict[str, dict[str, float]]:
    """AR at the largest limit of detections, by kind (mask, boundary); -1 where no truth counts.

    ``whole`` is the evaluation of ``results`` with pooled classes, and ``options`` made it. Where classes have a
    frequency, AR is also taken against a truth of the frequent, common or rare ones alone, all proposals against
    each (Segment Anything, appendix D.3).
    """
    rows = {
        kind: {size: stats[place] for size, place in SIZES.items()} for kind, stats in whole.stats.items()
    }
    letters = {category.id: category.frequency for category in truth.categories.values()}
    for name, letter in FREQUENCIES.items() if any(letters.values()) else ():
        some = replace(truth, tubes=[tube for tube in truth.tubes if letters[tube.category] == letter])
        for kind, stats in evaluate(some, results, **options).stats.items():
            rows[kind][name] = stats[SIZES["all"]]
    return rows
