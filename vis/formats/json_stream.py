"""JSON files of hundreds of megabytes, element by element. Knows nothing of what is in them.

A file up to ``whole_bytes`` is parsed at once, which is fastest; a longer one is read in chunks, and
only the element in hand is held. Both give the same items and the same errors.
"""

from __future__ import annotations

import codecs
import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from vis.errors import AnnotationError
from vis.files import JSON_HOOKS, json_problem

__all__ = ["items", "members", "open_json"]

WHOLE_BYTES = 2**26
"""Files up to 64 MiB are parsed at once."""
LIMIT_BYTES = 2**34
"""Longer inputs are refused."""
CHUNK_BYTES = 2**23
ELEMENT_CHARS = 2**29
"""One element of a streamed list may not be longer."""


@contextlib.contextmanager
def open_json(path: str | Path, member: str = "results.json") -> Iterator[tuple[IO[bytes], int]]:
    """The bytes and the size of a JSON file, or of ``member`` in a ``.zip`` (at its top, or alone in it)."""
    path = Path(path)
    if path.suffix.lower() != ".zip":
        try:
            with path.open("rb") as file:
                yield file, path.stat().st_size
        except OSError as error:
            raise _unreadable(path, error) from error
        return
    # Slow to import, and rarely needed.
    import zipfile
    import zlib

    with contextlib.ExitStack() as opened:
        try:
            archive = opened.enter_context(zipfile.ZipFile(path))
            names = [name for name in archive.namelist() if name.endswith(".json")]
            name = member if member in names else names[0] if len(names) == 1 else ""
            if not name:
                some = ", ".join(other[:40] for other in names[:5]) or "none"
                raise AnnotationError(f"{path}: expected {member} at the top of the zip, found {some}")
            inside = opened.enter_context(archive.open(name))
        except (
            OSError,
            zipfile.BadZipFile,
            NotImplementedError,
            EOFError,
            ValueError,
            RuntimeError,
        ) as error:
            raise _unreadable(path, error) from error
        try:
            yield inside, archive.getinfo(name).file_size
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error) as error:
            raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> AnnotationError:
    return AnnotationError(f"{path}: cannot be read ({str(error)[:120]}); give a JSON file or a zip of one")


def items(
    path: str | Path,
    lists: tuple[str, ...] = (),
    *,
    whole_bytes: int = WHOLE_BYTES,
) -> Iterator[tuple[str, Any]]:
    """The members of the top object as (key, value), or the elements of the top list as ("", element).

    Under the keys in ``lists`` the elements come one by one: ("annotations", element), ... Strict JSON: NaN,
    Infinity and a key twice in one object are refused.

    Raises :class:`AnnotationError` that names file and place.
    """
    with open_json(path) as (file, size):
        if size > LIMIT_BYTES:
            raise AnnotationError(f"{path}: {size:,} bytes, over the limit of {LIMIT_BYTES:,}")
        try:
            if size <= whole_bytes:
                yield from members(json.loads(file.read(), **JSON_HOOKS), lists, str(path))
            else:
                yield from _Chunks(file).members(lists)
        except (ValueError, RecursionError) as error:
            raise AnnotationError(f"{path}: {json_problem(error)}") from error


def members(value: Any, lists: tuple[str, ...], name: str = "value") -> Iterator[tuple[str, Any]]:
    """What :func:`items` yields, from a value that is parsed already."""
    if isinstance(value, list):
        for element in value:
            yield "", element
    elif isinstance(value, dict):
        for key, member in value.items():
            if key in lists and isinstance(member, list):
                for element in member:
                    yield key, element
            else:
                yield key, member
    else:
        raise AnnotationError(f"{name}: expected a JSON object or list, got {type(value).__name__}")


class _Chunks:
    """Walks the top level of a JSON text; complete elements are left to the standard parser."""

    def __init__(self, file: IO[bytes], chunk_bytes: int = CHUNK_BYTES) -> None:
        self.file, self.chunk_bytes = file, chunk_bytes
        self.decode = codecs.getincrementaldecoder("utf-8-sig")().decode
        self.parse = json.JSONDecoder(**JSON_HOOKS).raw_decode
        self.text, self.at, self.ended = "", 0, False

    def members(self, lists: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
        opening = self.next_char()
        if opening == "[":
            for element in self.elements():
                yield "", element
        elif opening == "{":
            seen: set[str] = set()
            while self.peek() != "}":
                key = self.value()
                if not isinstance(key, str):
                    raise self.error("expected a key")
                if key in seen:
                    raise ValueError(f"the key {key[:40]!r} is twice in the outermost object; keep one")
                seen.add(key)
                self.expect(":")
                if key in lists and self.peek() == "[":
                    self.at += 1
                    for element in self.elements():
                        yield key, element
                else:
                    yield key, self.value()
                self.separator("}")
            self.at += 1
        else:
            raise self.error("expected an object or a list")
        if self.peek():
            raise self.error("extra data")

    def elements(self) -> Iterator[Any]:
        while self.peek() != "]":
            yield self.value()
            self.separator("]")
        self.at += 1

    def separator(self, closing: str) -> None:
        """Step over the comma that must follow unless the list or object closes."""
        if self.peek() == closing:
            return
        self.expect(",")
        if self.peek() == closing:
            raise self.error("trailing comma")

    def value(self) -> Any:
        self.peek()
        wanted = self.chunk_bytes
        while True:
            try:
                value, end = self.parse(self.text, self.at)
                # A number at the very end of the buffer may go on.
                if end < len(self.text) or self.ended:
                    self.at = end
                    return value
            except json.JSONDecodeError:
                if self.ended or len(self.text) - self.at > ELEMENT_CHARS:
                    raise
            self.fill(wanted)
            wanted *= 2  # so that a long element is not parsed again and again

    def fill(self, wanted: int) -> None:
        data = self.file.read(wanted)
        self.ended = not data
        self.text = self.text[self.at :] + self.decode(data, final=self.ended)
        self.at = 0

    def peek(self) -> str:
        """The next character that is not white space, '' at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
                self.at += 1
            if self.at < len(self.text) or self.ended:
                return self.text[self.at : self.at + 1]
            self.fill(self.chunk_bytes)

    def next_char(self) -> str:
        char = self.peek()
        self.at += 1
        return char

    def expect(self, char: str) -> None:
        if self.next_char() != char:
            raise self.error(f"expected {char!r}")

    def error(self, message: str) -> ValueError:
        around = self.text[max(0, self.at - 20) : self.at + 20]
        return ValueError(f"{message} near {around!r}; the file may be truncated")
