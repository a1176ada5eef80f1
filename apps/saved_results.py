"""Saved results in folders: every tubes.json below one, named by its place, and the files that are none."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from apps.run_folder import FILES
from vis.errors import InputError

__all__ = ["BATCH_FILES", "Saved", "is_result", "results_below"]

BATCH_FILES = frozenset(
    ("batch.json", "batch.html", "failures.jsonl", "results.json", "results.zip", "coco.json", "ytvis.json")
)
"""What a batch writes beside its run folders."""
BEGINNING = re.compile(rb'\s*\{\s*"format"\s*:\s*"vis-tubes"')


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved result in a folder."""

    path: Path
    """Its tubes.json."""
    place: str
    """Of its run folder below the folder that was searched, as in ``day1/dog``."""


def results_below(root: Path) -> tuple[list[Saved], list[Path]]:
    """The results in ``root`` and its folders, sorted, and the files that are neither results nor part of one.

    A result is the tubes.json of a run folder, or another JSON file of that format. Hidden files and folders are not
    looked at, links to folders not followed. Raises :class:`InputError` where there is no result at all.
    """
    found: list[Saved] = []
    passed: list[Path] = []
    for folder, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        place = Path(folder)
        ours = {*FILES} if "tubes.json" in names else set[str]()
        if "batch.json" in names or (place / ".batch").is_dir():
            ours |= BATCH_FILES
        for name in sorted(name for name in names if not name.startswith(".")):
            file = place / name
            if name == "tubes.json" and place != root:
                found.append(Saved(file, place.relative_to(root).as_posix()))
            elif name not in ours and is_result(file):
                found.append(Saved(file, file.with_suffix("").relative_to(root).as_posix()))
            elif name not in ours:
                passed.append(file)
    if not found:
        raise InputError(
            f"{root}: no tubes.json in it or in its folders; give run folders, or a batch's --out"
        )
    return found, passed


def is_result(file: Path) -> bool:
    """Whether the file begins as a tubes.json does; its name may be any that ends in .json."""
    if file.suffix.lower() != ".json":
        return False
    try:
        with file.open("rb") as stream:
            return BEGINNING.match(stream.read(200)) is not None
    except OSError:
        return False
