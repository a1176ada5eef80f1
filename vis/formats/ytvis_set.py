"""Whole YouTube-VIS sets: truth and results of many videos as :class:`VideoResult`.

Truth names its videos, frames and categories; a results file names none of them, so it is read beside
its truth. One entry per frame of ``file_names``; a tube's frames are places in that list. OVIS, LV-VIS,
UVO and HQ-YTVIS share the layout. Evaluating is :mod:`vis.evaluation`'s, which reads faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from vis import masks
from vis.errors import AnnotationError
from vis.files import read_json, write_json
from vis.formats import ytvis
from vis.formats.gather import Gathered, video_result
from vis.formats.losses import not_held
from vis.structures import VideoInfo, VideoResult

__all__ = [
    "VideoEntry",
    "read_results",
    "read_truth",
    "read_videos",
    "results_of",
    "write_results",
    "write_truth",
]


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

    def info(self, fps: float | None = None) -> VideoInfo:
        """As a video: its frames are the annotated ones."""
        return VideoInfo(self.name, self.height, self.width, num_frames=len(self.file_names), fps=fps)


def read_videos(path: str | Path) -> tuple[list[VideoEntry], dict[int, str]]:
    """The videos and the categories (id -> name) of a set; annotations are not looked at.

    Test sets have none, and are read so.
    """
    data = _object(read_json(path), str(path))
    return _videos(data, str(path)), _categories(data, str(path))


def read_truth(path: str | Path, *, fps: float | None = None) -> list[VideoResult]:
    """The annotated tubes of each video, score 1, ids as the file's. Crowds are left out.

    Annotations with ``segmentations_refined`` (HQ-YTVIS) give those.
    """
    where = str(path)
    data = _object(read_json(path), where)
    videos, categories = _videos(data, where), _categories(data, where)
    entries = data.get("annotations")
    if not isinstance(entries, list):
        raise AnnotationError(
            f"{where}: has no annotations; those of validation and test sets are not public, "
            "write results for the server instead"
        )
    grouped = _by_video(entries, videos, where)
    return [
        _result(f"{where}: video {video.id}", video, grouped[video.id], categories, fps, truth=True)
        for video in videos
    ]


def read_results(path: str | Path, truth: str | Path, *, fps: float | None = None) -> list[VideoResult]:
    """The predicted tubes of each video that ``truth`` lists; ids are places in the file, from 1 per video."""
    where = str(path)
    videos, categories = read_videos(truth)
    entries = read_json(path)
    if not isinstance(entries, list):
        raise AnnotationError(f"{where}: expected a list of results, got {type(entries).__name__}")
    grouped = _by_video(entries, videos, where)
    return [
        _result(f"{where}: video {video.id}", video, grouped[video.id], categories, fps, truth=False)
        for video in videos
    ]


def write_truth(path: str | Path, results: Sequence[VideoResult]) -> list[str]:
    """Write tubes as annotations, with areas, boxes and ids from 1; returns what is lost.

    ``file_names`` are ``name/00000.jpg`` with the source's frame numbers.
    """
    names = _all_names(results)
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    said: set[str] = set()
    for video_id, result in enumerate(results, start=1):
        files = [f"{result.video.name}/{frame:05d}.jpg" for frame in result.frames.tolist()]
        height, width = result.video.size
        videos.append(
            {"id": video_id, "height": height, "width": width, "length": len(files), "file_names": files}
        )
        for tube, entry in _entries(result, video_id, names):
            del entry["score"]
            shapes = dict(zip(tube.frames.tolist(), tube.masks or (), strict=True))
            each = [shapes.get(frame) for frame in result.frames.tolist()]
            entry.update(
                {
                    "id": len(annotations) + 1,
                    "iscrowd": 0,
                    "height": height,
                    "width": width,
                    "length": len(files),
                    "areas": [None if mask is None else masks.area(mask) for mask in each],
                    "bboxes": [None if mask is None else _xywh(mask) for mask in each],
                }
            )
            annotations.append(entry)
        said |= {*_ids_said(result), *not_held(result, classes=True, empty_masks=True, covered=True)}
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in names.items()]
    write_json(
        path,
        {"info": {}, "licenses": [], "videos": videos, "categories": categories, "annotations": annotations},
    )
    return sorted(said)


def write_results(path: str | Path, results: Sequence[VideoResult]) -> list[str]:
    """Write one results file for all videos, ids from 1 in the order given; returns what is lost."""
    names = _all_names(results)
    out = [
        entry
        for number, result in enumerate(results, start=1)
        for _, entry in _entries(result, number, names)
    ]
    write_json(path, out)
    said = {"names of videos and classes are lost: a results file is read beside its truth"}
    for result in results:
        held = {"classes": True, "tube_scores": True, "empty_masks": True}
        said |= {*_ids_said(result), *not_held(result, **held)}
    return sorted(said)


def results_of(result: VideoResult, video_id: int, categories: Mapping[str, int]) -> list[dict[str, Any]]:
    """Results entries of one video, with the set's own category ids (name -> id).

    Tubes of classes that the set does not know are left out: its evaluator has no place for them.
    """
    return [entry for _, entry in _entries(result, video_id, categories)]


def _entries(
    result: VideoResult, video_id: int, names: Mapping[str, int]
) -> list[tuple[Any, dict[str, Any]]]:
    from dataclasses import replace

    kept = tuple(
        tube for tube in result.tubes if tube.masks is not None and result.class_names[tube.label] in names
    )
    entries = ytvis.results_entries(replace(result, tubes=kept), video_id)
    for tube, entry in zip(kept, entries, strict=True):
        entry["category_id"] = names[result.class_names[tube.label]]
    return list(zip(kept, entries, strict=True))


def _result(
    where: str,
    video: VideoEntry,
    entries: list[Mapping[str, Any]],
    categories: Mapping[int, str],
    fps: float | None,
    *,
    truth: bool,
) -> VideoResult:
    labels = {number: label for label, number in enumerate(categories)}
    gathered = Gathered(where)
    scores: dict[int, float] = {}
    for place, entry in enumerate(entries, start=1):
        identity = entry.get("id") if truth else place
        at = f"{where}: {'annotation' if truth else 'result'} {identity}"
        if isinstance(identity, bool) or not isinstance(identity, int):
            raise AnnotationError(f"{at}: expected a whole number as id, got {identity!r}")
        if entry.get("iscrowd"):
            continue
        if entry.get("category_id") not in labels:
            raise AnnotationError(
                f"{at}: category_id {entry.get('category_id')!r} is not listed in the truth"
            )
        shapes = entry.get("segmentations_refined") if truth else None
        shapes = entry.get("segmentations") if shapes is None else shapes
        if not isinstance(shapes, list) or len(shapes) != len(video.file_names):
            raise AnnotationError(
                f"{at}: expected {len(video.file_names)} segmentations, one per frame (or null)"
            )
        score = 1.0 if truth else entry.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise AnnotationError(f"{at}: expected a number as score, got {score!r}")
        scores[identity] = float(score)
        for frame, shape in enumerate(shapes):
            if shape is not None:
                size = (video.height, video.width)
                mask = masks.from_coco(shape, size=size, where=f"{at}, frame {frame}")
                gathered.add(
                    identity, frame, label=labels[entry["category_id"]], score=scores[identity], mask=mask
                )
    frames = np.arange(len(video.file_names), dtype=np.int64)
    return video_result(where, video.info(fps), tuple(categories.values()), gathered.tubes(scores), frames)


def _by_video(
    entries: list[Any], videos: Sequence[VideoEntry], where: str
) -> dict[int, list[Mapping[str, Any]]]:
    grouped: dict[int, list[Mapping[str, Any]]] = {video.id: [] for video in videos}
    for place, entry in enumerate(entries):
        number = entry.get("video_id") if isinstance(entry, Mapping) else None
        if not isinstance(number, int) or number not in grouped:
            raise AnnotationError(f"{where}: entry {place}: video_id {number!r} names no video of the truth")
        grouped[number].append(entry)
    return grouped


def _videos(data: Mapping[str, Any], where: str) -> list[VideoEntry]:
    rows = data.get("videos")
    if not isinstance(rows, list):
        raise AnnotationError(f"{where}: expected a list 'videos'; is it the truth of a YouTube-VIS set?")
    videos = [_video(row, where) for row in rows]
    if len({video.id for video in videos}) != len(videos):
        raise AnnotationError(f"{where}: videos: an id is there twice")
    return videos


def _video(row: Any, where: str) -> VideoEntry:
    try:
        number, height, width, names = (row[key] for key in ("id", "height", "width", "file_names"))
        whole = all(isinstance(n, int) and not isinstance(n, bool) for n in (number, height, width))
        fine = whole and min(height, width) > 0 and all(isinstance(name, str) for name in names)
    except (KeyError, TypeError):
        fine = False
    if not fine or not isinstance(names, list):
        raise AnnotationError(
            f"{where}: videos: expected id, height, width and file_names, got {str(row)[:80]}"
        )
    return VideoEntry(number, height, width, tuple(names))


def _categories(data: Mapping[str, Any], where: str) -> dict[int, str]:
    rows = data.get("categories")
    if not isinstance(rows, list) or not all(
        isinstance(row, Mapping) and isinstance(row.get("id"), int) and isinstance(row.get("name"), str)
        for row in rows
    ):
        raise AnnotationError(f"{where}: expected a list 'categories' with id and name")
    return {row["id"]: row["name"] for row in rows}


def _object(data: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise AnnotationError(
            f"{where}: expected an object with 'videos' and 'categories', got {type(data).__name__}; "
            "a results file is read beside its truth (--truth)"
        )
    return data


def _all_names(results: Sequence[VideoResult]) -> dict[str, int]:
    names: dict[str, int] = {}
    for result in results:
        for name in result.class_names:
            names.setdefault(name, len(names) + 1)
    return names


def _ids_said(result: VideoResult) -> list[str]:
    fine = [tube.id for tube in result.tubes] == list(range(1, len(result.tubes) + 1))
    return [] if fine else ["ids are lost: readers number the tubes from 1"]


def _xywh(mask: Any) -> list[float]:
    x0, y0, x1, y1 = masks.bounding_box(mask).tolist()
    return [x0, y0, x1 - x0, y1 - y0]
