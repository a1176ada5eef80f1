"""Objects found earlier, read from JSON: a video's boxes, or tubes whose ids are kept.

Reads four things, told apart by their content:

* boxes: ``{"class_names": ["cat"], "frames": [[{"box": [x0, y0, x1, y1], "score": 0.9, "label": 0,
  "id": 1}, ...], ...]}``, one list per frame; score, label and id may be left out
* YTVIS results: ``[{"video_id", "category_id", "score", "segmentations": [run lengths | null]}]``
* YTVIS annotations: ``{"videos", "categories", "annotations"}``; every score is 1
* ``tubes.json`` of this program

The n-th image that it is asked about is frame ``start + n * stride``. Knows no picture: what is in
the images does not matter, only how many there were and how large they are.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import AnnotationError, UsageError
from vis.files import read_json
from vis.formats import tubes as tubes_format
from vis.structures import Detections, MaskRLE, VideoResult
from vis.weights import sha256_of

__all__ = ["Precomputed"]


@dataclass(frozen=True, slots=True)
class _Row:
    box: tuple[float, float, float, float]
    score: float
    label: int
    track_id: int | None
    mask: MaskRLE | None


_Frames = dict[int, list[_Row]]


class Precomputed:
    """Gives what a file says, frame by frame."""

    def __init__(
        self,
        *,
        weights: str | Path,
        video_id: int | None = None,
        class_names: Sequence[str] | None = None,
        start: int = 0,
        stride: int = 1,
    ) -> None:
        """``weights``: the JSON file. ``video_id``: which video, when a YTVIS file holds several.

        ``class_names``: names of category 1, 2, ... of YTVIS results, which do not name them.
        ``start``, ``stride``: the frames asked about, when not all of a video is.
        """
        if start < 0 or stride < 1:
            raise UsageError(f"start {start} and stride {stride}: give start >= 0 and stride >= 1")
        path = Path(weights).expanduser()
        self._start, self._stride, self._next = start, stride, start
        self._rows, self._names = _read(path, video_id, class_names)
        self.weights_sha256 = {path.name: sha256_of(path)}

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return self._names

    def reset(self) -> None:
        """Begin at the first frame again."""
        self._next = self._start

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """What the file holds for the next frames; nothing after its last."""
        found = []
        for image in images:
            found.append(_detections(self._rows.get(self._next, []), image.shape[:2], self._next))
            self._next += self._stride
        return found


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


def _read(path: Path, video_id: int | None, names: Sequence[str] | None) -> tuple[_Frames, tuple[str, ...]]:
    value = read_json(path)
    if isinstance(value, Mapping) and value.get("format") == tubes_format.FORMAT:
        return _from_result(tubes_format.from_json(value, where=str(path)))
    if isinstance(value, Mapping) and "frames" in value:
        return _from_boxes(value, str(path))
    if isinstance(value, Mapping) and {"annotations", "categories"} <= set(value):
        return _from_annotations(value, video_id, str(path))
    if isinstance(value, list):
        return _from_tubes(value, video_id, names, str(path))
    raise AnnotationError(
        f"{path}: neither boxes per frame, nor YTVIS results or annotations, nor a tubes.json; "
        "`python -m pydoc detectors.precomputed` shows the forms"
    )


def _from_result(result: VideoResult) -> tuple[_Frames, tuple[str, ...]]:
    frames: _Frames = {}
    for tube in result.tubes:
        for at, frame in enumerate(tube.frames.tolist()):
            x0, y0, x1, y1 = tube.boxes[at].tolist()
            mask = None if tube.masks is None else tube.masks[at]
            row = _Row((x0, y0, x1, y1), float(tube.scores[at]), tube.label, tube.id, mask)
            frames.setdefault(frame, []).append(row)
    return frames, result.class_names


def _from_boxes(value: Mapping[str, Any], where: str) -> tuple[_Frames, tuple[str, ...]]:
    names = value.get("class_names", ["object"])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise AnnotationError(f"{where}: class_names must be a list of texts")
    if not isinstance(value["frames"], list):
        raise AnnotationError(f"{where}: frames must be a list with one list of objects per frame")
    frames: _Frames = {}
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
        frames[index] = rows
    return frames, tuple(names)


def _box_row(item: Any, classes: int, where: str) -> _Row:
    if not isinstance(item, Mapping):
        raise AnnotationError(f"{where}: expected an object with 'box', got {item!r}")
    box: Any = item.get("box")
    good = isinstance(box, list) and len(box) == 4 and all(_is_number(side) for side in box)
    if not good or not (box[0] < box[2] and box[1] < box[3]):
        raise AnnotationError(f"{where}: box must be [x0, y0, x1, y1] with x0 < x1 and y0 < y1, got {box!r}")
    score, label, track_id = item.get("score", 1.0), item.get("label", 0), item.get("id")
    _check_score(score, where)
    if not _is_int(label) or not 0 <= label < classes:
        raise AnnotationError(
            f"{where}: label must be 0..{classes - 1}, an index of class_names; got {label!r}"
        )
    if track_id is not None and not (_is_int(track_id) and track_id > 0):
        raise AnnotationError(f"{where}: id must be a positive integer, got {track_id!r}")
    return _Row((box[0], box[1], box[2], box[3]), score, label, track_id, None)


def _from_annotations(
    value: Mapping[str, Any], video_id: int | None, where: str
) -> tuple[_Frames, tuple[str, ...]]:
    try:
        categories = {int(item["id"]): str(item["name"]) for item in value["categories"]}
        order = sorted(categories)
        tubes = [{"score": 1.0, **item} for item in value["annotations"]]
    except (KeyError, TypeError, ValueError) as error:
        raise AnnotationError(f"{where}: broken categories or annotations: {error!r}") from error
    known = {category: label for label, category in enumerate(order)}
    frames = _tube_rows(_of_one_video(tubes, video_id, where), known, where)
    return frames, tuple(categories[category] for category in order)


def _from_tubes(
    tubes: list[Any], video_id: int | None, names: Sequence[str] | None, where: str
) -> tuple[_Frames, tuple[str, ...]]:
    if not all(isinstance(tube, Mapping) for tube in tubes):
        raise AnnotationError(f"{where}: YTVIS results are a list of objects, one per tube")
    chosen = _of_one_video(tubes, video_id, where)
    seen = [tube.get("category_id") for tube in chosen]
    if not all(_is_int(category) and category > 0 for category in seen):
        raise AnnotationError(f"{where}: every tube needs a category_id of 1 or more")
    count = max([*seen, 1]) if names is None else len(names)
    if names is not None and seen and max(seen) > count:
        raise AnnotationError(f"{where}: category {max(seen)} has no name among {count} class_names")
    names = tuple(names) if names is not None else tuple(f"category {i}" for i in range(1, count + 1))
    return _tube_rows(chosen, {category: category - 1 for category in range(1, count + 1)}, where), names


def _of_one_video(tubes: list[Any], video_id: int | None, where: str) -> list[Any]:
    videos = sorted({str(tube.get("video_id")) for tube in tubes})
    if video_id is None and len(videos) > 1:
        raise AnnotationError(
            f"{where}: holds {len(videos)} videos ({', '.join(videos[:8])}); choose one: video_id=..."
        )
    return [tube for tube in tubes if video_id is None or tube.get("video_id") == video_id]


def _tube_rows(tubes: list[Any], labels: Mapping[int, int], where: str) -> _Frames:
    frames: _Frames = {}
    for at, tube in enumerate(tubes):
        place = f"{where}: tube {at}"
        segmentations = tube.get("segmentations")
        if not isinstance(segmentations, list):
            raise AnnotationError(f"{place}: segmentations must be a list with a mask or null per frame")
        label = labels.get(tube.get("category_id"))
        if label is None:
            raise AnnotationError(
                f"{place}: category {tube.get('category_id')!r} is not among the categories"
            )
        score = tube.get("score")
        _check_score(score, place)
        for frame, segmentation in enumerate(segmentations):
            if segmentation is None:
                continue
            mask = rle.from_coco(segmentation, where=f"{place}, frame {frame}")
            x0, y0, x1, y1 = rle.bounding_box(mask).tolist()
            if x1 > x0:  # an empty mask is no object
                row = _Row((x0, y0, x1, y1), score, label, at + 1, mask)
                frames.setdefault(frame, []).append(row)
    return frames


def _check_score(score: Any, where: str) -> None:
    if not _is_number(score) or not 0 <= score <= 1:
        raise AnnotationError(f"{where}: score must be a number in [0, 1], got {score!r}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
