"""Zip archives, written the same byte for byte, and read without trust."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vis.errors import AnnotationError

__all__ = ["MAX_MEMBER_BYTES", "open_zip", "put", "read_member"]

MAX_MEMBER_BYTES = 2**28
"""Largest unpacked file that is read: a quarter of a gigabyte."""
MAX_MEMBERS = 2_000_000
# The earliest time that the format can hold: a zip of the same content has the same bytes.
_TIME = (1980, 1, 1, 0, 0, 0)


def put(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file whose entry holds no time and no owner of this machine."""
    info = zipfile.ZipInfo(name, _TIME)
    info.external_attr = 0o644 << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    archive.writestr(info, data)


@contextmanager
def open_zip(path: str | Path) -> Iterator[zipfile.ZipFile]:
    """Open for reading; raises :class:`AnnotationError` for what is no whole zip."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        raise AnnotationError(f"{path}: not a whole zip archive ({str(error)[:120]})") from error
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror or error})") from error
    with archive:
        count = len(archive.namelist())
        if count > MAX_MEMBERS:
            raise AnnotationError(f"{path}: {count:,} files, over the limit of {MAX_MEMBERS:,}")
        yield archive


def read_member(archive: zipfile.ZipFile, name: str, where: str, *, limit: int = MAX_MEMBER_BYTES) -> bytes:
    """The bytes of one file of at most ``limit`` bytes; nothing is ever unpacked to the disk."""
    import zlib

    try:
        with archive.open(name) as file:
            # The directory's size can lie, so the limit counts what comes out.
            data = file.read(limit + 1)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError) as error:
        raise AnnotationError(f"{where}: {name[:80]} does not unpack ({str(error)[:120]})") from error
    if len(data) > limit:
        raise AnnotationError(f"{where}: {name} unpacks to more than {limit:,} bytes")
    return data
