"""Makes training views and keeps their frozen features: taught photographs, merged objects, composites.

Three kinds, each in a folder of its own below the cache:

* ``taught``: objects of COCO images with the zoom teacher's masks.
* ``merged``: a person together with what they ride, carry or lead, as one object. Salient objects in
  videos are often such pairs, and a head that has seen single classes only would cut them apart.
* ``composites``: pictures with exact masks.

What exists is not made again, so an interrupted run goes on. Every image draws from its own generator.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from vis.errors import InputError
from vis.training.cache import cache_view, save_view
from vis.training.datasets import MaskedImage
from vis.training.frozen import FrozenSam
from vis.training.makers import CompositeViews
from vis.training.prompts import tight_box
from vis.training.teacher import as_target, load_targets, save_targets, teach
from vis.training.views import Target, random_view

__all__ = ["COMPANIONS", "cache_composites", "cache_taught", "merged_masks", "targets_path"]

COMPANIONS = frozenset(
    [
        "bicycle",
        "motorcycle",
        "horse",
        "skateboard",
        "snowboard",
        "skis",
        "surfboard",
        "elephant",
        "tennis racket",
        "baseball bat",
        "umbrella",
        "backpack",
        "handbag",
        "sports ball",
        "frisbee",
        "kite",
        "dog",
        "cow",
        "boat",
    ]
)
"""COCO classes that make one object with the person who has them."""

BOX_MIX = {"box": 0.7, "jittered box": 0.3}
"""Prompts of merged objects: points and coarse masks would not tell them from their parts."""

Note = Callable[[str], None]


def cache_taught(
    frozen: FrozenSam,
    images: Sequence[MaskedImage],
    out: Path,
    *,
    merged: bool = False,
    per_image: int = 2,
    views: int = 2,
    agreement: float = 0.7,
    seed: int = 0,
    on_image: Note | None = None,
) -> int:
    """Teach objects of COCO images and cache views of them; returns how many views there are.

    Args:
        frozen: the network, with an initial head.
        images: from ``datasets.coco_instances``.
        out: folder for the views; the teacher's masks go to ``out/targets``.
        merged: pairs of a person and their companion instead of single objects.
        per_image: most objects per image: the largest, then others at random.
        views: per image; the first shows all of it.
        agreement: least IoU of teacher and polygon for an object to be kept.
        seed: of everything drawn.
        on_image: told a line per image.
    """
    made = 0
    for item in images:
        kept = targets_path(out, item.path)
        rng = np.random.default_rng((seed, zlib.crc32(item.path.name.encode())))
        if kept.is_file():
            targets = load_targets(kept)
        else:
            masks = merged_masks(item) if merged else item.masks()
            chosen = _choose(masks, per_image, rng)
            targets = _teach_all(frozen, item.image(), chosen, agreement, rng)
            save_targets(kept, targets)
        for number in range(views if targets else 0):
            path = out / f"{kept.stem}-{number}.pt"
            draw = np.random.default_rng((seed, zlib.crc32(item.path.name.encode()), number))
            if not path.is_file():
                view = random_view(item.image(), targets, draw, whole=number == 0, max_objects=3)
                if not view.targets:
                    continue
                save_view(path, cache_view(frozen, view, draw, mix=BOX_MIX if merged else None))
            made += 1
        if on_image:
            on_image(f"{item.path.name}: {len(targets)} objects, {made} views in all")
    return made


def cache_composites(
    frozen: FrozenSam,
    backgrounds: Sequence[Path],
    out: Path,
    *,
    count: int,
    cutouts: Sequence[Path] = (),
    taught: Mapping[Path, Path] | None = None,
    seed: int = 0,
    on_image: Note | None = None,
) -> int:
    """Cache views of composites; returns how many there are.

    Args:
        frozen: the network, with an initial head.
        backgrounds: photographs.
        out: folder for the views.
        count: how many to make.
        cutouts: RGBA pictures to paste, such as rendered emoji.
        taught: image -> the teacher's targets file: objects of photographs to paste.
        seed: of everything drawn.
        on_image: told a line per composite.
    """
    if not backgrounds:
        raise InputError("composites need at least one background photograph")
    made = 0
    maker = CompositeViews(backgrounds, cutouts, sorted((taught or {}).items()), max_objects=3)
    for number in range(count):
        path = out / f"{number:06d}.pt"
        if path.is_file():
            made += 1
            continue
        rng = np.random.default_rng((seed, 7, number))
        view = maker(rng)
        if view is not None and view.targets:
            save_view(path, cache_view(frozen, view, rng))
            made += 1
        if on_image:
            on_image(f"composite {number + 1} of {count}")
    return made


def targets_path(out: Path, image: Path) -> Path:
    """Where the teacher's targets of an image lie; images of one name in two folders do not clash."""
    return out / "targets" / f"{image.stem}-{zlib.crc32(str(image).encode()):08x}.npz"


def merged_masks(item: MaskedImage) -> list[NDArray[np.bool_]]:
    """Unions of each person with the companions whose boxes overlap theirs; people without one drop out."""
    objects = [(label, mask) for label, mask in zip(item.labels, item.all_masks(), strict=True) if mask.any()]
    found = []
    for label, person in objects:
        if label != "person":
            continue
        group = [
            mask
            for other, mask in objects
            if other in COMPANIONS
            and mask.sum() > max(150, 0.02 * person.sum())
            and _overlap(tight_box(person), tight_box(mask)) > 0.3
        ]
        if group:
            found.append(np.logical_or.reduce([person, *group]))
    return found


def _overlap(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """Shared area over the smaller box's."""
    size = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    smaller = min(float(np.prod(a[2:] - a[:2])), float(np.prod(b[2:] - b[:2])))
    return float(np.prod(np.maximum(size, 0))) / smaller


def _choose(
    masks: Iterable[NDArray[np.bool_]], most: int, rng: np.random.Generator
) -> list[NDArray[np.bool_]]:
    """The largest mask and random others."""
    ordered = sorted(masks, key=lambda mask: -int(mask.sum()))
    if len(ordered) <= most:
        return ordered
    others = 1 + rng.permutation(len(ordered) - 1)[: most - 1]
    return [ordered[0], *(ordered[i] for i in sorted(others))]


@torch.no_grad()
def _teach_all(
    frozen: FrozenSam,
    image: NDArray[np.uint8],
    masks: Iterable[NDArray[np.bool_]],
    agreement: float,
    rng: np.random.Generator,
) -> list[Target]:
    targets = []
    for mask in masks:
        taught = teach(frozen, image, tight_box(mask), mask, rng=rng)
        target = as_target(taught)
        if taught.agreement >= agreement and target is not None:
            targets.append(target)
    return targets
