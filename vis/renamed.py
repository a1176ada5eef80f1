"""Former names of arguments, attributes and what modules hold, which go on working for one version."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

__all__ = ["renamed_arguments", "renamed_attribute", "renamed_names"]

P = ParamSpec("P")
R = TypeVar("R")


def renamed_arguments(**now: str) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A function that takes keyword arguments by their former names too (``former="present"``), with a warning."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            for former, present in now.items():
                if former not in kwargs:
                    continue
                if present in kwargs:
                    raise TypeError(f"{function.__name__}() got {present} twice: {former} is its former name")
                warnings.warn(
                    f"{function.__name__}(): {former} is now called {present}; "
                    "the former name goes in the next version",
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[present] = kwargs.pop(former)
            return function(*args, **kwargs)

        return call

    return decorate


def renamed_attribute(former: str, present: str) -> property:
    """An attribute of a class under its former name, with a warning."""

    def get(self: object) -> Any:
        _warn(f"{type(self).__name__}.{former}", present)
        return getattr(self, present)

    return property(get)


def renamed_names(module: str, **now: str) -> Callable[[str], Any]:
    """The ``__getattr__`` of a module that gives what it holds by former names too (``former="present"``)."""

    def get(name: str) -> Any:
        if name not in now:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        _warn(f"{module}.{name}", now[name])
        return getattr(sys.modules[module], now[name])

    return get


def _warn(former: str, present: str) -> None:
    warnings.warn(
        f"{former} is now called {present}; the former name goes in the next version",
        DeprecationWarning,
        stacklevel=3,
    )
