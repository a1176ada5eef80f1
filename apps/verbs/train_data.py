"""Where ``vistubes train`` takes its data from: the options that say so, and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vis.errors import UsageError

if TYPE_CHECKING:
    from vis.training.datasets import MaskedImage
    from vis.training.views import ViewSource

__all__ = ["add_data", "add_mix", "add_removed", "live_views", "masked_images", "shares_of"]


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


def add_removed(parser: argparse.ArgumentParser, *names: str) -> None:
    """Options of version 0.1 that made synthetic training data: giving one is an error that says so."""
    for name in names:
        parser.add_argument(name, type=partial(_refuse, name), help=argparse.SUPPRESS)


def add_mix(parser: argparse.ArgumentParser) -> None:
    """``--mix``, of whose kinds version 0.2 left one, which may still be given."""
    parser.add_argument("--mix", nargs="+", type=_only_images, help=argparse.SUPPRESS)


def _refuse(option: str, value: str) -> None:  # noqa: ARG001 (argparse gives it)
    raise UsageError(
        f"{option} was removed in version 0.2, with the synthetic training data; give images with masks: --coco, "
        "--images or --hqseg44k. vis/hqsam/heads/MODEL_CARD.md names the commit that still has it"
    )


def _only_images(word: str) -> None:
    (kind,) = shares_of("--mix", [word])
    if kind in ("taught", "merged", "art", "photographs", "drawn"):
        _refuse(f"--mix {kind}", word)
    if kind != "images":
        raise UsageError(f"--mix {kind}: expected images, the only kind there is; --mix may be left out")


def live_views(args: argparse.Namespace) -> ViewSource:
    """Views of the images that the options name."""
    from vis.training.views import ViewSource

    images = masked_images(args, valid=False)
    if not images:
        raise UsageError("fit needs data: --cache, or --coco, --images or --hqseg44k")
    return ViewSource(images, seed=args.seed)


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
        if not 0 < shares[name] <= 1e9:
            raise UsageError(f"{option} {word}: the share must be a number above 0")
    return shares


def masked_images(args: argparse.Namespace, *, valid: bool) -> list[MaskedImage]:
    """All images with masks that the options name; of HQSeg-44K the training or the validation part."""
    from vis.training.datasets import coco_instances, hqseg44k, image_folder

    found = [item for annotations, images in args.coco for item in coco_instances(annotations, images)]
    for folder in args.images:
        found += image_folder(folder)
    if args.hqseg44k:
        for part in hqseg44k(args.hqseg44k, valid=valid).values():
            found += part
    return found
