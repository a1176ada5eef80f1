"""Videos behind an address (s3://, gs://, https://, memory://), through fsspec. Knows no video."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from apps.batch.identity import digest
from apps.batch.item import Item, is_address
from vis.errors import DependencyError, VideoError

__all__ = ["identity", "local_copy"]


def identity(item: Item) -> dict[str, Any]:
    """Size and the store's own fingerprint (ETag, checksum or time) of a video, without fetching it."""
    system, path = _system(item.path)
    try:
        size = int(system.info(path).get("size") or 0)
        fingerprint = str(system.ukey(path))
    except (OSError, ValueError, NotImplementedError) as error:
        raise VideoError(
            f"{item.path}: cannot be reached ({error}); check the address and the access to it"
        ) from error
    sha256 = hashlib.sha256(f"{size} {fingerprint}".encode()).hexdigest()
    return {"bytes": size, "files": 1, "sha256": sha256, "paths": digest([item.path])}


@contextmanager
def local_copy(item: Item) -> Iterator[Item]:
    """The item itself when it is local; else a temporary copy that is gone afterwards."""
    if not is_address(item.path):
        yield item
        return
    system, path = _system(item.path)
    with tempfile.TemporaryDirectory(prefix="vistubes-") as folder:
        target = Path(folder) / PurePosixPath(path).name
        try:
            system.get_file(path, str(target))
        except OSError as error:
            raise VideoError(
                f"{item.path}: cannot be fetched ({error}); check the address and free space"
            ) from error
        yield replace(item, path=str(target))


def _system(address: str) -> tuple[Any, str]:
    """The fsspec file system of an address, and the path in it."""
    try:
        import fsspec
    except ImportError as error:
        raise DependencyError(
            f"{address}: addresses need fsspec; pip install 'vis-tubes[cluster]'"
        ) from error
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise DependencyError(
            f"{address}: {error}; install the fsspec package of this store (s3fs, gcsfs ...)"
        ) from error
    return system, path
