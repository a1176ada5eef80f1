"""The prompts of ``vistubes eval masks``: from the true mask, or a coarse mask from a folder or a detector."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.boxes import clip
from vis.errors import InputError, UsageError
from vis.evaluation.image_masks import ImagePair, pair_folders, read_mask
from vis.interfaces import Detector, FrameIndexedDetector, Resettable
from vis.masks import bounding_box, encode
from vis.prompt_policies import deepest_point, mask_prompt

__all__ = [
    "CoarseMasks",
    "Prompts",
    "coarse_from_detector",
    "coarse_from_folder",
    "coarse_from_truth",
    "read_prompt",
]

MOST_POINTS = 1000
COARSE_SIDE = 32

CoarseMasks = Callable[[ImagePair, NDArray[np.uint8], NDArray[np.bool_]], "NDArray[np.bool_] | None"]
"""The coarse mask (H, W) of an image, from its files, its pixels and its true mask; None where there is none."""


@dataclass(frozen=True, slots=True)
class Prompts:
    """What every image is prompted with."""

    kind: str
    """box, mask or points."""
    points: tuple[int, ...] = ()
    """How many, rising; every number is a prompt of its own."""
    noise: float = 0.0
    """How far boxes are moved and resized at most, as a share of half their size and of their size."""

    def of(self, pair: ImagePair, hint: NDArray[np.bool_], mask_side: int) -> list[dict[str, Any]]:
        """Arguments for ``decode``, of each prompt; ``hint``: the true or coarse mask (H, W), not empty.

        ``box``: the mask's bounding box, perhaps with noise (HQ-SAM's table 13, after DN-DETR). ``mask``: the mask
        itself. ``points``: one is the deepest (Segment Anything, section 7.1), more are drawn evenly from the mask
        with a fixed seed (as HQ-SAM's figure 5).
        """
        if self.kind == "mask":
            return [{"masks": mask_prompt(hint[None], mask_side, alone=True)}]
        seed = zlib.crc32(os.fsencode(pair.name))
        if self.kind == "box":
            box = bounding_box(encode(hint))
            return [{"boxes": (_noisy(box, self.noise, hint.shape, seed) if self.noise else box)[None]}]
        return [_points(hint, count, seed) for count in self.points]


def read_prompt(text: str) -> Prompts:
    """The value of ``--prompt``: box, box:S, mask, points:K or points:K,K,...; else :class:`UsageError`."""
    kind, colon, numbers = text.partition(":")
    if kind in ("box", "mask") and not colon:
        return Prompts(kind)
    if kind == "box" and (noise := re.fullmatch(r"0?\.\d{1,9}", numbers, re.ASCII)) and float(noise[0]) > 0:
        return Prompts(kind, noise=float(noise[0]))
    counts = [int(n) if n.isascii() and n.isdigit() and len(n) < 5 else 0 for n in numbers.split(",")]
    if kind == "points" and all(1 <= count <= MOST_POINTS for count in counts):
        return Prompts(kind, tuple(sorted(set(counts))))
    raise UsageError(
        f"--prompt {text!r}: expected box, box:S with noise S between 0 and 1, mask, or points:K with K from 1 to "
        f"{MOST_POINTS}, or several: points:1,3,9"
    )


def _noisy(box: NDArray[np.float32], noise: float, size: tuple[int, ...], seed: int) -> NDArray[np.float32]:
    """The box with its centre moved and its sides changed evenly at random, within a frame of ``size``."""
    sides = box[2:] - box[:2]
    shift, change = np.random.default_rng(seed).uniform(-noise, noise, (2, 2))
    centre, half = (box[:2] + box[2:]) / 2 + shift * sides / 2, sides * (1 + change) / 2
    moved = np.concatenate([centre - half, centre + half]).astype(np.float32)[None]
    return np.asarray(clip(moved, (size[0], size[1]))[0])


def _points(mask: NDArray[np.bool_], count: int, seed: int) -> dict[str, Any]:
    if count == 1:
        points = deepest_point(mask)[None, None]
    else:
        rows, columns = np.nonzero(mask)
        chosen = np.random.default_rng(seed).integers(0, len(rows), count)
        points = np.stack([columns[chosen], rows[chosen]], axis=1).astype(np.float32)[None]
    return {"points": points, "point_labels": np.ones(points.shape[:2], np.int64)}


# ---------------------------------------------------------------- coarse masks


def coarse_from_folder(images: Path, folder: Path) -> CoarseMasks:
    """Coarse masks of the images' names, as BIG's ``NAME_seg.png`` where files end so."""
    files = {pair.name: pair.mask for pair in pair_folders(images, folder, ending="_seg")}

    def read(pair: ImagePair, _: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        if pair.name not in files:
            raise InputError(f"{pair.name}: no coarse mask of this name in {folder}")
        mask = read_mask(files[pair.name])
        if mask.shape != truth.shape:
            raise InputError(f"{files[pair.name]}: size {mask.shape}, the true mask is {truth.shape}")
        return mask if mask.any() else None

    return read


def coarse_from_detector(detector: Detector) -> CoarseMasks:
    """Of the masks that a detector finds the one that overlaps the truth best: what is meant is told by it alone."""
    if isinstance(detector, FrameIndexedDetector):
        raise UsageError(
            "--coarse-detector: it knows the objects of frames by number; give masks of images with --coarse"
        )

    def find(_: ImagePair, image: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
        if isinstance(detector, Resettable):
            detector.reset()  # images follow on nothing
        (found,) = detector.detect([image])
        if len(found) and found.masks is None:
            raise UsageError("--coarse-detector: it finds boxes only; choose one that gives masks")
        best, best_iou = None, 0.0
        for mask in () if found.masks is None else found.masks:
            iou = float((mask & truth).sum() / (mask | truth).sum())
            if iou > best_iou:
                best, best_iou = mask, iou
        return best

    return find


def coarse_from_truth(_: ImagePair, __: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The true mask at 32 pixels of its longer side and back: an eighth of SAM's prompt resolution."""
    import cv2

    height, width = truth.shape
    scale = COARSE_SIDE / max(height, width)
    small = cv2.resize(
        truth.astype(np.float32),
        (max(1, round(width * scale)), max(1, round(height * scale))),
        interpolation=cv2.INTER_AREA,
    )
    level = min(0.5, float(small.max()))  # a thin object must not vanish
    back: NDArray[np.bool_] = (
        cv2.resize((small >= level).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0
    )
    return back
