"""COCO for video: images of frames, annotations per object and frame, one file for many videos.

COCO's own layout (``images``, ``annotations``, ``categories``), so that any COCO reader takes it as
images; ``videos``, ``tracks`` and the keys ``video_id``, ``track_id`` and ``frame_index`` make tubes of it,
as in TAO. The readers of CocoVID's spelling (``instance_id``, ``frame_id``) are served on reading too.
Times, rates and scores have keys of our own, which other readers pass over.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vis import masks
from vis.errors import AnnotationError
from vis.files import read_json, write_json
from vis.formats.gather import Gathered, video_result
from vis.formats.losses import not_held
from vis.structures import VideoInfo, VideoResult

__all__ = ["read", "write"]


def write(path: str | Path, results: Sequence[VideoResult]) -> list[str]:
    """Write one file for all videos; returns what is lost, in sentences.

    Categories are the union of the results' class names, ids from 1 in the order of first sight.
    """
    names: dict[str, int] = {}
    for result in results:
        for name in result.class_names:
            names.setdefault(name, len(names) + 1)
    out: dict[str, list[dict[str, Any]]] = {
        "videos": [],
        "categories": [{"id": number, "name": name} for name, number in names.items()],
        "tracks": [],
        "images": [],
        "annotations": [],
    }
    said: set[str] = set()
    for video_id, result in enumerate(results, start=1):
        _add_video(out, video_id, result, names)
        said |= set(
            not_held(
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
            )
        )
    write_json(path, {"info": {"description": "tubes as COCO video annotations"}, **out})
    return sorted(said)


def _add_video(
    out: dict[str, list[dict[str, Any]]], video_id: int, result: VideoResult, names: Mapping[str, int]
) -> None:
    video = result.video
    out["videos"].append(
        {
            "id": video_id,
            "name": video.name,
            "width": video.width,
            "height": video.height,
            "length": video.num_frames,
            "fps": video.fps,
        }
    )
    image_ids: dict[int, int] = {}
    for frame, pts in zip(result.frames.tolist(), result.pts_seconds.tolist(), strict=True):
        image_ids[frame] = len(out["images"]) + 1
        out["images"].append(
            {
                "id": image_ids[frame],
                "video_id": video_id,
                "file_name": f"{video.name}/{frame:05d}.jpg",
                "width": video.width,
                "height": video.height,
                "frame_index": frame,
                "pts_seconds": pts,
            }
        )
    for tube in result.tubes:
        track_id = len(out["tracks"]) + 1
        category = names[result.class_names[tube.label]]
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
    """The videos of a file, in its order. Crowd annotations raise, as a tube is one object."""
    where = str(path)
    data = read_json(path)
    videos = _table(data, "videos", where)
    images = _table(data, "images", where)
    categories = _table(data, "categories", where)
    labels = {number: label for label, number in enumerate(categories)}
    names = [str(category.get("name", number)) for number, category in categories.items()]
    tracks = _table(data, "tracks", where) if "tracks" in data else {}
    per_video: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for annotation in _table(data, "annotations", where).values():
        image = images.get(annotation.get("image_id", -1))
        if image is None:
            raise AnnotationError(f"{where}: annotation {annotation['id']}: its image_id names no image")
        per_video[image.get("video_id", -1)].append(annotation)
    lost = set(per_video) - set(videos)
    if lost:
        raise AnnotationError(f"{where}: images name videos {sorted(lost)} that 'videos' does not list")
    frames: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for image in images.values():
        frames[image.get("video_id", -1)].append(image)
    return [
        _video(where, video, frames[number], per_video[number], images, tracks, labels, names)
        for number, video in videos.items()
    ]


def _video(
    where: str,
    video: Mapping[str, Any],
    images: list[Mapping[str, Any]],
    annotations: list[Mapping[str, Any]],
    by_id: Mapping[int, Mapping[str, Any]],
    tracks: Mapping[int, Mapping[str, Any]],
    labels: Mapping[int, int],
    names: Sequence[str],
) -> VideoResult:
    at = f"{where}: video {video['id']}"
    try:
        height, width = int(video["height"]), int(video["width"])
        fps = None if video.get("fps") is None else float(video["fps"])
        length = None if video.get("length") is None else int(video["length"])
        info = VideoInfo(str(video.get("name", video["id"])), height, width, num_frames=length, fps=fps)
        ordered = sorted(images, key=_frame_index)
        frames = np.array([_frame_index(image) for image in ordered], np.int64)
        times = None
        if ordered and all("pts_seconds" in image for image in ordered):
            times = np.array([image["pts_seconds"] for image in ordered], np.float64)
        gathered = Gathered(at)
        scores: dict[int, float] = {}
        for annotation in annotations:
            place = f"{at}: annotation {annotation['id']}"
            if annotation.get("iscrowd"):
                raise AnnotationError(f"{place}: is a crowd, which is no tube; take it out first")
            if annotation["category_id"] not in labels:
                raise AnnotationError(f"{place}: its category_id is not listed in 'categories'")
            track_id = annotation["track_id"] if "track_id" in annotation else annotation["instance_id"]
            track = tracks.get(track_id, {})
            identity = int(track.get("tube_id", track_id))
            if "score" in track:
                scores[identity] = float(track["score"])
            x, y, w, h = (float(v) for v in annotation["bbox"])
            shape = annotation.get("segmentation")
            gathered.add(
                identity,
                _frame_index(by_id[annotation["image_id"]]),
                label=labels[annotation["category_id"]],
                score=float(annotation.get("score", 1.0)),
                box=np.array([x, y, x + w, y + h]),
                mask=None if shape is None else masks.from_coco(shape, size=(height, width), where=place),
            )
        return video_result(at, info, names, gathered.tubes(scores), frames, times)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise AnnotationError(f"{at}: {type(error).__name__} {error}; is it COCO for video?") from error


def _frame_index(image: Mapping[str, Any]) -> int:
    value = image["frame_index"] if "frame_index" in image else image["frame_id"]
    return int(value)


def _table(data: Any, key: str, where: str) -> dict[int, Mapping[str, Any]]:
    """A list of objects with unique integer ids, as a dict by id."""
    rows = data.get(key) if isinstance(data, Mapping) else None
    if not isinstance(rows, list):
        hint = "; COCO for video needs it" if key in ("videos", "tracks") else ""
        raise AnnotationError(f"{where}: expected a list '{key}'{hint}")
    table: dict[int, Mapping[str, Any]] = {}
    for row in rows:
        number = row.get("id") if isinstance(row, Mapping) else None
        if not isinstance(number, int) or isinstance(number, bool) or number in table:
            raise AnnotationError(
                f"{where}: {key}: expected objects with unique integer ids, got id {number!r}"
            )
        table[number] = row
    return table
