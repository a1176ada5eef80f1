"""What an option's value may be: every number finite and within bounds, every path one that a file system can hold.

A ``type`` of argparse takes the text and gives the value, or raises ``ArgumentTypeError``. :class:`Parser` puts
bounds on the plain ``int``, ``float`` and ``Path`` too, so that no option is without.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from vis.errors import VisWarning

__all__ = [
    "FormerName",
    "FormerSwitch",
    "Parser",
    "file_path",
    "ids",
    "moment",
    "number",
    "path_text",
    "positive",
    "rate",
    "read_moment",
    "seconds",
    "shown",
    "unit",
    "whole",
]

MOST = 10**9
"""Largest number of anything, unless an option says less."""
NAME_BYTES = 255
"""Longest name of a file or folder on the usual file systems."""
MESSAGE_LETTERS = 600

# What argparse takes for an option because of its dash: -10,30,40,60 and -4s, but not -3, which it knows.
_NEGATIVE_VALUE = re.compile(r"-(?=[\d.]|inf|nan)(?!\d+\Z|\d*\.\d+\Z)", re.ASCII | re.IGNORECASE)


class FormerName(argparse.Action):
    """An option by its former name; ``const`` is the present one. It works for one version more, with a warning."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse gives it
        namespace: argparse.Namespace,
        values: Any,
        option: str | None = None,
    ) -> None:
        """Set the option, and say what it is called now."""
        _tell_former(option, self.const)
        setattr(namespace, self.dest, values)


class FormerSwitch(argparse.BooleanOptionalAction):
    """``--name`` and ``--no-name`` of what is an option with values now: for one version more, with a warning.

    ``present``: the option; ``values``: its value for ``--no-name``, and that for ``--name``.
    """

    def __init__(self, *args: Any, present: str, values: tuple[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self.present, self.values = present, values

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - argparse gives it
        namespace: argparse.Namespace,
        values: Any,  # noqa: ARG002
        option: str | None = None,
    ) -> None:
        """Set the option, and say what it is called now."""
        value = self.values[option == self.option_strings[0]]
        _tell_former(option, f"{self.present} {value}")
        setattr(namespace, self.dest, value)


def _tell_former(option: str | None, present: str) -> None:
    warnings.warn(
        f"{option} is now {present}; the former name goes in the next version", VisWarning, stacklevel=3
    )


class Parser(argparse.ArgumentParser):
    """A parser with bounds, which takes a value that begins with a minus sign for one, and says no endless thing."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for plain, bounded in ((int, whole(-MOST, MOST)), (float, number(-MOST, MOST)), (Path, file_path)):
            self.register("type", plain, bounded)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, with ``--box -10,30,40,60`` read as it is meant."""
        words = sys.argv[1:] if args is None else list(args)
        for word in words:
            if word.startswith("--") and word.endswith("=--"):  # argparse makes a list of it
                self.error(f"argument {word[:-3]}: expected a value, got '--'")
        return super().parse_known_args(_with_their_values(words), namespace)

    def error(self, message: str) -> NoReturn:
        """As argparse's; what was given is not repeated at any length."""
        if len(message) > MESSAGE_LETTERS:
            message = f"{message[: MESSAGE_LETTERS - 100]} ... {message[-90:]}"
        super().error(message)


def whole(low: int, high: int) -> Callable[[str], int]:
    """Whole numbers from ``low`` to ``high``, in ASCII digits."""
    many = f"{low} or more" if high == MOST else f"a whole number from {low} to {high}"

    def read(text: str) -> int:
        if re.fullmatch(r"[-+]?[0-9]{1,19}", text.strip()) and low <= (value := int(text)) <= high:
            return value
        too_many = f", at most {high:,}" if high == MOST and re.fullmatch("[0-9]{10,}", text.strip()) else ""
        raise argparse.ArgumentTypeError(f"expected {many}{too_many}, got {shown(text)}")

    return read


def number(low: float, high: float, *, above: bool = False) -> Callable[[str], float]:
    """Finite numbers from ``low`` to ``high``; ``above``: ``low`` itself is refused."""
    many = f"a number above {low:g}, of at most {high:g}" if above else f"a number from {low:g} to {high:g}"

    def read(text: str) -> float:
        value = _as_float(text)
        if value is None or not (low < value if above else low <= value) or value > high:
            raise argparse.ArgumentTypeError(f"expected {many}, got {shown(text)}")
        return value

    return read


positive = whole(1, MOST)
"""A whole number of 1 or more."""
unit = number(0, 1)
"""A number from 0 to 1."""
seconds = number(0, MOST, above=True)
"""A time that is over some day."""
rate = number(1e-6, 1e6)
"""Frames per second."""


def ids(text: str) -> tuple[int, ...]:
    """'1,3' -> (1, 3): ids of objects, each once."""
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"[0-9]{1,10}", part) and int(part) > 0 for part in parts):
        raise argparse.ArgumentTypeError(
            f"expected ids of objects with commas between, like 1,3, got {shown(text)}"
        )
    return tuple(dict.fromkeys(map(int, parts)))


def moment(text: str) -> str:
    """A frame number or a time, as :func:`read_moment` reads it; the text itself, for the record."""
    read_moment(text)
    return text


def read_moment(text: str) -> tuple[int | None, float | None]:
    """'120' -> (120, None), a frame; '4.5s' -> (None, 4.5), seconds."""
    if text.endswith("s"):
        value = _as_float(text[:-1])
        if value is not None and 0 <= value <= MOST:
            return None, value
    elif re.fullmatch(r"[0-9]{1,10}", text) and int(text) <= MOST:
        return int(text), None
    raise argparse.ArgumentTypeError(
        f"{shown(text)}: give a frame number like 120, or seconds like 4.5s (0 to {MOST:,})"
    )


def file_path(text: str) -> Path:
    """A path that may or may not be there."""
    if not text:
        raise argparse.ArgumentTypeError("expected a path, got nothing")
    path = Path(text)
    try:
        path.lstat()
        too_long = False
    except OSError as error:
        # Where a folder above is missing, the system does not look at the name.
        too_long = error.errno == errno.ENAMETOOLONG or any(
            len(os.fsencode(part)) > NAME_BYTES for part in path.parts
        )
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{shown(text)} is no path ({error})") from error
    if too_long:
        raise argparse.ArgumentTypeError(f"the name is too long for the file system: {shown(text)}")
    return path


def path_text(text: str) -> str:
    """A path, or something else that the verb takes there: a model's name, an address."""
    if "://" not in text:
        file_path(text)
    return text


def shown(text: str) -> str:
    """What was given, as it can be printed in a message."""
    return repr(text) if len(text) <= 60 else f"{text[:50]!r} ... ({len(text)} letters)"


def _as_float(text: str) -> float | None:
    """The number, None where it is none or not a finite one."""
    try:
        value = float(text) if text.isascii() and len(text) <= 400 else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _with_their_values(words: Sequence[str]) -> list[str]:
    """``--box -10,30,40,60`` as ``--box=-10,30,40,60``."""
    joined: list[str] = []
    for word in words:
        option = joined[-1] if joined else ""
        if _NEGATIVE_VALUE.match(word) and option.startswith("--") and len(option) > 2 and "=" not in option:
            joined[-1] = f"{option}={word}"
        else:
            joined.append(word)
    return joined
