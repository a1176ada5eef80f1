"""Names and ids in one file of many videos: each once, and the source's own where they are known.

Files of COCO and YouTube-VIS name every frame. A frame of a folder of images has its own name; those of
a video file get one, ``clip/00012.jpg`` for frame 12 of ``clip``. Ids are those that a data set's file gave
(:class:`vis.structures.DatasetIds`) as long as they fit together, else numbers from 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from vis.formats.builder import tell
from vis.structures import VideoResult

__all__ = ["category_ids", "frame_files", "known_files", "told_apart", "unique_names", "video_ids"]

SPARSE = 100
"""Frames per image name up to which a list with gaps is made of names of single frames."""


def unique_names(names: Sequence[str]) -> list[str]:
    """The names, each once, whatever case its letters have: what is taken gets -2, -3 and so on."""
    taken: set[str] = set()
    given = Counter(name.casefold() for name in names)
    out: list[str] = []
    for base in names:
        name, number = base, 2
        while name.casefold() in taken or (name != base and name.casefold() in given):
            name, number = f"{base}-{number}", number + 1
        taken.add(name.casefold())
        out.append(name)
    return out


def told_apart(places: Sequence[tuple[str, ...]]) -> list[str]:
    """A name for each path (its parts): the last part, with as many before it as tell equal ones apart.

    Equal paths get -2, -3 and so on.
    """
    paths = list(dict.fromkeys(places))
    names = ["/".join(parts[-1:]) for parts in paths]
    for depth in range(2, max(map(len, paths), default=0) + 1):
        count = Counter(name.casefold() for name in names)
        names = [
            name if count[name.casefold()] == 1 else "/".join(parts[-depth:])
            for name, parts in zip(names, paths, strict=True)
        ]
    table = dict(zip(paths, names, strict=True))
    return unique_names([table[parts] for parts in places])


def frame_files(results: Sequence[VideoResult], names: Sequence[str]) -> list[list[str]]:
    """File name of every processed frame of every video; no two videos share one.

    ``names``: of the videos, each once. Images that have a name keep it; where two videos would share one, the
    images of both lie under the video's name.
    """
    files: list[list[str]] = []
    for result, name in zip(results, names, strict=True):
        known = dict(enumerate(result.video.file_names))
        files.append([known.get(frame) or _invented(name, frame) for frame in result.frames.tolist()])
    while True:
        count = Counter(file for own in files for file in set(own))
        shared = [any(count[file] > 1 for file in own) for own in files]
        if not any(shared):
            return files
        files = [
            [f"{_folder(name)}/{file}" for file in _below(own)] if moved else own
            for own, name, moved in zip(files, names, shared, strict=True)
        ]


def known_files(where: str, name: str, files: Mapping[int, str]) -> tuple[str, ...]:
    """``VideoInfo.file_names`` of frame index -> file name; () where they are what :func:`frame_files` invents."""
    if all(file in ("", _invented(name, frame)) for frame, file in files.items()):
        return ()
    count = max(files) + 1
    if count > SPARSE * (len(files) + SPARSE):
        tell(where, f"file names of {len(files)} frames among {count} are not kept")
        return ()
    return tuple(files.get(frame, "") for frame in range(count))


def video_ids(results: Sequence[VideoResult]) -> tuple[list[int], list[str]]:
    """Id of each video, and what is lost: the data set's where each has one of its own, else from 1."""
    given = [result.dataset.video_id for result in results if result.dataset is not None]
    if len(set(given)) == len(results):
        return given, []
    return list(range(1, len(results) + 1)), ["ids of videos are numbered anew from 1"] if given else []


def category_ids(results: Sequence[VideoResult]) -> tuple[dict[str, int], list[str]]:
    """Class name -> id in the order of first sight, and what is lost.

    Ids are the data sets', as far as no two of them differ, and following ones for classes without; else, and
    without any, from 1.
    """
    names = list(dict.fromkeys(name for result in results for name in result.class_names))
    given: dict[str, set[int]] = {name: set() for name in names}
    for result in results:
        for name, number in (result.dataset.category_ids if result.dataset is not None else {}).items():
            given.setdefault(name, set()).add(number)
    said = []
    if any(len(set(result.class_names)) < len(result.class_names) for result in results):
        said.append("classes of one name become one category")
    numbers = [number for found in given.values() for number in found]
    if len(set(numbers)) < len(numbers) or any(len(found) > 1 for found in given.values()):
        said.append("ids of categories are numbered anew from 1")
        numbers, given = [], {}
    out: dict[str, int] = {}
    following = max([0, *numbers])
    for name in names:
        own = given.get(name)
        following += not own
        out[name] = next(iter(own)) if own else following
    return out, said


def _invented(name: str, frame: int) -> str:
    return f"{_folder(name)}/{frame:05d}.jpg"


def _folder(name: str) -> str:
    """The name as a path that stays below where it is put."""
    parts = PurePosixPath(name).parts
    return "/".join(part for part in parts if part not in ("/", "//", "..", ".")) or "video"


def _below(files: Sequence[str]) -> list[str]:
    """The paths without a first folder that all of them share."""
    split = [PurePosixPath(_folder(file)).parts for file in files]
    cut = int(len({parts[0] for parts in split}) == 1 and min(map(len, split)) > 1)
    return ["/".join(parts[cut:]) for parts in split]
