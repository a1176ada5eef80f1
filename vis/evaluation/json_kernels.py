"""Kernels that step through JSON text. See :mod:`vis.evaluation.kernels`."""

# mypy: ignore-errors
# numba types these functions, from the signatures in vis.evaluation.kernels; pointers have no Python type.

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

__all__ = ["after_element", "begins", "follows", "integer", "null", "number", "past_boxes", "skip"]


@njit
def blank(c: int) -> bool:
    """Whether JSON takes this byte as white space."""
    return c == 32 or c == 10 or c == 13 or c == 9


@njit
def skip(text: Any, at: int, size: int) -> int:
    """The next place that is not white space."""
    while at < size and blank(text[at]):
        at += 1
    return at


@njit
def follows(text: Any, at: int, words: Any, start: int, letters: int) -> bool:
    """Whether the text before ``at`` ends with that word of ``words`` and a colon."""
    at -= 1
    while at > letters and blank(text[at]):
        at -= 1
    if at < letters or text[at] != 58:  # :
        return False
    at -= 1
    while at > letters and blank(text[at]):
        at -= 1
    if at < letters - 1:
        return False
    same = True
    for i in range(letters):
        same = same and text[at - i] == words[start + letters - 1 - i]
    return same


@njit
def begins(text: Any, at: int, size: int, words: Any, start: int, letters: int) -> int:
    """The place behind that word and a colon when they stand at ``at``, else -1."""
    if at + letters > size:
        return -1
    for i in range(letters):
        if text[at + i] != words[start + i]:
            return -1
    at = skip(text, at + letters, size)
    if at < size and text[at] == 58:
        return skip(text, at + 1, size)
    return -1


@njit
def integer(text: Any, at: int, size: int) -> Any:
    """A plain int of at most 12 digits: the place behind it, or -1, and its value."""
    start = at
    value = np.int64(0)
    while at < size and at < start + 13 and 48 <= text[at] <= 57:
        value = value * 10 + (np.int64(text[at]) - 48)
        at += 1
    if at == start or at > start + 12 or (at > start + 1 and text[start] == 48):
        return -1, value
    return at, value


@njit
def null(text: Any, at: int, size: int) -> bool:
    """Whether ``null`` stands at ``at``."""
    return (
        at + 4 <= size
        and text[at] == 110
        and text[at + 1] == 117
        and text[at + 2] == 108
        and text[at + 3] == 108
    )


@njit
def number(text: Any, at: int, size: int) -> Any:
    """A JSON number: the place behind it, or -1; its value, and whether that is exact.

    At most 15 digits and 15 decimals make a quotient of two whole floats, which rounds as a parser must.
    """
    minus = at < size and text[at] == 45
    at += minus
    value = np.int64(0)
    digits = decimals = 0
    zero = at < size and text[at] == 48
    while at < size and 48 <= text[at] <= 57 and not (zero and digits == 1):
        if digits < 15:
            value = value * 10 + (np.int64(text[at]) - 48)
        digits += 1
        at += 1
    if digits == 0:
        return -1, 0.0, False
    scale = 1.0
    if at < size and text[at] == 46:  # .
        at += 1
        while at < size and 48 <= text[at] <= 57:
            if digits < 15:
                value = value * 10 + (np.int64(text[at]) - 48)
                scale *= 10.0
            digits += 1
            decimals += 1
            at += 1
        if decimals == 0:
            return -1, 0.0, False
    exact = digits <= 15
    if at < size and (text[at] == 69 or text[at] == 101):  # E e
        exact = False
        at += 1
        if at < size and (text[at] == 43 or text[at] == 45):
            at += 1
        begun = at
        while at < size and 48 <= text[at] <= 57:
            at += 1
        if at == begun:
            return -1, 0.0, False
    whole = value / scale
    return at, -whole if minus else whole, exact and digits < 300


@njit
def after_element(text: Any, at: int, size: int, first: bool) -> Any:
    """Step over white space and a comma in a list: the next place, or -1, and whether the list ended there."""
    at = skip(text, at, size)
    if at < size and text[at] == 93:
        return at + 1, True
    if first:
        return at, False
    if at < size and text[at] == 44:
        return skip(text, at + 1, size), False
    return -1, False


@njit
def past_boxes(text: Any, at: int, size: int) -> int:
    """The place behind a list, from behind its ``[``, of null and lists of numbers; else -1."""
    first = True
    while True:
        at, ended = after_element(text, at, size, first)
        if at < 0 or ended:
            return at
        first = False
        if null(text, at, size):
            at += 4
        elif at < size and text[at] == 91:
            at += 1
            begun = True
            while True:
                at, closed = after_element(text, at, size, begun)
                if at < 0:
                    return -1
                if closed:
                    break
                begun = False
                start = at
                at, _, _ = number(text, at, size)
                if at < 0 or at - start > 300:
                    return -1
        else:
            return -1
