"""Former names of arguments, which go on working for one version."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["renamed_arguments"]

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
