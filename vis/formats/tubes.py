"""Our own full result, ``tubes.json``: a :class:`VideoResult` that reads back equal.

::

    {"format": "vis-tubes", "format_version": 1,
     "video": {name, height, width, num_frames, fps, ...},
     "class_names": [...], "frames": [...], "pts_seconds": [...],
     "made_with": {...},
     "file_names": ["folder/IMG_1.png", ...],                  where the source was a folder of images
     "dataset": {"video_id", "category_ids": {name: id}},      where it was read from a data set's file
     "tubes": [{"id", "label", "score", "frames": [...], "boxes": [[x0, y0, x1, y1], ...],
                "scores": [...], "masks": [counts, ...] | null}, ...]}

Masks are COCO's compressed run lengths of the video's size. ``file_names`` go by frame index.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks
from vis.errors import AnnotationError
from vis.files import read_json, write_json
from vis.formats import fields
from vis.structures import DatasetIds, MaskRLE, Tube, VideoInfo, VideoResult

__all__ = ["from_json", "read", "to_json", "write"]

FORMAT = "vis-tubes"
VERSION = 1


def write(path: str | Path, result: VideoResult) -> None:
    """Write ``result`` whole, or raise :class:`vis.errors.OutputError`."""
    write_json(path, to_json(result))


def read(path: str | Path) -> VideoResult:
    """Read what ``write`` wrote; anything else raises :class:`vis.errors.AnnotationError`."""
    return from_json(read_json(path), where=str(path))


def to_json(result: VideoResult) -> dict[str, Any]:
    """``result`` as plain JSON values."""
    video = dataclasses.asdict(result.video)
    files = video.pop("file_names")
    value: dict[str, Any] = {
        "format": FORMAT,
        "format_version": VERSION,
        "video": video,
        "class_names": list(result.class_names),
        "frames": result.frames.tolist(),
        "pts_seconds": result.pts_seconds.tolist(),
        "made_with": dict(result.made_with),
        "tubes": [_tube_to_json(tube) for tube in result.tubes],
    }
    # Left out where there is none: edits go by the sha256 of this text, and older results have neither.
    if files:
        value["file_names"] = list(files)
    if result.dataset is not None:
        ids = result.dataset
        value["dataset"] = {"video_id": ids.video_id, "category_ids": dict(ids.category_ids)}
    return value


def from_json(value: Any, *, where: str = "tubes") -> VideoResult:
    """Check every field and build; ``where`` names the source in errors."""
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        raise AnnotationError(
            f"{where}: not a tubes.json of vis-tubes; 'vistubes convert --from FORMAT --to tubes' makes one of "
            "other formats"
        )
    if value.get("format_version") != VERSION:
        raise AnnotationError(
            f"{where}: format version {fields.shown(value.get('format_version'))}, this program reads {VERSION}; "
            "upgrade vis-tubes"
        )
    video = _video(value, where)
    names = fields.rows(value, "class_names", where)
    try:
        return VideoResult(
            video=video,
            class_names=tuple(fields.text({"name": name}, "name", f"{where}: class_names") for name in names),
            tubes=tuple(
                _tube(tube, video.size, where, place)
                for place, tube in enumerate(fields.rows(value, "tubes", where))
            ),
            frames=fields.wholes(value.get("frames"), f"{where}: frames"),
            pts_seconds=fields.finites(value.get("pts_seconds"), f"{where}: pts_seconds"),
            made_with=_object(value, "made_with", where),
            dataset=_dataset(value, where),
        )
    except ValueError as error:
        raise AnnotationError(f"{where}: broken tubes.json: {error}") from error


def _tube_to_json(tube: Tube) -> dict[str, Any]:
    # tolist() of float32 gives the nearest double: it reads back to the same float32.
    return {
        "id": tube.id,
        "label": tube.label,
        "score": tube.score,
        "frames": tube.frames.tolist(),
        "boxes": tube.boxes.tolist(),
        "scores": tube.scores.tolist(),
        "masks": None if tube.masks is None else [mask.counts.decode("ascii") for mask in tube.masks],
    }


def _video(value: Mapping[str, Any], where: str) -> VideoInfo:
    row, at = fields.get(value, "video", where), f"{where}: video"
    size = fields.size(row, at)
    flags = ("variable_frame_rate", "hdr", "has_audio")
    unknown = set(row) - {field.name for field in dataclasses.fields(VideoInfo)}
    if unknown:
        raise AnnotationError(f"{at}: unknown field {min(unknown)[:40]!r}; upgrade vis-tubes")
    files = fields.rows(value, "file_names", where, [])
    return VideoInfo(
        fields.text(row, "name", at),
        *size,
        num_frames=fields.whole(row, "num_frames", at, None, least=0),
        fps=fields.finite(row, "fps", at, None, least=fields.MIN_FPS, most=fields.MAX_FPS),
        duration_seconds=fields.finite(row, "duration_seconds", at, None, least=0),
        rotation=fields.whole(row, "rotation", at, 0, least=0, most=270),
        codec=fields.text(row, "codec", at, ""),
        file_names=tuple(fields.text({"name": name}, "name", f"{where}: file_names") for name in files),
        **{name: fields.flag(row, name, at) for name in flags},
    )


def _dataset(value: Mapping[str, Any], where: str) -> DatasetIds | None:
    if value.get("dataset") is None:
        return None
    at = f"{where}: dataset"
    ids = _object(value["dataset"], "category_ids", at)
    numbers = {name: fields.whole(ids, name, f"{at}: category_ids") for name in ids}
    return DatasetIds(fields.whole(value["dataset"], "video_id", at), numbers)


def _object(entry: Any, key: str, where: str) -> dict[str, Any]:
    found = fields.get(entry, key, where)
    if not isinstance(found, Mapping):
        raise fields.wrong(where, key, "an object", found)
    plain: dict[str, Any] = fields.plain(found, f"{where}: {key}")
    return plain


def _tube(value: Any, size: tuple[int, int], where: str, place: int) -> Tube:
    number = fields.whole(value, "id", f"{where}: tubes: entry {place}", least=1)
    at = f"{where}: tube {number}"
    masks_of = fields.rows(value, "masks", at, None)
    return Tube(
        id=number,
        label=fields.whole(value, "label", at, least=0),
        score=fields.finite(value, "score", at, least=0, most=1),
        frames=fields.wholes(value.get("frames"), f"{at}: frames"),
        boxes=_boxes(value.get("boxes"), f"{at}: boxes"),
        scores=fields.finites(value.get("scores"), f"{at}: scores", least=0, most=1).astype(np.float32),
        masks=None if masks_of is None else _masks(masks_of, size, at),
    )


def _boxes(value: Any, where: str) -> NDArray[np.float32]:
    if not isinstance(value, list):
        raise AnnotationError(f"{where}: expected a list of boxes, got {fields.shown(value)}")
    rows = [fields.box(box, f"{where}: row {row}") for row, box in enumerate(value)]
    return np.array(rows, np.float32).reshape(-1, 4)


def _masks(counts: list[Any], size: tuple[int, int], where: str) -> tuple[MaskRLE, ...]:
    return tuple(
        masks.from_coco({"size": list(size), "counts": item}, size=size, where=f"{where}, mask {row}")
        for row, item in enumerate(counts)
    )
