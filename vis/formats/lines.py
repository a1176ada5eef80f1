"""Text files of one object per line, read with the line's number in every complaint."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path

from vis.errors import AnnotationError
from vis.formats.fields import MAX_ID

__all__ = ["escaped", "integer", "number", "read_utf8", "split_lines"]

MAX_BYTES = 2**31


def read_utf8(path: str | Path) -> str:
    """The text of a file of at most 2 GiB, line ends as they are; raises :class:`AnnotationError`.

    A byte order mark, which spreadsheets put in front, is taken away.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise AnnotationError(f"{path}: {path.stat().st_size:,} bytes, over the limit of {MAX_BYTES:,}")
        data = path.read_bytes()
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        hint = "; it is UTF-16, save it as UTF-8" if utf16 else ""
        raise AnnotationError(f"{path}: not UTF-8 text at byte {error.start}{hint}") from error


def split_lines(path: str | Path, least: int, *, guess: bool = False) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, its words) of each line that is not blank; at least ``least`` words.

    Words lie between spaces; with ``guess`` between commas or semicolons where the line has any.
    """
    for count, line in enumerate(re.split("\r\n|\r|\n", read_utf8(path)), start=1):
        if not line.strip():
            continue
        separator = next((mark for mark in ",;" if mark in line), None) if guess else None
        words = line.strip().split(separator)
        if len(words) < least:
            raise AnnotationError(f"{path}: line {count}: expected {least} values, got {len(words)}")
        yield count, words


def integer(word: str, where: str) -> int:
    """A whole number of at most 53 bits, which may be written as a float: ``7``, ``7.0``, ``7e0``."""
    text = word.strip()
    written = _finite(text)
    if re.fullmatch(r"[+-]?[0-9]{1,16}", text):
        value = int(text)
    elif written is not None and written.is_integer():
        value = int(written)
    else:
        raise AnnotationError(f"{where}: expected a whole number, got {word[:40]!r}")
    if abs(value) > MAX_ID:
        raise AnnotationError(f"{where}: expected a whole number of at most {MAX_ID}, got {word[:40]!r}")
    return value


def number(word: str, where: str) -> float:
    """A finite number."""
    value = _finite(word.strip())
    if value is None:
        raise AnnotationError(f"{where}: expected a finite number, got {word[:40]!r}")
    return value


def escaped(text: str) -> str:
    """The text as UTF-8 can hold it: bytes of a name that are no UTF-8 become ``\\udcXX``."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _finite(text: str) -> float | None:
    # Python's float takes digits of other scripts and underscores too.
    if not text.isascii() or "_" in text or len(text) > 400:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
