"""Text files of one object per line, read with the line's number in every complaint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from vis.errors import AnnotationError

__all__ = ["integer", "number", "read_utf8", "split_lines"]

MAX_BYTES = 2**31


def read_utf8(path: str | Path) -> str:
    """The text of a file of at most 2 GiB; raises :class:`AnnotationError`."""
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AnnotationError(f"{path}: {path.stat().st_size:,} bytes, over the limit of {MAX_BYTES:,}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise AnnotationError(f"{path}: not UTF-8 text at byte {error.start}") from error


def split_lines(
    path: str | Path, least: int, *, separator: str | None = None
) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, its words) of each line that is not blank; at least ``least`` words."""
    for count, line in enumerate(read_utf8(path).split("\n"), start=1):
        if not line.strip():
            continue
        words = line.strip().split(separator)
        if len(words) < least:
            raise AnnotationError(f"{path}: line {count}: expected {least} values, got {len(words)}")
        yield count, words


def integer(word: str, where: str) -> int:
    """A whole number of at most 12 digits."""
    text = word.strip()
    if not (text.lstrip("-").isdigit() and text.isascii() and len(text) <= 13):
        raise AnnotationError(f"{where}: expected a whole number, got {word[:40]!r}")
    try:
        return int(text)
    except ValueError:
        raise AnnotationError(f"{where}: expected a whole number, got {word[:40]!r}") from None


def number(word: str, where: str) -> float:
    """A finite number."""
    try:
        value = float(word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise AnnotationError(f"{where}: expected a finite number, got {word[:40]!r}")
    return value
