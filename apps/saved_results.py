"""Saved results: those in folders, named by their place; the objects chosen of one, and the video that it is of."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

from apps.identity import is_same, read_record, source_identity
from apps.plan import Selection, source_path
from apps.run_folder import FILES
from vis.errors import FallbackWarning, InputError, UsageError
from vis.interfaces import FrameSource
from vis.structures import VideoResult

__all__ = ["BATCH_FILES", "Saved", "chosen", "is_result", "results_below", "video_of"]

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


def chosen(result: VideoResult, ids: Collection[int] | None) -> VideoResult:
    """The result with these objects alone, None: all. Raises :class:`UsageError` for an id that it does not have."""
    if ids is None:
        return result
    known = [tube.id for tube in result.tubes]
    if unknown := sorted(set(ids) - set(known)):
        raise UsageError(
            f"--tubes: the result has no object {unknown[0]}; its ids are {', '.join(map(str, known[:20])) or 'none'}"
        )
    return replace(result, tubes=tuple(tube for tube in result.tubes if tube.id in set(ids)))


def video_of(text: str, selection: Selection, result: VideoResult, file: Path) -> FrameSource:
    """The video of a saved result, opened. ``file``: its tubes.json, beside which run.json says what the video was.

    Raises :class:`InputError` where it cannot be that one, and warns where it is another file: a copy of the same size
    may be wanted.
    """
    from apps.job import check_same_size

    path = source_path(text)
    source = selection.open(path)
    check_same_size(source, result)
    made_of = read_record(file.parent / "run.json").get("source", {})
    if made_of.get("sha256") and is_same(source_identity(path), made_of) is False:
        warnings.warn(
            f"{path}: is not the file that {file} was made from; its frames must be the same ones",
            FallbackWarning,
            stacklevel=2,
        )
    return source
