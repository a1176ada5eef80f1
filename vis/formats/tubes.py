"""Our own full result, ``tubes.json``: a :class:`VideoResult` that reads back equal.

::

    {"format": "vis-tubes", "format_version": 1,
     "video": {name, height, width, num_frames, fps, ...},
     "class_names": [...], "frames": [...], "pts_seconds": [...],
     "made_with": {...},
     "tubes": [{"id", "label", "score", "frames": [...], "boxes": [[x0, y0, x1, y1], ...],
                "scores": [...], "masks": [counts, ...] | null}, ...]}

Masks are COCO's compressed run lengths of the video's size.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vis import masks
from vis.errors import AnnotationError
from vis.files import read_json, write_json
from vis.structures import MaskRLE, Tube, VideoInfo, VideoResult

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
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "video": dataclasses.asdict(result.video),
        "class_names": list(result.class_names),
        "frames": result.frames.tolist(),
        "pts_seconds": result.pts_seconds.tolist(),
        "made_with": dict(result.made_with),
        "tubes": [_tube_to_json(tube) for tube in result.tubes],
    }


def from_json(value: Any, *, where: str = "tubes") -> VideoResult:
    """Check and build; ``where`` names the source in errors."""
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        raise AnnotationError(
            f"{where}: not a tubes.json of vis-tubes; for other formats use 'vistubes convert' or --truth/--results"
        )
    if value.get("format_version") != VERSION:
        raise AnnotationError(
            f"{where}: format version {value.get('format_version')!r}, this program reads {VERSION}; "
            "upgrade vis-tubes"
        )
    try:
        video = VideoInfo(**value["video"])
        return VideoResult(
            video=video,
            class_names=tuple(str(name) for name in value["class_names"]),
            tubes=tuple(_tube_from_json(tube, video.size, where) for tube in value["tubes"]),
            frames=np.array(value["frames"], np.int64),
            pts_seconds=np.array(value["pts_seconds"], np.float64),
            made_with=dict(value["made_with"]),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnnotationError(f"{where}: broken tubes.json: {type(error).__name__} {error}") from error


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


def _tube_from_json(value: Mapping[str, Any], size: tuple[int, int], where: str) -> Tube:
    return Tube(
        id=int(value["id"]),
        label=int(value["label"]),
        score=float(value["score"]),
        frames=np.array(value["frames"], np.int64),
        boxes=np.array(value["boxes"], np.float32).reshape(-1, 4),
        scores=np.array(value["scores"], np.float32),
        masks=None
        if value["masks"] is None
        else _masks(value["masks"], size, f"{where}: tube {value['id']}"),
    )


def _masks(counts: list[Any], size: tuple[int, int], where: str) -> tuple[MaskRLE, ...]:
    return tuple(
        masks.from_coco({"size": list(size), "counts": item}, size=size, where=f"{where}, mask {row}")
        for row, item in enumerate(counts)
    )
