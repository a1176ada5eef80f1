"""Edge maps against drawn boundaries, pixel by pixel, as the Berkeley segmentation benchmark matches them.

A thresholded map is thinned to lines (Guo & Hall, Comm. ACM 32(3), 1989, the first of their two algorithms), and its
pixels are paired one to one with those of a boundary (Martin, Fowlkes & Malik, PAMI 26(5), 2004, appendix B). Knows
no file and no score.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

__all__ = ["match_pixels", "thin"]

Bool = NDArray[np.bool_]
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]

# The eight neighbours of a pixel, (rows down, columns right), counterclockwise from the east.
_NEIGHBOURS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))

_OUTLIER = 100
"""What it costs to leave a pixel without partner, in largest distances."""
_UNITS = 100
"""The benchmark measures distances in whole hundredths of a pixel."""
_TIE = 10**6
"""Parts of such a hundredth, for the choice between solutions of equal cost."""
_BLOCK = 200
"""Pixels of one side that are matched at once; more where they hang together."""


# ---------------------------------------------------------------- thinning


def thin(mask: Bool) -> Bool:
    """A mask (H, W) thinned to lines one pixel wide that hang together as it does. Outside of it is background."""
    height, width = mask.shape
    padded = np.pad(mask, 1).astype(np.uint8).ravel()
    steps = [down * (width + 2) + right for down, right in _NEIGHBOURS]
    left = np.flatnonzero(padded)
    before = -1
    while len(left) != before:
        before = len(left)
        for removable in _REMOVABLE:
            around = np.zeros(len(left), np.uint8)
            for bit, step in enumerate(steps):
                around |= padded[left + step] << np.uint8(bit)
            gone = removable[around]
            padded[left[gone]] = 0
            left = left[~gone]
    return padded.reshape(height + 2, width + 2)[1:-1, 1:-1].astype(np.bool_)


def _is_removable(around: int, turn: int) -> bool:
    """Whether a pixel with these neighbours (bit k: the k-th is set) goes in the first (0) or second (1) turn.

    The conditions G1, G2 and G3 of the paper: removal parts nothing, the pixel is not the end of a line, and it lies
    on the north east (first) or the south west side (second).
    """
    x = [bool(around >> k & 1) for k in range(8)]
    parts = sum(not x[k] and (x[k + 1] or x[(k + 2) % 8]) for k in (0, 2, 4, 6))
    pairs = sum(x[k - 1] or x[k] for k in (1, 3, 5, 7)), sum(x[k] or x[(k + 1) % 8] for k in (1, 3, 5, 7))
    e = 4 * turn
    inside = x[e] and (x[e + 1] or x[e + 2] or not x[(e + 7) % 8])
    return parts == 1 and 2 <= min(pairs) <= 3 and not inside


_REMOVABLE = tuple(np.array([_is_removable(around, turn) for around in range(256)]) for turn in (0, 1))


# ---------------------------------------------------------------- matching


def match_pixels(found: Bool, truth: Bool, max_distance: float) -> tuple[Bool, Bool]:
    """Which pixels of ``found`` and of ``truth``, bool (H, W), have a partner in the other: two masks (H, W).

    A partner lies at most ``max_distance`` pixels away, and every pixel has one at most. The pairs are those of the
    smallest cost: the sum of their distances, and 100 largest distances for each pixel left over, so that there are
    as many as there can be. Of several such solutions it is the one whose pixels of ``found`` lie further right. The
    benchmark's solver leaves some of the possible choices out, at random, and may give any of them, or nearly one.
    """
    matched = np.zeros(found.shape, np.bool_), np.zeros(truth.shape, np.bool_)
    i, j, cost = _candidates(found, truth, max_distance)
    if len(i):
        outlier = math.ceil(_OUTLIER * max_distance * _UNITS) * _TIE
        for side, pixels in zip(matched, _matched(i, j, cost, outlier), strict=True):
            side.flat[pixels] = True
    return matched


def _candidates(found: Bool, truth: Bool, max_distance: float) -> tuple[Int64, Int64, Int64]:
    """Every pair that may be one: positions in ``found`` and in ``truth`` (flat), and what it costs."""
    reach = math.ceil(max_distance)
    width = found.shape[1]
    wide = width + 2 * reach
    padded = np.pad(truth, reach).ravel()
    at = np.flatnonzero(found)
    at_padded = (at // width + reach) * wide + at % width + reach
    near: list[tuple[Int64, Int64, Int64]] = []
    for down in range(-reach, reach + 1):
        for right in range(-reach, reach + 1):
            if down * down + right * right > max_distance * max_distance:
                continue
            hits = at[padded[at_padded + down * wide + right]]
            cost = round(math.hypot(down, right) * _UNITS) * _TIE + reach + right
            near.append((hits, hits + down * width + right, np.full(len(hits), cost)))
    i, j, costs = (np.concatenate(columns) for columns in zip(*near, strict=True))
    return i, j, costs


def _matched(i: Int64, j: Int64, cost: Int64, outlier: int) -> tuple[Int64, Int64]:
    """The matched positions of both sides, of candidate pairs ``i[k]``, ``j[k]`` of ``cost[k]``."""
    rows, i = np.unique(i, return_inverse=True)
    columns, j = np.unique(j, return_inverse=True)
    # A cost of zero would be no entry at all. All complete assignments have as many pairs, those with outliers
    # counted, so one more for each changes nothing.
    costs = csr_matrix((cost + 1, (i, j)), shape=(len(rows), len(columns)))
    matched_rows, matched_columns = [], []
    for block_rows, block_columns, block in _blocks(costs):
        chosen_rows, chosen_columns = _assign(block, outlier + 1)
        matched_rows.append(block_rows[chosen_rows])
        matched_columns.append(block_columns[chosen_columns])
    return rows[np.concatenate(matched_rows)], columns[np.concatenate(matched_columns)]


def _blocks(costs: csr_matrix) -> Iterator[tuple[Int64, Int64, csr_matrix]]:
    """Rows, columns and costs of parts that have no candidate pair in common, small ones together.

    Every unmatched pixel costs a search of its part: many parts are much faster than one.
    """
    count, others = costs.shape
    ends = np.append(costs.indptr, np.full(others, costs.indptr[-1]))
    graph = csr_matrix((costs.data, costs.indices + count, ends), shape=(count + others, count + others))
    _, label = connected_components(graph, directed=False)
    sizes = np.bincount(label[:count])
    block_of = ((np.cumsum(sizes) - sizes) // _BLOCK)[label]
    rows, columns = (np.argsort(part, kind="stable") for part in (block_of[:count], block_of[count:]))
    ordered = costs[rows][:, columns]
    numbers = np.unique(block_of)
    row_ends = np.searchsorted(block_of[:count][rows], numbers, side="right")
    column_ends = np.searchsorted(block_of[count:][columns], numbers, side="right")
    top = left = 0
    for bottom, right in zip(row_ends.tolist(), column_ends.tolist(), strict=True):
        some = slice(ordered.indptr[top], ordered.indptr[bottom])
        entries = (
            ordered.data[some],
            ordered.indices[some] - left,
            ordered.indptr[top : bottom + 1] - some.start,
        )
        yield rows[top:bottom], columns[left:right], csr_matrix(entries, shape=(bottom - top, right - left))
        top, left = bottom, right


def _assign(costs: csr_matrix, outlier: int) -> tuple[Int64, Int64]:
    """Rows and columns of the pairs of smallest cost, one partner each; one without costs ``outlier``.

    Each row of the shorter side gets a column of its own for staying without partner, so that all of them are
    assigned::

        costs   outlier
        c c .   o . .
        . c c   . o .
        c . .   . . o
    """
    if costs.shape[0] > costs.shape[1]:
        columns, rows = _assign(costs.T.tocsr(), outlier)
        return rows, columns
    count, others = costs.shape
    own = others + np.arange(count)
    data = np.insert(costs.data, costs.indptr[1:], outlier)
    indices = np.insert(costs.indices, costs.indptr[1:], own)
    ends = costs.indptr + np.arange(count + 1)
    rows, columns = min_weight_full_bipartite_matching(
        csr_matrix((data, indices, ends), shape=(count, others + count))
    )
    real = columns < others
    return rows[real], columns[real]
