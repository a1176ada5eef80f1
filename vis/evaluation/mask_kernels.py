"""Loops on masks as intervals: decode, measure, erode. See :mod:`vis.evaluation.tube_masks`.

What grows is allocated with room to spare, and made :func:`longer` where that is not enough.
"""

# mypy: ignore-errors
# numba infers the types; mypy knows neither what it makes of a function nor of whole numbers of numpy.

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from vis.evaluation.kernel_cache import kernel
from vis.evaluation.kernel_types import BYTES, INT, INTS, PACKED
from vis.evaluation.tube_masks import Packed

__all__ = ["decode", "erode", "fill_box", "longer", "measure", "put_ones"]

Int32 = NDArray[np.int32]
Int64 = NDArray[np.int64]


@njit
def fill_box(edges: Int32, first: int, n: int, height: int, boxes: Int32, t: int) -> None:
    """Bounding box of the mask whose edges lie from ``first`` to ``n``; ``boxes[t]`` holds zeros."""
    if n == first:
        return
    x0 = edges[first] // height
    x1 = (edges[n - 1] - 1) // height + 1
    y0, y1 = height, 0
    base = x0 * height
    for i in range(first, n, 2):
        top = edges[i] - base
        if top >= height:  # mostly the next column, which needs no division
            base += height
            top -= height
            if top >= height:
                base += top // height * height
                top = edges[i] - base
        bottom = edges[i + 1] - base
        if bottom > height:  # goes on into the next column
            top, bottom = 0, height
        y0 = min(y0, top)
        y1 = max(y1, bottom)
    boxes[t, 0], boxes[t, 1], boxes[t, 2], boxes[t, 3] = x0, y0, x1, y1


@njit
def put_ones(edges: Int32, first: int, n: int, position: int, run: int) -> int:
    """Append the ones from ``position``; they may go on where the last ones ended."""
    if run > 0:
        if n > first and edges[n - 1] == position:
            edges[n - 1] = position + run
        else:
            edges[n] = position
            edges[n + 1] = position + run
            n += 2
    return n


@njit
def longer(values: Int32, needed: int) -> Int32:
    """A copy with room for at least ``needed`` values."""
    copy = np.empty(2 * needed, values.dtype)
    copy[: len(values)] = values
    return copy


# ---------------------------------------------------------------- run lengths to intervals


@kernel(BYTES, INTS, INT, INT)
def decode(
    text: NDArray[np.uint8], ends: Int64, height: int, pixels: int
) -> tuple[int, Int32, Int64, Int64, Int32]:
    """-1, edges, offsets, areas and boxes of compressed texts in a row; text t stops at ``ends[t]``.

    An empty text is an absent frame. Instead of -1 comes the index of the first text that is broken: it has invalid
    characters or half a group, or its runs are negative or do not sum to ``pixels``.
    """
    masks = len(ends)
    edges = np.empty(len(text) + 1, np.int32)
    offsets, areas = np.zeros(masks + 1, np.int64), np.zeros(masks, np.int64)
    boxes = np.zeros((masks, 4), np.int32)
    n = at = 0
    for t in range(masks):
        first, present = n, at < ends[t]
        position = older = last = index = 0  # older: the run before the last
        while at < ends[t]:
            run = shift = 0
            while True:
                if at == ends[t] or shift == 35:
                    return t, edges, offsets, areas, boxes
                bits = np.int64(text[at]) - 48
                at += 1
                if bits < 0 or bits > 63:
                    return t, edges, offsets, areas, boxes
                run |= (bits & 31) << shift
                shift += 5
                if bits < 32:
                    if bits & 16:
                        run -= 1 << shift
                    break
            if index > 2:
                run += older
            older, last = last, run
            if run < 0 or run > pixels:
                return t, edges, offsets, areas, boxes
            if index & 1 and run > 0:
                if n > first and edges[n - 1] == position:
                    edges[n - 1] = position + run
                else:
                    edges[n], edges[n + 1] = position, position + run
                    n += 2
                areas[t] += run
            position += run
            index += 1
        if present and position != pixels:
            return t, edges, offsets, areas, boxes
        offsets[t + 1] = n
        fill_box(edges, first, n, height, boxes, t)
    return -1, edges[:n].copy(), offsets, areas, boxes


@kernel(INTS, INTS, INT, INT)
def measure(lengths: Int64, ends: Int64, height: int, pixels: int) -> tuple[int, Int32, Int64, Int64, Int32]:
    """The same from run lengths; mask t stops at ``ends[t]``."""
    masks = len(ends)
    edges = np.empty(len(lengths) + 1, np.int32)
    offsets, areas = np.zeros(masks + 1, np.int64), np.zeros(masks, np.int64)
    boxes = np.zeros((masks, 4), np.int32)
    n = at = 0
    for t in range(masks):
        first = n
        position = 0
        for i in range(at, ends[t]):
            run = lengths[i]
            if run < 0 or run > pixels:
                return t, edges, offsets, areas, boxes
            if (i - at) & 1:
                n = put_ones(edges, first, n, position, run)
                areas[t] += run
            position += run
        if at < ends[t] and position != pixels:
            return t, edges, offsets, areas, boxes
        at = ends[t]
        offsets[t + 1] = n
        fill_box(edges, first, n, height, boxes, t)
    return -1, edges[:n].copy(), offsets, areas, boxes


# ---------------------------------------------------------------- erosion


@njit
def _meet(a: Int32, i: int, i_end: int, b: Int32, j: int, j_end: int, out: Int32, n: int) -> int:
    """Append the intersection of two interval lists to ``out`` at ``n``; returns the new end."""
    while i < i_end and j < j_end:
        start = max(a[i], b[j])
        a_stop, b_stop = a[i + 1], b[j + 1]
        stop = min(a_stop, b_stop)
        if stop > start:
            out[n] = start
            out[n + 1] = stop
            n += 2
        # Steps without a branch: which list is behind is a coin toss to the CPU.
        i += 2 * (a_stop <= b_stop)
        j += 2 * (b_stop <= a_stop)
    return n


@njit
def _copy(source: Int32, start: int, stop: int, out: Int32, n: int) -> int:
    for i in range(start, stop):
        out[n] = source[i]
        n += 1
    return n


@njit
def _shorten(
    edges: Int32,
    at: int,
    stop: int,
    x0: int,
    columns: int,
    height: int,
    width: int,
    rows: Int32,
    first: Int64,
) -> None:
    """Down the columns: intervals shortened by ``width`` at both ends, as rows; those of column c from ``first[c]``."""
    m = column = 0
    base = x0 * height
    first[0] = 0
    for e in range(at, stop, 2):
        begin, last = np.int64(edges[e]), np.int64(edges[e + 1])
        while begin < last:
            while begin >= base + height:
                base += height
                column += 1
                first[column] = m
            end = min(last, base + height)
            if end - begin > 2 * width:
                rows[m] = begin - base + width
                rows[m + 1] = end - base - width
                m += 2
            begin = end
    for c in range(column + 1, columns + 1):
        first[c] = m


@kernel(PACKED, INTS, INTS)
def erode(tubes: Packed, heights: Int64, widths: Int64) -> tuple[Int32, Int64, Int64]:
    """Edges, bounds and areas, as in :class:`Packed`, of masks without their boundary; a height and a width per tube.

    A pixel stays when the square of side k = 2 width + 1 around it lies in the mask. Down a column
    that shortens each interval; across columns it is the intersection of k neighbouring columns,
    by van Herk's blocks (Pattern Recognition Letters 13, 1992), on lists of intervals::

        columns   | B ................. B+k-1 | B+k .............. |
        window         [l ........................ l+k-1]
                       suffix[l] of the block   prefix up to l+k-1
    """
    edges, edge_bounds, _, boxes, first_frames = tubes
    frames = len(boxes)
    most_edges = most_columns = 0
    for f in range(frames):
        most_edges = max(most_edges, edge_bounds[f + 1] - edge_bounds[f])
        most_columns = max(most_columns, boxes[f, 2] - boxes[f, 0])
    scratch = most_edges + 2 * most_columns + 2
    rows, prefix, spare = (
        np.empty(scratch, np.int32),
        np.empty(scratch, np.int32),
        np.empty(scratch, np.int32),
    )
    starts = np.empty(most_columns + 1, np.int64)
    suffix = np.empty(4 * scratch, np.int32)
    suffix_from, suffix_to = np.empty(most_columns + 1, np.int64), np.empty(most_columns + 1, np.int64)
    out = np.empty(len(edges) + scratch, np.int32)
    bounds, areas = np.zeros(frames + 1, np.int64), np.zeros(frames, np.int64)
    n = 0
    for tube in range(len(first_frames) - 1):
        height, width = heights[tube], widths[tube]
        k = 2 * width + 1
        for f in range(first_frames[tube], first_frames[tube + 1]):
            bounds[f + 1] = n
            x0 = np.int64(boxes[f, 0])
            columns = boxes[f, 2] - x0
            if columns < k or boxes[f, 3] - boxes[f, 1] < k:
                continue
            _shorten(edges, edge_bounds[f], edge_bounds[f + 1], x0, columns, height, width, rows, starts)
            area = 0
            for block in range(0, columns - k + 1, k):
                used = 0
                for j in range(k - 1, -1, -1):
                    low, high = starts[block + j], starts[block + j + 1]
                    if used + scratch > len(suffix):
                        suffix = longer(suffix, used + scratch)
                    suffix_from[j] = used
                    if j == k - 1:
                        used = _copy(rows, low, high, suffix, used)
                    else:
                        used = _meet(
                            suffix, suffix_from[j + 1], suffix_to[j + 1], rows, low, high, suffix, used
                        )
                    suffix_to[j] = used
                reach = 0
                for j in range(min(k, columns - k + 1 - block)):
                    if n + 2 * scratch > len(out):
                        out = longer(out, n + 2 * scratch)
                    begin = n
                    if j == 0:
                        n = _copy(suffix, suffix_from[0], suffix_to[0], out, n)
                    else:
                        low, high = starts[block + j + k - 1], starts[block + j + k]
                        if j == 1:
                            reach = _copy(rows, low, high, prefix, 0)
                        else:
                            reach = _meet(prefix, 0, reach, rows, low, high, spare, 0)
                            prefix, spare = spare, prefix
                        if reach == 0:
                            break
                        n = _meet(suffix, suffix_from[j], suffix_to[j], prefix, 0, reach, out, n)
                    shift = (x0 + block + j + width) * height
                    for i in range(begin, n, 2):
                        area += out[i + 1] - out[i]
                        out[i] += shift
                        out[i + 1] += shift
            areas[f] = area
            bounds[f + 1] = n
    return out[:n].copy(), bounds, areas
