"""How sure an AP is: intervals from resampling videos, for one result and for a difference of two.

Videos are drawn with replacement (percentile bootstrap, Efron 1979); tubes of one video stay together
because they fail together. Works on the compact evidence that a report stores, so that old results
can be compared without their masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.evaluation.protocol import RECALLS

__all__ = ["Interval", "difference", "interval", "mean_precision"]

DRAWS = 200
Evidence = Sequence[Sequence[Any]]
"""Rows of :func:`vis.evaluation.report.evidence`."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and the range that 95 % of the resampled values fall into."""

    value: float
    low: float
    high: float


def interval(evidence: Evidence, thresholds: int, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """AP with its 95 % interval over videos."""
    videos = sorted({int(row[0]) for row in evidence})
    samples = _average_precisions(evidence, thresholds, videos, _weights(len(videos), draws, seed))
    return _interval(samples)


def difference(a: Evidence, b: Evidence, thresholds: int, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """AP of ``b`` minus AP of ``a``, with its 95 % interval; both see the same drawn videos."""
    videos = sorted({int(row[0]) for row in [*a, *b]})
    weights = _weights(len(videos), draws, seed)
    samples = [_average_precisions(rows, thresholds, videos, weights) for rows in (a, b)]
    return _interval(samples[1] - samples[0])


def _interval(samples: NDArray[np.float64]) -> Interval:
    """The first sample is the undisturbed value."""
    low, high = np.quantile(samples[1:], (0.025, 0.975)) if len(samples) > 1 else (samples[0], samples[0])
    return Interval(float(samples[0]), float(low), float(high))


def _weights(videos: int, draws: int, seed: int) -> NDArray[np.int64]:
    """(1 + draws, videos): how often each video is drawn; the first row takes each once."""
    rng = np.random.default_rng(seed)
    drawn = (
        rng.multinomial(videos, np.full(videos, 1 / videos), size=draws) if videos else np.zeros((draws, 0))
    )
    return np.vstack([np.ones(videos), drawn]).astype(np.int64)


def _average_precisions(
    evidence: Evidence, thresholds: int, videos: list[int], weights: NDArray[np.int64]
) -> NDArray[np.float64]:
    """AP of each row of ``weights``."""
    index = {video: i for i, video in enumerate(videos)}
    sums, counts = np.zeros(len(weights)), np.zeros(len(weights))
    for category in sorted({row[1] for row in evidence}):
        rows = sorted((row for row in evidence if row[1] == category), key=lambda row: int(row[0]))
        place = np.array([index[int(row[0])] for row in rows])
        positives = weights[:, place] @ np.array([row[2] for row in rows])
        owner = np.repeat(place, [len(row[3]) for row in rows])
        scores, hits, misses = (np.concatenate([np.asarray(row[i]) for row in rows]) for i in (3, 4, 5))
        order = np.argsort(-scores, kind="stable")
        owner, hits, misses = owner[order], hits[order].astype(int), misses[order].astype(int)
        defined = positives > 0
        for t in range(thresholds):
            bit = 1 << t
            curve = mean_precision((hits & bit) > 0, (misses & bit) > 0, weights[:, owner], positives)
            sums[defined] += curve[defined]
            counts[defined] += 1
    samples: NDArray[np.float64] = np.divide(sums, counts, out=np.full(len(weights), -1.0), where=counts > 0)
    return samples


def mean_precision(
    hit: NDArray[np.bool_], miss: NDArray[np.bool_], weights: NDArray[np.int64], positives: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Mean interpolated precision over the recalls for each row of weights (B, D)."""
    out = np.zeros(len(weights))
    if not len(hit):
        return out
    true, false = np.cumsum(weights * hit, axis=1), np.cumsum(weights * miss, axis=1)
    precision = true / (true + false + np.spacing(1))
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    for b in np.flatnonzero(positives > 0):
        at = np.searchsorted(true[b] / positives[b], RECALLS, side="left")
        out[b] = envelope[b, at[at < len(hit)]].sum() / len(RECALLS)
    return out
