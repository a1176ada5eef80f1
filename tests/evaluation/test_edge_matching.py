"""Thinning, and the pairing of edge pixels: closed forms, laws, and the best pairing of a dense solver."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import label
from scipy.optimize import linear_sum_assignment

from vis.evaluation.edge_matching import match_pixels, thin


def test_a_bar_becomes_a_line_and_a_ring_stays_one():
    bar = np.zeros((20, 40), bool)
    bar[8:13, 5:35] = True
    line = thin(bar)
    assert (line.sum(axis=0) <= 1).all()
    assert line[10, 10:30].all()
    y, x = np.indices((40, 40)) - 19.5
    ring = np.abs(np.hypot(y, x) - 12) < 3
    lines = thin(ring)
    assert label(~lines)[1] == 2  # inside and outside
    assert label(lines, np.ones((3, 3)))[1] == 1
    assert not (lines & ~ring).any()


@pytest.mark.parametrize("seed", range(4))
def test_thinning_parts_and_joins_nothing_and_ends(seed):
    mask = np.random.default_rng(seed).random((30, 41)) < (0.3, 0.5, 0.7, 0.9)[seed]
    lines = thin(mask)
    assert label(lines, np.ones((3, 3)))[1] == label(mask, np.ones((3, 3)))[1]
    np.testing.assert_array_equal(thin(lines), lines)
    assert not (lines & ~mask).any()


def test_thinning_of_masks_without_room():
    assert not thin(np.zeros((3, 4), bool)).any()
    assert thin(np.ones((1, 1), bool)).all()
    assert thin(np.ones((1, 7), bool)).any()


# ---------------------------------------------------------------- matching


@pytest.mark.parametrize("seed", range(12))
def test_pairs_are_as_many_and_as_near_as_can_be(seed):
    """Against the whole assignment problem, outliers and all."""
    rng = np.random.default_rng(seed)
    found, truth = (rng.random((14, 17)) < share for share in rng.uniform(0.02, 0.5, 2))
    reach = (1.0, 2.3, 3.5)[seed % 3]
    of_found, of_truth = match_pixels(found, truth, reach)
    a, b = np.argwhere(found), np.argwhere(truth)
    distance = np.round(100 * np.linalg.norm(a[:, None] - b[None], axis=2))
    allowed = np.linalg.norm(a[:, None] - b[None], axis=2) <= reach
    outlier = math.ceil(100 * 100 * reach)

    def cheapest(rows, columns):
        cost = np.where(allowed, distance, 10**9)[np.ix_(rows, columns)]
        n, m = cost.shape
        full = np.full((n + m, n + m), float(outlier))
        full[:n, :m] = cost
        i, j = linear_sum_assignment(full)
        inside = (i < n) & (j < m)
        return inside.sum(), full[i, j][inside].sum()

    everything = cheapest(np.arange(len(a)), np.arange(len(b)))
    chosen = cheapest(np.flatnonzero(of_found[found]), np.flatnonzero(of_truth[truth]))
    assert of_found.sum() == of_truth.sum() == everything[0]
    assert chosen == everything  # the matched pixels alone can be paired at the same cost
    assert not (of_found & ~found).any()
    assert not (of_truth & ~truth).any()


def test_of_equal_solutions_the_pixels_further_right_are_taken():
    found, truth = np.zeros((2, 9, 9), bool)
    truth[2:7, 4] = True
    found[2:7, 3] = found[2:7, 5] = True
    of_found, of_truth = match_pixels(found, truth, 2)
    np.testing.assert_array_equal(of_found, np.roll(truth, 1, axis=1))
    np.testing.assert_array_equal(of_truth, truth)


def test_nothing_near_is_matched_with_nothing():
    found, truth = np.zeros((2, 20, 20), bool)
    for one, other in ((found, truth), (truth, found)):
        a, b = match_pixels(one, other, 3)
        assert not a.any()
        assert not b.any()
    found[0, 0] = truth[19, 19] = True
    a, b = match_pixels(found, truth, 3)
    assert not a.any()
    assert not b.any()


# ---------------------------------------------------------------- counts and scores
