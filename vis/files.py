"""Files that appear whole or not at all. Knows nothing of what is in them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from functools import cache, partial
from pathlib import Path
from typing import Any

from vis.errors import InputError, OutputError

__all__ = [
    "JSON_HOOKS",
    "STEM_LETTERS",
    "files_under",
    "flushed_as_one",
    "json_problem",
    "read_json",
    "sync_folder",
    "whole_file",
    "write_json",
    "write_text",
]

STEM_LETTERS = 40
"""Letters of a file's stem in its temporary name; in UTF-8 at most 160 bytes."""
_FLUSHES = 8
"""At most so many at a time."""
_flushed_as_one: set[Path] = set()
"""Folders whose files are not flushed one by one."""


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """A temporary name in the folder of ``path`` that becomes ``path`` when the block ends well.

    The caller writes and closes the yielded file. It is flushed to the disk, then renamed, then the
    folder is flushed, so that after a power cut there is either the old file or the whole new one.
    The folder is made when missing. On any exception the temporary file goes and ``path`` stays as
    it was; a full disk becomes :class:`OutputError`.
    """
    path = Path(path)
    part: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffix is kept: muxers choose their format by it. A long stem is cut: with what is added it could
        # become too long a name where its own is not.
        handle, name = tempfile.mkstemp(
            prefix=f".{path.stem[:STEM_LETTERS]}.", suffix=f".part{path.suffix}", dir=path.parent
        )
        os.close(handle)
        part = Path(name)
        yield part
        alone = path.parent not in _flushed_as_one
        if alone:
            _sync_file(part)
        # mkstemp gives 0600; a result is as readable as any file its owner makes.
        part.chmod(0o666 & ~_umask())
        part.replace(path)
        if alone:
            sync_folder(path.parent)
    except OSError as error:
        raise _output_error(path, error) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


@contextlib.contextmanager
def flushed_as_one(folder: Path) -> Iterator[None]:
    """Flush ``folder`` and all below it when the block ends well, not each file when :func:`whole_file` has written it.

    For a new folder that gets its name, or whose files get their places, after the block. The flushes run side by
    side: the disk then takes about as long for all of them as for one. Raises :class:`OutputError`.
    """
    _flushed_as_one.add(folder)
    try:
        yield
    finally:
        _flushed_as_one.discard(folder)
    flushes: list[Callable[[], None]] = []
    for here, _, names in os.walk(folder):
        flushes += [partial(_flush, Path(here, name)) for name in sorted(names)]
        flushes.append(partial(sync_folder, Path(here)))
    _side_by_side(flushes)


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text whole, or raise :class:`OutputError` and leave what was there.

    Bytes of a file name that are no UTF-8 (Python's lone surrogates) are written as ``\\udcXX``, which is how
    JSON spells them: :func:`read_json` gives the same name again.
    """
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any, *, indent: int | None = None) -> None:
    """Write strict JSON (no NaN) whole; separators are compact unless ``indent`` is given."""
    separators = None if indent is not None else (",", ":")
    text = json.dumps(value, indent=indent, separators=separators, allow_nan=False, ensure_ascii=False)
    write_text(path, text + "\n")


def read_json(path: str | Path, *, limit_bytes: int = 2**31) -> Any:
    """Parse strict JSON of at most ``limit_bytes``: NaN, Infinity and a key twice in one object are refused.

    Raises :class:`InputError` that names the file and the place.
    """
    path = Path(path)
    try:
        size = path.stat().st_size
        if size > limit_bytes:
            raise InputError(f"{path}: {size:,} bytes, over the limit of {limit_bytes:,}")
        return json.loads(path.read_bytes(), **JSON_HOOKS)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); give the path of a JSON file"
        ) from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: {json_problem(error)}") from error


def json_problem(error: ValueError | RecursionError) -> str:
    """What a parser's exception says of a JSON text, with its place where the parser knows it."""
    if isinstance(error, json.JSONDecodeError):
        place = f"line {error.lineno}, column {error.colno}"
        return f"not valid JSON at {place}: {error.msg}; the file may be truncated"
    if isinstance(error, UnicodeDecodeError):
        return f"not valid JSON, and not JSON text: byte {error.start} is no {error.encoding.upper()}"
    if isinstance(error, RecursionError):
        return "not valid JSON here: lists and objects are nested too deeply"
    if "integer string conversion" in str(error):  # Python's own limit, of 4,300 digits
        return "not valid JSON here: it holds a whole number of thousands of digits"
    return str(error)


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"holds {word}, which is not JSON; write numbers that are finite")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise ValueError(
            f"the key {twice[:40]!r} is twice in one object, with the keys {', '.join(value)[:80]}; keep one"
        )
    return value


JSON_HOOKS: dict[str, Any] = {"parse_constant": _refuse_constant, "object_pairs_hook": _unique_keys}
"""Keyword arguments that make Python's JSON parser strict."""


def files_under(folder: Path) -> list[Path]:
    """All files in ``folder`` and below, sorted; a linked folder counts where it is linked, once a loop.

    ``Path.rglob`` passes by linked folders, which is how data sets are often laid out.
    """
    found: list[Path] = []
    for here, folders, names in os.walk(folder, followlinks=True):
        above = {place.resolve() for place in (Path(here), *Path(here).parents)}
        folders[:] = [name for name in folders if Path(here, name).resolve() not in above]
        found += [Path(here, name) for name in names]
    return sorted(found)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _side_by_side(flushes: list[Callable[[], None]]) -> None:
    """All of them; then the first one's error, if any has one."""
    try:
        answers = [_flushers().submit(flush) for flush in flushes]
    except RuntimeError:  # Python ends, and gives no more work to threads
        for flush in flushes:
            flush()
        return
    wait(answers)
    for answer in answers:
        answer.result()


@cache
def _flushers() -> ThreadPoolExecutor:
    """Threads that wait for the disk; they stay, since to start one takes as long as a flush."""
    return ThreadPoolExecutor(_FLUSHES, thread_name_prefix="vis-flush")


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_flushers.cache_clear)  # threads are not taken along


def _flush(path: Path) -> None:
    try:
        _sync_file(path)
    except OSError as error:
        raise _output_error(path, error) from error


def _sync_file(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk: a rename in it outlives a power cut."""
    # Windows cannot open folders; there the rename alone must do.
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _output_error(path: Path, error: OSError) -> OutputError:
    if error.errno == errno.ENOSPC:
        return OutputError(f"{path}: the disk is full; nothing was written. Free some space and run again")
    return OutputError(
        f"{path}: cannot be written ({error.strerror or error}); choose another folder with --out"
    )
