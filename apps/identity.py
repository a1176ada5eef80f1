"""What a source is, whatever its file is called: two clips of one name are two, a copied clip is the same."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vis.errors import VisError
from vis.files import read_json
from vis.video.folder import list_images

__all__ = ["contents", "default_folder", "is_same", "read_record", "source_identity"]


def source_identity(path: Path) -> dict[str, Any]:
    """Name, and size and sha256 of the file or of a folder's images, as run.json keeps them.

    Only the name when it cannot be read any more: a result is not lost over it.
    """
    found: dict[str, Any] = {"name": path.name}
    try:
        if path.is_dir():
            files = list_images(path)
            return {**found, "files": len(files), **contents(files)}
        return {**found, **contents([path])}
    except (OSError, VisError):
        return found


def contents(files: Sequence[Path]) -> dict[str, Any]:
    """Bytes and sha256 of a file's contents; of several, in their order, with their names."""
    digest, total = hashlib.sha256(), 0
    for file in files:
        size = file.stat().st_size
        total += size
        if len(files) > 1:
            digest.update(os.fsencode(file.name) + f"\0{size}\0".encode())
        with file.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return {"bytes": total, "sha256": digest.hexdigest()}


def is_same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool | None:
    """Whether two recorded sources are the same; None when what was recorded does not tell."""
    if one.get("sha256") and other.get("sha256"):
        return bool(one["sha256"] == other["sha256"])
    if one.get("name") and other.get("name") and one["name"] != other["name"]:
        return False
    return None


def read_record(path: Path) -> dict[str, Any]:
    """A run.json or the like, as it was saved; {} when there is none that can be read."""
    try:
        value = read_json(path) if path.is_file() else {}
    except (OSError, VisError):
        return {}
    if not isinstance(value, dict):
        return {}
    parts = ("source", "work", "pictures", "partial")
    return {name: part for name, part in value.items() if name not in parts or isinstance(part, dict)}


def default_folder(parent: Path, name: str, source: Path) -> Path:
    """``parent/name``, or ``parent/name-2`` and so on where that is a run of another source."""
    mine: dict[str, Any] | None = None
    out, number = parent / name, 2
    while (out / "run.json").is_file():
        mine = mine or source_identity(source)
        if is_same(mine, read_record(out / "run.json").get("source", {})) is not False:
            break
        out, number = parent / f"{name}-{number}", number + 1
    return out
