"""The files that detector ``precomputed`` reads, each kind as rows by frame number."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from vis import masks as rle
from vis.errors import AnnotationError, AnnotationWarning, UsageError
from vis.files import read_json
from vis.formats import fields
from vis.formats import tubes as tubes_format
from vis.structures import MaskRLE, VideoResult

__all__ = ["FileObjects", "Row", "parsed", "read_objects"]

MAX_CATEGORY = 100_000
"""Largest category id of YTVIS results, whose names are made up to it."""


@dataclass(frozen=True, slots=True)
class Row:
    """One object on one frame."""

    box: tuple[float, float, float, float]
    score: float
    label: int
    track_id: int | None
    mask: MaskRLE | None


@dataclass(frozen=True, slots=True)
class FileObjects:
    """What a file says of one video."""

    names: tuple[str, ...]
    frames: dict[int, list[Row]] = field(default_factory=dict)
    """By frame number."""
    length: int | None = None
    """Frames that the file speaks of; None where a frame that it does not name has no objects."""


_parsed: dict[str, tuple[tuple[int, int], Any]] = {}
"""The file that a set's videos are read from, with its time and size: one at most."""


def parsed(path: Path) -> Any:
    """The JSON of a set's file, parsed once as long as the file stays."""
    try:
        state = path.stat()
    except OSError:
        return read_json(path)  # which says what is wrong
    stamp, key = (state.st_mtime_ns, state.st_size), str(path.absolute())
    if key not in _parsed or _parsed[key][0] != stamp:
        _parsed.clear()
        _parsed[key] = stamp, read_json(path)
    return _parsed[key][1]


def read_objects(
    path: Path, video_id: str | None, names: Sequence[str] | None, *, listed: Sequence[str] = ()
) -> FileObjects:
    """What the file holds for one video; :class:`AnnotationError` where it is not as it should be."""
    value = parsed(path) if str(path.absolute()) in _parsed else read_json(path)
    where = str(path)
    if isinstance(value, Mapping) and {"annotations", "categories"} <= set(value):
        _refuse_setting(names, "class_names", f"{where}: names its classes itself")
        return _from_annotations(value, video_id, where)
    if isinstance(value, list):
        return _from_tubes(value, video_id, names, where, listed=listed)
    _refuse_setting(names, "class_names", f"{where}: names its classes itself")
    _refuse_setting(video_id, "video_id (--video-id)", f"{where}: holds one video, which has no id")
    if isinstance(value, Mapping) and value.get("format") == tubes_format.FORMAT:
        return _from_result(tubes_format.from_json(value, where=where))
    if isinstance(value, Mapping) and "frames" in value:
        return _from_boxes(value, where)
    raise AnnotationError(
        f"{path}: neither boxes per frame, nor YTVIS results or annotations, nor a tubes.json; "
        "`python -m pydoc detectors.precomputed` shows the forms"
    )


def _refuse_setting(value: object, setting: str, why: str) -> None:
    if value is not None:
        raise UsageError(f"{why}; leave {setting} out")


def _from_result(result: VideoResult) -> FileObjects:
    found = FileObjects(result.class_names)
    for tube in result.tubes:
        for at, frame in enumerate(tube.frames.tolist()):
            x0, y0, x1, y1 = tube.boxes[at].tolist()
            mask = None if tube.masks is None else tube.masks[at]
            row = Row((x0, y0, x1, y1), float(tube.scores[at]), tube.label, tube.id, mask)
            found.frames.setdefault(frame, []).append(row)
    return found


# ---------------------------------------------------------------- boxes per frame


def _from_boxes(value: Mapping[str, Any], where: str) -> FileObjects:
    names = fields.get(value, "class_names", where, ["object"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AnnotationError(f"{where}: class_names must be a list of texts")
    if not isinstance(value["frames"], list):
        raise AnnotationError(f"{where}: frames must be a list with one list of objects per frame")
    found = FileObjects(tuple(names))
    for index, objects in enumerate(value["frames"]):
        if not isinstance(objects, list):
            raise AnnotationError(f"{where}: frame {index} must be a list of objects")
        rows = [
            _box_row(item, len(names), f"{where}: frame {index}, object {at}")
            for at, item in enumerate(objects)
        ]
        ids = [row.track_id for row in rows]
        if (None in ids and any(ids)) or (None not in ids and len(set(ids)) < len(ids)):
            raise AnnotationError(
                f"{where}: frame {index} must give every object an id of its own, or no ids"
            )
        found.frames[index] = rows
    return found


def _box_row(item: Any, classes: int, where: str) -> Row:
    if not isinstance(item, Mapping):
        raise AnnotationError(f"{where}: expected an object with 'box', got {fields.shown(item)}")
    try:
        x0, y0, x1, y1 = fields.box(item.get("box"), where)
    except AnnotationError:
        x0 = y0 = x1 = y1 = 0.0
    if not (x0 < x1 and y0 < y1):
        raise AnnotationError(
            f"{where}: box must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1, at most {fields.MAX_COORDINATE:,.0f} "
            f"pixels away; got {fields.shown(item.get('box'))}"
        )
    label = fields.as_whole(item.get("label", 0))
    if label is None or not 0 <= label < classes:
        raise AnnotationError(
            f"{where}: label must be 0..{classes - 1}, an index of class_names; "
            f"got {fields.shown(item.get('label'))}"
        )
    given = item.get("id")
    track_id = fields.as_whole(given)
    if given is not None and (track_id is None or track_id < 1):
        raise AnnotationError(f"{where}: id must be a positive integer, got {fields.shown(given)}")
    return Row((x0, y0, x1, y1), _score(item.get("score", 1.0), where), label, track_id, None)


# ---------------------------------------------------------------- YTVIS

_Entry = tuple[str, Mapping[str, Any]]
"""Where an entry is, for errors, and the entry."""


def _from_annotations(value: Mapping[str, Any], video_id: str | None, where: str) -> FileObjects:
    categories: dict[int, str] = {}
    for place, item in _entries(value["categories"], f"{where}: broken categories", "entry"):
        number = fields.whole(item, "id", place)
        if number in categories:
            raise AnnotationError(f"{place}: id {number} is there twice")
        categories[number] = fields.text(item, "name", place)
    tubes = _entries(value["annotations"], where, "tube")
    single = [
        (place, {"score": 1.0, **tube}) for place, tube in tubes if not fields.flag(tube, "iscrowd", place)
    ]
    if len(single) < len(tubes):
        warnings.warn(
            f"{where}: {len(tubes) - len(single)} crowd annotations are left out: a tube is one object",
            AnnotationWarning,
            stacklevel=2,
        )
    videos: dict[str, _Entry] = {}
    for place, video in _entries(fields.get(value, "videos", where, []), f"{where}: broken videos", "entry"):
        name = _id(video, "id", place)
        if name in videos:
            raise AnnotationError(f"{place}: id {name} is there twice")
        videos[name] = place, video
    name, chosen = _of_one_video(single, video_id, where, list(videos))
    size = None
    if name in videos and videos[name][1].get("height") is not None:
        place, video = videos[name]
        size = fields.size(video, place)
    order = sorted(categories)
    found = FileObjects(tuple(categories[category] for category in order))
    return _with_tubes(found, chosen, {category: label for label, category in enumerate(order)}, size)


def _from_tubes(
    value: list[Any],
    video_id: str | None,
    names: Sequence[str] | None,
    where: str,
    *,
    listed: Sequence[str] = (),
) -> FileObjects:
    if not all(isinstance(tube, Mapping) for tube in value):
        raise AnnotationError(f"{where}: YTVIS results are a list of objects, one per tube")
    _, chosen = _of_one_video(_entries(value, where, "tube"), video_id, where, listed)
    seen = [fields.as_whole(tube.get("category_id")) or 0 for _, tube in chosen]
    if not all(category > 0 for category in seen):
        raise AnnotationError(f"{where}: every tube needs a category_id of 1 or more")
    most = max(seen, default=1)
    count = most if names is None else len(names)
    if most > count:
        raise AnnotationError(f"{where}: category {most} has no name among {count} class_names")
    if count > MAX_CATEGORY:
        raise AnnotationError(f"{where}: category {most} is over the limit of {MAX_CATEGORY:,} categories")
    names = tuple(names) if names is not None else tuple(f"category {i}" for i in range(1, count + 1))
    known = {category: category - 1 for category in range(1, count + 1)}
    return _with_tubes(FileObjects(names), chosen, known, None)


def _entries(value: Any, where: str, kind: str) -> list[_Entry]:
    if not isinstance(value, list):
        raise AnnotationError(f"{where}: expected a list, got {fields.shown(value)}")
    for at, entry in enumerate(value):
        if not isinstance(entry, Mapping):
            raise AnnotationError(f"{where}: {kind} {at}: expected an object, got {fields.shown(entry)}")
    return [(f"{where}: {kind} {at}", entry) for at, entry in enumerate(value)]


def _id(entry: Mapping[str, Any], key: str, where: str) -> str:
    """A video's id as text: a number by its digits, '' where the file gives none."""
    value = entry.get(key)
    return (
        str(fields.whole(entry, key, where))
        if isinstance(value, float)
        else fields.text(entry, key, where, "")
    )


def _of_one_video(
    tubes: Sequence[_Entry], video_id: str | None, where: str, listed: Sequence[str]
) -> tuple[str, list[_Entry]]:
    """Id and tubes of the chosen video, or of the only one; ``listed``: ids in the file's list of videos."""
    by_video: dict[str, list[_Entry]] = {number: [] for number in listed}
    for place, tube in tubes:
        by_video.setdefault(_id(tube, "video_id", place), []).append((place, tube))
    numbers = sorted(by_video, key=lambda number: (len(number), number))
    some = ", ".join(number[:24] for number in numbers[:8]) + ", ..." * (len(numbers) > 8)
    if video_id is None and len(numbers) > 1:
        raise AnnotationError(
            f"{where}: holds {len(numbers)} videos ({some}); choose one: video_id=... in Python, "
            "--video-id ... on the command line"
        )
    if video_id is not None and video_id not in by_video:
        raise AnnotationError(
            f"{where}: holds no video {video_id!r} (--video-id), it holds: {some or 'none'}"
        )
    chosen = video_id if video_id is not None else next(iter(numbers), "")
    return chosen, by_video.get(chosen, [])


def _with_tubes(
    found: FileObjects, tubes: Sequence[_Entry], labels: Mapping[int, int], size: tuple[int, int] | None
) -> FileObjects:
    """``found`` with the masks of the tubes, of ``size`` if it is known; ids are places among them, from 1."""
    length: int | None = None
    for number, (place, tube) in enumerate(tubes, start=1):
        segmentations = tube.get("segmentations")
        if not isinstance(segmentations, list):
            raise AnnotationError(
                f"{place}: segmentations must be a list with a mask or null per frame; "
                "'vistubes convert' makes a tubes.json of other formats"
            )
        if len(segmentations) != (len(segmentations) if length is None else length):
            raise AnnotationError(
                f"{place}: has {len(segmentations)} segmentations, the tube before it {length}; "
                "give all tubes of a video one entry per frame"
            )
        length = len(segmentations)
        category = fields.whole(tube, "category_id", place)
        if category not in labels:
            raise AnnotationError(f"{place}: category {category} is not among the categories")
        score = _score(tube.get("score"), place)
        for frame, segmentation in enumerate(segmentations):
            if segmentation is None:
                continue
            mask = rle.from_coco(segmentation, size=size, where=f"{place}, frame {frame}")
            x0, y0, x1, y1 = rle.bounding_box(mask).tolist()
            if x1 > x0:  # an empty mask is no object
                row = Row((x0, y0, x1, y1), score, labels[category], number, mask)
                found.frames.setdefault(frame, []).append(row)
    return replace(found, length=length)


def _score(value: Any, where: str) -> float:
    score = fields.as_finite(value)
    if score is None or not 0 <= score <= 1:
        raise AnnotationError(f"{where}: score must be a number in [0, 1], got {fields.shown(value)}")
    return score
