"""Kernels on many tubes: sizes, IoUs, matching. See :mod:`vis.evaluation.kernels`.

Tubes come as a *table*: per tube five int64, the addresses of its edges, offsets, areas and boxes, and
its number of frames. Each table is passed three times, typed by what its values point to.
"""

# mypy: ignore-errors
# numba types these functions, from the signatures in vis.evaluation.kernels; pointers have no Python type.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["bands", "ious", "match", "overlap", "sizes"]

# Columns of a table.
EDGES, OFFSETS, AREAS, BOXES, FRAMES, COLUMNS = 0, 1, 2, 3, 4, 5


def sizes(longs: Any, counts: Any, tubes: int, totals: Any, present: Any) -> int:
    """Pixels over all frames, and frames with any, of each tube."""
    for k in range(tubes):
        areas = longs[COLUMNS * k + AREAS]
        total = frames = np.int64(0)
        for t in range(counts[COLUMNS * k + FRAMES]):
            total += areas[t]
            frames += areas[t] > 0
        totals[k] = total
        present[k] = frames
    return 0


@njit
def common_pixels(a: Any, i: int, i_end: int, b: Any, j: int, j_end: int) -> int:
    """Pixels that two interval lists share."""
    total = np.int64(0)
    while i < i_end and j < j_end:
        a_stop, b_stop = a[i + 1], b[j + 1]
        total += max(min(a_stop, b_stop) - max(a[i], b[j]), 0)
        # Steps without a branch: which list is behind is a coin toss to the processor.
        i += 2 * (a_stop <= b_stop)
        j += 2 * (b_stop <= a_stop)
    return total


@njit
def frame_overlap(a_ints: Any, a_longs: Any, a: int, b_ints: Any, b_longs: Any, b: int, t: int) -> int:
    """Pixels that tube a of one table and tube b of another share in frame t."""
    a, b = COLUMNS * a, COLUMNS * b
    a_boxes, b_boxes = a_ints[a + BOXES], b_ints[b + BOXES]
    k = 4 * t
    if (
        a_boxes[k] >= b_boxes[k + 2]
        or b_boxes[k] >= a_boxes[k + 2]
        or a_boxes[k + 1] >= b_boxes[k + 3]
        or b_boxes[k + 1] >= a_boxes[k + 3]
    ):
        return 0
    a_offsets, b_offsets = a_longs[a + OFFSETS], b_longs[b + OFFSETS]
    return common_pixels(
        a_ints[a + EDGES], a_offsets[t], a_offsets[t + 1], b_ints[b + EDGES], b_offsets[t], b_offsets[t + 1]
    )


def overlap(a_ints: Any, a_longs: Any, b_ints: Any, b_longs: Any, frames: int, out: Any) -> int:
    """Pixels that two tubes share in each of their first ``frames`` frames."""
    for t in range(frames):
        out[t] = frame_overlap(a_ints, a_longs, 0, b_ints, b_longs, 0, t)
    return 0


@njit
def shared(a_ints: Any, a_longs: Any, a: int, b_ints: Any, b_longs: Any, b: int, frames: int) -> int:
    """Pixels that tube a of one table and tube b of another share."""
    total = np.int64(0)
    for t in range(frames):
        total += frame_overlap(a_ints, a_longs, a, b_ints, b_longs, b, t)
    return total


def ious(
    a_ints: Any,
    a_longs: Any,
    a_counts: Any,
    b_ints: Any,
    b_longs: Any,
    b_counts: Any,
    spans: Any,
    groups: int,
    floor: Any,
    out: Any,
) -> int:
    """Mask tube IoU over the frames that both lists cover; 0 where it cannot reach ``floor[0]``.

    Each group pairs tubes ``spans[0]`` to ``spans[1]`` of a with ``spans[2]`` to ``spans[3]`` of b.
    """
    n = 0
    for group in range(groups):
        for i in range(spans[4 * group], spans[4 * group + 1]):
            for j in range(spans[4 * group + 2], spans[4 * group + 3]):
                frames = min(a_counts[COLUMNS * i + FRAMES], b_counts[COLUMNS * j + FRAMES])
                a_areas, b_areas = a_longs[COLUMNS * i + AREAS], b_longs[COLUMNS * j + AREAS]
                total = most = np.int64(0)
                for t in range(frames):
                    total += a_areas[t] + b_areas[t]
                    # No intersection is larger than the smaller mask of each frame.
                    most += min(a_areas[t], b_areas[t])
                value = 0.0
                if most > 0 and most / (total - most) >= floor[0]:
                    common = shared(a_ints, a_longs, i, b_ints, b_longs, j, frames)
                    value = common / (total - common)
                out[n] = value
                n += 1
    return 0


def bands(
    a_ints: Any,
    a_longs: Any,
    a_counts: Any,
    a_inner_ints: Any,
    a_inner_longs: Any,
    b_ints: Any,
    b_longs: Any,
    b_counts: Any,
    b_inner_ints: Any,
    b_inner_longs: Any,
    pairs: Any,
    count: int,
    out: Any,
) -> int:
    """Boundary tube IoU of each pair (row of a, row of b), from the masks and the eroded masks."""
    for k in range(count):
        i, j = pairs[2 * k], pairs[2 * k + 1]
        a_row, b_row = COLUMNS * i, COLUMNS * j
        frames = min(a_counts[a_row + FRAMES], b_counts[b_row + FRAMES])
        common = (
            shared(a_ints, a_longs, i, b_ints, b_longs, j, frames)
            - shared(a_ints, a_longs, i, b_inner_ints, b_inner_longs, j, frames)
            - shared(a_inner_ints, a_inner_longs, i, b_ints, b_longs, j, frames)
            + shared(a_inner_ints, a_inner_longs, i, b_inner_ints, b_inner_longs, j, frames)
        )
        union = -common
        for t in range(frames):
            union += a_longs[a_row + AREAS][t] - a_inner_longs[a_row + AREAS][t]
            union += b_longs[b_row + AREAS][t] - b_inner_longs[b_row + AREAS][t]
        out[k] = common / union if union > 0 else 0.0
    return 0


def match(
    ious: Any,
    spans: Any,
    groups: int,
    ignored: Any,
    crowd: Any,
    truths: int,
    ranges: int,
    thresholds: Any,
    levels: int,
    detections: int,
    taken: Any,
    matched: Any,
) -> int:
    """COCO's greedy matching of detections (best first) to truths, per group, area range and threshold.

    Fills ``matched`` (ranges, levels, detections) with rows of truths, -1 for none. ``ignored`` is (ranges,
    truths); ``crowd`` and ``taken`` hold ``truths``.
    """
    first = 0
    for group in range(groups):
        d0, d1 = spans[4 * group], spans[4 * group + 1]
        g0, g1 = spans[4 * group + 2], spans[4 * group + 3]
        for a in range(ranges):
            for t in range(levels):
                for g in range(g0, g1):
                    taken[g] = 0
                for d in range(d0, d1):
                    best = min(thresholds[t], 1 - 1e-10)
                    found = np.int64(-1)
                    # Truths that count come first; ignored ones only when none of those fits.
                    for turn in range(2):
                        if found < 0:
                            for g in range(g0, g1):
                                able = ignored[a * truths + g] == turn and (taken[g] == 0 or crowd[g] != 0)
                                value = ious[first + (d - d0) * (g1 - g0) + g - g0]
                                if able and value >= best:
                                    best = value
                                    found = g
                    matched[(a * levels + t) * detections + d] = found
                    if found >= 0:
                        taken[found] = 1
        first += (d1 - d0) * (g1 - g0)
    return 0
