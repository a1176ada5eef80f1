"""Former names of arguments, attributes and what modules hold, which go on working for one version."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

__all__ = ["renamed_arguments", "renamed_attribute", "renamed_names"]

P = ParamSpec("P")
R = TypeVar("R")


def renamed_arguments(
    values: Mapping[str, Mapping[Any, Any]] | None = None, /, **now: str
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that takes keyword arguments by their former names too (``former="present"``), with a warning.

    ``values``: former name -> what each of its values is called now, where these have changed too.
    """
    present_values = values or {}

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for former, present in now.items():
                if former not in kwargs:
                    continue
                if present in kwargs:
                    raise TypeError(f"{_name(function)}() got {present} twice: {former} is its former name")
                warnings.warn(
                    f"{_name(function)}(): {former} is now called {present}; "
                    "the former name goes in the next version",
                    DeprecationWarning,
                    stacklevel=2,
                )
                value = kwargs.pop(former)
                called = present_values.get(former)
                kwargs[present] = value if called is None else called.get(value, value)
            return function(*args, **kwargs)

        return call

    return decorate


def renamed_attribute(former: str, present: str, values: Mapping[Any, Any] | None = None) -> property:
    """An attribute of a class under its former name, with a warning.

    ``values``: what each value was called, where these have changed too.
    """

    def get(self: object) -> Any:
        _warn(f"{type(self).__name__}.{former}", present)
        value = getattr(self, present)
        return value if values is None else values[value]

    return property(get)


def renamed_names(module: str, **now: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module that gives what it holds by former names too (``former="present"``)."""

    def get(name: str) -> Any:
        if name not in now:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", now[name])
        return getattr(sys.modules[module], now[name])

    return get


def _name(function: Callable[..., Any]) -> str:
    """A function's name; of what makes objects, the class's."""
    return function.__qualname__.removesuffix(".__init__").rpartition(".")[2]


def _warn(former: str, present: str) -> None:
    warnings.warn(
        f"{former} is now called {present}; the former name goes in the next version",
        DeprecationWarning,
        stacklevel=3,
    )
