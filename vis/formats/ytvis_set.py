"""Whole YouTube-VIS sets: truth and results of many videos as :class:`VideoResult`.

Truth names its videos, frames and categories; a results file names none of them, so it is read beside
its truth. One entry per frame of ``file_names``; a tube's frames are places in that list. Ids of videos and
categories are kept (:mod:`vis.formats.naming`), those of annotations are not. OVIS, LV-VIS, UVO and HQ-YTVIS
share the layout. Evaluating is :mod:`vis.evaluation`'s, which reads faster.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vis import masks
from vis.errors import AnnotationError
from vis.files import read_json, write_json
from vis.formats import fields, naming, ytvis
from vis.formats.builder import ResultBuilder, tell, tell_of_evaluation, video_result
from vis.formats.unsupported import dropped_fields
from vis.formats.ytvis_videos import (
    VideoEntry,
    categories_of,
    checked_object,
    names_of,
    read_videos,
    videos_of,
)
from vis.structures import DatasetIds, VideoInfo, VideoResult

__all__ = [
    "VideoEntry",
    "read_results",
    "read_truth",
    "read_videos",
    "results_of",
    "write_results",
    "write_truth",
]


def read_truth(path: str | Path, *, fps: float | None = None) -> list[VideoResult]:
    """The annotated tubes of each video, score 1, ids as the file's.

    Crowds are left out, and an annotation without any mask is kept as one empty mask; both are told in an
    :class:`AnnotationWarning`. Annotations with ``segmentations_refined`` (HQ-YTVIS) give those.
    """
    where = str(path)
    data = checked_object(read_json(path), where)
    videos, categories = videos_of(data, where), categories_of(data, where)
    entries = data.get("annotations")
    if not isinstance(entries, list):
        raise AnnotationError(
            f"{where}: has no annotations; those of validation and test sets are not public, "
            "write results for the server instead"
        )
    grouped = _by_video(entries, videos, where, "annotation")
    seen: set[int] = set()
    single: dict[int, list[_Entry]] = {}
    for number, found in grouped.items():
        single[number] = []
        for at, entry in found:
            entry_id = fields.whole(entry, "id", at, least=0)
            if entry_id in seen:
                raise AnnotationError(f"{at}: id {entry_id} is given twice")
            seen.add(entry_id)
            if not fields.flag(entry, "iscrowd", at):
                single[number].append((f"{at} (id {entry_id})", entry))
    if crowds := len(seen) - sum(map(len, single.values())):
        tell(where, f"{crowds} crowd annotations are left out: a tube is one object")
    kept = [entry for found in single.values() for _, entry in found]
    tell_of_evaluation(where, data["videos"], kept)
    return _results(where, videos, single, categories, fps, truth=True)


def read_results(path: str | Path, truth: str | Path, *, fps: float | None = None) -> list[VideoResult]:
    """The predicted tubes of each video that ``truth`` lists; ids are places in the file, from 1 per video.

    A result without any mask is kept as one empty mask, which is told in an :class:`AnnotationWarning`.
    """
    where = str(path)
    videos, categories = read_videos(truth)
    entries = read_json(path)
    if not isinstance(entries, list):
        raise AnnotationError(f"{where}: expected a list of results, got {type(entries).__name__}")
    grouped = _by_video(entries, videos, where, "result")
    if unsaid := [
        name for name, video in zip(names_of(videos), videos, strict=True) if not grouped[video.id]
    ]:
        tell(where, f"says nothing of {_some(unsaid, len(videos))}, which have no tubes here")
    return _results(where, videos, grouped, categories, fps, truth=False)


def write_truth(path: str | Path, results: Sequence[VideoResult]) -> list[str]:
    """Write tubes as annotations, with areas, boxes and ids from 1; returns what is lost.

    ``file_names`` are the images' own, or ``name/00000.jpg`` with the source's frame numbers.
    """
    names, said = naming.category_ids(results)
    numbers, renumbered = naming.video_ids(results)
    files = naming.frame_files(results, naming.unique_names([result.video.name for result in results]))
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    lost = {*said, *renumbered}
    for video_id, own, result in zip(numbers, files, results, strict=True):
        height, width = result.video.size
        videos.append(
            {"id": video_id, "height": height, "width": width, "length": len(own), "file_names": own}
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
                    "length": len(own),
                    "areas": [None if mask is None else masks.area(mask) for mask in each],
                    "bboxes": [None if mask is None else _xywh(mask) for mask in each],
                }
            )
            annotations.append(entry)
        held = {"classes": True, "empty_masks": True, "covered": True, "file_names": True}
        lost |= {*_ids_said(result), *dropped_fields(result, **held)}
    categories = [{"id": number, "name": name, "supercategory": ""} for name, number in names.items()]
    write_json(
        path,
        {"info": {}, "licenses": [], "videos": videos, "categories": categories, "annotations": annotations},
    )
    return sorted(lost)


def write_results(
    path: str | Path, results: Sequence[VideoResult], *, truth: str | Path | None = None
) -> list[str]:
    """Write one results file for all videos; returns what is lost.

    With ``truth``, the set's own file, videos and classes meet its by name and have its ids: a video that it
    does not list, or lists with another number of frames, raises :class:`AnnotationError`; tubes of classes
    that it does not list are left out. Without it, ids are those of :mod:`vis.formats.naming`.
    """
    lost: set[str] = set()
    if truth is None:
        names, said = naming.category_ids(results)
        numbers, renumbered = naming.video_ids(results)
        lost |= {*said, *renumbered}
        lost.add("names of videos and classes are lost: a results file is read beside its truth")
    else:
        numbers, names, unsaid = _ids_of_truth(results, truth)
        lost |= {*_unlisted_said(results, names), *unsaid}
    out = [
        entry
        for number, result in zip(numbers, results, strict=True)
        for _, entry in _entries(result, number, names)
    ]
    write_json(path, out)
    for result in results:
        held = {"classes": True, "tube_scores": True, "empty_masks": True, "file_names": truth is not None}
        lost |= {*_ids_said(result), *dropped_fields(result, **held)}
    return sorted(lost)


def _ids_of_truth(
    results: Sequence[VideoResult], truth: str | Path
) -> tuple[list[int], dict[str, int], list[str]]:
    """Id of each video, and of each class by name, in a set's own file; and what of its videos no result is of.

    A video whose name the set does not list is known by the set's id, where it has one.
    """
    videos, categories = read_videos(truth)
    listed = dict(zip(names_of(videos), videos, strict=True))
    numbers: list[int] = []
    for result in results:
        name = result.video.name
        if name not in listed and result.dataset is not None:
            own = result.dataset.video_id
            name = next((called for called, video in listed.items() if video.id == own), name)
        if name not in listed:
            some = ", ".join(name[:40] for name in list(listed)[:8])
            raise AnnotationError(
                f"{truth}: lists no video called {name[:40]!r}; its videos are {some or 'none'}"
            )
        wanted, got = len(listed[name].file_names), len(result.frames)
        if wanted != got:
            raise AnnotationError(
                f"{truth}: video {name[:40]!r} has {wanted} frames, the result {got}; process the set's own images"
            )
        numbers.append(listed[name].id)
    if len(set(numbers)) < len(numbers):
        raise AnnotationError(f"{truth}: two results are of one of its videos; give one result per video")
    unsaid = [name for name, video in listed.items() if video.id not in numbers]
    said = [f"no result is of {_some(unsaid, len(listed))}: none is written for them"] if unsaid else []
    return numbers, {name: number for number, name in categories.items()}, said


def _some(names: Sequence[str], of: int) -> str:
    """'2 of the truth's 5 videos (a, b)'."""
    shown = ", ".join(name[:40] for name in names[:8]) + ", ..." * (len(names) > 8)
    return f"{len(names)} of the truth's {of} videos ({shown})"


def _unlisted_said(results: Sequence[VideoResult], names: Mapping[str, int]) -> set[str]:
    used = [result.class_names[tube.label] for result in results for tube in result.tubes]
    if lost := [name for name in used if name not in names]:
        some = ", ".join(name[:40] for name in sorted(set(lost))[:8])
        return {f"{len(lost)} tubes of classes that the truth does not list are left out: {some}"}
    return set()


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


_Entry = tuple[str, Mapping[str, Any]]
"""Where an entry is, for errors, and the entry."""


def _results(
    where: str,
    videos: Sequence[VideoEntry],
    grouped: Mapping[int, list[_Entry]],
    categories: Mapping[int, str],
    fps: float | None,
    *,
    truth: bool,
) -> list[VideoResult]:
    return [
        _result(
            f"{where}: video {video.id}",
            video,
            grouped[video.id],
            name=name,
            categories=categories,
            fps=fps,
            truth=truth,
        )
        for name, video in zip(names_of(videos), videos, strict=True)
    ]


def _result(
    where: str,
    video: VideoEntry,
    entries: list[_Entry],
    *,
    name: str,
    categories: Mapping[int, str],
    fps: float | None,
    truth: bool,
) -> VideoResult:
    labels = {number: label for label, number in enumerate(categories)}
    count, size = len(video.file_names), (video.height, video.width)
    builder = ResultBuilder(where)
    scores: dict[int, float] = {}
    for place, (at, entry) in enumerate(entries, start=1):
        object_id = fields.whole(entry, "id", at) if truth else place
        category = fields.whole(entry, "category_id", at)
        if category not in labels:
            raise AnnotationError(f"{at}: category_id {category} is not listed in the truth")
        scores[object_id] = 1.0 if truth else fields.finite(entry, "score", at)
        how: Any = {"label": labels[category], "score": scores[object_id], "where": at}
        seen = False
        for frame, shape in enumerate(_shapes(entry, count, at, refined=truth)):
            if shape is not None:
                seen = True
                mask = masks.from_coco(shape, size=size, where=f"{at}, frame {frame}")
                builder.add(object_id, frame, mask=mask, **how)
        if not seen and count:
            builder.add_unseen(object_id, 0, masks.encode(np.zeros(size, np.bool_)), **how)
        elif not seen:
            tell(where, f"object {object_id} is left out: its video has no frame")
    files = naming.known_files(where, name, dict(enumerate(video.file_names)))
    info = VideoInfo(name, *size, num_frames=count, fps=fps, file_names=files)
    dataset = DatasetIds(video.id, {name: number for number, name in categories.items()})
    frames = np.arange(count, dtype=np.int64)
    names = tuple(categories.values())
    return video_result(where, info, names, builder.tubes(scores), frames, dataset=dataset)


def _shapes(entry: Mapping[str, Any], count: int, at: str, *, refined: bool) -> list[Any]:
    """One mask or null per frame."""
    shapes = entry.get("segmentations_refined") if refined else None
    shapes = entry.get("segmentations") if shapes is None else shapes
    if not isinstance(shapes, list) or len(shapes) != count:
        got = f"{len(shapes)}" if isinstance(shapes, list) else fields.shown(shapes)
        boxes = "; it has boxes, the format holds masks" if shapes is None and "bboxes" in entry else ""
        raise AnnotationError(
            f"{at}: expected {count} segmentations, one per frame (or null), got {got}{boxes}"
        )
    return shapes


def _by_video(
    entries: list[Any], videos: Sequence[VideoEntry], where: str, kind: str
) -> dict[int, list[_Entry]]:
    grouped: dict[int, list[_Entry]] = {video.id: [] for video in videos}
    for place, entry in enumerate(entries):
        at = f"{where}: {kind} {place}"
        number = fields.whole(entry, "video_id", at)
        if number not in grouped:
            raise AnnotationError(f"{at}: video_id {number!r} names no video of the truth")
        grouped[number].append((at, entry))
    return grouped


def _ids_said(result: VideoResult) -> list[str]:
    fine = [tube.id for tube in result.tubes] == list(range(1, len(result.tubes) + 1))
    return [] if fine else ["ids are lost: readers number the tubes from 1"]


def _xywh(mask: Any) -> list[float]:
    x0, y0, x1, y1 = masks.bounding_box(mask).tolist()
    return [x0, y0, x1 - x0, y1 - y0]
