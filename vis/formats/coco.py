"""COCO for video: images of frames, annotations per object and frame, one file for many videos.

COCO's own layout (``images``, ``annotations``, ``categories``), so that any COCO reader takes it as
images; ``videos``, ``tracks`` and the keys ``video_id``, ``track_id`` and ``frame_index`` make tubes of it,
as in TAO. The readers of CocoVID's spelling (``instance_id``, ``frame_id``) are served on reading too.
Times, rates and scores have keys of our own, which other readers pass over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks
from vis.errors import AnnotationError
from vis.files import read_json, write_json
from vis.formats import fields, naming
from vis.formats.builder import ResultBuilder, tell, tell_of_evaluation, video_result
from vis.formats.unsupported import dropped_fields
from vis.structures import DatasetIds, VideoInfo, VideoResult

__all__ = ["read", "write"]

Row = Mapping[str, Any]


def write(path: str | Path, results: Sequence[VideoResult]) -> list[str]:
    """Write one file for all videos; returns what is lost, in sentences.

    Names and ids are those of :mod:`vis.formats.naming`; ``original_name`` says what a video was called whose
    name another one has too.
    """
    categories, said = naming.category_ids(results)
    numbers, renumbered = naming.video_ids(results)
    names = naming.unique_names([result.video.name for result in results])
    out: dict[str, list[dict[str, Any]]] = {
        "videos": [],
        "categories": [{"id": number, "name": name} for name, number in categories.items()],
        "tracks": [],
        "images": [],
        "annotations": [],
    }
    lost = {*said, *renumbered}
    files = naming.frame_files(results, names)
    for result, video_id, name, own in zip(results, numbers, names, files, strict=True):
        _add_video(out, result, video_id=video_id, name=name, files=own, category_ids=categories)
        lost |= set(
            dropped_fields(
                result,
                classes=True,
                tube_scores=True,
                frame_scores=True,
                boxes=True,
                needs_masks=False,
                empty_masks=True,
                covered=True,
                times=True,
                rate=True,
                file_names=True,
            )
        )
    write_json(path, {"info": {"description": "tubes as COCO video annotations"}, **out})
    return sorted(lost)


def _add_video(
    out: dict[str, list[dict[str, Any]]],
    result: VideoResult,
    *,
    video_id: int,
    name: str,
    files: Sequence[str],
    category_ids: Mapping[str, int],
) -> None:
    video = result.video
    out["videos"].append(
        {
            "id": video_id,
            "name": name,
            "width": video.width,
            "height": video.height,
            "length": video.num_frames,
            "fps": video.fps,
            **({"original_name": video.name} if name != video.name else {}),
        }
    )
    image_ids: dict[int, int] = {}
    times = result.pts_seconds.tolist()
    for frame, pts, file in zip(result.frames.tolist(), times, files, strict=True):
        image_ids[frame] = len(out["images"]) + 1
        out["images"].append(
            {
                "id": image_ids[frame],
                "video_id": video_id,
                "file_name": file,
                "width": video.width,
                "height": video.height,
                "frame_index": frame,
                "pts_seconds": pts,
            }
        )
    for tube in result.tubes:
        track_id = len(out["tracks"]) + 1
        category = category_ids[result.class_names[tube.label]]
        out["tracks"].append(
            {
                "id": track_id,
                "video_id": video_id,
                "category_id": category,
                "score": tube.score,
                "tube_id": tube.id,
            }
        )
        for row, frame in enumerate(tube.frames.tolist()):
            x0, y0, x1, y1 = (float(v) for v in tube.boxes[row])
            annotation: dict[str, Any] = {
                "id": len(out["annotations"]) + 1,
                "image_id": image_ids[frame],
                "video_id": video_id,
                "track_id": track_id,
                "category_id": category,
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "iscrowd": 0,
                "score": float(tube.scores[row]),
                "area": (x1 - x0) * (y1 - y0),
            }
            if tube.masks is not None:
                annotation["segmentation"] = masks.to_coco(tube.masks[row])
                annotation["area"] = masks.area(tube.masks[row])
            out["annotations"].append(annotation)


def read(path: str | Path) -> list[VideoResult]:
    """The videos of a file, in its order.

    Crowds, of which a tube cannot consist, and tracks without annotations are left out; ids of images and
    annotations are not kept. Each is told in an :class:`AnnotationWarning`.
    """
    where = str(path)
    data = read_json(path)
    videos, images = _table(data, "videos", where), _table(data, "images", where)
    categories = {
        number: fields.text(row, "name", f"{where}: category {number}", str(number))
        for number, row in _table(data, "categories", where).items()
    }
    tracks = _table(data, "tracks", where) if "tracks" in data else {}
    content = _Content(where, images, categories, tracks)
    frames: dict[int, list[int]] = defaultdict(list)
    for number, image in images.items():
        frames[fields.whole(image, "video_id", f"{where}: image {number}")].append(number)
    if lost := set(frames) - set(videos):
        raise AnnotationError(f"{where}: images name videos {sorted(lost)[:8]} that 'videos' does not list")
    grouped: dict[int, dict[int, Row]] = {number: {} for number in videos}
    crowds = 0
    for number, annotation in _table(data, "annotations", where).items():
        at = f"{where}: annotation {number}"
        crowd = fields.flag(annotation, "iscrowd", at)
        crowds += crowd
        picture = fields.whole(annotation, "image_id", at)
        if picture not in images:
            raise AnnotationError(f"{at}: its image_id names no image")
        video = fields.whole(images[picture], "video_id", at)
        if fields.whole(annotation, "video_id", at, video) != video:
            raise AnnotationError(f"{at}: its video_id is not that of its image")
        if not crowd:
            grouped[video][number] = annotation
    results = [
        _video(content, number, row, frames[number], grouped[number]) for number, row in videos.items()
    ]
    if crowds:
        tell(where, f"{crowds} crowd annotations are left out: a tube is one object")
    tell_of_evaluation(
        where, list(videos.values()), [row for rows in grouped.values() for row in rows.values()]
    )
    if unseen := len(set(content.tracks) - content.seen):
        tell(where, f"{unseen} tracks without annotations are left out")
    if any(order != list(range(1, len(order) + 1)) for order in (content.image_order, content.order)):
        tell(where, "ids of images and annotations are not kept: a file written anew numbers them from 1")
    return results


@dataclass(slots=True)
class _Content:
    """The tables of a file, and what was met while its videos were read."""

    where: str
    images: dict[int, Row]
    categories: dict[int, str]
    tracks: dict[int, Row]
    seen: set[int] = field(default_factory=set)
    """Tracks that have annotations."""
    image_order: list[int] = field(default_factory=list)
    order: list[int] = field(default_factory=list)
    """Ids of images and annotations in the order in which :func:`write` writes them."""


def _video(
    content: _Content, number: int, video: Row, images: list[int], annotations: Mapping[int, Row]
) -> VideoResult:
    at = f"{content.where}: video {number}"
    name = fields.text(video, "name", at, str(number))
    by_frame = _by_frame(content, images)
    content.image_order += [by_frame[frame] for frame in sorted(by_frame)]
    size = _size(content, at, video, images)
    info = VideoInfo(
        name,
        *size,
        num_frames=fields.whole(video, "length", at, None, least=0),
        fps=fields.finite(video, "fps", at, None, least=fields.MIN_FPS, most=fields.MAX_FPS),
        file_names=_file_names(content, at, name, by_frame),
    )
    labels = {category: label for label, category in enumerate(content.categories)}
    builder = ResultBuilder(at)
    scores: dict[int, float] = {}
    ids: dict[tuple[int, int], int] = {}
    frame_of = {image: frame for frame, image in by_frame.items()}
    tracks: dict[int, int] = {}
    for key, annotation in annotations.items():
        place = f"{at}: annotation {key}"
        track_id = _track_id(annotation, place)
        track = content.tracks.get(track_id, {})
        content.seen.add(track_id)
        object_id = fields.whole(track, "tube_id", f"{at}: track {track_id}", track_id, least=0)
        if tracks.setdefault(object_id, track_id) != track_id:
            raise AnnotationError(
                f"{at}: tracks {tracks[object_id]} and {track_id} have one tube_id, {object_id}"
            )
        if track.get("score") is not None:
            scores[object_id] = fields.finite(track, "score", f"{at}: track {track_id}", least=0, most=1)
        frame = frame_of[fields.whole(annotation, "image_id", place)]
        ids[object_id, frame] = key
        shape = annotation.get("segmentation")
        box = annotation.get("bbox")
        builder.add(
            object_id,
            frame,
            label=labels[_category(content, annotation, place)],
            score=fields.finite(annotation, "score", place, 1.0),
            box=None if box is None else fields.box(box, place, sizes=True),
            # An empty list of polygons is how files of boxes only say that there is no mask.
            mask=None if shape in (None, []) else masks.from_coco(shape, size=size, where=place),
            where=place,
        )
    content.order += [ids[key] for key in sorted(ids)]
    frames = np.array(sorted(by_frame), np.int64)
    names = tuple(content.categories.values())
    dataset = DatasetIds(number, {name: key for key, name in content.categories.items()})
    times = _times(content, by_frame)
    return video_result(at, info, names, builder.tubes(scores), frames, pts_seconds=times, dataset=dataset)


def _by_frame(content: _Content, images: list[int]) -> dict[int, int]:
    """Frame index -> image id."""
    found: dict[int, int] = {}
    for number in images:
        at = f"{content.where}: image {number}"
        key = "frame_index" if "frame_index" in content.images[number] else "frame_id"
        frame = fields.whole(content.images[number], key, at, least=0, most=fields.MAX_FRAME)
        if found.setdefault(frame, number) != number:
            raise AnnotationError(f"{at}: is frame {frame} of its video, as image {found[frame]} is")
    return found


def _size(content: _Content, at: str, video: Row, images: list[int]) -> tuple[int, int]:
    """(height, width) of the video, which all of its images must have if they say one."""
    said = [(f"{content.where}: image {number}", content.images[number]) for number in images]
    size: tuple[int, int] | None = None
    for place, row in [(at, video), *said]:
        if row.get("height") is None and row.get("width") is None:
            continue
        own = fields.size(row, place)
        size = size or own
        if own != size:
            raise AnnotationError(
                f"{place}: is {own[0]}x{own[1]}, its video {size[0]}x{size[1]} (height x width)"
            )
    if size is None:
        raise AnnotationError(f"{at}: height is missing; is it COCO for video?")
    return size


def _file_names(content: _Content, at: str, name: str, by_frame: Mapping[int, int]) -> tuple[str, ...]:
    files = {
        frame: fields.text(content.images[number], "file_name", f"{content.where}: image {number}", "")
        for frame, number in by_frame.items()
    }
    return naming.known_files(at, name, files)


def _times(content: _Content, by_frame: Mapping[int, int]) -> NDArray[np.float64] | None:
    """Presentation times of the frames, in order; None where not every image has one."""
    rows = [(number, content.images[number]) for _, number in sorted(by_frame.items())]
    if not rows or any(row.get("pts_seconds") is None for _, row in rows):
        return None
    times = [fields.finite(row, "pts_seconds", f"{content.where}: image {number}") for number, row in rows]
    return np.array(times, np.float64)


def _track_id(annotation: Row, place: str) -> int:
    key = "track_id" if "track_id" in annotation else "instance_id"
    if key not in annotation:
        raise AnnotationError(f"{place}: neither track_id nor instance_id; is it COCO for video?")
    return fields.whole(annotation, key, place, least=0)


def _category(content: _Content, annotation: Row, place: str) -> int:
    category = fields.whole(annotation, "category_id", place)
    if category not in content.categories:
        raise AnnotationError(f"{place}: its category_id is not listed in 'categories'")
    return category


def _table(data: Any, key: str, where: str) -> dict[int, Row]:
    """A list of objects with unique whole ids, as a dict by id."""
    rows = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(rows, list):
        hint = "; COCO for video needs it" if key in ("videos", "tracks") else ""
        raise AnnotationError(f"{where}: expected a list '{key}'{hint}")
    table: dict[int, Row] = {}
    for row in rows:
        number = fields.as_whole(row.get("id")) if isinstance(row, Mapping) else None
        if number is None or number in table:
            given = fields.shown(row.get("id") if isinstance(row, Mapping) else row)
            raise AnnotationError(f"{where}: {key}: expected objects with unique integer ids, got id {given}")
        table[number] = row
    return table
