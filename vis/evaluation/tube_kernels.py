"""Loops over many tubes: overlaps, IoUs, matching. Tubes come as :class:`Packed`; pairs of groups as spans.

A span int64 (4,) pairs every tube ``span[0]`` to ``span[1]`` of a with every tube ``span[2]`` to ``span[3]`` of b.
"""

# mypy: ignore-errors
# numba infers the types; mypy knows neither what it makes of a function nor of whole numbers of numpy.

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vis.evaluation.kernel_cache import kernel
from vis.evaluation.kernel_types import BOOLS, BOOLS_2D, FLOAT, FLOATS, INT, INTS_2D, PACKED
from vis.evaluation.tube_masks import Packed

__all__ = ["boundary_ious", "ious", "match", "overlap"]

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]


@njit
def common_pixels(a: Int32, i: int, i_end: int, b: Int32, j: int, j_end: int) -> int:
    """Pixels that two interval lists share."""
    total = 0
    while i < i_end and j < j_end:
        a_stop, b_stop = a[i + 1], b[j + 1]
        total += max(min(a_stop, b_stop) - max(a[i], b[j]), 0)
        # Steps without a branch: which list is behind is a coin toss to the CPU.
        i += 2 * (a_stop <= b_stop)
        j += 2 * (b_stop <= a_stop)
    return total


@njit
def frame_overlap(
    a_edges: Int32,
    a_bounds: Int64,
    a_boxes: Int32,
    f: int,
    b_edges: Int32,
    b_bounds: Int64,
    b_boxes: Int32,
    g: int,
) -> int:
    """Pixels that frame f of a and frame g of b share."""
    if (
        a_boxes[f, 0] >= b_boxes[g, 2]
        or b_boxes[g, 0] >= a_boxes[f, 2]
        or a_boxes[f, 1] >= b_boxes[g, 3]
        or b_boxes[g, 1] >= a_boxes[f, 3]
    ):
        return 0
    return common_pixels(a_edges, a_bounds[f], a_bounds[f + 1], b_edges, b_bounds[g], b_bounds[g + 1])


@njit
def shared_pixels(a: Packed, f: int, b: Packed, g: int, frames: int) -> int:
    """Pixels that the ``frames`` frames from f of a and from g of b share."""
    a_edges, a_bounds, _, a_boxes, _ = a
    b_edges, b_bounds, _, b_boxes, _ = b
    total = 0
    for t in range(frames):
        total += frame_overlap(a_edges, a_bounds, a_boxes, f + t, b_edges, b_bounds, b_boxes, g + t)
    return total


@kernel(PACKED, PACKED, INT)
def overlap(a: Packed, b: Packed, frames: int) -> Int64:
    """Pixels that the first tube of each share in each of their first ``frames`` frames, int64 (frames,)."""
    out = np.empty(frames, np.int64)
    for t in range(frames):
        out[t] = shared_pixels(a, t, b, t, 1)
    return out


@kernel(PACKED, PACKED, INTS_2D, FLOAT)
def ious(a: Packed, b: Packed, spans: Int64, floor: float) -> Float64:
    """Mask tube IoU of all pairs of the spans, in order, over the frames that both cover; 0 below ``floor``."""
    a_areas, a_first, b_areas, b_first = a.areas, a.first, b.areas, b.first
    pairs = 0
    for group in range(len(spans)):
        pairs += (spans[group, 1] - spans[group, 0]) * (spans[group, 3] - spans[group, 2])
    out = np.zeros(pairs)
    n = 0
    for group in range(len(spans)):
        for i in range(spans[group, 0], spans[group, 1]):
            for j in range(spans[group, 2], spans[group, 3]):
                f, g = a_first[i], b_first[j]
                frames = min(a_first[i + 1] - f, b_first[j + 1] - g)
                total = most = 0
                for t in range(frames):
                    total += a_areas[f + t] + b_areas[g + t]
                    # No intersection is larger than the smaller mask of each frame.
                    most += min(a_areas[f + t], b_areas[g + t])
                if most > 0 and most / (total - most) >= floor:
                    common = shared_pixels(a, f, b, g, frames)
                    out[n] = common / (total - common)
                n += 1
    return out


@kernel(PACKED, PACKED, PACKED, PACKED, INTS_2D)
def boundary_ious(a: Packed, a_inner: Packed, b: Packed, b_inner: Packed, pairs: Int64) -> Float64:
    """Boundary tube IoU of pairs int64 (P, 2) of a tube of a and one of b, from the masks and the eroded masks."""
    out = np.zeros(len(pairs))
    for k in range(len(pairs)):
        i, j = pairs[k, 0], pairs[k, 1]
        f, g = a.first[i], b.first[j]
        frames = min(a.first[i + 1] - f, b.first[j + 1] - g)
        common = (
            shared_pixels(a, f, b, g, frames)
            - shared_pixels(a, f, b_inner, g, frames)
            - shared_pixels(a_inner, f, b, g, frames)
            + shared_pixels(a_inner, f, b_inner, g, frames)
        )
        union = -common
        for t in range(frames):
            union += a.areas[f + t] - a_inner.areas[f + t] + b.areas[g + t] - b_inner.areas[g + t]
        if union > 0:
            out[k] = common / union
    return out


@kernel(FLOATS, INTS_2D, BOOLS_2D, BOOLS, FLOATS, INT)
def match(
    ious: Float64, spans: Int64, ignored: Bool, crowd: Bool, thresholds: Float64, detections: int
) -> Int64:
    """COCO's greedy matching of detections (best first) to truths, per group, area range and threshold.

    ``ious`` and ``spans`` as in :func:`ious`; ``ignored`` (A, G), ``crowd`` (G), ``thresholds`` (T). Returns
    (A, T, D): rows of truths, -1 for none.
    """
    ranges, levels = len(ignored), len(thresholds)
    matched = np.full((ranges, levels, detections), -1, np.int64)
    taken = np.zeros(len(crowd), np.bool_)
    first = 0
    for group in range(len(spans)):
        d0, d1, g0, g1 = spans[group]
        for a in range(ranges):
            for t in range(levels):
                taken[g0:g1] = False
                for d in range(d0, d1):
                    best = min(thresholds[t], 1 - 1e-10)
                    found = -1
                    # Truths that count come first; ignored ones only when none of those fits.
                    for turn in range(2):
                        if found < 0:
                            for g in range(g0, g1):
                                able = ignored[a, g] == (turn == 1) and (not taken[g] or crowd[g])
                                value = ious[first + (d - d0) * (g1 - g0) + g - g0]
                                if able and value >= best:
                                    best = value
                                    found = g
                    matched[a, t, d] = found
                    if found >= 0:
                        taken[found] = True
        first += (d1 - d0) * (g1 - g0)
    return matched
