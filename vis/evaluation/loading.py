"""Truth and results of the YouTube-VIS family and of COCO, checked and measured, as tubes of run lengths.

Every field is of its type before it is used, and every mask is validated here, whatever its spelling
(compressed text, list of run lengths, polygons, null); what comes out is safe to compute on. Knows no metric.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from vis import masks as rle
from vis.errors import AnnotationError, EvaluationWarning
from vis.evaluation import intervals
from vis.evaluation.mask_reader import read_masks
from vis.evaluation.records import Category, ResultTube, Truth, TruthTube, Video
from vis.evaluation.tube_masks import TubeMasks
from vis.formats.fields import as_finite, as_whole, box, finite, flag, rows, shown, text, whole, wrong
from vis.formats.json_stream import items, members

__all__ = ["read_results", "read_truth"]

Source = str | Path | dict[str, Any] | Sequence[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a family of files names what it holds."""

    verb: str
    """The command that evaluates it."""
    videos: str
    video: str
    video_id: str
    masks: str
    areas: str
    box: str
    boxes_hint: str
    """What to do with boxes."""

    def missing_masks(self, entry: dict[str, Any]) -> str:
        """What to do about an entry without masks."""
        if self.box in entry:
            return f"it has only {self.box}, and '{self.verb}' scores masks: {self.boxes_hint}"
        other = IMAGES if self is VIDEOS else VIDEOS
        if other.masks in entry:
            return f"it has a {other.masks}, as {other.videos} have: '{other.verb}' scores those"
        return "give run lengths or polygons" + (", a mask or null for each frame" if self is VIDEOS else "")


VIDEOS = Layout(
    verb="vistubes eval tubes",
    videos="videos",
    video="video",
    video_id="video_id",
    masks="segmentations",
    areas="areas",
    box="bboxes",
    boxes_hint="'vistubes refine' makes masks of the boxes of a tubes.json, "
    "'vistubes convert --to ytvis-results' writes them for this command",
)
IMAGES = Layout(
    verb="vistubes eval coco",
    videos="images",
    video="image",
    video_id="image_id",
    masks="segmentation",
    areas="area",
    box="bbox",
    boxes_hint="give each entry its segmentation (run lengths or polygons), or score boxes with pycocotools, "
    "COCOeval(truth, results, 'bbox')",
)


# ---------------------------------------------------------------- truth


def read_truth(
    source: Source, *, strict: bool = False, images: bool = False, compute: ModuleType = intervals
) -> Truth:
    """Read a truth file (path or parsed dict); ``images`` reads COCO's, an image as a one-frame video.

    ``strict`` makes an error of annotations of unknown videos or categories, which otherwise are
    left out with a warning. Raises :class:`AnnotationError` naming file, annotation and frame.
    """
    name = str(source) if isinstance(source, str | Path) else "truth"
    layout = IMAGES if images else VIDEOS
    head: dict[str, Any] = {}
    held: list[Any] = []
    building: _TruthBuilder | None = None
    index = 0
    for key, value in _members(source, "annotations"):
        if not key:
            raise AnnotationError(
                f"{name}: expected an object with {layout.videos}, categories and annotations, got a list; a list of "
                "results is given as the results, and the data set's own file as the truth"
            )
        if key != "annotations" or (index == 0 and not isinstance(value, dict)):
            head[key] = value
            continue
        # Annotations may stand before the videos and categories that they refer to.
        if building is None and layout.videos in head and "categories" in head:
            building = _TruthBuilder(head, name, layout, strict=strict, compute=compute)
        if building is None:
            held.append(value)
        else:
            building.add(value, index)
        index += 1
    if index < 2 or "annotations" in head:
        _check_annotations(source, name, layout)
    if building is None:
        building = _TruthBuilder(head, name, layout, strict=strict, compute=compute)
        for position, entry in enumerate(held):
            building.add(entry, position)
    if building.unknown:
        warnings.warn(
            f"{name}: {building.unknown} annotations of {layout.videos} or categories that the file does not list "
            "are left out",
            EvaluationWarning,
            stacklevel=2,
        )
    return building.truth


def _members(source: Source, *lists: str) -> Iterator[tuple[str, Any]]:
    return items(source, lists) if isinstance(source, str | Path) else members(source, lists)


def _check_annotations(source: Source, name: str, layout: Layout) -> None:
    """That the annotations are a list of objects. Elements alone do not show whether they came from a list."""
    content = dict(_members(source))
    value = content.get("annotations")
    if value is None:
        if layout.videos not in content:
            raise AnnotationError(
                f"{name}: expected an object with {layout.videos}, categories and annotations, got one with "
                f"{', '.join(sorted(content)[:5])[:80] or 'nothing'}"
            )
        raise AnnotationError(
            f"{name}: has no annotations: the truth of this split is not public. Score the results on the "
            "challenge server: 'vistubes eval zip --results R.json --out R.zip' packs them for it"
        )
    if not isinstance(value, list):
        raise wrong(name, "annotations", "a list", value)
    for index, entry in enumerate(value):
        if not isinstance(entry, dict):
            raise AnnotationError(f"{name}: annotation {index}: expected an object, got {shown(entry)}")


class _TruthBuilder:
    """Checks annotations one by one; ``truth`` holds the good ones, ``unknown`` counts those left out."""

    def __init__(
        self, head: dict[str, Any], name: str, layout: Layout, *, strict: bool, compute: ModuleType
    ) -> None:
        self.name, self.layout, self.strict, self.compute = name, layout, strict, compute
        videos = [
            _video(entry, layout, f"{name}: {layout.video} {index}")
            for index, entry in enumerate(self._list(head, layout.videos))
        ]
        categories = [
            _category(entry, f"{name}: category {index}")
            for index, entry in enumerate(self._list(head, "categories"))
        ]
        self.truth = Truth(_by_id(videos, name, layout.video), _by_id(categories, name, "category"))
        self.unknown = 0
        self._seen: set[int] = set()

    def _list(self, head: dict[str, Any], key: str) -> list[Any]:
        value = head.get(key)
        if isinstance(value, list):
            return value
        other = IMAGES if self.layout is VIDEOS else VIDEOS
        if key not in head and other.videos in head:
            raise AnnotationError(
                f"{self.name}: {key} is missing; it lists {other.videos}, which '{other.verb}' scores"
            )
        raise wrong(self.name, key, "a list", value)

    def add(self, entry: Any, index: int) -> None:
        """Check and keep annotation ``index`` of the file."""
        layout = self.layout
        where = f"{self.name}: annotation {index}"
        number = whole(entry, "id", where)
        if number in self._seen:
            raise AnnotationError(f"{where}: id {number} is given twice")
        self._seen.add(number)
        where = f"{where} (id {number})"
        place, category = whole(entry, layout.video_id, where), whole(entry, "category_id", where)
        video = self.truth.videos.get(place)
        if video is None or category not in self.truth.categories:
            if self.strict:
                what = f"{layout.video} {place}" if video is None else f"category {category}"
                raise AnnotationError(f"{where}: {what} is not listed in the file")
            self.unknown += 1
            return
        where = f"{where}, {layout.video} {video.id}"
        areas = _areas(entry, layout, where)
        crowd, ignore = flag(entry, "iscrowd", where), flag(entry, "ignore", where)
        masks = _masks(entry, layout, video.size, where, self.compute)
        refined = None
        if layout is VIDEOS and entry.get("segmentations_refined") is not None:
            listed = entry["segmentations_refined"]
            refined = read_masks(listed, video.size, f"{where}, refined", self.compute)
        self.truth.tubes.append(
            TruthTube(
                id=number,
                video=video.id,
                category=category,
                crowd=crowd,
                ignore=ignore,
                areas=areas,
                masks=masks,
                refined=refined,
                stated_area=float(np.array(areas).mean()) if areas else 0.0,
                mask_area=masks.mean_area(),
                refined_area=0.0 if refined is None else refined.mean_area(),
            )
        )


def _by_id(entries: list[Any], name: str, kind: str) -> dict[int, Any]:
    """Videos or categories by id, rising."""
    found: dict[int, Any] = {}
    for index, entry in enumerate(entries):
        if entry.id in found:
            raise AnnotationError(f"{name}: {kind} {index}: id {entry.id} is given twice")
        found[entry.id] = entry
    return dict(sorted(found.items()))


def _category(entry: Any, where: str) -> Category:
    number = whole(entry, "id", where)
    where = f"{where} (id {number})"
    return Category(number, text(entry, "name", where, ""), text(entry, "frequency", where, ""))


def _video(entry: Any, layout: Layout, where: str) -> Video:
    number = whole(entry, "id", where)
    where = f"{where} (id {number})"
    size = rle.checked_size([whole(entry, "height", where), whole(entry, "width", where)], where)
    absent, open_ = (
        _category_ids(entry, f"{name}_category_ids", where) for name in ("neg", "not_exhaustive")
    )
    if layout is IMAGES:
        return Video(number, size, 1, _image_name(entry, where, number), (), absent, open_)
    names = rows(entry, "file_names", where, None)
    length = whole(entry, "length", where, None, least=0)
    name = text(entry, "name", where, str(number))
    if names is None:
        return Video(number, size, -1 if length is None else length, name, (), absent, open_)
    if not all(isinstance(file, str) for file in names):
        raise wrong(where, "file_names", "a list of names", names)
    folder = names[0].rpartition("/")[0] if names else ""
    return Video(number, size, len(names), folder or name, tuple(names), absent, open_)


def _image_name(entry: Any, where: str, number: int) -> str:
    """Relative path of an image: LVIS names its own by the end of COCO's address, ``val2017/000000397133.jpg``."""
    address = text(entry, "coco_url", where, "")
    return text(entry, "file_name", where, "/".join(address.split("/")[-2:]) or str(number))


def _category_ids(entry: Any, key: str, where: str) -> frozenset[int] | None:
    listed = rows(entry, key, where, None)
    if listed is None:
        return None
    numbers = [as_whole(number) for number in listed]
    if None in numbers:
        raise wrong(where, key, "a list of category ids, whole numbers,", listed)
    return frozenset(number for number in numbers if number is not None)


def _areas(entry: dict[str, Any], layout: Layout, where: str) -> tuple[float, ...] | None:
    """The stated areas that are neither null nor 0."""
    value = entry.get(layout.areas)
    if value is None:
        return None
    listed = [value] if layout is IMAGES else value
    numbers = (
        [as_finite(0 if area is None else area) for area in listed] if isinstance(listed, list) else [None]
    )
    if any(number is None or number < 0 for number in numbers):
        one = layout is IMAGES
        expected = "a finite number from 0" if one else "a list of finite numbers from 0 and nulls"
        raise wrong(where, layout.areas, expected, value)
    return tuple(number for number in numbers if number)


def _masks(
    entry: dict[str, Any], layout: Layout, size: tuple[int, int], where: str, compute: ModuleType
) -> TubeMasks:
    if layout.masks not in entry:
        raise AnnotationError(f"{where}: {layout.masks} is missing; {layout.missing_masks(entry)}")
    one, value = layout is IMAGES, entry[layout.masks]
    return read_masks([value] if one else value, size, where, compute, one=one)


# ---------------------------------------------------------------- results


def read_results(
    source: Source, truth: Truth, *, images: bool = False, compute: ModuleType = intervals
) -> list[ResultTube]:
    """Read results (path of a JSON or zip file, or a list) for the videos of ``truth``.

    ``images`` reads COCO's. There sizes come from the boxes when the first result has a ``bbox``, and from the
    masks when it has none, as in pycocotools' ``loadRes``. Raises :class:`AnnotationError` naming file, entry
    and frame; a video that the truth does not list is an error too.
    """
    name = str(source) if isinstance(source, str | Path) else "results"
    layout = IMAGES if images else VIDEOS
    tubes: list[ResultTube] = []
    for key, entry in _members(source):
        if key != "":
            raise AnnotationError(
                f"{name}: expected a list of results, got an object with {shown(key)}; results are a list of "
                f"{{{layout.video_id}, category_id, score, {layout.masks}}}"
            )
        tubes.append(_result_tube(entry, len(tubes), truth, layout, name, compute=compute))
    if not tubes or tubes[0].box_area is None:
        return [tube if tube.box_area is None else replace(tube, box_area=None) for tube in tubes]
    if without := sum(tube.box_area is None for tube in tubes):
        warnings.warn(
            f"{name}: {without} results have no bbox, though the first one has: their sizes are those of their "
            "masks; pycocotools refuses such a file",
            EvaluationWarning,
            stacklevel=2,
        )
    return tubes


def _result_tube(
    entry: Any, index: int, truth: Truth, layout: Layout, name: str, *, compute: ModuleType
) -> ResultTube:
    where = f"{name}: result {index}"
    if isinstance(entry, dict) and layout.video_id not in entry:
        other = IMAGES if layout is VIDEOS else VIDEOS
        hint = f"; it has {other.video_id}: '{other.verb}' scores those" if other.video_id in entry else ""
        raise AnnotationError(f"{where}: {layout.video_id} is missing{hint}")
    number = whole(entry, layout.video_id, where)
    video = truth.videos.get(number)
    if video is None:
        raise AnnotationError(
            f"{where}: {layout.video} {number} is not in the truth; are these results of another split?"
        )
    where = f"{where}, {layout.video} {number}"
    category, score = whole(entry, "category_id", where), finite(entry, "score", where)
    masks = _masks(entry, layout, video.size, where, compute)
    return ResultTube(
        index=index,
        video=number,
        category=category,
        score=score,
        masks=masks,
        mask_area=masks.mean_area(),
        box_area=_box_area(entry, where) if layout is IMAGES else None,
    )


def _box_area(entry: dict[str, Any], where: str) -> float | None:
    """Width times height of COCO's ``bbox`` [x, y, width, height]; None where it is missing, null or []."""
    value = entry.get("bbox")
    if value is None or value == []:
        return None
    box(value, f"{where}: bbox", sizes=True)
    return float(value[2]) * float(value[3])
