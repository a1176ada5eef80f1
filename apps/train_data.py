"""Where ``vistubes train`` takes its data from: the options that say so, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vis.errors import UsageError

if TYPE_CHECKING:
    from vis.training.datasets import MaskedImage
    from vis.training.makers import ViewMaker, ViewSource

__all__ = [
    "add_data",
    "coco_images",
    "live_views",
    "masked_images",
    "pictures",
    "shares_of",
    "taught_targets",
]


def add_data(parser: argparse.ArgumentParser) -> argparse._ArgumentGroup:
    """The options for images with masks; the group, for further ones."""
    data = parser.add_argument_group("data")
    data.add_argument(
        "--coco",
        nargs=2,
        action="append",
        default=[],
        metavar=("JSON", "IMAGES"),
        help="COCO instances and their image folder; may be given several times",
    )
    data.add_argument(
        "--images",
        type=Path,
        action="append",
        default=[],
        metavar="FOLDER",
        help="images/ and masks/ (or im/ and gt/, or side by side); masks hold 0 and 255",
    )
    data.add_argument("--hqseg44k", type=Path, metavar="FOLDER", help="HQSeg-44K in its published layout")
    return data


def live_views(args: argparse.Namespace) -> ViewSource:
    """The live mix that the options describe."""
    from vis.training.makers import CompositeViews, MaskedViews, Part, TaughtViews, ViewSource

    images = masked_images(args, valid=False)
    if not images:
        raise UsageError("fit needs data: --cache, or --coco, --images or --hqseg44k")
    backgrounds, art = [item.path for item in images], pictures(args.cutouts)
    pairs = {
        name: sorted(taught_targets(images, args.targets / name / "targets").items()) if args.targets else []
        for name in ("taught", "merged")
    }
    needs = {"taught": pairs["taught"], "merged": pairs["merged"], "photographs": pairs["taught"], "art": art}

    def maker(kind: str) -> ViewMaker:
        if kind == "images":
            return MaskedViews(images)
        if kind in pairs:
            return TaughtViews(pairs[kind])
        shares = {"photographs": (1.0, 0.0, 0.0), "art": (0.1, 0.9, 0.0), "drawn": (0.0, 0.0, 1.0)}[kind]
        return CompositeViews(backgrounds, art, pairs["taught"], shares=shares)

    known = ("images", "taught", "merged", "art", "photographs", "drawn")
    shares = shares_of("--mix", args.mix, known=known) or {"images": 1.0}
    for kind in shares:
        if not needs.get(kind, [kind]):
            wanted = "--cutouts FOLDER" if kind == "art" else "--targets FOLDER, which `train prepare` makes"
            raise UsageError(f"--mix {kind}: needs {wanted}")
    return ViewSource([Part(kind, share, maker(kind)) for kind, share in shares.items()], seed=args.seed)


def shares_of(option: str, words: Sequence[str], *, known: Sequence[str] = ()) -> dict[str, float]:
    """NAME=SHARE words as a table; a name alone has share 1. ``known`` names, where only those will do."""
    shares = {}
    for word in words:
        name, _, share = word.rpartition("=") if "=" in word else (word, "", "1")
        if known and name not in known:
            raise UsageError(f"{option} {word}: expected one of {', '.join(known)}")
        try:
            shares[name] = float(share)
        except ValueError as error:
            raise UsageError(f"{option} {word}: expected NAME=SHARE with a number, as {name}=0.7") from error
        if not shares[name] > 0:
            raise UsageError(f"{option} {word}: the share must be above 0")
    return shares


def masked_images(args: argparse.Namespace, *, valid: bool) -> list[MaskedImage]:
    """All images with masks that the options name; of HQSeg-44K the training or the validation part."""
    from vis.training.datasets import hqseg44k, image_folder

    found = coco_images(args)
    for folder in args.images:
        found += image_folder(folder)
    if args.hqseg44k:
        for part in hqseg44k(args.hqseg44k, valid=valid).values():
            found += part
    return found


def coco_images(args: argparse.Namespace) -> list[MaskedImage]:
    """Those of --coco."""
    from vis.training.datasets import coco_instances

    return [item for annotations, images in args.coco for item in coco_instances(annotations, images)]


def pictures(folder: Path | None) -> list[Path]:
    """The cut-outs of a folder; :class:`UsageError` where it holds none."""
    if folder is None:
        return []
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in (".png", ".webp"))
    if not found:
        raise UsageError(f"--cutouts {folder}: holds no .png or .webp file")
    return found


def taught_targets(images: Sequence[MaskedImage], targets: Path) -> dict[Path, Path]:
    """Image -> the teacher's targets of it, where there are any."""
    from vis.training.prepare import targets_path

    pairs = {item.path: targets_path(targets.parent, item.path) for item in images}
    return {image: path for image, path in pairs.items() if path.is_file()}
