"""MOTS: masks of tracked objects that may not overlap, as text or as 16-bit PNG.

Text, one line per object and frame: ``frame id class height width counts``. PNG: one image per frame
whose values are the same ids. An id is class * 1000 + instance; class 10 is the region to ignore.
Class 1 is a car and class 2 a pedestrian (KITTI-MOTS, MOTSChallenge). Frames count from 0 in
KITTI-MOTS, from 1 in MOTSChallenge: ``first_frame``. https://www.vision.rwth-aachen.de/page/mots
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from vis import masks
from vis.errors import AnnotationError, EvaluationWarning, UsageError
from vis.files import write_text
from vis.formats.builder import ResultBuilder, video_result
from vis.formats.images import LabelImage, list_labels, png_bytes, read_labels, whole_folder
from vis.formats.lines import integer, split_lines
from vis.formats.rasterize import Rasterizer
from vis.formats.unsupported import dropped_fields
from vis.structures import VideoInfo, VideoResult

__all__ = [
    "class_numbers",
    "from_images",
    "lookup",
    "mots_ids",
    "read_png",
    "read_text",
    "write_png",
    "write_text_file",
]

NAMED = {"car": 1, "pedestrian": 2, "person": 2}
IGNORE = 10
INSTANCES = 1000


def write_text_file(path: str | Path, result: VideoResult, *, first_frame: int = 0) -> list[str]:
    """Write the text form; returns what is lost, in sentences."""
    ids, said = mots_ids(result, class_numbers(result.class_names))
    height, width = result.video.size
    raster = Rasterizer(result)
    lines = []
    for frame, labels in raster.frames():
        for place in np.unique(labels[labels > 0]).tolist():
            counts = masks.encode(labels == place).counts.decode("ascii")
            number = ids[result.tubes[place - 1].id]
            lines.append(f"{frame + first_frame} {number} {number // INSTANCES} {height} {width} {counts}\n")
    write_text(path, "".join(lines))
    return [*said, *raster.said(), *dropped_fields(result)]


def read_text(
    path: str | Path,
    *,
    first_frame: int = 0,
    num_frames: int | None = None,
    size: tuple[int, int] | None = None,
    fps: float | None = None,
    class_names: Mapping[int, str] | None = None,
) -> VideoResult:
    """The video of a text file; the tubes' ids are the file's ids.

    ``size`` (height, width) is only needed when the file is empty. ``num_frames``: length of the
    video, else it ends with the last object. ``class_names``: names of class numbers beyond 1 (car) and
    2 (pedestrian). Regions to ignore are left out with an :class:`EvaluationWarning`.
    """
    where = str(path)
    builder = ResultBuilder(where)
    classes: list[int] = []
    ignored = 0
    for number, words in split_lines(path, 6):
        at = f"{where}: line {number}"
        frame, object_id, kind, height, width = (integer(word, at) for word in words[:5])
        mask = masks.from_coco({"size": [height, width], "counts": words[5]}, size=size, where=at)
        size = mask.size
        if kind == IGNORE:
            ignored += 1
            continue
        if kind not in classes:
            classes.append(kind)
        if frame < first_frame:
            raise AnnotationError(f"{at}: frame {frame}, but frames are said to count from {first_frame}")
        builder.add(object_id, frame - first_frame, label=classes.index(kind), mask=mask, where=at)
    if size is None:
        raise AnnotationError(f"{where}: holds no object, so the size is unknown; give size (height, width)")
    _warn_ignored(where, ignored)
    frames = builder.covered(num_frames)
    video = VideoInfo(Path(path).stem, *size, num_frames=len(frames), fps=fps)
    return video_result(where, video, _names(classes, class_names), builder.tubes(), frames)


def write_png(path: str | Path, result: VideoResult, *, first_frame: int = 0) -> list[str]:
    """Write the folder ``path``: a 16-bit PNG per processed frame; returns what is lost, in sentences.

    16 bits hold class numbers up to 65: raises :class:`UsageError` when more classes have tubes.
    """
    ids, said = mots_ids(result, _small_numbers(result))
    raster, values = Rasterizer(result), lookup(result, ids)
    with whole_folder(path) as folder:
        for frame, labels in raster.frames():
            data = png_bytes(values[labels], bits=16)
            (folder / f"{frame + first_frame:06d}.png").write_bytes(data)
    return [*said, *raster.said(), *dropped_fields(result, covered=True)]


def read_png(
    path: str | Path,
    *,
    first_frame: int = 0,
    fps: float | None = None,
    class_names: Mapping[int, str] | None = None,
) -> VideoResult:
    """The video of a folder of 16-bit images; frames are those that have an image."""
    folder = Path(path)
    images = ((frame - first_frame, read_labels(file)[0], str(file)) for frame, file in list_labels(folder))
    return from_images(images, str(folder), folder.resolve().name, fps=fps, class_names=class_names)


def from_images(
    images: Iterator[tuple[int, LabelImage, str]],
    where: str,
    name: str,
    *,
    fps: float | None = None,
    class_names: Mapping[int, str] | None = None,
    ignore: int | None = IGNORE,
) -> VideoResult:
    """The video of (frame, image of MOTS ids, its name); ``ignore``: class number left out, if any."""
    builder = ResultBuilder(where)
    classes: list[int] = []
    seen: list[int] = []
    size: tuple[int, ...] | None = None
    ignored = 0
    for frame, labels, place in images:
        size = size or labels.shape
        if labels.shape != size:
            raise AnnotationError(f"{place}: size {labels.shape} differs from the first image's {size}")
        seen.append(frame)
        for value in np.unique(labels).tolist():
            kind = value // INSTANCES
            if value == 0:
                continue
            if value < INSTANCES:
                raise AnnotationError(f"{place}: value {value} is no MOTS id (class * 1000 + instance)")
            if kind == ignore:
                ignored += 1
                continue
            if kind not in classes:
                classes.append(kind)
            mask = masks.encode(labels == value)
            builder.add(value, frame, label=classes.index(kind), mask=mask, where=place)
    if size is None:
        raise AnnotationError(f"{where}: holds no label image")
    _warn_ignored(where, ignored)
    frames = np.array(sorted(seen), np.int64)
    if frames[0] < 0:
        raise AnnotationError(f"{where}: names frame 0, but frames are said to count from 1 (first_frame)")
    video = VideoInfo(name, size[0], size[1], num_frames=int(frames[-1]) + 1, fps=fps)
    return video_result(where, video, _names(classes, class_names), builder.tubes(), frames)


def class_numbers(names: Sequence[str]) -> list[int]:
    """MOTS class number of each class: car 1, pedestrian and person 2, others from 3, never 10."""
    numbers: list[int] = []
    following = 3
    for name in names:
        number = NAMED.get(name)
        if number is None:
            number, following = following, following + (2 if following + 1 == IGNORE else 1)
        numbers.append(number)
    return numbers


def mots_ids(result: VideoResult, numbers: Sequence[int]) -> tuple[dict[int, int], list[str]]:
    """Tube id -> class * 1000 + instance, and what there is to say of it.

    The instance is the tube's id (or its last three digits when it is such an id already), as long as
    these are below 1000 and differ within the class; else the class's tubes are numbered from 1.
    """
    ids: dict[int, int] = {}
    renumbered = 0
    for number in sorted(set(numbers)):
        tubes = [tube for tube in result.tubes if numbers[tube.label] == number]
        if len(tubes) >= INSTANCES:
            raise UsageError(
                f"MOTS holds 999 objects per class, the result has {len(tubes)}; use COCO or YTVIS"
            )
        wanted = [tube.id % INSTANCES if tube.id // INSTANCES in (0, number) else 0 for tube in tubes]
        if 0 in wanted or len(set(wanted)) < len(wanted):
            wanted = list(range(1, len(tubes) + 1))
            renumbered += len(tubes)
        ids.update({tube.id: number * INSTANCES + one for tube, one in zip(tubes, wanted, strict=True)})
    said = []
    if any(tube != number for tube, number in ids.items()):
        said.append("ids become class * 1000 + instance")
    if renumbered:
        said.append(f"{renumbered} instances are numbered anew: their ids are over 999")
    return ids, said


def _small_numbers(result: VideoResult) -> list[int]:
    """Class numbers that fit into 16 bits: of the classes with tubes only, when all are too many."""
    numbers = class_numbers(result.class_names)
    if max(numbers, default=0) <= 64:
        return numbers
    used = sorted({tube.label for tube in result.tubes})
    small = class_numbers([result.class_names[label] for label in used])
    if max(small, default=0) > 64:
        raise UsageError(f"16-bit MOTS images hold 64 classes, the tubes have {len(used)}; use COCO or YTVIS")
    by_label = dict(zip(used, small, strict=True))
    return [by_label.get(label, 1) for label in range(len(numbers))]


def lookup(result: VideoResult, ids: Mapping[int, int]) -> LabelImage:
    """MOTS ids by a tube's place, from 1, as a raster paints it; 0 stays 0."""
    return np.array([0, *(ids[tube.id] for tube in result.tubes)], np.int32)


def _names(classes: Sequence[int], class_names: Mapping[int, str] | None) -> tuple[str, ...]:
    known = {1: "car", 2: "pedestrian", **(class_names or {})}
    return tuple(known.get(kind, f"class {kind}") for kind in classes)


def _warn_ignored(where: str, count: int) -> None:
    if count:
        warnings.warn(
            f"{where}: {count} regions to ignore (class {IGNORE}) are left out",
            EvaluationWarning,
            stacklevel=3,
        )
