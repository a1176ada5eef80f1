"""A YouTube-VIS set as a batch: its frames as videos, and one results file for the evaluator and server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from apps.batch.item import Item
from vis.errors import InputError
from vis.files import write_json
from vis.formats import tubes, ytvis, ytvis_set

__all__ = ["items_of_set", "write_set_results"]

IMAGE_FOLDERS = ("JPEGImages", "images", ".")
"""Where a set's frames may lie beside its JSON, tried in this order."""


def items_of_set(path: Path, frames: Path | None = None) -> list[Item]:
    """One item per video of the set; its run folder is named after the clip's folder.

    Raises :class:`InputError` when the frames are not found; the message says where they were sought.
    """
    videos, _ = ytvis_set.read_videos(path)
    videos = [video for video in videos if video.file_names]
    if not videos:
        raise InputError(f"{path}: lists no video with frames")
    root = _image_folder(path, frames, videos[0].file_names[0])
    items = []
    for video in videos:
        names = [PurePosixPath(name.replace("\\", "/")) for name in video.file_names]
        if any(name.is_absolute() or ".." in name.parts or not name.parts for name in names):
            raise InputError(f"{path}: video {video.id}: its file names leave the image folder")
        if any("\0" in str(name) for name in names):
            raise InputError(f"{path}: video {video.id}: a file name holds a character that none can have")
        images = tuple(str(root / name) for name in names)
        items.append(Item(video.name, str(Path(images[0]).parent), images, video.id))
    return items


def _image_folder(path: Path, frames: Path | None, first: str) -> Path:
    tried = [frames] if frames is not None else [path.parent / name for name in IMAGE_FOLDERS]
    for root in tried:
        try:
            if (root / first).is_file():
                return root
        except OSError as error:  # a name that is too long for the file system
            raise InputError(f"{path}: its first frame, {first[:40]!r} ...: {error.strerror}") from error
    places = ", ".join(str(root / first[:80]) for root in tried)
    raise InputError(
        f"{path}: its first frame is not at {places}; name the folder of its images with --frames"
    )


def write_set_results(out: Path, set_path: Path, items: Sequence[Item]) -> dict[str, Any]:
    """``results.json`` and the server's ``results.zip`` of all finished videos of a set.

    The answer counts what is left out: tubes of classes that the set does not list, and tubes of boxes only.
    Classes meet by name. A detector that knows one class only, and not one of the set's, gives all of
    its tubes the set's first category: right for evaluation without categories, and said in the answer.
    """
    _, categories = ytvis_set.read_videos(set_path)
    ids = {name: number for number, name in categories.items()}
    entries: list[dict[str, Any]] = []
    unknown: dict[str, int] = {}
    boxes = 0
    agnostic = False
    missing = []
    for item in items:
        saved = out / item.name / "tubes.json"
        if item.video_id is None or not saved.is_file():
            missing.append(item.name)
            continue
        result = tubes.read(saved)
        table: Mapping[str, int] = ids
        if len(result.class_names) == 1 and result.class_names[0] not in ids and categories:
            agnostic = True
            table = {result.class_names[0]: min(categories)}
        boxes += sum(tube.masks is None for tube in result.tubes)
        for tube in result.tubes:
            name = result.class_names[tube.label]
            if name not in table:
                unknown[name] = unknown.get(name, 0) + 1
        entries += ytvis_set.results_of(result, item.video_id, table)
    write_json(out / "results.json", entries)
    ytvis.write_server_zip(out / "results.zip", out / "results.json")
    return {
        "results": str(out / "results.json"),
        "entries": len(entries),
        "category_agnostic": agnostic,
        "tubes_of_unknown_classes": unknown,
        "tubes_without_masks": boxes,
        "missing_videos": missing,
    }
