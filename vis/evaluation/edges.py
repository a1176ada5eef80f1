"""Edge maps scored as BSDS500's benchmark scores them: ODS, OIS, AP and R50.

Each image's map is cut at many thresholds, thinned, and matched with each annotator's boundary
(:mod:`vis.evaluation.edge_matching`). Recall counts the pixels of all annotators; precision counts the pixels of the
map that match any of them (Arbelaez et al., PAMI 33(5), 2011). Knows no detector.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vis.errors import InputError
from vis.evaluation.edge_matching import match_pixels, thin

__all__ = [
    "BestThreshold",
    "EdgeCounts",
    "EdgeScores",
    "best_of_image",
    "count_edges",
    "edge_scores",
    "edge_thresholds",
    "read_edges",
]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MAX_DISTANCE = 0.0075
"""Between matched pixels, as a share of the diagonal."""
_STEPS = 100
"""Between two thresholds, where the best F is looked for."""
_RECALL_SEEN = 1e-3
"""Thresholds of less recall say nothing of R50."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeCounts:
    """Pixels of one image at K thresholds, int64 (K,) each."""

    matched_truth: Int64
    """Of the boundaries, matched; the sum over annotators."""
    truth: Int64
    """Of the boundaries; the sum over annotators."""
    matched_found: Int64
    """Of the thinned map, matched with any annotator's boundary."""
    found: Int64
    """Of the thinned map."""


@dataclass(frozen=True, slots=True)
class BestThreshold:
    """Where F is highest."""

    threshold: float
    recall: float
    precision: float
    f: float
    """2 / (1/precision + 1/recall)."""


@dataclass(frozen=True, slots=True, eq=False)
class EdgeScores:
    """Scores of a set of images, all in [0, 1]."""

    ods: BestThreshold
    """Optimal dataset scale: the highest F of one threshold for all images."""
    ois: BestThreshold
    """Optimal image scale: each image at its own best threshold; ``threshold`` is their mean."""
    ap: float
    """Area under the curve of precision over recall, 0 beyond its ends."""
    r50: float
    """Recall at a precision of 50 % (where it is never as low: at its lowest); 0 when precision is never as high."""
    recall: Float64
    """(K,) at each threshold, of all images together."""
    precision: Float64
    """(K,) likewise."""


def edge_thresholds(count: int = 99) -> Float64:
    """The benchmark's thresholds: ``count`` of them between 0 and 1, without either."""
    return np.linspace(1 / (count + 1), 1 - 1 / (count + 1), count)


def count_edges(
    edges: Float64,
    boundaries: Sequence[NDArray[np.bool_]],
    thresholds: Float64,
    *,
    max_distance: float = MAX_DISTANCE,
) -> EdgeCounts:
    """Match an edge map (H, W) in [0, 1] with each annotator's boundary, bool (H, W), at each rising threshold.

    ``max_distance`` between partners, as a share of the diagonal. Raises :class:`InputError` on unequal sizes.
    """
    for boundary in boundaries:
        if boundary.shape != edges.shape:
            raise InputError(
                f"an edge map of size {edges.shape} (height, width), boundaries of {boundary.shape}"
            )
    reach = max_distance * math.hypot(*edges.shape)
    matched_truth, matched_found, count = np.zeros((3, len(thresholds)), np.int64)
    before: NDArray[np.bool_] | None = None
    for k, threshold in enumerate(thresholds):
        found = thin(edges >= threshold)
        if before is not None and np.array_equal(found, before):
            for row in (matched_truth, matched_found, count):
                row[k] = row[k - 1]
            continue
        before = found
        any_annotator = np.zeros_like(found)
        for boundary in boundaries:
            of_found, of_truth = match_pixels(found, boundary, reach)
            any_annotator |= of_found
            matched_truth[k] += of_truth.sum()
        matched_found[k], count[k] = any_annotator.sum(), found.sum()
    truth = np.full(len(thresholds), sum(int(boundary.sum()) for boundary in boundaries))
    return EdgeCounts(matched_truth, truth, matched_found, count)


def best_of_image(counts: EdgeCounts, thresholds: Float64) -> BestThreshold:
    """The threshold of one image's highest F, the lowest of several."""
    recall, precision = _recall_precision(counts)
    k = int(_f(recall, precision).argmax())
    return _best(thresholds[k], recall[k], precision[k])


def edge_scores(images: Sequence[EdgeCounts], thresholds: Float64) -> EdgeScores:
    """Scores of a set, from the counts of its images at the same rising thresholds; there is one image at least.

    As the benchmark: ODS looks between thresholds too, with recall and precision linear there; OIS does not. R50 is
    that of Dollár's edge toolbox.
    """
    everywhere = [slice(None)] * len(images)
    recall, precision = _recall_precision(_total(images, everywhere))
    own = [int(_f(*_recall_precision(one)).argmax()) for one in images]
    (own_recall,), (own_precision,) = _recall_precision(_total(images, [slice(k, k + 1) for k in own]))
    return EdgeScores(
        ods=_best_between(thresholds, recall, precision),
        ois=_best(float(thresholds[own].mean()), own_recall, own_precision),
        ap=_average_precision(recall, precision),
        r50=_recall_at_half(recall, precision),
        recall=recall,
        precision=precision,
    )


def read_edges(path: Path) -> Float64:
    """An edge map (H, W) in [0, 1] from a grey image of 8 or 16 bits. Raises :class:`InputError`."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            values = np.array(image.convert("L") if image.mode in ("1", "P") else image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not an image that can be read ({error})") from error
    if values.ndim != 2 or values.dtype.kind not in "ui":
        raise InputError(f"{path}: expected a grey image of 8 or 16 bits, brighter where an edge is surer")
    full = 255 if values.dtype == np.uint8 else 65535
    if values.size and (values.min() < 0 or values.max() > full):
        raise InputError(f"{path}: values from {values.min()} to {values.max()}; expected 0 to {full}")
    return values / full


# ---------------------------------------------------------------- curve


def _total(images: Sequence[EdgeCounts], thresholds: Sequence[slice]) -> EdgeCounts:
    """The sum over images, each at its own thresholds."""
    rows = [
        [getattr(one, field.name)[at] for one, at in zip(images, thresholds, strict=True)]
        for field in fields(EdgeCounts)
    ]
    return EdgeCounts(*(np.sum(row, axis=0) for row in rows))


def _recall_precision(counts: EdgeCounts) -> tuple[Float64, Float64]:
    """Both (K,); 0 where there is nothing to be recalled or precise about."""
    recall: Float64 = counts.matched_truth / np.maximum(counts.truth, 1)
    precision: Float64 = counts.matched_found / np.maximum(counts.found, 1)
    return recall, precision


def _f(recall: Float64, precision: Float64) -> Float64:
    total = recall + precision
    values: Float64 = 2 * recall * precision / np.where(total > 0, total, 1)
    return values


def _best(threshold: float, recall: float, precision: float) -> BestThreshold:
    (f,) = _f(np.array([recall]), np.array([precision]))
    return BestThreshold(float(threshold), float(recall), float(precision), float(f))


def _best_between(thresholds: Float64, recall: Float64, precision: Float64) -> BestThreshold:
    """The highest F at a threshold or between two."""
    if len(thresholds) == 1:
        return _best(thresholds[0], recall[0], precision[0])
    share = np.linspace(0, 1, _STEPS)
    t, r, p = (
        (row[1:, None] * share + row[:-1, None] * (1 - share)).ravel()
        for row in (thresholds, recall, precision)
    )
    k = int(_f(r, p).argmax())
    return _best(t[k], r[k], p[k])


def _average_precision(recall: Float64, precision: Float64) -> float:
    """Precision at 101 recalls, linear between thresholds; their sum over 100, as published."""
    recalls, at = np.unique(recall, return_index=True)
    if len(recalls) < 2:
        return 0.0
    return float(np.interp(np.arange(101) / 100, recalls, precision[at], left=0, right=0).sum() / 100)


def _recall_at_half(recall: Float64, precision: Float64) -> float:
    seen = recall >= _RECALL_SEEN
    precisions, at = np.unique(precision[seen], return_index=True)
    if not len(precisions) or precisions[-1] < 0.5:
        return 0.0
    return float(np.interp(max(precisions[0], 0.5), precisions, recall[seen][at]))
