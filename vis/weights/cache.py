"""The cache folder: where weight files lie, and whether the bytes there are the right ones.

A file's checksum is computed once; a stamp beside it (size, time of change, sha256) lets later
calls trust it without reading gigabytes again. ``cached(weight, rehash=True)`` reads them anyway.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path

from vis.cache import cache_folder
from vis.weights.table import Weight

__all__ = ["cache_folder", "cached", "file_path", "sha256_of", "stamp"]


def file_path(weight: Weight) -> Path:
    """Where the file lies, or will lie once fetched."""
    return cache_folder() / "weights" / weight.filename


def sha256_of(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def cached(weight: Weight, *, rehash: bool = False) -> bool:
    """Whether the cache holds exactly this weight's bytes."""
    path = file_path(weight)
    try:
        status = path.stat()
    except OSError:
        return False
    if status.st_size != weight.bytes:
        return False
    if not rehash and _stamped(path) == [status.st_size, status.st_mtime_ns, weight.sha256]:
        return True
    if sha256_of(path) != weight.sha256:
        return False
    stamp(path, weight.sha256)
    return True


def stamp(path: Path, sha256: str) -> None:
    """Note that ``path``, as it is now, has this checksum. A cache that cannot be written stays as it is."""
    status = path.stat()
    beside = _stamp_path(path)
    temporary = beside.with_name(f"{beside.name}.{os.getpid()}")
    with contextlib.suppress(OSError):  # a read-only cache only costs the hashing
        temporary.write_text(json.dumps([status.st_size, status.st_mtime_ns, sha256]))
        temporary.replace(beside)


def _stamp_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256.json")


def _stamped(path: Path) -> object:
    try:
        return json.loads(_stamp_path(path).read_text())
    except (OSError, ValueError):
        return None
