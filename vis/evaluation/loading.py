"""Truth and results of the YouTube-VIS family, checked and measured, as tubes of run lengths.

Every mask is validated here, whatever its spelling (compressed text, list of run lengths,
polygons, null); what comes out is safe to compute on. Knows no metric.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vis import masks as rle
from vis.errors import AnnotationError, EvaluationWarning
from vis.evaluation.mask_reader import MaskReader
from vis.evaluation.runs import Engine, TubeMasks
from vis.formats.json_stream import items, members

__all__ = ["Category", "ResultTube", "Truth", "TruthTube", "Video", "read_results", "read_truth"]

Source = str | Path | dict[str, Any] | Sequence[Any]


@dataclass(frozen=True, slots=True)
class Video:
    """What the truth says about a video."""

    id: int
    """Unique among the videos."""
    size: tuple[int, int]
    """(height, width) in pixels."""
    length: int
    """Annotated frames; -1 when the file does not say."""
    name: str
    """Folder of its frames, or its id as text."""
    files: tuple[str, ...] = ()
    """Relative paths of its frames, empty when the file does not say."""
    absent: frozenset[int] | None = None
    """Categories known to be absent (LVIS' ``neg_category_ids``); None when the file does not say."""
    open: frozenset[int] | None = None
    """Categories of which not every object is annotated (LVIS' ``not_exhaustive_category_ids``); or None."""


@dataclass(frozen=True, slots=True)
class Category:
    """A class of the truth."""

    id: int
    """Unique among the categories."""
    name: str
    """As in the file."""
    frequency: str = ""
    """LVIS: r, c or f for rare, common, frequent; empty when the file does not say."""


@dataclass(frozen=True, slots=True, eq=False)
class TruthTube:
    """One annotated object."""

    id: int
    """Annotation id."""
    video: int
    """Video id."""
    category: int
    """Category id."""
    crowd: bool
    """iscrowd: a region that several detections may match without being counted."""
    ignore: bool
    """The file's own ignore flag."""
    areas: tuple[float, ...] | None
    """The file's per-frame areas without null and 0, or None when it has no such list."""
    masks: TubeMasks
    """From ``segmentations``."""
    refined: TubeMasks | None = None
    """From ``segmentations_refined`` (HQ-YTVIS), where the annotation has it."""
    stated_area: float = 0.0
    """Mean of ``areas``, 0 without any."""


@dataclass(frozen=True, slots=True, eq=False)
class ResultTube:
    """One predicted object."""

    index: int
    """Place in the results file, from 0."""
    video: int
    """Video id."""
    category: int
    """Category id."""
    score: float
    """Finite; only its order counts."""
    masks: TubeMasks
    """One per frame of the results entry."""


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """A whole truth file."""

    videos: dict[int, Video]
    """By id, rising."""
    categories: dict[int, Category]
    """By id, rising."""
    tubes: list[TruthTube] = field(default_factory=list)
    """In file order."""


# ---------------------------------------------------------------- truth


def read_truth(source: Source, compute: Engine, *, strict: bool = False, images: bool = False) -> Truth:
    """Read a truth file (path or parsed dict); ``images`` reads COCO's, an image as a one-frame video.

    ``strict`` makes an error of annotations of unknown videos or categories, which otherwise are
    left out with a warning. Raises :class:`AnnotationError` naming file, annotation and frame.
    """
    name = str(source) if isinstance(source, str | Path) else "truth"
    head: dict[str, Any] = {}
    truth: Truth | None = None
    held: list[Any] = []
    seen: set[int] = set()
    unknown = 0

    def add(entry: Any, index: int) -> None:
        nonlocal unknown
        assert truth is not None
        tube = _truth_tube(entry, truth, reader, f"{name}: annotation {index}", strict)
        if tube is None:
            unknown += 1
        elif tube.id in seen:
            raise AnnotationError(f"{name}: annotation {index}: id {tube.id} is given twice")
        else:
            seen.add(tube.id)
            truth.tubes.append(tube)

    index = 0
    reader = MaskReader(compute)
    for key, value in _members(source, "annotations", prepare=reader.lift):
        if not key:
            raise AnnotationError(
                f"{name}: expected an object with videos, categories and annotations, got a list; a list of "
                "results is given as the results, and the data set's own file as the truth"
            )
        if images:
            key, value = _from_image(key, value)
        if key == "annotations" and isinstance(value, dict):
            # Annotations may stand before the videos and categories that they refer to.
            if truth is None and "videos" in head and "categories" in head:
                truth = _head(head, name)
            if truth is None:
                held.append(value)
            else:
                add(value, index)
            index += 1
        elif key == "annotations" and (value is not None or index):
            raise AnnotationError(
                f"{name}: annotation {index}: expected an object, got {type(value).__name__}"
            )
        else:
            head[key] = value
    if index == 0 and not _has_annotations(source):
        raise AnnotationError(
            f"{name}: has no annotations: the truth of this split is not public. Score the results on the "
            "challenge server: 'vistubes eval zip --results R.json --out R.zip' packs them for it"
        )
    if truth is None:
        truth = _head(head, name)
        for position, entry in enumerate(held):
            add(entry, position)
    if unknown:
        warnings.warn(
            f"{name}: {unknown} annotations of videos or categories that the file does not list are left out",
            EvaluationWarning,
            stacklevel=2,
        )
    return truth


def _from_image(key: str, value: Any) -> tuple[str, Any]:
    """COCO's words for an image in those of a video of one frame."""
    if key == "images" and isinstance(value, list):
        return "videos", [
            {**v, "length": 1, "name": v.get("file_name")} if isinstance(v, dict) else v for v in value
        ]
    if key != "annotations" or not isinstance(value, dict):
        return key, value
    changed = dict(value)
    if "image_id" in value:
        changed["video_id"] = value["image_id"]
    if "segmentation" in value:
        changed["segmentations"] = [value["segmentation"]]
    if "area" in value:
        changed["areas"] = [value["area"]]
    return key, changed


def _members(
    source: Source, *lists: str, prepare: Callable[[bytes], bytes] = bytes
) -> Iterator[tuple[str, Any]]:
    if isinstance(source, str | Path):
        yield from items(source, lists, prepare=prepare)
    else:
        yield from members(source, lists)


def _has_annotations(source: Source) -> bool:
    """Whether there is a list of annotations, if only an empty one."""
    return any(key == "annotations" and isinstance(value, list) for key, value in _members(source))


def _head(head: dict[str, Any], name: str) -> Truth:
    videos = {}
    for index, entry in enumerate(_list(head, "videos", name)):
        where = f"{name}: video {index}"
        video = _video(entry, where)
        if video.id in videos:
            raise AnnotationError(f"{where}: id {video.id} is given twice")
        videos[video.id] = video
    categories = {}
    for index, entry in enumerate(_list(head, "categories", name)):
        where = f"{name}: category {index}"
        category = Category(
            _int(entry, "id", where),
            str(_get(entry, "name", where, "")),
            str(_get(entry, "frequency", where, "")),
        )
        if category.id in categories:
            raise AnnotationError(f"{where}: id {category.id} is given twice")
        categories[category.id] = category
    return Truth(dict(sorted(videos.items())), dict(sorted(categories.items())))


def _video(entry: Any, where: str) -> Video:
    number = _int(entry, "id", where)
    where = f"{where} (id {number})"
    size = rle.checked_size([_get(entry, "height", where), _get(entry, "width", where)], where)
    names = _get(entry, "file_names", where, None)
    length = _get(entry, "length", where, None)
    if isinstance(names, list):
        length = len(names)
    elif length is None:
        length = -1
    elif not _is_int(length) or length < 0:
        raise AnnotationError(f"{where}: length: expected an int >= 0, got {length!r}")
    folder = str(names[0]).rpartition("/")[0] if isinstance(names, list) and names else ""
    files = tuple(map(str, names)) if isinstance(names, list) else ()
    return Video(
        number,
        size,
        length,
        folder or str(_get(entry, "name", where, number)),
        files,
        _ids(entry, "neg_category_ids", where),
        _ids(entry, "not_exhaustive_category_ids", where),
    )


def _ids(entry: Any, key: str, where: str) -> frozenset[int] | None:
    value = _get(entry, key, where, None)
    if value is None:
        return None
    if not isinstance(value, list) or not all(map(_is_int, value)):
        raise AnnotationError(f"{where}: {key}: expected a list of category ids, got {str(value)[:40]!r}")
    return frozenset(value)


def _truth_tube(entry: Any, truth: Truth, reader: MaskReader, where: str, strict: bool) -> TruthTube | None:
    number = _int(entry, "id", where)
    where = f"{where} (id {number})"
    video = truth.videos.get(_int(entry, "video_id", where))
    category = _int(entry, "category_id", where)
    if video is None or category not in truth.categories:
        if strict:
            what = f"video {entry['video_id']}" if video is None else f"category {category}"
            raise AnnotationError(f"{where}: {what} is not listed in the file")
        return None
    where = f"{where}, video {video.id}"
    refined = entry.get("segmentations_refined")
    areas = _areas(entry.get("areas"), where)
    return TruthTube(
        id=number,
        video=video.id,
        category=category,
        crowd=_flag(entry, "iscrowd", where),
        ignore=_flag(entry, "ignore", where),
        areas=areas,
        masks=reader.read(entry.get("segmentations"), video.size, where),
        refined=None if refined is None else reader.read(refined, video.size, f"{where}, refined"),
        stated_area=float(np.array(areas).mean()) if areas else 0.0,
    )


def _areas(value: Any, where: str) -> tuple[float, ...] | None:
    if value is None:
        return None
    if not isinstance(value, list) or not all(a is None or _is_finite(a) for a in value):
        raise AnnotationError(f"{where}: areas: expected a list of finite numbers and nulls")
    return tuple(a for a in value if a)


# ---------------------------------------------------------------- results


def read_results(source: Source, truth: Truth, compute: Engine, *, images: bool = False) -> list[ResultTube]:
    """Read results (path of a JSON or zip file, or a list) for the videos of ``truth``.

    Raises :class:`AnnotationError` naming file, entry and frame; a video that the truth does not list
    is an error too.
    """
    name = str(source) if isinstance(source, str | Path) else "results"
    tubes: list[ResultTube] = []
    reader = MaskReader(compute)
    for key, entry in _members(source, prepare=reader.lift):
        if key != "":
            raise AnnotationError(f"{name}: expected a list of results, got an object with {key!r}")
        if images:
            _, entry = _from_image("annotations", entry)
        tubes.append(_result_tube(entry, len(tubes), truth, reader, f"{name}: result {len(tubes)}"))
    return tubes


def _result_tube(entry: Any, index: int, truth: Truth, reader: MaskReader, where: str) -> ResultTube:
    number = _int(entry, "video_id", where)
    video = truth.videos.get(number)
    if video is None:
        raise AnnotationError(
            f"{where}: video {number} is not in the truth; are these results of another split?"
        )
    where = f"{where}, video {number}"
    score = _get(entry, "score", where)
    if not _is_finite(score):
        raise AnnotationError(f"{where}: score: expected a finite number, got {score!r}")
    return ResultTube(
        index=index,
        video=number,
        category=_int(entry, "category_id", where),
        score=float(score),
        masks=reader.read(entry.get("segmentations"), video.size, where),
    )


# ---------------------------------------------------------------- fields


def _get(entry: Any, key: str, where: str, *default: Any) -> Any:
    if not isinstance(entry, dict):
        raise AnnotationError(f"{where}: expected an object, got {type(entry).__name__}")
    if key not in entry and not default:
        raise AnnotationError(f"{where}: {key} is missing")
    return entry.get(key, *default)


def _list(head: dict[str, Any], key: str, name: str) -> Iterable[Any]:
    value = head.get(key)
    if not isinstance(value, list):
        raise AnnotationError(f"{name}: {key}: expected a list, got {type(value).__name__}")
    return value


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_finite(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond every float
        return False


def _int(entry: Any, key: str, where: str) -> int:
    value = _get(entry, key, where)
    if not _is_int(value) or abs(value) >= 2**63:
        raise AnnotationError(f"{where}: {key}: expected an int, got {str(value)[:40]!r}")
    number: int = value
    return number


def _flag(entry: Any, key: str, where: str) -> bool:
    value = _get(entry, key, where, 0)
    if value not in (0, 1):
        raise AnnotationError(f"{where}: {key}: expected 0 or 1, got {str(value)[:40]!r}")
    return bool(value)
