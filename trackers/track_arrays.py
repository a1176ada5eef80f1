"""Tracks as a structure of arrays: one array per property, one row per track. Knows no tracking."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

__all__ = ["TrackArrays"]

Self = TypeVar("Self", bound="TrackArrays")


class TrackArrays:
    """Base of dataclasses whose fields all have one row per track.

    A field is an array with the tracks on its first axis, or another ``TrackArrays``. Arrays of
    dtype object (mask crops of different sizes) travel as lists of arrays in ``state``.
    """

    def take(self: Self, rows: Any) -> Self:
        """The given rows (int indices or bool choice), copied."""
        return type(self)(*(_take(value, rows) for value in self._values()))

    def extend(self: Self, more: Self) -> Self:
        """These rows, then those of ``more``."""
        return type(self)(*(_join(a, b) for a, b in zip(self._values(), more._values(), strict=True)))

    def put(self: Self, rows: Any, new: Self) -> None:
        """Overwrite the given rows in place."""
        for old, value in zip(self._values(), new._values(), strict=True):
            if isinstance(old, TrackArrays):
                old.put(rows, value)
            else:
                old[rows] = value

    def state(self) -> dict[str, Any]:
        """Copies of all fields, by name, as arrays, lists of arrays and nested dicts."""
        return {field.name: _state(getattr(self, field.name)) for field in fields(self)}  # type: ignore[arg-type]

    def with_state(self: Self, state: dict[str, Any]) -> Self:
        """Like this one, with the values that ``state`` gave."""
        names = [field.name for field in fields(self)]  # type: ignore[arg-type]
        if sorted(state) != sorted(names):
            raise ValueError(f"{type(self).__name__}: expected fields {names}, got {sorted(state)}")
        return type(self)(*(_restore(getattr(self, name), state[name]) for name in names))

    def _values(self) -> list[Any]:
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]


def _take(value: Any, rows: Any) -> Any:
    return value.take(rows) if isinstance(value, TrackArrays) else value[rows]


def _join(a: Any, b: Any) -> Any:
    return a.extend(b) if isinstance(a, TrackArrays) else np.concatenate([a, b])


def _state(value: Any) -> Any:
    if isinstance(value, TrackArrays):
        return value.state()
    return [item.copy() for item in value] if value.dtype == object else value.copy()


def _restore(like: Any, value: Any) -> Any:
    if isinstance(like, TrackArrays):
        return like.with_state(value)
    if like.dtype != object:
        return np.array(value, like.dtype)
    items = np.empty(len(value), object)
    items[:] = [np.array(item) for item in value]
    return items
