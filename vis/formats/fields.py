"""Values of JSON entries, each checked to be of its field's type; what all readers of JSON share.

Nothing that a file says is taken for a key, an index, a size or a loop's bound before it went through
here. Whole numbers may be written as floats (1.0 is 1); true and false are no numbers. ``where`` names the
file and the entry in errors, all of which are :class:`AnnotationError`. A field that is missing or null
is its ``default``; without a default it must be there. Knows no format.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from vis.errors import AnnotationError
from vis.masks import checked_size

__all__ = [
    "MAX_COORDINATE",
    "MAX_FPS",
    "MAX_FRAME",
    "MAX_ID",
    "MIN_FPS",
    "as_finite",
    "as_whole",
    "box",
    "finite",
    "finites",
    "flag",
    "get",
    "plain",
    "rows",
    "shown",
    "size",
    "text",
    "whole",
    "wholes",
    "wrong",
]

MISSING: Any = object()
"""Default of a field that must be there."""
MAX_ID = 2**53 - 1
"""Largest id: the largest whole number that every reader of JSON holds exactly."""
MAX_FRAME = 2**31 - 1
"""Largest frame index; a wilder number is a broken file, not a video."""
MAX_COORDINATE = 1e6
"""Largest coordinate of a box or a point, in pixels, to either side."""
MIN_FPS, MAX_FPS = 1e-6, 1e6
"""Frames per second lie between these."""
MAX_DEPTH = 64
SHOWN = 60
"""Characters of a value that an error repeats."""

Default = TypeVar("Default")


def get(entry: Any, key: str, where: str, default: Any = MISSING) -> Any:
    """The value of a field, of whatever type; ``default`` where it is missing or null, if there is one."""
    if not isinstance(entry, Mapping):
        raise AnnotationError(f"{where}: expected an object, got {shown(entry)}")
    if default is MISSING:
        if key not in entry:
            raise AnnotationError(f"{where}: {key} is missing")
        return entry[key]
    value = entry.get(key)
    return default if value is None else value


def _is_left_out(entry: Mapping[str, Any], key: str, default: Any) -> bool:
    """Whether the default stands for the field; a value in the file that equals the default is checked as others."""
    return default is not MISSING and entry.get(key) is None


def whole(
    entry: Any, key: str, where: str, default: Default = MISSING, *, least: int = -MAX_ID, most: int = MAX_ID
) -> int | Default:
    """A whole number between ``least`` and ``most``."""
    value = get(entry, key, where, default)
    if _is_left_out(entry, key, default):
        return default
    number = as_whole(value)
    if number is None or not least <= number <= most:
        raise wrong(where, key, "a whole number", value, _limits(least, most, MAX_ID))
    return number


def finite(
    entry: Any,
    key: str,
    where: str,
    default: Default = MISSING,
    *,
    least: float = -math.inf,
    most: float = math.inf,
) -> float | Default:
    """A finite number between ``least`` and ``most``."""
    value = get(entry, key, where, default)
    if _is_left_out(entry, key, default):
        return default
    number = as_finite(value)
    if number is None or not least <= number <= most:
        raise wrong(where, key, "a finite number", value, _limits(least, most, math.inf))
    return number


def text(entry: Any, key: str, where: str, default: Default = MISSING) -> str | Default:
    """A string; a whole number stands for its digits, as names of classes and videos may be numbers."""
    value = get(entry, key, where, default)
    if _is_left_out(entry, key, default):
        return default
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_ID:
        return str(value)
    if not isinstance(value, str):
        raise wrong(where, key, "text", value)
    return value


def flag(entry: Any, key: str, where: str, default: bool = False) -> bool:
    """0 or 1, or false or true."""
    value = get(entry, key, where, default)
    if not isinstance(value, int | float) or value not in (0, 1):
        raise wrong(where, key, "0 or 1", value)
    return bool(value)


def rows(entry: Any, key: str, where: str, default: Default = MISSING) -> list[Any] | Default:
    """A list; its elements are not looked at."""
    value = get(entry, key, where, default)
    if _is_left_out(entry, key, default):
        return default
    if not isinstance(value, list):
        raise wrong(where, key, "a list", value)
    return value


def box(value: Any, where: str, *, sizes: bool = False) -> tuple[float, float, float, float]:
    """x0, y0, x1, y1 of a list of four numbers in pixels; with ``sizes`` it holds x, y, width, height.

    Sizes may be 0 and not less. The numbers stay doubles: x0 + width is rounded once.
    """
    numbers = [as_finite(item) for item in value] if isinstance(value, list | tuple) else []
    x0, y0, x1, y1 = (number for number in numbers) if len(numbers) == 4 else (None,) * 4
    what = "[x, y, width, height]" if sizes else "[x0, y0, x1, y1]"
    if x0 is None or y0 is None or x1 is None or y1 is None:
        raise AnnotationError(f"{where}: expected a box {what} of four finite numbers, got {shown(value)}")
    if sizes:
        x1, y1 = x0 + x1, y0 + y1
    if x1 < x0 or y1 < y0:
        raise AnnotationError(f"{where}: the box {what} {shown(value)} has a negative width or height")
    if max(abs(x0), abs(y0), abs(x1), abs(y1)) > MAX_COORDINATE:
        raise AnnotationError(
            f"{where}: the box {what} {shown(value)} lies more than {MAX_COORDINATE:,.0f} pixels away"
        )
    return x0, y0, x1, y1


def size(entry: Any, where: str, height: str = "height", width: str = "width") -> tuple[int, int]:
    """(height, width) of a picture, within the limits of masks; the last two arguments name its fields."""
    return checked_size((whole(entry, height, where), whole(entry, width, where)), where)


def wholes(value: Any, where: str, *, least: int = 0, most: int = MAX_FRAME) -> NDArray[np.int64]:
    """A list of whole numbers, as int64 (N,)."""
    numbers = list(map(as_whole, value)) if isinstance(value, list) else [None]
    if None in numbers or not all(least <= number <= most for number in numbers if number is not None):
        raise AnnotationError(
            f"{where}: expected a list of whole numbers from {least} to {most}, got {shown(value)}"
        )
    return np.array(numbers, np.int64)


def finites(
    value: Any, where: str, *, least: float = -math.inf, most: float = math.inf
) -> NDArray[np.float64]:
    """A list of finite numbers, as float64 (N,)."""
    numbers = list(map(as_finite, value)) if isinstance(value, list) else [None]
    if None in numbers or not all(least <= number <= most for number in numbers if number is not None):
        limits = f" from {least:g} to {most:g}" if math.isfinite(least) else ""
        raise AnnotationError(f"{where}: expected a list of finite numbers{limits}, got {shown(value)}")
    return np.array(numbers, np.float64)


def plain(value: Any, where: str, depth: int = MAX_DEPTH) -> Any:
    """The value, if it can be written as strict JSON again: finite, and not nested more than 64 deep."""
    if depth == 0:
        raise AnnotationError(f"{where}: is nested more than {MAX_DEPTH} deep")
    if isinstance(value, Mapping):
        return {key: plain(item, where, depth - 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, where, depth - 1) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise AnnotationError(f"{where}: holds a number that is too large")
    return value


def as_whole(value: Any) -> int | None:
    """The whole number of at most 53 bits that a value stands for, or None."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= MAX_ID:
        return int(value)
    return value if type(value) is int and abs(value) <= MAX_ID else None


def as_finite(value: Any) -> float | None:
    """The finite number that a value stands for, or None."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number beyond every float
        return None


def wrong(where: str, key: str, expected: str, value: Any, limits: str = "") -> AnnotationError:
    """The error of a field whose value is not what is expected."""
    return AnnotationError(f"{where}: expected {expected} as {key[:40]}{limits}, got {shown(value)}")


def _limits(least: float, most: float, any_: float) -> str:
    low, high = f" from {least}" if least > -any_ else "", f" up to {most}" if most < any_ else ""
    return low + high


def shown(value: Any) -> str:
    """A value in a few characters, whatever it is: neither deep lists nor huge numbers are written out."""
    if isinstance(value, list | tuple):
        few = len(value) <= 4 and not any(isinstance(item, list | tuple | Mapping) for item in value)
        return f"[{', '.join(map(shown, value))}]" if few else f"a list of {len(value)}"
    if isinstance(value, Mapping):
        keys = ", ".join(str(key)[:20] for key in list(value)[:4])
        return f"an object with {keys or 'nothing in it'}"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"a whole number of {value.bit_length()} bits"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    said = repr(value[: SHOWN + 1] if isinstance(value, str) else value)
    return said if len(said) <= SHOWN else said[: SHOWN - 3] + "..."
