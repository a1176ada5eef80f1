"""The loop that fills polygons as COCO's tools do.

COCO's rule: the outline is drawn on a grid five times as fine; where it steps from one fine column to
the next in the middle of a pixel column, the mask changes below that point::

    fine columns  0 1 2 3 4 | 5 6 7 8 9 | ...
                      ^-----------^------ the steps 2 -> 3, 7 -> 8 count, in pixel columns 0, 1
"""

# mypy: ignore-errors
# numba infers the types; mypy knows neither what it makes of a function nor of whole numbers of numpy.

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vis.evaluation.kernel_cache import kernel
from vis.evaluation.kernel_types import FLOATS, INT, INTS
from vis.evaluation.mask_kernels import fill_box, longer, put_ones

__all__ = ["fill"]

FINE = 5
Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@njit
def near(value: float, side: int) -> float:
    """A coordinate, kept within one frame around the frame; far-away points are of no consequence."""
    return min(max(value, -1.0 * side), 2.0 * side)


@njit
def fine(value: float, side: int) -> int:
    """A coordinate on the fine grid; rounds as C casts do."""
    return np.int64(FINE * near(value, side) + 0.5)


@njit
def sort_pairs(keys: Int64, extra: Int64, n: int, height: int, width: int) -> tuple[Int64, Int64]:
    """The first ``n``, sorted by key, 0 to height * width, by counting rows and then columns: linear whatever comes."""
    for turn in range(2):
        other_keys, other_extra = np.empty_like(keys), np.empty_like(extra)
        counts = np.zeros((height if turn == 0 else width + 1) + 1, np.int64)
        for i in range(n):
            counts[1 + (keys[i] % height if turn == 0 else keys[i] // height)] += 1
        for c in range(len(counts) - 1):
            counts[c + 1] += counts[c]
        for i in range(n):
            bucket = keys[i] % height if turn == 0 else keys[i] // height
            place = counts[bucket]
            counts[bucket] = place + 1
            other_keys[place] = keys[i]
            other_extra[place] = extra[i]
        keys, extra = other_keys, other_extra
    return keys, extra


@njit
def length(points: Float64, start: int, stop: int, height: int, width: int) -> float:
    """The longer side of each line of the outline, summed, where it is kept near the frame."""
    total = 0.0
    for p in range(start, stop, 2):
        q = p + 2 if p + 2 < stop else start
        dx = near(points[p], width) - near(points[q], width)
        dy = near(points[p + 1], height) - near(points[q + 1], height)
        total += max(abs(dx), abs(dy))
    return total


@njit
def crossings(
    points: Float64, start: int, stop: int, height: int, width: int, keys: Int64
) -> tuple[Int64, int]:
    """Where the outline crosses pixel columns, column * height + row each, in ``keys`` or a longer copy; how often."""
    n = 0
    before_u = before_v = 0
    begun = False
    for p in range(start, stop, 2):
        q = p + 2 if p + 2 < stop else start
        x0, y0 = fine(points[p], width), fine(points[p + 1], height)
        x1, y1 = fine(points[q], width), fine(points[q + 1], height)
        dx, dy = abs(x1 - x0), abs(y1 - y0)
        steep = dx < dy
        # The line is computed from its lower end, whichever way it is drawn.
        turned = y0 > y1 if steep else x0 > x1
        if turned:
            x0, x1, y0, y1 = x1, x0, y1, y0
        steps = dy if steep else dx
        slope = 0.0
        if steps > 0:
            slope = (x1 - x0) / steps if steep else (y1 - y0) / steps
        for step in range(steps + 1):
            t = steps - step if turned else step
            if steep:
                u, v = np.int64(x0 + slope * t + 0.5), y0 + t
            else:
                u, v = x0 + t, np.int64(y0 + slope * t + 0.5)
            if begun and u != before_u:
                left_of = u if u < before_u else u - 1
                column = (left_of - FINE // 2) // FINE
                if left_of == FINE * column + FINE // 2 and 0 <= column < width:
                    if n == len(keys):
                        keys = longer(keys, n + 1)
                    row = -((FINE // 2 - min(v, before_v)) // FINE)
                    keys[n] = column * height + min(max(row, 0), height)
                    n += 1
            before_u, before_v, begun = u, v, True
    return keys, n


@kernel(FLOATS, INTS, INTS, INT, INT, INT)
def fill(
    points: Float64, polygon_ends: Int64, mask_ends: Int64, height: int, width: int, longest: int
) -> tuple[int, Int32, Int64, Int64, Int32]:
    """-1, edges, offsets, areas and boxes of the masks of a :class:`Polygons`; a mask without any is absent.

    Instead of -1 comes the index of the first mask whose outlines are longer than ``longest`` pixels.
    """
    masks = len(mask_ends)
    edges = np.empty(1024, np.int32)
    offsets, areas = np.zeros(masks + 1, np.int64), np.zeros(masks, np.int64)
    boxes = np.zeros((masks, 4), np.int32)
    keys, starts, stops = np.empty(256, np.int64), np.empty(256, np.int64), np.empty(256, np.int64)
    n = polygon = start = 0
    for t in range(masks):
        first = n
        intervals = 0
        outline = 0.0
        several = mask_ends[t] > polygon + 1
        while polygon < mask_ends[t]:
            stop = polygon_ends[polygon]
            outline += length(points, start, stop, height, width)
            if outline > longest:
                return t, edges, offsets, areas, boxes
            keys, found = crossings(points, start, stop, height, width, keys)
            ordered, _ = sort_pairs(keys, keys, found, height, width)
            if intervals + found > len(starts):
                starts, stops = longer(starts, intervals + found), longer(stops, intervals + found)
            for i in range(0, found, 2):
                starts[intervals] = ordered[i]
                stops[intervals] = ordered[i + 1] if i + 1 < found else height * width
                intervals += stops[intervals] > starts[intervals]
            start = stop
            polygon += 1
        if several:
            starts, stops = sort_pairs(starts, stops, intervals, height, width)
        if n + 2 * intervals > len(edges):
            edges = longer(edges, n + 2 * intervals)
        reach = 0
        for i in range(intervals):
            begin = max(starts[i], reach)
            if stops[i] > begin:
                n = put_ones(edges, first, n, begin, stops[i] - begin)
                areas[t] += stops[i] - begin
                reach = stops[i]
        offsets[t + 1] = n
        fill_box(edges, first, n, height, boxes, t)
    return -1, edges[:n].copy(), offsets, areas, boxes
