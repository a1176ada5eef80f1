"""Which video an item of a batch is, and whose run folder lies under a name."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.batch.item import Item, is_address
from apps.identity import contents, read_record
from vis.errors import VideoError, VisError

__all__ = ["digest", "identity", "is_of_another"]


def identity(item: Item, before: Mapping[str, Any]) -> dict[str, Any]:
    """Contents of the video as a checksum; not read again while its files' sizes and times stay.

    ``before``: the run.json of its folder. Times are compared here and never part of a key: a copied video is
    the same video.
    """
    files = _files(item)
    times = [[len(files), sum(f.stat().st_size for f in files), max(f.stat().st_mtime_ns for f in files)]]
    old = before.get("source", {})
    if old.get("stat") == times and old.get("paths") in _paths(files):
        return {name: old[name] for name in ("bytes", "files", "sha256", "stat", "paths")}
    return {"files": len(files), **contents(files), "stat": times, "paths": _paths(files)[0]}


def is_of_another(folder: Path, item: Item) -> bool | None:
    """Whether a run folder is of another video; None when there is none.

    The same video is one at the same place, whatever it holds now, or of the same contents anywhere. Where
    neither can be told, the folder counts as the item's own.
    """
    record = read_record(folder / "run.json")
    if not record.get("work"):
        return None
    source = record.get("source", {})
    if "paths" not in source or "sha256" not in source:
        return False
    if is_address(item.path):
        return bool(source["paths"] != digest([item.path]))
    try:
        return (
            source["paths"] not in _paths(_files(item)) and source["sha256"] != identity(item, {})["sha256"]
        )
    except (OSError, VisError):
        return False


def digest(value: Any) -> str:
    """A short name for plain values."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _paths(files: list[Path]) -> tuple[str, str]:
    """Where the files lie, as one word; and as versions before wrote it, by the paths that were given."""
    return digest([str(file.absolute()) for file in files]), digest([str(file) for file in files])


def _files(item: Item) -> list[Path]:
    from vis.video.folder import list_images

    if item.images is not None:
        files = [Path(name) for name in item.images]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None:
            raise VideoError(
                f"{missing}: this frame is listed in the set but not there; copy the set's images again"
            )
        return files
    path = Path(item.path)
    if not path.exists():
        raise VideoError(f"{path}: no such file any more")
    return list_images(path) if path.is_dir() else [path]
