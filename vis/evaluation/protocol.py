"""Matching and accumulation as COCO and YouTube-VIS define them. Knows numbers only, no masks.

Matching is greedy by score per (video, category); precision is made monotone from the right and
read off at 101 recalls; AP is its mean over thresholds, recalls and the classes that have truth.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

__all__ = ["STATS", "AreaRanges", "Group", "Matches", "Summary", "accumulate", "match_groups", "summarize"]

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

STATS = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
"""The official order; the numbers in AR1, AR10, AR100 stand for the three detection limits."""

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MAX_DETS = (1, 10, 100)

AreaRanges = tuple[tuple[float, float], ...]
VIDEO_AREAS: AreaRanges = ((0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10))
"""all, small, medium, large: mean pixels per frame of a tube, both ends included."""
IMAGE_AREAS: AreaRanges = ((0, 1e10), (0, 32**2), (32**2, 96**2), (96**2, 1e10))
"""COCO's ranges for images."""


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """The D detections (best first) and G truths that compete, without their IoUs; or those of several groups."""

    category: int
    """Category id; -1 when classes are pooled."""
    video: int
    """Video id."""
    scores: Float64
    """(D,) falling."""
    detection_areas: Float64
    """(D,) pixels per frame."""
    truth_areas: Float64
    """(G,) pixels per frame."""
    crowd: Bool
    """(G,) may be matched often, never counts."""
    truth_ignored: Bool
    """(G,) never counts."""
    uncounted: Bool
    """(G,) truths whose match is not remembered: the official evaluator's trouble with id 0."""
    detection_ignored: Bool
    """(D,) not counted when unmatched: not every object of its class is annotated there (LVIS)."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The matches of one group, for A area ranges and T thresholds."""

    group: Group
    """What was matched."""
    truth: NDArray[np.int32]
    """(A, T, D): index of the matched truth or -1."""
    hit: Bool
    """(A, T, D): true positive."""
    miss: Bool
    """(A, T, D): false positive. Neither: the detection does not count."""
    positives: NDArray[np.int64]
    """(A,): truths that count."""


def match_groups(
    places: Sequence[tuple[int, int]],
    spans: NDArray[np.int64],
    together: Group,
    ious: Sequence[Float64],
    compute: ModuleType,
    *,
    areas: AreaRanges,
    thresholds: Float64,
) -> list[list[Matches]]:
    """Match by each of several kinds of IoU: what every detection counts as.

    Group k, of (video, category) ``places[k]``, is detections ``spans[k, 0]`` to ``spans[k, 1]`` and truths
    ``spans[k, 2]`` to ``spans[k, 3]`` of ``together``; ``ious`` follow each other as
    :func:`vis.evaluation.intervals.ious` gives them.
    """
    low, high = np.array(areas, np.float64).T[:, :, None]
    ignored = together.truth_ignored | (together.truth_areas < low) | (together.truth_areas > high)
    outside = (
        (together.detection_areas < low) | (together.detection_areas > high) | together.detection_ignored
    )
    outside = outside[:, None, :]
    counting = np.concatenate([np.zeros((len(areas), 1), np.int64), np.cumsum(~ignored, axis=1)], axis=1)
    positives = (counting[:, spans[:, 3]] - counting[:, spans[:, 2]]).T
    rows = np.arange(len(areas))[:, None, None]
    count = len(together.scores)
    # Truths are numbered from their group's first.
    begin = np.repeat(spans[:, 2], spans[:, 1] - spans[:, 0])
    bounds = spans.tolist()
    groups = [
        Group(
            category=category,
            video=video,
            scores=together.scores[d0:d1],
            detection_areas=together.detection_areas[d0:d1],
            truth_areas=together.truth_areas[g0:g1],
            crowd=together.crowd[g0:g1],
            truth_ignored=together.truth_ignored[g0:g1],
            uncounted=together.uncounted[g0:g1],
            detection_ignored=together.detection_ignored[d0:d1],
        )
        for (video, category), (d0, d1, g0, g1) in zip(places, bounds, strict=True)
    ]
    out = []
    for one in ious:
        truth = compute.match(one, spans, ignored, together.crowd, thresholds, detections=count)
        found = truth >= 0
        matched, uncounted = found, found
        if len(together.truth_ignored):
            matched = found & ~together.uncounted[truth]
            uncounted = found & ignored[rows, truth]
        uncounted = uncounted | (~matched & outside)
        hit, miss = matched & ~uncounted, ~(matched | uncounted)
        truth = np.where(found, truth - begin, -1).astype(np.int32)
        out.append(
            [
                Matches(group, truth[:, :, d0:d1], hit[:, :, d0:d1], miss[:, :, d0:d1], row)
                for group, (d0, d1, _, _), row in zip(groups, bounds, positives, strict=True)
            ]
        )
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Summary:
    """Precision and recall of a data set; -1 where no truth counts."""

    categories: tuple[int, ...]
    """K category ids; (-1,) when classes are pooled."""
    thresholds: Float64
    """(T,)"""
    max_dets: tuple[int, ...]
    """M limits of detections per video and category."""
    precision: Float64
    """(T, R, K, A, M); the limits that no statistic asks for are left at -1."""
    recall: Float64
    """(T, K, A, M)"""


def accumulate(
    matches: Sequence[Matches],
    categories: Sequence[int],
    *,
    thresholds: Float64,
    areas: int,
    max_dets: tuple[int, ...],
) -> Summary:
    """Pool the matches per category; ``matches`` ordered by video, which decides ties of scores."""
    shape = len(thresholds), len(categories), areas, len(max_dets)
    precision = np.full((shape[0], len(RECALLS), *shape[1:]), -1.0)
    recall = np.full(shape, -1.0)
    by_category: dict[int, list[Matches]] = {category: [] for category in categories}
    for one in matches:
        by_category[one.group.category].append(one)
    for k, category in enumerate(categories):
        group = by_category[category]
        if not group:
            continue
        positives = np.sum([one.positives for one in group], axis=0)
        rank = np.concatenate([np.arange(len(one.group.scores)) for one in group])
        scores = np.concatenate([one.group.scores for one in group])
        hit = np.concatenate([one.hit for one in group], axis=2)
        miss = np.concatenate([one.miss for one in group], axis=2)
        order = np.argsort(-scores, kind="stable")
        counted = positives > 0
        for m, limit in enumerate(max_dets):
            chosen = order[rank[order] < limit]
            found = hit[:, :, chosen][counted]
            share = positives[counted][:, None]
            recall[:, k, counted, m] = (np.count_nonzero(found, axis=2) / share).T
            if limit in (100, max(max_dets)):
                curve = _curves(found, miss[:, :, chosen][counted], positives[counted])
                precision[:, :, k, counted, m] = curve.transpose(1, 2, 0)
    return Summary(tuple(categories), thresholds, max_dets, precision, recall)


def _curves(hit: Bool, miss: Bool, positives: NDArray[np.int64]) -> Float64:
    """Interpolated precision (A, T, R) of detections in falling order of score, (A, T, D) each."""
    out = np.zeros((*hit.shape[:2], len(RECALLS)))
    if not hit.shape[2]:
        return out
    for a, count in enumerate(positives):  # one range at a time: 8 bytes for each detection and threshold
        hits, misses = (np.cumsum(rows[a], axis=1, dtype=np.float64) for rows in (hit, miss))
        recall = hits / count
        precision = hits / (misses + hits + np.spacing(1))
        envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        for t, row in enumerate(recall):
            at = np.searchsorted(row, RECALLS, side="left")
            reached = np.count_nonzero(at < hit.shape[2])
            out[a, t, :reached] = envelope[t, at[:reached]]
    return out


def summarize(summary: Summary, *, literal_100: bool) -> list[float]:
    """The 12 statistics in the order of :data:`STATS`; -1 where no truth counts.

    ``literal_100``: the overall AP is looked up at 100 detections, as the official code does, and is
    -1 when that is not among the limits; else it uses the largest limit.
    """
    last = len(summary.max_dets) - 1
    overall: int | None = last
    if literal_100:
        overall = summary.max_dets.index(100) if 100 in summary.max_dets else None

    def precision(area: int, limit: int | None, threshold: float | None = None) -> float:
        if limit is None:
            return -1.0
        rows = slice(None) if threshold is None else np.isclose(summary.thresholds, threshold, atol=1e-9)
        return _mean(summary.precision[rows][:, :, :, area, limit])

    def recall(area: int, limit: int) -> float:
        return _mean(summary.recall[:, :, area, limit])

    return [
        precision(0, overall),
        precision(0, last, 0.5),
        precision(0, last, 0.75),
        *(precision(area, last) for area in (1, 2, 3)),
        *(recall(0, limit) for limit in range(3)),
        *(recall(area, last) for area in (1, 2, 3)),
    ]


def _mean(values: Float64) -> float:
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else -1.0
