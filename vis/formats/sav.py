"""SA-V, the set of SAM 2: masklets as JSON (training) and as a PNG per object and frame (val and test).

JSON: ``masklet[k][i]`` are the run lengths of object i in the k-th annotated frame; videos of 24 frames
per second are annotated in every 4th. Masklet ids and folders count from 0, our ids from 1. Objects may
overlap; there are no classes and no scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vis import masks
from vis.errors import AnnotationError, UsageError
from vis.files import read_json, write_json
from vis.formats import fields, per_object
from vis.formats.builder import ResultBuilder, video_result
from vis.formats.images import palette
from vis.formats.unsupported import dropped_fields
from vis.structures import Tube, VideoInfo, VideoResult

__all__ = ["read_json_file", "read_png", "write_json_file", "write_png"]

FRAME_STEP = 4


def write_json_file(path: str | Path, result: VideoResult, *, kind: str = "manual") -> list[str]:
    """Write ``<video>_manual.json``; returns what is lost, in sentences.

    Processed frames must be evenly spaced from 0, else :class:`UsageError`. SA-V's own readers take
    the spacing to be 4; another one is written under a key of ours, ``frame_step``, and said.
    """
    step = _step_of(result.frames)
    tubes = [tube for tube in result.tubes if tube.masks is not None]
    height, width = result.video.size
    blank = masks.to_coco(masks.encode(np.zeros(result.video.size, np.bool_)))
    rows = [dict(zip(tube.frames.tolist(), tube.masks or (), strict=True)) for tube in tubes]
    frames = result.frames.tolist()
    fps = result.video.fps
    count = result.video.num_frames or (frames[-1] + 1 if frames else 0)
    sizes = [_mean_area(tube) for tube in tubes]
    write_json(
        path,
        {
            "video_id": result.video.name,
            "video_duration": count / fps if fps else None,
            "video_frame_count": float(count),
            "video_height": float(height),
            "video_width": float(width),
            "video_resolution": float(height * width),
            "video_environment": [],
            "video_split": "",
            "frame_step": step,
            "masklet": [
                [masks.to_coco(row[frame]) if frame in row else blank for row in rows] for frame in frames
            ],
            "masklet_id": [tube.id - 1 for tube in tubes],
            "masklet_size_rel": [size / (height * width) for size in sizes],
            "masklet_size_abs": sizes,
            "masklet_size_bucket": [_bucket(size) for size in sizes],
            "masklet_visibility_changes": [_changes(tube, frames) for tube in tubes],
            "masklet_first_appeared_frame": [int(tube.frames[0]) for tube in tubes],
            "masklet_frame_count": [len(frames) for _ in tubes],
            "masklet_edited_frame_count": [0 for _ in tubes],
            "masklet_type": [kind for _ in tubes],
            "masklet_stability_score": None,
            "masklet_num": len(tubes),
        },
    )
    said = (
        []
        if step == FRAME_STEP
        else [f"readers of SA-V take every {FRAME_STEP}th frame; here it is every {step}"]
    )
    return [*said, *dropped_fields(result, covered=True, rate=True, unseen=True)]


def read_json_file(path: str | Path) -> VideoResult:
    """The masklets of a file; empty masks are absences, but one that is nowhere is kept as one empty mask."""
    where = str(path)
    data = read_json(path)
    if not isinstance(data, Mapping) or "masklet" not in data:
        raise AnnotationError(
            f"{where}: expected an object with 'masklet', got {fields.shown(data)}; is it a SA-V masklet file?"
        )
    size = fields.size(data, where, "video_height", "video_width")
    step = fields.whole(data, "frame_step", where, FRAME_STEP, least=1, most=1_000_000)
    listed = fields.rows(data, "masklet_id", where)
    ids = [fields.whole({"masklet_id": number}, "masklet_id", where, least=0) + 1 for number in listed]
    if len(set(ids)) != len(ids):
        raise AnnotationError(f"{where}: masklet_id: an id is there twice")
    builder = ResultBuilder(where)
    unseen = set(ids)
    annotated = fields.rows(data, "masklet", where)
    if (len(annotated) - 1) * step > fields.MAX_FRAME:
        raise AnnotationError(f"{where}: {len(annotated)} annotated frames, every {step}, are too many")
    for place, shapes in enumerate(annotated):
        if not isinstance(shapes, list) or len(shapes) != len(ids):
            got = len(shapes) if isinstance(shapes, list) else fields.shown(shapes)
            raise AnnotationError(f"{where}: annotated frame {place} has {got} masks for {len(ids)} masklets")
        for object_id, shape in zip(ids, shapes, strict=True):
            at = f"{where}: annotated frame {place}, masklet {object_id - 1}"
            mask = masks.from_coco(shape, size=size, where=at)
            if masks.area(mask):
                unseen.discard(object_id)
                builder.add(object_id, place * step, mask=mask, where=at)
    for object_id in sorted(unseen) if annotated else ():
        builder.add_unseen(object_id, 0, masks.encode(np.zeros(size, np.bool_)))
    frames = np.arange(len(annotated), dtype=np.int64) * step
    count = fields.whole(data, "video_frame_count", where, least=0, most=fields.MAX_FRAME)
    seconds = fields.finite(data, "video_duration", where, None, least=0)
    fps = count / seconds if seconds and count else None
    if fps is not None and not fields.MIN_FPS <= fps <= fields.MAX_FPS:
        raise AnnotationError(f"{where}: {count} frames in {seconds:g} s are no frame rate")
    name = fields.text(data, "video_id", where, Path(where).stem)
    video = VideoInfo(name, *size, num_frames=count, fps=fps)
    return video_result(where, video, ("object",), builder.tubes(), frames)


def write_png(path: str | Path, result: VideoResult) -> list[str]:
    """Write ``<path>/000/00000.png``: palette images with 1 where the object is; returns what is lost."""
    return per_object.write(path, result, value=1, colours=palette(), first_object=0)


def read_png(path: str | Path, *, fps: float | None = None) -> VideoResult:
    """The video in the folder ``path``; object 000 becomes tube 1."""
    return per_object.read(path, fps=fps, first_object=0)


def _step_of(frames: np.ndarray[Any, np.dtype[np.int64]]) -> int:
    step = int(frames[1]) if len(frames) > 1 else 1
    if not np.array_equal(frames, np.arange(len(frames)) * step):
        raise UsageError(
            "SA-V annotates evenly spaced frames from 0; the result's frames are not, use COCO or YTVIS"
        )
    return step


def _mean_area(tube: Tube) -> float:
    areas = [area for mask in tube.masks or () if (area := masks.area(mask))]
    return float(np.mean(areas)) if areas else 0.0


def _bucket(size: float) -> str:
    return "small" if size < 32**2 else "medium" if size < 96**2 else "large"


def _changes(tube: Tube, frames: list[int]) -> int:
    """How often the object comes or goes after its first appearance."""
    visible = np.isin(frames, tube.frames)
    first = int(visible.argmax())
    return int((visible[first + 1 :] != visible[first:-1]).sum())
