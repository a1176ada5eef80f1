"""The videos and categories that a YouTube-VIS set lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from vis.errors import AnnotationError
from vis.files import read_json
from vis.formats import fields, naming

__all__ = ["VideoEntry", "categories_of", "checked_object", "names_of", "read_videos", "videos_of"]


@dataclass(frozen=True, slots=True)
class VideoEntry:
    """One entry of a set's ``videos``."""

    id: int
    height: int
    width: int
    file_names: tuple[str, ...]
    """Paths below the set's image folder, ``clip/00000.jpg``, one per annotated frame."""

    @property
    def name(self) -> str:
        """The clip's folder, or ``video_<id>`` when its frames lie in none."""
        parents = {PurePosixPath(name.replace("\\", "/")).parent for name in self.file_names}
        only = parents.pop() if len(parents) == 1 else PurePosixPath()
        return only.name or f"video_{self.id}"


def read_videos(path: str | Path) -> tuple[list[VideoEntry], dict[int, str]]:
    """The videos and the categories (id -> name) of a set; annotations are not looked at.

    Test sets have none, and are read so.
    """
    data = checked_object(read_json(path), str(path))
    return videos_of(data, str(path)), categories_of(data, str(path))


def names_of(videos: Sequence[VideoEntry]) -> list[str]:
    """Name of each video, each once: of those in folders of one name, as much of the path as tells them apart."""
    return naming.told_apart(
        [
            (*PurePosixPath(video.file_names[0].replace("\\", "/")).parts[:-2], video.name)
            if video.file_names and video.name != f"video_{video.id}"
            else (video.name,)
            for video in videos
        ]
    )


def videos_of(data: Mapping[str, Any], where: str) -> list[VideoEntry]:
    """The set's videos, checked."""
    rows = data.get("videos")
    if not isinstance(rows, list):
        raise AnnotationError(f"{where}: expected a list 'videos'; is it the truth of a YouTube-VIS set?")
    listed = all(isinstance(row, Mapping) and "file_names" in row for row in rows)
    if isinstance(data.get("images"), list) and not listed:
        raise AnnotationError(f"{where}: lists 'images', so it is COCO for video and not YouTube-VIS")
    videos = [_video(row, f"{where}: videos: entry {at}") for at, row in enumerate(rows)]
    if len({video.id for video in videos}) != len(videos):
        raise AnnotationError(f"{where}: videos: an id is there twice")
    return videos


def _video(row: Any, where: str) -> VideoEntry:
    try:
        names = fields.rows(row, "file_names", where)
        files = tuple(fields.text({"file_names": name}, "file_names", where) for name in names)
        return VideoEntry(fields.whole(row, "id", where), *fields.size(row, where), files)
    except AnnotationError as error:
        raise AnnotationError(f"{error}; expected id, height, width and file_names") from error


def categories_of(data: Mapping[str, Any], where: str) -> dict[int, str]:
    """Id -> name of the set's categories, checked."""
    rows = data.get("categories")
    if not isinstance(rows, list):
        raise AnnotationError(f"{where}: expected a list 'categories' with id and name")
    found: dict[int, str] = {}
    for at, row in enumerate(rows):
        place = f"{where}: categories: entry {at}"
        number = fields.whole(row, "id", place)
        if number in found:
            raise AnnotationError(f"{place}: id {number} is there twice")
        found[number] = fields.text(row, "name", place)
    return found


def checked_object(data: Any, where: str) -> Mapping[str, Any]:
    """The data, if it is a JSON object."""
    if not isinstance(data, Mapping):
        raise AnnotationError(
            f"{where}: expected an object with 'videos' and 'categories', got {type(data).__name__}; "
            "a results file is read beside its truth (--truth)"
        )
    return data
