"""Mask quality image by image: IoU, boundary IoU, their means, groups with intervals.

mIoU and mBIoU as in HQ-SAM (arXiv 2306.01567, section 4): per image at the truth's size, then the
mean over images. Also pairs the files of image and mask folders. Knows no model.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks
from vis.errors import InputError
from vis.evaluation import intervals
from vis.evaluation.iou import boundary_ious, mask_ious
from vis.evaluation.tube_masks import TubeMasks
from vis.files import files_under

__all__ = [
    "GroupMean",
    "ImagePair",
    "group_means",
    "iou_and_boundary_iou",
    "pair_folders",
    "read_mask",
    "read_pixels",
    "without_partner",
]

BIG_ENDINGS = ("_im", "_gt", "_seg")
"""Image, true mask and coarse mask, as CascadePSP names those of BIG."""
IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


def iou_and_boundary_iou(
    prediction: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    *,
    ratio: float = 0.02,
) -> tuple[float, float]:
    """IoU and boundary IoU of two bool (H, W) masks; 1 where both are empty.

    The boundary is ``max(1, round(ratio * diagonal))`` pixels wide. Raises ValueError on unequal sizes.
    """
    if prediction.shape != truth.shape:
        raise ValueError(f"masks of different sizes: {prediction.shape} and {truth.shape}")
    a, b = _one(prediction), _one(truth)
    if not len(a.edges) and not len(b.edges):
        return 1.0, 1.0
    width = np.array([masks.boundary_width(a.size, ratio)])
    boundary = boundary_ious([a], [b], np.zeros((1, 2), np.int64), width, width)
    return float(mask_ious([a], [b])[0, 0]), float(boundary[0])


def _one(mask: NDArray[np.bool_]) -> TubeMasks:
    encoded = masks.encode(mask)
    return intervals.from_text(encoded.counts, np.array([len(encoded.counts)], np.int64), encoded.size)


# ---------------------------------------------------------------- groups


@dataclass(frozen=True, slots=True)
class GroupMean:
    """The mean of one group of images, with its 95 % confidence interval."""

    count: int
    """Images."""
    mean: float
    """Mean value."""
    margin: float
    """Half width of the interval, 1.96 standard errors; NaN for a single image."""


def group_means(values: Mapping[str, float], groups: Mapping[str, str]) -> dict[str, GroupMean]:
    """Mean and interval per group (Segment Anything, section 6 reports people's masks so).

    ``groups`` gives the group of each image name; names without one are left out.
    """
    collected: dict[str, list[float]] = {}
    for name, value in values.items():
        if name in groups:
            collected.setdefault(groups[name], []).append(value)
    out = {}
    for group, rows in sorted(collected.items()):
        spread = float(np.std(rows, ddof=1)) / math.sqrt(len(rows)) if len(rows) > 1 else math.nan
        out[group] = GroupMean(len(rows), float(np.mean(rows)), 1.96 * spread)
    return out


# ---------------------------------------------------------------- folders


@dataclass(frozen=True, slots=True)
class ImagePair:
    """An image and the mask that belongs to it."""

    name: str
    """Relative path without suffix."""
    image: Path
    mask: Path


def pair_folders(images: Path, truth: Path, stride: int = 1, *, ending: str = "_gt") -> list[ImagePair]:
    """Pairs of equal relative path, by name; every ``stride``-th file of each folder.

    Covers DIS, COIFT, HRSOD and ThinObject (two folders), DAVIS (a folder per clip), and BIG, where
    ``NAME_im.jpg``, ``NAME_gt.png`` and ``NAME_seg.png`` share a folder: ``ending`` is that of the masks.
    Raises :class:`InputError` when there is none.
    """
    if not images.is_dir() or not truth.is_dir():
        missing = images if not images.is_dir() else truth
        raise InputError(f"{missing}: no such folder; give --images and --masks as folders")
    if stride < 1:
        raise InputError(f"stride: expected 1 or more, got {stride}")
    shared = images.resolve() == truth.resolve()
    by_name = _named(truth, ending, shared)
    pairs: list[ImagePair] = []
    for folder in _by_folder(sorted(_named(images, "_im", shared).items())):
        chosen = [(name, path) for name, path in folder if name in by_name][::stride]
        pairs += [ImagePair(name, path, by_name[name]) for name, path in chosen]
    if not pairs:
        raise InputError(f"no file under {images} has a mask of the same name under {truth}")
    return pairs


def without_partner(images: Path, truth: Path, *, ending: str = "_gt") -> tuple[list[str], list[str]]:
    """Names of images without a mask and of masks without an image, of what :func:`pair_folders` pairs."""
    shared = images.resolve() == truth.resolve()
    of_images, of_masks = _named(images, "_im", shared).keys(), _named(truth, ending, shared).keys()
    return sorted(of_images - of_masks), sorted(of_masks - of_images)


def _named(folder: Path, ending: str, shared: bool) -> dict[str, Path]:
    """Image files by relative path without suffix.

    ``ending`` tells images and masks apart where they share a folder (BIG), and is cut off where it does, or where
    all files have an ending of this kind.
    """
    files = [path for path in files_under(folder) if path.suffix.lower() in IMAGE_SUFFIXES]
    marked = [path for path in files if path.stem.endswith(ending)]
    cut = shared or (bool(marked) and all(path.stem.endswith(BIG_ENDINGS) for path in files))
    out: dict[str, Path] = {}
    for path in marked if cut else files:
        stem = path.stem.removesuffix(ending) if cut else path.stem
        name = (path.relative_to(folder).parent / stem).as_posix()
        if name in out:
            raise InputError(f"{out[name]} and {path.name} have one name; keep one of them, or rename it")
        out[name] = path
    return out


def _by_folder(named: Sequence[tuple[str, Path]]) -> list[list[tuple[str, Path]]]:
    folders: dict[str, list[tuple[str, Path]]] = {}
    for name, path in named:
        folders.setdefault(name.rpartition("/")[0], []).append((name, path))
    return list(folders.values())


def read_mask(path: Path) -> NDArray[np.bool_]:
    """A mask image as bool (H, W): nonzero is object; transparency says nothing. Raises :class:`InputError`."""
    pixels = read_pixels(path)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    colours = 1 if pixels.shape[2] <= 2 else 3  # grey or colour, and perhaps transparency behind it
    mask: NDArray[np.bool_] = np.any(pixels[..., :colours] != 0, axis=2)
    return mask


def read_pixels(path: Path, mode: str | None = None) -> NDArray[Any]:
    """The values of an image file, converted to PIL's ``mode`` if one is given. Raises :class:`InputError`."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.array(image if mode is None else image.convert(mode))
    # PIL raises SyntaxError, too, for a file that is damaged behind its first bytes.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: not an image that can be read ({error})") from error
