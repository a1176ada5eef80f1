"""The inner loops on run lengths, for numba. :mod:`vis.evaluation.plain` has the same in numpy.

Only :mod:`vis.evaluation.native` imports this, and only once per machine: it keeps the machine code.
So the functions here take bare pointers and lengths, allocate nothing and raise nothing.

A tube's masks are *edges*: for each frame the half-open intervals ``start, stop, start, stop, ...``
of its ones in COCO's column-major order, rising, never touching. ``offsets`` (T + 1) says where each
frame's edges lie; an absent frame has none. ``boxes`` (T, 4) are x0, y0, x1, y1, half-open.
"""

# mypy: ignore-errors
# numba types these functions, from the signatures at the end; pointers have no Python type.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit, types

__all__ = ["KERNELS"]

_u8, _i32, _i64, _f64 = (types.CPointer(t) for t in (types.uint8, types.int32, types.int64, types.float64))
_int = types.int64


@njit
def _box(edges: Any, first: int, n: int, height: int, boxes: Any, t: int) -> None:
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
    that is not whole groups of valid characters, or whose runs are negative or do not sum to ``pixels``.
    """
    n = 0
    at = 0
    offsets[0] = 0
    for t in range(masks):
        first = n
        present = at < ends[t]
        position = total = np.int64(0)
        # The run before the last, and the last one.
        older = last = np.int64(0)
        index = 0
        while at < ends[t]:
            run = np.int64(0)
            shift = 0
            while True:
                if at == ends[t] or shift == 35:
                    return t
                bits = np.int64(text[at]) - 48
                at += 1
                if bits < 0 or bits > 63:
                    return t
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
                return t
            if index & 1 and run > 0:
                if n > first and edges[n - 1] == position:
                    edges[n - 1] = position + run
                else:
                    edges[n] = position
                    edges[n + 1] = position + run
                    n += 2
                total += run
            position += run
            index += 1
        if present and position != pixels:
            return t
        offsets[t + 1] = n
        areas[t] = total
        _box(edges, first, n, height, boxes, t)
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
            if one and run > 0:
                if n > first and edges[n - 1] == position:
                    edges[n - 1] = position + run
                else:
                    edges[n] = position
                    edges[n + 1] = position + run
                    n += 2
                total += run
            position += run
            one = not one
        if present and position != pixels:
            return t
        offsets[t + 1] = n
        areas[t] = total
        _box(edges, first, n, height, boxes, t)
    return -1


def overlap(a: Any, a_offsets: Any, a_boxes: Any, b: Any, b_offsets: Any, b_boxes: Any, frames: int) -> int:
    """Pixels that two tubes share, summed over their first ``frames`` frames."""
    total = np.int64(0)
    for t in range(frames):
        k = 4 * t
        if (
            a_boxes[k] >= b_boxes[k + 2]
            or b_boxes[k] >= a_boxes[k + 2]
            or a_boxes[k + 1] >= b_boxes[k + 3]
            or b_boxes[k + 1] >= a_boxes[k + 3]
        ):
            continue
        i, i_end = a_offsets[t], a_offsets[t + 1]
        j, j_end = b_offsets[t], b_offsets[t + 1]
        while i < i_end and j < j_end:
            a_stop, b_stop = a[i + 1], b[j + 1]
            total += max(min(a_stop, b_stop) - max(a[i], b[j]), 0)
            # Steps without a branch: which list is behind is a coin toss to the processor.
            i += 2 * (a_stop <= b_stop)
            j += 2 * (b_stop <= a_stop)
    return total


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


def erode(
    edges: Any,
    offsets: Any,
    boxes: Any,
    masks: int,
    height: int,
    width: int,
    out: Any,
    out_room: int,
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
    """Edges of masks without their boundary band of ``width`` pixels; also offsets and areas.

    A pixel stays when the square of side k = 2 width + 1 around it lies in the mask. Down a column
    that shortens each interval; across columns it is the intersection of k neighbouring columns,
    by van Herk's blocks (Pattern Recognition Letters 13, 1992), on lists of intervals::

        columns   | B ................. B+k-1 | B+k .............. |
        window         [l ........................ l+k-1]
                       suffix[l] of the block   prefix up to l+k-1

    ``rows``, ``prefix`` and ``spare`` hold at least edges + 2 columns of the largest frame,
    ``first`` its columns + 1, ``suffix_from`` and ``suffix_to`` k. Returns the edges written, or -1
    when ``out`` or ``suffix`` has too little room.
    """
    k = 2 * width + 1
    n = 0
    out_offsets[0] = 0
    for t in range(masks):
        out_offsets[t + 1] = n
        areas[t] = 0
        x0 = np.int64(boxes[4 * t])
        columns = np.int64(boxes[4 * t + 2]) - x0
        if columns < k or boxes[4 * t + 3] - boxes[4 * t + 1] < k:
            continue

        # Down: the shortened intervals of each column, as rows.
        m = 0
        column = 0
        base = x0 * height
        first[0] = 0
        at = offsets[t]
        while at < offsets[t + 1]:
            start, stop = np.int64(edges[at]), np.int64(edges[at + 1])
            at += 2
            while start < stop:
                while start >= base + height:
                    base += height
                    column += 1
                    first[column] = m
                end = min(stop, base + height)
                if end - start >= k:
                    rows[m] = start - base + width
                    rows[m + 1] = end - base - width
                    m += 2
                start = end
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
        areas[t] = total
        out_offsets[t + 1] = n
    return n


def match(
    ious: Any,
    detections: int,
    truths: int,
    order: Any,
    ignored: Any,
    crowd: Any,
    ranges: int,
    thresholds: Any,
    levels: int,
    taken: Any,
    matched: Any,
) -> int:
    """COCO's greedy matching of detections (best first) to truths, per area range and threshold.

    ``order`` (ranges, truths) lists the truths, those that are ``ignored`` (same shape, in that
    order) last. Fills ``matched`` (ranges, levels, detections) with truth indices, -1 for none.
    """
    for a in range(ranges):
        for t in range(levels):
            for g in range(truths):
                taken[g] = 0
            for d in range(detections):
                best = min(thresholds[t], 1 - 1e-10)
                found = -1
                for g in range(truths):
                    truth = order[a * truths + g]
                    if taken[g] != 0 and crowd[truth] == 0:
                        continue
                    if found > -1 and ignored[a * truths + found] == 0 and ignored[a * truths + g] != 0:
                        break
                    if ious[d * truths + truth] < best:
                        continue
                    best = ious[d * truths + truth]
                    found = g
                slot = (a * levels + t) * detections + d
                matched[slot] = -1
                if found > -1:
                    taken[found] = 1
                    matched[slot] = order[a * truths + found]
    return 0


@njit
def _put(out: Any, n: int, mark: int, number: int) -> int:
    """Write ``"<mark><number>"`` at n; returns the new end."""
    out[n] = 34
    out[n + 1] = mark
    n += 2
    power = np.int64(1)
    while power * 10 <= number:
        power *= 10
    rest = np.int64(number)
    while power > 0:
        digit = rest // power
        out[n] = 48 + digit
        n += 1
        rest -= digit * power
        power //= 10
    out[n] = 34
    return n + 1


@njit
def _after_counts(text: Any, at: int) -> bool:
    """Whether the JSON text before ``at`` ends with ``"counts":`` and spaces."""
    at -= 1
    while at > 8 and text[at] == 32:
        at -= 1
    if at < 8 or text[at] != 58:  # :
        return False
    at -= 1
    while at > 8 and text[at] == 32:
        at -= 1
    return (
        at >= 7
        and text[at] == 34
        and text[at - 1] == 115
        and text[at - 2] == 116
        and text[at - 3] == 110
        and text[at - 4] == 117
        and text[at - 5] == 111
        and text[at - 6] == 99
        and text[at - 7] == 34
    )


def lift(
    text: Any, size: int, out: Any, lengths: Any, list_ends: Any, chars: Any, text_ends: Any, marks: Any
) -> int:
    """Copy JSON text, with run lengths moved out: ``"counts":[1,2]`` becomes ``"counts":"#0"``.

    Lists of plain ints of at most 12 digits go to ``lengths``, numbered after ``marks[0]``; compressed
    text goes to ``chars``, unescaped, numbered after ``marks[1]``. Whatever else stays for the JSON
    parser to judge. ``list_ends[0]`` and ``text_ends[0]`` get how many, followed by where each ends.
    ``out`` holds 2 size + 64 bytes, ``lengths`` size / 2 + 1, the ends size / 11 + 2, ``chars`` size.
    Returns the bytes written, or -1 when a string of the text begins like a marker or with an escape
    ``\\u00..`` that may hide one.
    """
    n = 0
    values = 0
    lists = 0
    letters = 0
    texts = 0
    i = 0
    while i < size:
        c = text[i]
        out[n] = c
        n += 1
        i += 1
        quoted = c == 34 and i + 3 < size
        if quoted and (text[i] == marks[0] or text[i] == marks[1]):
            return -1
        if quoted and text[i] == 92 and text[i + 1] == 117 and text[i + 2] == 48 and text[i + 3] == 48:
            return -1
        if c == 91 and _after_counts(text, i - 1):  # [
            found = values
            j = i
            whole = False
            while j < size:
                while j < size and text[j] == 32:
                    j += 1
                digits = 0
                value = np.int64(0)
                while j < size and digits < 13 and 48 <= text[j] <= 57:
                    value = value * 10 + (text[j] - 48)
                    digits += 1
                    j += 1
                if digits == 0 or digits > 12 or (digits > 1 and text[j - digits] == 48):
                    break
                lengths[found] = value
                found += 1
                while j < size and text[j] == 32:
                    j += 1
                if j < size and text[j] == 44:
                    j += 1
                else:
                    whole = j < size and text[j] == 93
                    break
            if whole:
                values = found
                n = _put(out, n - 1, marks[0], lists)
                lists += 1
                list_ends[lists] = values
                i = j + 1
        elif c == 34 and _after_counts(text, i - 1):  # "
            found = letters
            j = i
            while j < size and 48 <= text[j] <= 111:
                if text[j] == 92:  # a backslash is written as two
                    if j + 1 == size or text[j + 1] != 92:
                        break
                    j += 1
                chars[found] = text[j]
                found += 1
                j += 1
            if j < size and text[j] == 34 and found > letters:
                letters = found
                n = _put(out, n - 1, marks[1], texts)
                texts += 1
                text_ends[texts] = letters
                i = j + 1
    list_ends[0] = lists
    text_ends[0] = texts
    return n


KERNELS = {
    "lift": (lift, (_u8, _int, _u8, _i64, _i64, _u8, _i64, _u8)),
    "decode": (decode, (_u8, _i64, _int, _int, _int, _i32, _i64, _i64, _i32)),
    "measure": (measure, (_i64, _i64, _int, _int, _int, _i32, _i64, _i64, _i32)),
    "overlap": (overlap, (_i32, _i64, _i32, _i32, _i64, _i32, _int)),
    "erode": (
        erode,
        (
            *(_i32, _i64, _i32, _int, _int, _int, _i32, _int, _i64, _i64),
            *(_i32, _i32, _i32, _i64, _i32, _int, _i64, _i64),
        ),
    ),
    "match": (match, (_f64, _int, _int, _i64, _u8, _u8, _int, _f64, _int, _u8, _i64)),
}
