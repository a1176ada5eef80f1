"""Kernels on masks as intervals: decode, measure, overlap, erode. See :mod:`vis.evaluation.kernels`."""

# mypy: ignore-errors
# numba types these functions, from the signatures in vis.evaluation.kernels; pointers have no Python type.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["box", "decode", "erode", "measure", "put_ones", "text_mask"]


@njit
def box(edges: Any, first: int, n: int, height: int, boxes: Any, t: int) -> None:
    """Bounding box of the mask whose edges lie from ``first`` to ``n``."""
    x0 = y0 = x1 = y1 = np.int64(0)
    if n > first:
        x0 = np.int64(edges[first]) // height
        x1 = (np.int64(edges[n - 1]) - 1) // height + 1
        y0 = np.int64(height)
        base = x0 * height
        for i in range(first, n, 2):
            top = np.int64(edges[i]) - base
            if top >= height:
                base += height
                top -= height
                if top >= height:
                    base += top // height * height
                    top = edges[i] - base
            bottom = np.int64(edges[i + 1]) - base
            if bottom > height:  # goes on into the next column
                top, bottom = np.int64(0), np.int64(height)
            y0 = min(y0, top)
            y1 = max(y1, bottom)
    boxes[4 * t] = x0
    boxes[4 * t + 1] = y0
    boxes[4 * t + 2] = x1
    boxes[4 * t + 3] = y1


@njit
def put_ones(edges: Any, first: int, n: int, position: int, run: int) -> int:
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
def text_mask(text: Any, at: int, stop: int, quoted: bool, pixels: int, edges: Any, n: int) -> Any:
    """Edges of one compressed text, written at ``n``: where it ended, the new n, and the area.

    It ends at ``stop``, or, when ``quoted`` as in JSON, before the next quote. It ended at -1 when it is
    empty, has invalid characters or half a group, or when its runs are negative or do not sum to ``pixels``.
    """
    first = n
    position = total = np.int64(0)
    # The run before the last, and the last one.
    older = last = np.int64(0)
    index = 0
    while at < stop and not (quoted and text[at] == 34):
        run = np.int64(0)
        shift = 0
        while True:
            if at == stop or shift == 35:
                return -1, n, total
            c = text[at]
            at += 1
            if quoted and c == 92:  # JSON writes a backslash as two
                if at == stop or text[at] != 92:
                    return -1, n, total
                at += 1
            bits = np.int64(c) - 48
            if bits < 0 or bits > 63:
                return -1, n, total
            run |= (bits & 31) << shift
            shift += 5
            if bits < 32:
                if bits & 16:
                    run -= np.int64(1) << shift
                break
        if index > 2:
            run += older
        older, last = last, run
        if run < 0 or run > pixels:
            return -1, n, total
        if index & 1:
            n = put_ones(edges, first, n, position, run)
            total += run
        position += run
        index += 1
    if index == 0 or position != pixels:
        return -1, n, total
    return at, n, total


def decode(
    text: Any,
    ends: Any,
    masks: int,
    height: int,
    pixels: int,
    edges: Any,
    offsets: Any,
    areas: Any,
    boxes: Any,
) -> int:
    """Edges, areas and boxes of compressed texts in a row; text t stops at ``ends[t]``.

    ``edges`` holds as many values as ``text``, and one more. Returns -1, or the index of the first text
    that is broken.
    """
    n = 0
    at = 0
    offsets[0] = 0
    for t in range(masks):
        first = n
        total = np.int64(0)
        if at < ends[t]:
            at, n, total = text_mask(text, at, ends[t], False, pixels, edges, n)
            if at < 0:
                return t
        offsets[t + 1] = n
        areas[t] = total
        box(edges, first, n, height, boxes, t)
    return -1


def measure(
    lengths: Any,
    run_ends: Any,
    masks: int,
    height: int,
    pixels: int,
    edges: Any,
    offsets: Any,
    areas: Any,
    boxes: Any,
) -> int:
    """The same from run lengths; mask t stops at ``run_ends[t]``."""
    n = 0
    at = 0
    offsets[0] = 0
    for t in range(masks):
        first = n
        present = at < run_ends[t]
        position = total = np.int64(0)
        one = False
        while at < run_ends[t]:
            run = lengths[at]
            at += 1
            if run < 0 or run > pixels:
                return t
            if one:
                n = put_ones(edges, first, n, position, run)
                total += run
            position += run
            one = not one
        if present and position != pixels:
            return t
        offsets[t + 1] = n
        areas[t] = total
        box(edges, first, n, height, boxes, t)
    return -1


@njit
def _meet(a: Any, i: int, i_end: int, b: Any, j: int, j_end: int, out: Any, n: int) -> int:
    """Append the intersection of two interval lists to ``out`` at ``n``; returns the new end."""
    while i < i_end and j < j_end:
        start = max(a[i], b[j])
        a_stop, b_stop = a[i + 1], b[j + 1]
        stop = min(a_stop, b_stop)
        if stop > start:
            out[n] = start
            out[n + 1] = stop
            n += 2
        i += 2 * (a_stop <= b_stop)
        j += 2 * (b_stop <= a_stop)
    return n


@njit
def _copy(source: Any, start: int, stop: int, out: Any, n: int) -> int:
    for i in range(start, stop):
        out[n] = source[i]
        n += 1
    return n


@njit
def erode_tube(
    edges: Any,
    offsets: Any,
    boxes: Any,
    masks: int,
    height: int,
    width: int,
    out: Any,
    start: int,
    out_room: int,
    tube: int,
    at: int,
    out_offsets: Any,
    areas: Any,
    rows: Any,
    prefix: Any,
    spare: Any,
    first: Any,
    suffix: Any,
    suffix_room: int,
    suffix_from: Any,
    suffix_to: Any,
) -> int:
    """Edges of masks without their boundary band of ``width`` pixels, written at ``start``; the new end.

    A pixel stays when the square of side k = 2 width + 1 around it lies in the mask. Down a column
    that shortens each interval; across columns it is the intersection of k neighbouring columns,
    by van Herk's blocks (Pattern Recognition Letters 13, 1992), on lists of intervals::

        columns   | B ................. B+k-1 | B+k .............. |
        window         [l ........................ l+k-1]
                       suffix[l] of the block   prefix up to l+k-1

    Returns -1 when ``out`` or ``suffix`` has too little room.
    """
    k = 2 * width + 1
    n = start
    out_offsets[at + tube] = 0
    for t in range(masks):
        out_offsets[at + tube + t + 1] = n - start
        areas[at + t] = 0
        x0 = np.int64(boxes[4 * t])
        columns = np.int64(boxes[4 * t + 2]) - x0
        if columns < k or boxes[4 * t + 3] - boxes[4 * t + 1] < k:
            continue

        # Down: the shortened intervals of each column, as rows.
        m = 0
        column = 0
        base = x0 * height
        first[0] = 0
        e = offsets[t]
        while e < offsets[t + 1]:
            begin, stop = np.int64(edges[e]), np.int64(edges[e + 1])
            e += 2
            while begin < stop:
                while begin >= base + height:
                    base += height
                    column += 1
                    first[column] = m
                end = min(stop, base + height)
                if end - begin >= k:
                    rows[m] = begin - base + width
                    rows[m + 1] = end - base - width
                    m += 2
                begin = end
        for c in range(column + 1, columns + 1):
            first[c] = m

        # Across.
        total = np.int64(0)
        block = np.int64(0)
        while block + k <= columns:
            used = 0
            for back in range(k):
                j = k - 1 - back
                low, high = first[block + j], first[block + j + 1]
                if j == k - 1:
                    if used + high - low > suffix_room:
                        return -1
                    suffix_from[j] = used
                    used = _copy(rows, low, high, suffix, used)
                else:
                    s_from, s_to = suffix_from[j + 1], suffix_to[j + 1]
                    if used + s_to - s_from + high - low > suffix_room:
                        return -1
                    suffix_from[j] = used
                    used = _meet(suffix, s_from, s_to, rows, low, high, suffix, used)
                suffix_to[j] = used
            reach = 0
            for j in range(min(k, columns - k + 1 - block)):
                begin = n
                s_from, s_to = suffix_from[j], suffix_to[j]
                if j == 0:
                    if n + s_to - s_from > out_room:
                        return -1
                    n = _copy(suffix, s_from, s_to, out, n)
                else:
                    low, high = first[block + j + k - 1], first[block + j + k]
                    if j == 1:
                        reach = _copy(rows, low, high, prefix, 0)
                    else:
                        reach = _meet(prefix, 0, reach, rows, low, high, spare, 0)
                        prefix, spare = spare, prefix
                    if reach == 0:
                        break
                    if n + s_to - s_from + reach > out_room:
                        return -1
                    n = _meet(suffix, s_from, s_to, prefix, 0, reach, out, n)
                shift = (x0 + block + j + width) * height
                for i in range(begin, n, 2):
                    total += out[i + 1] - out[i]
                    out[i] += shift
                    out[i + 1] += shift
            block += k
        areas[at + t] = total
        out_offsets[at + tube + t + 1] = n - start
    return n


def erode(
    ints: Any,
    longs: Any,
    counts: Any,
    tubes: int,
    sizes: Any,
    out: Any,
    out_room: int,
    ends: Any,
    out_offsets: Any,
    areas: Any,
    rows: Any,
    prefix: Any,
    spare: Any,
    first: Any,
    suffix: Any,
    suffix_room: int,
    suffix_from: Any,
    suffix_to: Any,
) -> int:
    """Edges, offsets and areas of eroded tubes, one behind the other; ``ends[k]`` is where tube k ends.

    The tubes are a table as in :mod:`vis.evaluation.tube_kernels`; ``sizes`` holds height and band width of
    each. ``rows``, ``prefix`` and ``spare`` hold at least edges + 2 columns of the largest frame, ``first`` its
    columns + 1, ``suffix_from`` and ``suffix_to`` 2 * width + 1. Returns 0, or -1 when there is too little
    room.
    """
    n = np.int64(0)
    at = np.int64(0)
    for k in range(tubes):
        n = erode_tube(
            ints[5 * k], longs[5 * k + 1], ints[5 * k + 3], counts[5 * k + 4], sizes[2 * k], sizes[2 * k + 1],
            out, n, out_room, k, at, out_offsets, areas,
            rows, prefix, spare, first, suffix, suffix_room, suffix_from, suffix_to,
        )  # fmt: skip
        if n < 0:
            return -1
        ends[k] = n
        at += counts[5 * k + 4]
    return 0
