"""Which videos a batch works on: folders, globs, lists and YouTube-VIS sets into items with names.

Nothing is opened here that was not written by the user himself: lists and a set's JSON, never media.
"""

from __future__ import annotations

import glob
import itertools
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from apps.batch.dataset import items_of_set
from apps.batch.identity import is_of_another
from apps.batch.item import Item, is_address
from apps.saved_results import BATCH_FILES
from vis.errors import InputError, UsageError

__all__ = ["find_items"]

VIDEO_SUFFIXES = frozenset(
    (
        *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts"),
        *(".wmv", ".flv", ".ogv", ".3gp", ".y4m", ".mxf", ".gif"),
    )
)
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
LIST_BYTES = 2**28
"""Longest list of videos that is read."""


def find_items(
    inputs: Iterable[str], *, frames: Path | None = None, out: Path | None = None
) -> tuple[list[Item], list[str]]:
    """All videos of ``inputs`` in a fixed order, and what was passed over in folders: files that are no videos, and
    the folders of runs, ``out`` among them.

    ``frames``: folder of a set's images, when they do not lie in ``JPEGImages`` beside its JSON. ``out``: where
    earlier batches have put their run folders: a video keeps its own, and never takes another's name.
    Raises :class:`InputError` for an input that is not there and when nothing is found at all.
    """
    items: list[Item] = []
    passed: list[str] = []
    search = _Search(frames, out.resolve() if out is not None else None, passed)
    for text in inputs:
        items += search.items_of(text, depth=0)
    seen: set[str] = set()
    unique = [item for item in items if not (item.path in seen or seen.add(item.path))]  # type: ignore[func-returns-value]
    if not unique:
        raise InputError(
            f"no video in {', '.join(inputs)}; give video files, folders, globs, lists or a set's JSON"
        )
    return _named_apart(unique, out), passed


@dataclass(frozen=True, slots=True)
class _Search:
    """Inputs into items."""

    frames: Path | None
    """Folder of a set's images."""
    out: Path | None
    """Where run folders go, resolved: no video of a folder that holds it."""
    passed: list[str]
    """Gets what was passed over."""

    def items_of(self, text: str, depth: int) -> list[Item]:
        """The videos of one input."""
        if depth > 2:
            raise InputError(f"{_short(text)}: lists within lists within lists; name the videos in one list")
        if is_address(text):
            return [Item(_stem(PurePosixPath(text.split("://", 1)[1]).name), text)]
        path = Path(text)
        try:
            folder, file = path.is_dir(), path.is_file()
        except OSError as error:  # a name that is too long for the file system
            raise InputError(f"{_short(text)}: cannot be looked for ({error.strerror})") from error
        if folder:
            return self._in_folder(path)
        if file:
            if path.suffix.lower() == ".txt":
                return self._in_list(path, depth)
            if path.suffix.lower() == ".json":
                return items_of_set(path, self.frames)
            return [Item(_stem(path.name), str(path))]
        if any(c in text for c in "*?["):
            found = sorted(glob.glob(text, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
            if found:
                return [item for one in found for item in self.items_of(one, depth + 1)]
            raise InputError(f"{_short(text)}: nothing fits this pattern")
        raise InputError(f"{_short(text)}: no such file or folder")

    def _in_folder(self, root: Path) -> list[Item]:
        """The videos below a folder: video files, and folders of images; links to folders are not followed."""
        items: list[Item] = []
        for folder, below, files in os.walk(root):
            place = Path(folder)
            runs = [name for name in below if not name.startswith(".") and self._is_of_runs(place / name)]
            self.passed.extend(str(place / name) for name in sorted(runs))
            below[:] = sorted(name for name in below if not name.startswith(".") and name not in runs)
            names = sorted(name for name in files if not name.startswith("."))
            kinds = Counter(_kind(name) for name in names)
            if kinds["image"] and not kinds["video"]:
                relative = place.relative_to(root)
                items.append(
                    Item(
                        relative.as_posix() if relative.parts else root.resolve().name or "images", str(place)
                    )
                )
                names = [name for name in names if _kind(name) == "other"]
            for name in names:
                if _kind(name) == "video":
                    items.append(Item((place / _stem(name)).relative_to(root).as_posix(), str(place / name)))
                else:
                    self.passed.append(str(place / name))
        return items

    def _is_of_runs(self, folder: Path) -> bool:
        """Whether it holds what runs wrote, overlays among it, and no video to work on."""
        return folder.resolve() == self.out or all(
            (folder / name).is_file() for name in ("run.json", "tubes.json")
        )

    def _in_list(self, path: Path, depth: int) -> list[Item]:
        """The videos of a list: one path per line, relative to the list; # begins a comment line.

        Bytes that are no UTF-8 are those of a file's name. Errors name the line.
        """
        try:
            size = path.stat().st_size
            if size > LIST_BYTES:
                raise InputError(f"{path}: {size:,} bytes are no list of videos (one path per line)")
            text = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
        except OSError as error:
            raise InputError(f"{path}: not a list of videos ({error.strerror}); one path per line") from error
        items: list[Item] = []
        for count, line in enumerate(re.split("\r\n|\r|\n", text), start=1):
            entry = line.strip()
            if entry and not entry.startswith("#"):
                place = entry if is_address(entry) else str(path.parent / entry)
                try:
                    items += self.items_of(place, depth + 1)
                except InputError as error:
                    raise InputError(f"{path}: line {count}: {error}") from error
        return items


def _short(text: str) -> str:
    """A path for a message: of one that can be none, the beginning."""
    return text if len(text) <= 250 else f"{text[:200]}..."


def _kind(name: str) -> str:
    suffix = PurePosixPath(name).suffix.lower()
    return "video" if suffix in VIDEO_SUFFIXES else "image" if suffix in IMAGE_SUFFIXES else "other"


def _stem(name: str) -> str:
    return PurePosixPath(name).stem or name


def _named_apart(items: list[Item], out: Path | None) -> list[Item]:
    """Names that are unique, and none of which is a folder above another's run folder.

    ``a.mp4`` beside ``a.mov`` and ``a.mp4`` beside ``a/b.mp4`` keep their suffix; what is equal even
    so, or the name of another video's run folder in ``out``, gets -2, -3. A video that has a run folder keeps it.
    """

    def of_another(name: str, item: Item) -> bool | None:
        return None if out is None else is_of_another(out / name, item)

    count = Counter(item.name.casefold() for item in items)
    parents = {str(p).casefold() for item in items for p in PurePosixPath(item.name).parents}
    named: list[Item] = []
    taken: set[str] = set()

    def is_free(folded: str) -> bool:
        return folded not in taken and folded not in parents

    for item in items:
        own = (name for name in _own_names(item, of_another) if is_free(name.casefold()))
        name = next(own, "")
        if not name:
            name = item.name
            if count[name.casefold()] > 1 or name.casefold() in parents or name in BATCH_FILES:
                name = _with_suffix(item)
            if name.casefold() in parents or name in BATCH_FILES:
                name = f"{name}-video"
            name = next(n for n in _numbered(name) if n.casefold() not in taken and not of_another(n, item))
        if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute():
            raise UsageError(f"{item.path}: its name {name!r} would leave the output folder; rename it")
        taken.add(name.casefold())
        named.append(replace(item, name=name))
    return named


def _own_names(item: Item, of_another: Callable[[str, Item], bool | None]) -> Iterator[str]:
    """Names that the item has a run folder under, from an earlier batch."""
    for name in (item.name, _with_suffix(item)):
        for numbered in _numbered(name):
            theirs = of_another(numbered, item)
            if theirs is None:
                break
            if not theirs:
                yield numbered


def _with_suffix(item: Item) -> str:
    """'day/clip' of 'clip.mp4' as 'day/clip.mp4'."""
    return str(PurePosixPath(item.name).with_name(PurePosixPath(item.path).name))


def _numbered(name: str) -> Iterator[str]:
    yield name
    yield from (f"{name}-{number}" for number in itertools.count(2))
