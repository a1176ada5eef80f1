"""The kernel that fills polygons as COCO's tools do. See :mod:`vis.evaluation.kernels`.

COCO's rule: the outline is drawn on a grid five times as fine; where it steps from one fine column to
the next in the middle of a pixel column, the mask changes below that point::

    fine columns  0 1 2 3 4 | 5 6 7 8 9 | ...
                      ^-----------^------ the steps 2 -> 3, 7 -> 8 count, in pixel columns 0, 1
"""

# mypy: ignore-errors
# numba types these functions, from the signatures in vis.evaluation.kernels; pointers have no Python type.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vis.evaluation.mask_kernels import box, put_ones

__all__ = ["fill"]

FINE = 5


@njit
def near(value: float, side: int) -> float:
    """A coordinate, kept within one frame around the frame; far-away points are of no consequence."""
    return min(max(value, -1.0 * side), 2.0 * side)


@njit
def fine(value: float, side: int) -> int:
    """A coordinate on the fine grid; rounds as C casts do."""
    return np.int64(FINE * near(value, side) + 0.5)


@njit
def sort_pairs(
    keys: Any, extra: Any, n: int, other_keys: Any, other_extra: Any, counts: Any, height: int, width: int
) -> None:
    """Sort by key, 0 to height * width, by counting rows and then columns: linear whatever comes."""
    for turn in range(2):
        buckets = height if turn == 0 else width + 1
        for c in range(buckets + 1):
            counts[c] = 0
        for i in range(n):
            counts[1 + (keys[i] % height if turn == 0 else keys[i] // height)] += 1
        for c in range(buckets):
            counts[c + 1] += counts[c]
        for i in range(n):
            bucket = keys[i] % height if turn == 0 else keys[i] // height
            place = counts[bucket]
            counts[bucket] = place + 1
            other_keys[place] = keys[i]
            other_extra[place] = extra[i]
        keys, other_keys = other_keys, keys
        extra, other_extra = other_extra, extra


@njit
def length(points: Any, start: int, stop: int, height: int, width: int) -> float:
    """The longer side of each line of the outline, summed, where it is kept near the frame."""
    total = 0.0
    for p in range(start, stop, 2):
        q = p + 2 if p + 2 < stop else start
        dx = near(points[p], width) - near(points[q], width)
        dy = near(points[p + 1], height) - near(points[q + 1], height)
        total += max(abs(dx), abs(dy))
    return total


@njit
def crossings(points: Any, start: int, stop: int, height: int, width: int, keys: Any, room: int) -> int:
    """Where the outline crosses pixel columns, column * height + row each; how often, or -1 without room."""
    n = 0
    before_u = before_v = np.int64(0)
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
                    if n >= room:
                        return -1
                    row = -((FINE // 2 - min(v, before_v)) // FINE)
                    keys[n] = column * height + min(max(row, 0), height)
                    n += 1
            before_u, before_v, begun = u, v, True
    return n


def fill(
    points: Any,
    polygon_ends: Any,
    mask_ends: Any,
    masks: int,
    height: int,
    width: int,
    longest: int,
    edges: Any,
    room: int,
    offsets: Any,
    areas: Any,
    boxes: Any,
    keys: Any,
    extra: Any,
    other_keys: Any,
    other_extra: Any,
    starts: Any,
    stops: Any,
    counts: Any,
) -> int:
    """Edges, areas and boxes of masks made of polygons; a mask without any is absent.

    Polygon p ends at ``points[polygon_ends[p]]`` (x, y, x, y, ...), mask t at polygon ``mask_ends[t]``, both
    counted from 0. ``edges`` and the six arrays after ``boxes`` hold ``room`` values each, ``counts``
    max(height, width) + 3. Returns -1, or the index of the first mask whose outlines are longer than
    ``longest`` pixels, or -2 when ``room`` is too little.
    """
    n = 0
    polygon = start = np.int64(0)
    offsets[0] = 0
    for t in range(masks):
        first = n
        intervals = 0
        outline = 0.0
        several = mask_ends[t] > polygon + 1
        while polygon < mask_ends[t]:
            stop = polygon_ends[polygon]
            outline += length(points, start, stop, height, width)
            if outline > longest:
                return t
            found = crossings(points, start, stop, height, width, keys, room)
            if found < 0:
                return -2
            sort_pairs(keys, extra, found, other_keys, other_extra, counts, height, width)
            if intervals + found > room:
                return -2
            for i in range(0, found, 2):
                starts[intervals] = keys[i]
                stops[intervals] = keys[i + 1] if i + 1 < found else height * width
                intervals += stops[intervals] > starts[intervals]
            start = stop
            polygon += 1
        if several:
            sort_pairs(starts, stops, intervals, other_keys, other_extra, counts, height, width)
        if n + 2 * intervals > room:
            return -2
        reach = np.int64(0)
        total = np.int64(0)
        for i in range(intervals):
            begin = max(starts[i], reach)
            if stops[i] > begin:
                n = put_ones(edges, first, n, begin, stops[i] - begin)
                total += stops[i] - begin
                reach = stops[i]
        offsets[t + 1] = n
        areas[t] = total
        box(edges, first, n, height, boxes, t)
    return -1
