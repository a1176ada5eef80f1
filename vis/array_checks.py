"""What the types of :mod:`vis.structures` ask of the arrays that they hold, and how those print."""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["as_array_of", "check_array", "describe", "repr_of", "require"]


def describe(value: object) -> str:
    """Shape and dtype of an array; anything else as it prints."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple) and len(value) > 6:
        return f"<{len(value)} items>"
    return repr(value)


def repr_of(self: Any, *names: str) -> str:
    """How an object prints, its arrays by dtype and shape."""
    body = ", ".join(f"{name}={describe(getattr(self, name))}" for name in names)
    return f"{type(self).__name__}({body})"


def require(ok: bool, message: str) -> None:
    """Raise ``ValueError`` unless ``ok``."""
    if not ok:
        raise ValueError(message)


def check_array(owner: str, name: str, value: object, dtype: Any, shape: tuple[int | None, ...]) -> None:
    """Raise ``ValueError`` unless ``value`` is an array of ``dtype`` whose shape fits (None: any)."""
    fits = (
        isinstance(value, np.ndarray)
        and value.dtype == dtype
        and value.ndim == len(shape)
        and all(want is None or have == want for have, want in zip(value.shape, shape, strict=True))
    )
    # Only a failure pays for its message: these checks run for every frame and every object.
    if not fits:
        wanted = f"{np.dtype(dtype)}{['any' if n is None else n for n in shape]}"
        raise ValueError(f"{owner}.{name}: expected {wanted}, got {describe(value)}")


def as_array_of(owner: str, name: str, value: Any, dtype: np.dtype[Any]) -> Any:
    """A list or an array of a kindred type as an array of ``dtype``; what is neither is left to the check after it.

    Kindred are numbers for numbers without a fraction lost, and bools for bools.
    """
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{owner}.{name}: its rows are not alike: {error}") from error
    if array.size == 0 and not isinstance(value, np.ndarray):
        return np.zeros((0, 4) if name == "boxes" else array.shape, dtype)
    kinds = {"f": "fiu", "i": "iu", "b": "b"}[dtype.kind]
    return array.astype(dtype) if array.dtype.kind in kinds else value
