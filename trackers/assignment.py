"""Optimal one-to-one assignment of tracks to detections. Knows only similarities.

All matching here maximises the sum of gains (similarity minus the least acceptable one) over the
matched pairs, and pairs without gain stay apart. This is the problem that ByteTrack solves with
``lapjv(extend_cost=True, cost_limit=...)``, written the other way round. It falls apart into the
connected components of the graph of possible pairs, and in video most components are one track and
one detection: those need no solver at all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

__all__ = ["match", "match_pairs"]

Array = NDArray[Any]
Index = NDArray[np.intp]

_DENSE = 300
"""Up to this many rows one dense problem is faster than looking for components."""


def match(similarity: Array, minimum: float) -> tuple[Index, Index]:
    """Best pairs of a dense (K, N) similarity, each strictly above ``minimum``: rows, columns.

    Rows rise. Ties go to the same pairs every time.
    """
    rows, cols = np.nonzero(similarity > minimum)
    chosen = match_pairs(rows, cols, similarity[rows, cols] - minimum)
    return rows[chosen], cols[chosen]


def match_pairs(rows: Index, cols: Index, gains: Array) -> Index:
    """Which of the P possible pairs to take, so that no row or column is used twice.

    Args:
        rows, cols: (P,) the two ends of each possible pair, every pair at most once.
        gains: (P,) what taking the pair is worth, > 0.

    Returns:
        Indices into the pairs, rising, with the greatest possible sum of gains.
    """
    if not len(rows):
        return np.zeros(0, np.intp)
    alone = (np.bincount(rows)[rows] == 1) & (np.bincount(cols)[cols] == 1)
    if alone.all():
        return np.arange(len(rows))
    (rest,) = np.nonzero(~alone)
    alone[rest[_solve(rows[rest], cols[rest], gains[rest])]] = True
    chosen: Index = np.nonzero(alone)[0]
    return chosen


def _solve(rows: Index, cols: Index, gains: Array) -> Index:
    """``match_pairs`` for pairs that compete with one another."""
    row_names, rows = np.unique(rows, return_inverse=True)
    col_names, cols = np.unique(cols, return_inverse=True)
    if max(len(row_names), len(col_names)) <= _DENSE:
        return _solve_dense(rows, cols, gains, len(row_names), len(col_names))
    n = len(row_names)
    graph = coo_array((np.ones(len(rows), np.int8), (rows, n + cols)), shape=(n + len(col_names),) * 2)
    count, component = connected_components(graph, directed=False)
    if count == 1:
        return _solve_dense(rows, cols, gains, n, len(col_names))
    of_pair = component[rows]
    order = np.argsort(of_pair, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(of_pair[order])) + 1)
    return np.concatenate([part[match_pairs(rows[part], cols[part], gains[part])] for part in parts])


def _solve_dense(rows: Index, cols: Index, gains: Array, height: int, width: int) -> Index:
    """One linear assignment over a (height, width) table of gains; absent pairs gain 0."""
    table = np.zeros((height, width))
    table[rows, cols] = gains
    names = np.full((height, width), -1, np.intp)
    names[rows, cols] = np.arange(len(rows))
    taken: Index = names[linear_sum_assignment(table, maximize=True)]
    return taken[taken >= 0]
