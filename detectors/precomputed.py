"""Objects found earlier, read from JSON: a video's boxes, or tubes whose ids are kept.

Reads four things, told apart by their content:

* boxes: ``{"class_names": ["cat"], "frames": [[{"box": [x0, y0, x1, y1], "score": 0.9, "label": 0,
  "id": 1}, ...], ...]}``, one list per frame; score, label and id may be left out
* YTVIS results: ``[{"video_id", "category_id", "score", "segmentations": [run lengths | null]}]``
* YTVIS annotations: ``{"videos", "categories", "annotations"}``; every score is 1
* ``tubes.json`` of this program

Frame numbers are places in the video from 0. YTVIS files have none: entry n of a tube is frame n, so they
fit a video of which every frame was processed, or a folder of the annotated images. Knows no picture: what is
in the images does not matter, only their numbers and how large they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import AnnotationError, AnnotationWarning, UsageError
from vis.files import read_json
from vis.formats import fields
from vis.formats import tubes as tubes_format
from vis.structures import Detections, Frame, MaskRLE, VideoResult
from vis.weights import sha256_of

__all__ = ["Precomputed"]

MAX_CATEGORY = 100_000
"""Largest category id of YTVIS results, whose names are made up to it."""


@dataclass(frozen=True, slots=True)
class _Row:
    box: tuple[float, float, float, float]
    score: float
    label: int
    track_id: int | None
    mask: MaskRLE | None


@dataclass(frozen=True, slots=True)
class _Objects:
    """What a file says of one video."""

    names: tuple[str, ...]
    frames: dict[int, list[_Row]] = field(default_factory=dict)
    """By frame number."""
    length: int | None = None
    """Frames that the file speaks of; None where a frame that it does not name has no objects."""


class Precomputed:
    """Gives what a file says, by frame number (:class:`vis.interfaces.FrameIndexedDetector`)."""

    def __init__(
        self,
        *,
        weights: str | Path,
        video_id: int | str | None = None,
        class_names: Sequence[str] | None = None,
        start: int = 0,
        stride: int = 1,
        listed: Sequence[str] = (),
    ) -> None:
        """``weights``: the JSON file. ``video_id``: which video, when a YTVIS file holds several.

        ``class_names``: names of category 1, 2, ... of YTVIS results, which do not name them.
        ``start``, ``stride``: for :meth:`detect`, which sees no numbers: the n-th image that it is asked about
        is frame ``start + n * stride``. ``listed``: ids of videos that have no objects where YTVIS results say
        nothing of them; any other is an error then.
        """
        if start < 0 or stride < 1:
            raise UsageError(f"start {start} and stride {stride}: give start >= 0 and stride >= 1")
        path = Path(weights).expanduser()
        self._start, self._stride, self._next = start, stride, start
        self._objects = _read(path, None if video_id is None else str(video_id), class_names, listed=listed)
        self._name = path.name
        self.weights_sha256 = {path.name: sha256_of(path)}

    @classmethod
    def of_set(cls, weights: str | Path, video_id: int, categories: Mapping[int, str]) -> Precomputed:
        """The objects of one video of a set, whose ``categories`` (id -> name) name the classes of YTVIS results.

        A video of which the results say nothing has no objects. The file is parsed once for all videos that are
        asked for one after the other.
        """
        path = Path(weights).expanduser()
        if not isinstance(_value(path), list):
            return cls(weights=path, video_id=video_id)
        names = [
            categories.get(number, f"category {number}")
            for number in range(1, max(categories, default=1) + 1)
        ]
        return cls(weights=path, video_id=video_id, class_names=names, listed=[str(video_id)])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return self._objects.names

    def detect_frames(self, frames: Sequence[Frame]) -> list[Detections]:
        """What the file holds for these frames.

        Raises :class:`AnnotationError` for a frame after the last entry of a YTVIS file, and for one whose
        size is not that of its masks.
        """
        return [self._at(frame.index, frame.size) for frame in frames]

    def reset(self) -> None:
        """Count from the first frame again; only :meth:`detect` counts."""
        self._next = self._start

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """What the file holds for the next frames, counted from call to call by ``start`` and ``stride``."""
        found = []
        for image in images:
            found.append(self._at(self._next, image.shape[:2]))
            self._next += self._stride
        return found

    def _at(self, frame: int, size: tuple[int, ...]) -> Detections:
        length = self._objects.length
        if length is not None and frame >= length:
            raise AnnotationError(
                f"{self._name}: asked about frame {frame}, but its tubes have {length} entries, frames 0 to "
                f"{length - 1}; give the video that they were made from, or end before frame {length} (--end). "
                "Of a run with --start or --stride give the tubes.json, which keeps frame numbers"
            )
        return _detections(self._objects.frames.get(frame, []), size, frame)


def _detections(rows: list[_Row], size: tuple[int, ...], frame: int) -> Detections:
    if not rows:
        return Detections.empty()
    masks = None
    if any(row.mask is not None for row in rows):
        masks = np.zeros((len(rows), *size), np.bool_)
        for target, row in zip(masks, rows, strict=True):
            if row.mask is None:
                continue
            if row.mask.size != tuple(size):
                raise AnnotationError(
                    f"precomputed: frame {frame} is {size[0]}x{size[1]}, its masks are "
                    f"{row.mask.size[0]}x{row.mask.size[1]} (height x width); is it the same video?"
                )
            target[:] = rle.decode(row.mask)
    ids = [row.track_id for row in rows]
    return Detections(
        boxes=np.array([row.box for row in rows], np.float32),
        scores=np.array([row.score for row in rows], np.float32),
        labels=np.array([row.label for row in rows], np.int64),
        masks=masks,
        track_ids=None if None in ids else np.array(ids, np.int64),
    )


_parsed: dict[str, tuple[tuple[int, int], Any]] = {}
"""The file that a set's videos are read from, with its time and size: one at most."""


def _value(path: Path) -> Any:
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


def _read(
    path: Path, video_id: str | None, names: Sequence[str] | None, *, listed: Sequence[str] = ()
) -> _Objects:
    value = _value(path) if str(path.absolute()) in _parsed else read_json(path)
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


def _from_result(result: VideoResult) -> _Objects:
    found = _Objects(result.class_names)
    for tube in result.tubes:
        for at, frame in enumerate(tube.frames.tolist()):
            x0, y0, x1, y1 = tube.boxes[at].tolist()
            mask = None if tube.masks is None else tube.masks[at]
            row = _Row((x0, y0, x1, y1), float(tube.scores[at]), tube.label, tube.id, mask)
            found.frames.setdefault(frame, []).append(row)
    return found


# ---------------------------------------------------------------- boxes per frame


def _from_boxes(value: Mapping[str, Any], where: str) -> _Objects:
    names = fields.get(value, "class_names", where, ["object"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AnnotationError(f"{where}: class_names must be a list of texts")
    if not isinstance(value["frames"], list):
        raise AnnotationError(f"{where}: frames must be a list with one list of objects per frame")
    found = _Objects(tuple(names))
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


def _box_row(item: Any, classes: int, where: str) -> _Row:
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
    return _Row((x0, y0, x1, y1), _score(item.get("score", 1.0), where), label, track_id, None)


# ---------------------------------------------------------------- YTVIS

_Entry = tuple[str, Mapping[str, Any]]
"""Where an entry is, for errors, and the entry."""


def _from_annotations(value: Mapping[str, Any], video_id: str | None, where: str) -> _Objects:
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
    found = _Objects(tuple(categories[category] for category in order))
    return _with_tubes(found, chosen, {category: label for label, category in enumerate(order)}, size)


def _from_tubes(
    value: list[Any],
    video_id: str | None,
    names: Sequence[str] | None,
    where: str,
    *,
    listed: Sequence[str] = (),
) -> _Objects:
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
    return _with_tubes(_Objects(names), chosen, known, None)


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
    found: _Objects, tubes: Sequence[_Entry], labels: Mapping[int, int], size: tuple[int, int] | None
) -> _Objects:
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
                row = _Row((x0, y0, x1, y1), score, labels[category], number, mask)
                found.frames.setdefault(frame, []).append(row)
    return replace(found, length=length)


def _score(value: Any, where: str) -> float:
    score = fields.as_finite(value)
    if score is None or not 0 <= score <= 1:
        raise AnnotationError(f"{where}: score must be a number in [0, 1], got {fields.shown(value)}")
    return score
