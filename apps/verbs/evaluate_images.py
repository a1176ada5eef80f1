"""COCO results made from the images of a truth: boxes of a detector or a file, masks of a mask model.

Image by image, so that a command that was killed goes on where it was. Detector ``everything`` gives object
proposals when classes are pooled (Segment Anything, section 7.3).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from apps.option_types import path_text, positive, unit
from vis.errors import InputError, UsageError
from vis.structures import Detections

if TYPE_CHECKING:
    from vis.evaluation.records import Truth, Video

__all__ = ["add_images", "check_options", "make_results"]

ONLY_WITH_IMAGES = ("detector", "boxes", "weights", "text", "score", "policy", "points", "out")
MAX_PROPOSALS = 1000
"""As the paper, where no limits are given."""
Objects = list[dict[str, Any]]
"""COCO results of one image, without its id."""


def add_images(parser: argparse.ArgumentParser) -> None:
    """Options that make the results, in place of ``--results``."""
    group = parser.add_argument_group("results made from images, in place of --results")
    group.add_argument("--images", type=Path, metavar="DIR", help="folder of the images that the truth names")
    group.add_argument("--detector", metavar="NAME", help="what finds objects; 'everything' with pooled classes: "
                       "proposals")  # fmt: skip
    group.add_argument(
        "--boxes", type=Path, metavar="FILE", help="objects found before: COCO results with a bbox each"
    )
    group.add_argument("--weights", type=path_text, metavar="FILE", help="the detector's weights")
    group.add_argument("--text", metavar="WORDS", help="what to look for, for detectors that take words")
    group.add_argument(
        "--score", type=unit, metavar="S", help="least detection score (default: the detector's)"
    )
    group.add_argument(
        "--model",
        type=path_text,
        default="hq-tiny",
        metavar="NAME",
        help="what makes masks of the boxes, or is asked for proposals: a name of 'vistubes models list' or a "
        "checkpoint; 'none' keeps the detector's masks (default: %(default)s)",
    )
    group.add_argument(
        "--policy",
        metavar="NAME",
        help="prompts: box (default), box+mask, box+points or gated",
    )
    group.add_argument(
        "--points", type=positive, metavar="N", help="proposals: N x N points (default: 64, the paper's)"
    )
    group.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    group.add_argument(
        "--out", type=Path, metavar="DIR", help="what was found, for going on and for --boxes (default: a folder "
        "in runs/ named after truth, objects and model)",
    )  # fmt: skip


def check_options(args: argparse.Namespace) -> None:
    """Raise :class:`UsageError` where options do not go together; put the default of ``--out``."""
    if args.images is None:
        given = [f"--{name}" for name in ONLY_WITH_IMAGES if getattr(args, name) is not None]
        if given:
            raise UsageError(f"{given[0]} is for results made from images: give their folder with --images")
        return
    if (args.detector is None) == (args.boxes is None):
        raise UsageError(
            "--images needs what finds the objects: --detector NAME or --boxes FILE, one of them"
        )
    if args.points is not None and not _proposes(args):
        raise UsageError("--points is for proposals: --detector everything --class-agnostic")
    if args.model == "none" and (args.boxes is not None or _proposes(args)):
        raise UsageError("--model none keeps a detector's own masks; name a mask model")
    unused: set[str] = set()
    if args.boxes is not None:
        unused |= {"weights", "text"}
    if args.model == "none":
        unused |= {"policy"}
    if _proposes(args):
        unused |= {"weights", "text", "score", "policy"}
    if given := sorted(f"--{name}" for name in unused if getattr(args, name) is not None):
        raise UsageError(f"{' and '.join(given)}: nothing here would use it; leave it out")


def make_results(args: argparse.Namespace, path: Path, truth: Truth) -> Path:
    """``results.json`` in ``args.out``, of all images of the truth at ``path``; beside it ``boxes.json``.

    Images that an earlier call with the same options finished are not looked at again. Raises
    :class:`InputError` where an image is missing or has another size than the truth says.
    """
    from apps.finished_images import FinishedImages
    from apps.progress import progress

    if not args.images.is_dir():
        raise InputError(f"{args.images}: no such folder; --images takes the folder of the truth's images")
    if args.boxes is not None and not args.boxes.is_file():
        raise InputError(f"{args.boxes}: no such file; --boxes takes COCO results with a bbox each")
    objects = args.detector or args.boxes.stem
    args.out = args.out or Path("runs") / f"{path.stem}-{objects}-{Path(args.model).name}".replace(":", "-")
    files = {number: _image_file(args.images, video) for number, video in truth.videos.items()}
    finished = FinishedImages(args.out, _settings(args, path))
    find = cache(lambda: _finder(args, truth))  # a finished run loads no network
    for number, file in progress(files.items(), what="images", total=len(files), unit="images"):
        if finished.get(str(number)) is None:
            finished.put(str(number), find()(number, _pixels(file, truth.videos[number])))
    _write(args.out / "boxes.json", finished, files, masks=False)
    return _write(args.out / "results.json", finished, files, masks=True)


def _proposes(args: argparse.Namespace) -> bool:
    return bool(args.detector == "everything" and args.class_agnostic)


def _most(args: argparse.Namespace) -> int:
    """Proposals that are kept of an image: as many as the evaluation looks at."""
    return max(args.max_dets) if args.max_dets else MAX_PROPOSALS


def _settings(args: argparse.Namespace, path: Path) -> dict[str, Any]:
    from apps.identity import contents

    names = ("detector", "text", "score", "policy", "points", "class_agnostic")
    settings = {name: getattr(args, name) for name in names}
    settings["max_proposals"] = _most(args) if _proposes(args) else None
    for name in ("truth", "boxes", "weights", "model"):
        value = path if name == "truth" else getattr(args, name)
        is_file = value is not None and Path(value).is_file()
        settings[name] = contents([Path(value)])["sha256"] if is_file else value and str(value)
    return settings


def _image_file(folder: Path, image: Video) -> Path:
    """The image's file: by the truth's relative path, or by its name alone."""
    name = PurePosixPath(image.name.replace("\\", "/"))
    if name.is_absolute() or ".." in name.parts or "\0" in image.name:
        raise InputError(f"image {image.id}: its name {image.name[:80]!r} leads out of the image folder")
    places = (folder / name, folder / name.name)
    for place in places:
        if place.is_file():
            return place
    raise InputError(
        f"{places[0]}: not there, which image {image.id} of the truth is; --images takes the folder of its images"
    )


def _pixels(file: Path, image: Video) -> NDArray[np.uint8]:
    from vis.evaluation.image_masks import read_pixels

    pixels: NDArray[np.uint8] = read_pixels(file, "RGB")
    if pixels.shape[:2] != image.size:
        raise InputError(f"{file}: is {pixels.shape[:2]} (height, width), the truth says {image.size}")
    return pixels


def _write(path: Path, finished: Any, files: Mapping[int, Path], *, masks: bool) -> Path:
    """All results in one file; with masks and no boxes, so that sizes are those of the masks, or the other way."""
    from vis.files import whole_file

    left_out = "bbox" if masks else "segmentation"
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        comma = "["
        for number in files:
            for one in finished.get(str(number)):
                entry = {"image_id": number, **{key: value for key, value in one.items() if key != left_out}}
                file.write(f"{comma}\n{json.dumps(entry, allow_nan=False)}")
                comma = ","
        file.write("[]\n" if comma == "[" else "\n]\n")
    return path


# ---------------------------------------------------------------- what finds the objects


def _finder(args: argparse.Namespace, truth: Truth) -> Callable[[int, NDArray[np.uint8]], Objects]:
    """What gives the objects of an image, by its id and its pixels."""
    if _proposes(args):
        return _proposals(args, truth)
    from vis.refiners import load_refiner

    refiner: Any = None
    if args.model != "none":
        refiner = load_refiner(args.model, device=args.device, policy=args.policy or "box")
    if args.boxes is not None:
        given = _read_boxes(args, truth)
        return lambda number, image: _refined(refiner, image, *given[number])
    import detectors
    from vis.interfaces import FrameIndexedDetector, Resettable

    settings = {"weights": args.weights, "text": args.text}
    detector = detectors.create(
        args.detector,
        device=args.device,
        score=args.score,
        **{name: value for name, value in settings.items() if value is not None},
    )
    if isinstance(detector, FrameIndexedDetector):
        raise UsageError(
            f"--detector {args.detector} knows the objects of frames by number; give those of images with --boxes"
        )
    categories = _categories(detector.class_names, truth, pooled=args.class_agnostic)

    def find(_: int, image: NDArray[np.uint8]) -> Objects:
        if isinstance(detector, Resettable):
            detector.reset()  # images follow on nothing
        (found,) = detector.detect([image])
        found = found.select(np.flatnonzero([int(label) in categories for label in found.labels]))
        if refiner is None and found.masks is None and len(found):
            raise UsageError(f"--detector {args.detector} finds boxes only; name a mask model with --model")
        ids = [categories[label] for label in found.labels.tolist()]
        return _refined(refiner, image, found, found.scores.tolist(), ids)

    return find


def _proposals(args: argparse.Namespace, truth: Truth) -> Callable[[int, NDArray[np.uint8]], Objects]:
    from vis import masks, refiners
    from vis.automatic_masks import find_proposals

    predictor = refiners.create(args.model, device=args.device)

    def find(_: int, image: NDArray[np.uint8]) -> Objects:
        found = find_proposals(predictor, image, points_per_side=args.points or 64, max_proposals=_most(args))
        return [
            _entry(item.box, score, _any_category(truth), masks.to_coco(item.mask)) for item, score in found
        ]

    return find


def _refined(
    refiner: Any, image: NDArray[np.uint8], found: Detections, scores: list[float], categories: list[int]
) -> Objects:
    """The objects with the refiner's masks, or with their own where there is none; scores are what was given."""
    from vis import masks

    if not len(found):
        return []
    if refiner is not None:
        refiner.reset()
        found = refiner.refine(image, found)
    assert found.masks is not None  # the refiner's, or checked by the caller
    rows = zip(found.boxes.tolist(), scores, categories, masks.encode_many(found.masks), strict=True)
    return [_entry(box, score, category, masks.to_coco(mask)) for box, score, category, mask in rows]


def _entry(box: Any, score: float, category: int, segmentation: Any) -> dict[str, Any]:
    x0, y0, x1, y1 = (float(number) for number in box)
    return {
        "category_id": category,
        "bbox": [x0, y0, x1 - x0, y1 - y0],
        "score": score,
        "segmentation": segmentation,
    }


def _any_category(truth: Truth) -> int:
    """The category of objects whose class is not looked at."""
    if not truth.categories:
        raise InputError("the truth lists no categories")
    return min(truth.categories)


def _categories(names: tuple[str, ...], truth: Truth, *, pooled: bool) -> dict[int, int]:
    """Category id of each of the detector's labels that the truth knows by name; of all where classes are pooled."""
    if pooled:
        return dict.fromkeys(range(len(names)), _any_category(truth))
    ids = {category.name.casefold(): number for number, category in truth.categories.items()}
    found = {label: ids[name.casefold()] for label, name in enumerate(names) if name.casefold() in ids}
    if not found:
        raise UsageError(
            f"the detector knows none of the truth's classes (it knows {', '.join(names)[:80]}); score without "
            "classes, --class-agnostic, or choose another detector"
        )
    return found


def _read_boxes(
    args: argparse.Namespace, truth: Truth
) -> dict[int, tuple[Detections, list[float], list[int]]]:
    """Objects, their scores and their categories, by image; an image without any has empty ones."""
    rows: dict[int, list[tuple[Any, float, int]]] = defaultdict(list)
    for number, box, score, category in _box_rows(args.boxes):
        if number not in truth.videos:
            raise InputError(f"{args.boxes}: image {number} is not in the truth; are these of another split?")
        if args.class_agnostic:
            category = _any_category(truth)
        if (args.score is None or score >= args.score) and category in truth.categories:
            rows[number].append((box, score, category))
    objects = {}
    for number in truth.videos:
        some = rows.get(number, [])
        boxes = np.array([box for box, _, _ in some], np.float32).reshape(-1, 4)
        blank = np.zeros(len(some))  # the scores have any range, and go by
        found = Detections(boxes, blank.astype(np.float32), blank.astype(np.int64))
        objects[number] = found, [score for _, score, _ in some], [category for _, _, category in some]
    return objects


def _box_rows(path: Path) -> Iterator[tuple[int, tuple[float, float, float, float], float, int]]:
    """Image id, box x0, y0, x1, y1, score and category id of each entry of a results file."""
    from vis.formats import fields
    from vis.formats.json_stream import items

    for index, (key, entry) in enumerate(items(path, ())):
        if key != "":
            raise InputError(f"{path}: expected a list of results, got an object with {fields.shown(key)}")
        where = f"{path}: result {index}"
        box = fields.box(fields.get(entry, "bbox", where), f"{where}: bbox", sizes=True)
        number, category = (fields.whole(entry, name, where) for name in ("image_id", "category_id"))
        yield number, box, fields.finite(entry, "score", where), category
