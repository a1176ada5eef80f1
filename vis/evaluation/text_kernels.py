"""The kernel that takes masks out of JSON text. See :mod:`vis.evaluation.kernels`."""

# mypy: ignore-errors
# numba types these functions, from the signatures in vis.evaluation.kernels; pointers have no Python type.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from vis.evaluation.json_kernels import (
    after_element,
    begins,
    follows,
    integer,
    null,
    number,
    past_boxes,
    skip,
)
from vis.evaluation.mask_kernels import box, put_ones, text_mask

__all__ = ["lift"]

MAX_PIXELS = 2**27
"""As in :mod:`vis.masks`."""
COUNTS, SEGMENTATIONS, REFINED, SIZE, BBOXES = 0, 8, 23, 46, 52
"""Where in ``words`` the keys begin, quotes included."""
COUNTS_LETTERS, SEGMENTATIONS_LETTERS, REFINED_LETTERS, SIZE_LETTERS, BBOXES_LETTERS = 8, 15, 23, 6, 8


@njit
def size_pair(text: Any, at: int, size: int) -> Any:
    """``[height, width]``: the place behind it, or -1, and the two."""
    height = width = np.int64(0)
    if at >= size or text[at] != 91:  # [
        return -1, height, width
    at, height = integer(text, skip(text, at + 1, size), size)
    if at < 0:
        return -1, height, width
    at = skip(text, at, size)
    if at >= size or text[at] != 44:  # ,
        return -1, height, width
    at, width = integer(text, skip(text, at + 1, size), size)
    if at < 0:
        return -1, height, width
    at = skip(text, at, size)
    if at >= size or text[at] != 93 or height < 1 or width < 1 or height > MAX_PIXELS // width:  # ]
        return -1, height, width
    return at + 1, height, width


@njit
def list_mask(text: Any, at: int, size: int, pixels: int, edges: Any, n: int) -> Any:
    """Edges of the run lengths ``1,2,...]``: the place behind them, or -1, the new n, and the area."""
    first = n
    position = total = np.int64(0)
    one = False
    while True:
        at, run = integer(text, skip(text, at, size), size)
        if at < 0 or run > pixels:
            return -1, n, total
        if one:
            n = put_ones(edges, first, n, position, run)
            total += run
        position += run
        one = not one
        at = skip(text, at, size)
        if at < size and text[at] == 44:
            at += 1
        elif at < size and text[at] == 93 and position == pixels:
            return at + 1, n, total
        else:
            return -1, n, total


@njit
def run_lengths(text: Any, at: int, size: int, pixels: int, edges: Any, n: int) -> Any:
    """The value of ``counts``, text or list: the place behind it, or -1, the new n, and the area."""
    if at < size and text[at] == 34:
        at, n, total = text_mask(text, at + 1, size, True, pixels, edges, n)
        if at < 0 or at >= size:
            return -1, n, total
        return at + 1, n, total
    if at < size and text[at] == 91:
        return list_mask(text, at + 1, size, pixels, edges, n)
    return -1, n, np.int64(0)


@njit
def past_counts(text: Any, at: int, size: int) -> int:
    """The place behind a value of ``counts`` that is read later, or -1."""
    if at >= size or (text[at] != 34 and text[at] != 91):
        return -1
    closing = 34 if text[at] == 34 else 93
    at += 1
    while at < size and text[at] != closing:
        at += 1
    return at + 1 if at < size else -1


@njit
def whole_mask(text: Any, at: int, size: int, words: Any, height: int, width: int, edges: Any, n: int) -> Any:
    """``{"size":[h,w],"counts":...}`` in either order and nothing else, of that size unless it is 0.

    Returns the place behind it, or -1, the size, the new n, and the area.
    """
    total = np.int64(0)
    counts = np.int64(-1)
    at = skip(text, at + 1, size)
    later = begins(text, at, size, words, COUNTS, COUNTS_LETTERS)
    if later >= 0:
        counts = later
        at = skip(text, past_counts(text, later, size), size)
        if at < counts or at >= size or text[at] != 44:
            return -1, height, width, n, total
        at = skip(text, at + 1, size)
    at = begins(text, at, size, words, SIZE, SIZE_LETTERS)
    if at < 0:
        return -1, height, width, n, total
    at, rows, columns = size_pair(text, at, size)
    if at < 0 or (height != 0 and (rows != height or columns != width)):
        return -1, height, width, n, total
    pixels = rows * columns
    at = skip(text, at, size)
    if counts >= 0:
        end, n, total = run_lengths(text, counts, size, pixels, edges, n)
        if end < 0:
            return -1, height, width, n, total
    else:
        if at >= size or text[at] != 44:
            return -1, height, width, n, total
        at = begins(text, skip(text, at + 1, size), size, words, COUNTS, COUNTS_LETTERS)
        if at < 0:
            return -1, height, width, n, total
        at, n, total = run_lengths(text, at, size, pixels, edges, n)
        if at < 0:
            return -1, height, width, n, total
        at = skip(text, at, size)
    if at >= size or text[at] != 125:  # }
        return -1, height, width, n, total
    return at + 1, rows, columns, n, total


@njit
def whole_list(
    text: Any,
    at: int,
    size: int,
    words: Any,
    edges: Any,
    offsets: Any,
    areas: Any,
    boxes: Any,
    row: Any,
    lists: int,
) -> int:
    """The masks of a tube, from behind the ``[``: the place behind the ``]``, or -1.

    Row ``lists`` of the table ``row`` says where its frames and edges begin, and has room for its frames,
    edges, and size; the row after it begins behind them.
    """
    frame, start = row[6 * lists], row[6 * lists + 1]
    shift = frame + lists  # one offset more than frames in each list
    t = np.int64(0)
    n = np.int64(start)
    height = width = np.int64(0)
    offsets[shift] = 0
    at = skip(text, at, size)
    empty = at < size and text[at] == 93
    while not empty:
        first = n
        total = np.int64(0)
        if at < size and text[at] == 123:  # {
            at, height, width, n, total = whole_mask(text, at, size, words, height, width, edges, n)
            if at < 0:
                return -1
        elif null(text, at, size):
            at += 4
        else:
            return -1
        box(edges, first, n, height, boxes, frame + t)
        areas[frame + t] = total
        t += 1
        offsets[shift + t] = n - start
        at = skip(text, at, size)
        if at < size and text[at] == 44:
            at = skip(text, at + 1, size)
        elif at < size and text[at] == 93:
            break
        else:
            return -1
    row[6 * lists + 2] = t
    row[6 * lists + 3] = n - start
    row[6 * lists + 4] = height
    row[6 * lists + 5] = width
    row[6 * lists + 6] = frame + t
    row[6 * lists + 7] = n
    return at + 1


@njit
def whole_polygons(
    text: Any, at: int, size: int, points: Any, polygon_ends: Any, mask_ends: Any, table: Any, tubes: int
) -> int:
    """The polygons of a tube, from behind the ``[``: the place behind the ``]``, or -1.

    Row ``tubes`` of ``table`` says where its masks, polygons and points begin; the row after it begins
    behind them. Ends are counted from the tube's beginning. Every frame is null or has polygons, all of them of
    at least three points whose numbers are exact.
    """
    mask, polygon, point = table[3 * tubes], table[3 * tubes + 1], table[3 * tubes + 2]
    t = p = n = np.int64(0)
    first = True
    while True:
        at, ended = after_element(text, at, size, first)
        if at < 0:
            return -1
        if ended:
            break
        first = False
        if null(text, at, size):
            at += 4
        elif at < size and text[at] == 91:
            at += 1
            fresh = True
            while True:
                at, closed = after_element(text, at, size, fresh)
                if at < 0 or (closed and fresh):
                    return -1
                if closed:
                    break
                fresh = False
                if at >= size or text[at] != 91:
                    return -1
                at += 1
                begun = n
                while True:
                    at, done = after_element(text, at, size, n == begun)
                    if at < 0:
                        return -1
                    if done:
                        break
                    at, value, exact = number(text, at, size)
                    if at < 0 or not exact:
                        return -1
                    points[point + n] = value
                    n += 1
                if n - begun < 6 or (n - begun) % 2 != 0:
                    return -1
                polygon_ends[polygon + p] = n
                p += 1
        else:
            return -1
        mask_ends[mask + t] = p
        t += 1
    table[3 * tubes + 3] = mask + t
    table[3 * tubes + 4] = polygon + p
    table[3 * tubes + 5] = point + n
    return at if p > 0 else -1


@njit
def put_mark(out: Any, n: int, mark: int, number: int) -> int:
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


def lift(
    text: Any,
    size: int,
    out: Any,
    marks: Any,
    words: Any,
    lengths: Any,
    list_ends: Any,
    chars: Any,
    text_ends: Any,
    edges: Any,
    offsets: Any,
    areas: Any,
    boxes: Any,
    table: Any,
    points: Any,
    polygon_ends: Any,
    mask_ends: Any,
    polygon_table: Any,
    counts: Any,
) -> int:
    """Copy JSON text, with masks moved out; ``marks`` begin what stands for them.

    ======================================================  ==========  =========================================
    in the text                                             becomes     goes to
    ======================================================  ==========  =========================================
    ``"segmentations":[...]``, run lengths of one size      ``"%0"``    ``edges`` ... ``table``, decoded
    the same, polygons                                      ``"&0"``    ``points`` ... ``polygon_table``
    ``"counts":[1,2]`` elsewhere, ints of 12 digits         ``"#0"``    ``lengths``, ``list_ends``
    ``"counts":"text"`` elsewhere                           ``"$0"``    ``chars``, unescaped, ``text_ends``
    ``"bboxes":[...]``, which nobody reads                  ``null``
    ======================================================  ==========  =========================================

    Frames may be null. Whatever else is there, or is broken, stays for the JSON parser to judge. ``counts``
    gets how many lists, texts, tubes and tubes of polygons were moved. Returns the bytes written, or -1 when
    a string of the text begins like a marker or with an escape ``\\u00..`` that may hide one.
    """
    n = 0
    values = 0
    lists = 0
    letters = 0
    texts = 0
    tubes = 0
    outlined = 0
    list_ends[0] = 0
    text_ends[0] = 0
    table[0] = 0
    table[1] = 0
    for k in range(3):
        polygon_table[k] = 0
    i = 0
    while i < size:
        c = text[i]
        out[n] = c
        n += 1
        i += 1
        if c == 34 and i + 3 < size:
            if text[i] == marks[0] or text[i] == marks[1] or text[i] == marks[2] or text[i] == marks[3]:
                return -1
            if text[i] == 92 and text[i + 1] == 117 and text[i + 2] == 48 and text[i + 3] == 48:
                return -1
        if c == 91 and (
            follows(text, i - 1, words, SEGMENTATIONS, SEGMENTATIONS_LETTERS)
            or follows(text, i - 1, words, REFINED, REFINED_LETTERS)
        ):
            j = whole_list(text, i, size, words, edges, offsets, areas, boxes, table, tubes)
            if j >= 0:
                n = put_mark(out, n - 1, marks[2], tubes)
                tubes += 1
                i = j
            else:
                j = whole_polygons(text, i, size, points, polygon_ends, mask_ends, polygon_table, outlined)
                if j >= 0:
                    n = put_mark(out, n - 1, marks[3], outlined)
                    outlined += 1
                    i = j
        elif c == 91 and follows(text, i - 1, words, BBOXES, BBOXES_LETTERS):
            j = past_boxes(text, i, size)
            if j >= 0:
                out[n - 1], out[n], out[n + 1], out[n + 2] = 110, 117, 108, 108  # null
                n += 3
                i = j
        elif c == 91 and follows(text, i - 1, words, COUNTS, COUNTS_LETTERS):
            found = values
            j = i
            whole = False
            while True:
                j, value = integer(text, skip(text, j, size), size)
                if j < 0:
                    break
                lengths[found] = value
                found += 1
                j = skip(text, j, size)
                if j < size and text[j] == 44:
                    j += 1
                else:
                    whole = j < size and text[j] == 93
                    break
            if whole:
                values = found
                n = put_mark(out, n - 1, marks[0], lists)
                lists += 1
                list_ends[lists] = values
                i = j + 1
        elif c == 34 and follows(text, i - 1, words, COUNTS, COUNTS_LETTERS):
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
                n = put_mark(out, n - 1, marks[1], texts)
                texts += 1
                text_ends[texts] = letters
                i = j + 1
    counts[0] = lists
    counts[1] = texts
    counts[2] = tubes
    counts[3] = outlined
    return n
