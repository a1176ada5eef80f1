"""Assignment against brute force and against the other ways to write the same problem."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment

from trackers.assignment import match, match_pairs


def best_by_trying(similarity: np.ndarray, minimum: float) -> float:
    """The greatest sum of gains over all one-to-one pairings."""
    gain = np.maximum(similarity - minimum, 0)
    if gain.shape[0] > gain.shape[1]:
        gain = gain.T
    k, n = gain.shape
    return max(sum(gain[i, col] for i, col in enumerate(cols)) for cols in permutations(range(n), k))


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 5), st.integers(0, 5), st.integers(0, 10_000), st.sampled_from([0.0, 0.3, 0.7]))
def test_no_pairing_is_better(k, n, seed, minimum):
    similarity = np.round(np.random.default_rng(seed).random((k, n)), 1)  # rounded: many ties
    rows, cols = match(similarity, minimum)
    assert len(set(rows)) == len(rows)
    assert len(set(cols)) == len(cols)
    assert (np.diff(rows) > 0).all()
    assert (similarity[rows, cols] > minimum).all()
    if k and n:
        total = (similarity[rows, cols] - minimum).sum()
        assert total == pytest.approx(best_by_trying(similarity, minimum))


def test_equals_the_extended_cost_matrix_of_bytetrack():
    """lapjv with a cost limit: unmatched rows and columns cost half the limit each."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        k, n, limit = 12, 15, 0.8
        cost = rng.random((k, n)) ** 0.5
        extended = np.full((k + n, k + n), limit / 2)
        extended[k:, n:] = 0
        extended[:k, :n] = cost
        r, c = linear_sum_assignment(extended)
        want = {(i, j) for i, j in zip(r, c, strict=True) if i < k and j < n}
        assert set(zip(*(ends.tolist() for ends in match(1 - cost, 1 - limit)), strict=True)) == want


def test_many_objects_fall_apart_into_components():
    """700 tracks: the way by components gives as much as one dense problem."""
    rng = np.random.default_rng(1)
    rows = np.repeat(np.arange(700), 3)
    cols = np.clip(rows + np.tile([-1, 0, 1], 700) + 5 * (rng.random(2100) < 0.02), 0, 699)
    rows, cols = np.unique(np.stack([rows, cols]), axis=1)
    gains = rng.random(len(rows))
    taken = match_pairs(rows, cols, gains)
    assert len(set(rows[taken])) == len(set(cols[taken])) == len(taken)
    dense = np.zeros((700, 700))
    dense[rows, cols] = gains
    best = dense[linear_sum_assignment(dense, maximize=True)].sum()
    assert gains[taken].sum() == pytest.approx(best)
