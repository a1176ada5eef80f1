"""Values of JSON entries, each of the type that its field has. ``where`` names file and entry in errors.

Nothing is taken for a key, a size or a bound before it went through here. Whole numbers may be written as
floats (1.0 is 1); true and false are no numbers. Raises :class:`AnnotationError`.
"""

from __future__ import annotations

import math
from typing import Any

from vis.errors import AnnotationError

__all__ = [
    "MISSING",
    "box_area",
    "category_ids",
    "count",
    "finite",
    "flag",
    "get",
    "is_finite",
    "shown",
    "text",
    "whole",
    "wrong",
]

MISSING: Any = object()
"""Default of a field that must be there."""
SHOWN = 40
"""Characters of a value that an error repeats."""


def get(entry: Any, key: str, where: str, default: Any = MISSING) -> Any:
    """The value of a field of an object."""
    if not isinstance(entry, dict):
        raise AnnotationError(f"{where}: expected an object, got {shown(entry)}")
    if key not in entry and default is MISSING:
        raise AnnotationError(f"{where}: {key} is missing")
    return entry.get(key, default)


def wrong(where: str, key: str, expected: str, value: Any) -> AnnotationError:
    """The error of a value that is not what its field expects."""
    return AnnotationError(f"{where}: {key}: expected {expected}, got {shown(value)}")


def shown(value: Any) -> str:
    """A value in a few characters, whatever it is: neither deep nesting nor a huge int is written out."""
    if isinstance(value, list | tuple):
        few = len(value) <= 4 and not any(isinstance(item, list | tuple | dict) for item in value)
        return f"[{', '.join(map(shown, value))}]" if few else f"a list of {len(value)}"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an int of {value.bit_length()} bits"
    said = repr(value)
    return said if len(said) <= SHOWN else said[: SHOWN - 3] + "..."


def _as_whole(value: Any) -> int | None:
    """The whole number that a value stands for, within 64 bits, or None."""
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, int) and abs(value) < 2**63 else None


def whole(entry: Any, key: str, where: str) -> int:
    """A whole number of at most 63 bits."""
    value = get(entry, key, where)
    number = _as_whole(value)
    if number is None:
        raise wrong(where, key, "a whole number", value)
    return number


def count(entry: Any, key: str, where: str) -> int | None:
    """A whole number from 0; None where the field is missing or null."""
    value = get(entry, key, where, None)
    number = None if value is None else _as_whole(value)
    if value is not None and (number is None or number < 0):
        raise wrong(where, key, "a whole number from 0", value)
    return number


def category_ids(entry: Any, key: str, where: str) -> frozenset[int] | None:
    """The set of category ids in a list; None where the field is missing or null."""
    value = get(entry, key, where, None)
    if value is None:
        return None
    numbers = [_as_whole(number) for number in value] if isinstance(value, list) else [None]
    if None in numbers:
        raise wrong(where, key, "a list of category ids, whole numbers", value)
    return frozenset(number for number in numbers if number is not None)


def text(entry: Any, key: str, where: str, default: str = "") -> str:
    """A string that can be printed and stored (half surrogate pairs are escaped); missing or null: ``default``."""
    value = get(entry, key, where, None)
    if value is None:
        return default
    if not isinstance(value, str):
        raise wrong(where, key, "text", value)
    return value.encode("utf-8", "backslashreplace").decode("utf-8")


def flag(entry: Any, key: str, where: str) -> bool:
    """0 or 1, or false or true; 0 where the field is missing."""
    value = get(entry, key, where, 0)
    if isinstance(value, list | dict) or value not in (0, 1):
        raise wrong(where, key, "0 or 1", value)
    return bool(value)


def is_finite(value: Any) -> bool:
    """Whether a value is a number that a float can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def finite(entry: Any, key: str, where: str) -> float:
    """A finite number."""
    value = get(entry, key, where)
    if not is_finite(value):
        raise wrong(where, key, "a finite number", value)
    return float(value)


def box_area(entry: Any, where: str) -> float | None:
    """Width times height of COCO's ``bbox`` [x, y, width, height]; None where it is missing, null or []."""
    value = get(entry, "bbox", where, None)
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) != 4 or not all(map(is_finite, value)):
        raise wrong(where, "bbox", "[x, y, width, height], four finite numbers", value)
    if value[2] < 0 or value[3] < 0:
        raise wrong(where, "bbox", "a width and a height from 0", value[2:])
    return float(value[2]) * float(value[3])
