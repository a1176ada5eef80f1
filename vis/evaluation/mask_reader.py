"""From the masks of one JSON entry to run lengths, whatever their spelling, all of them checked."""

from __future__ import annotations

import array
import struct
from types import ModuleType
from typing import Any

import numpy as np

from vis import masks as rle
from vis.errors import AnnotationError
from vis.evaluation.tube_masks import BadMaskError, Polygons, TubeMasks
from vis.formats.fields import shown

__all__ = ["read_masks"]

MAX_CHARS = 7
"""Of one run length in compressed text: 35 bits in groups of 5."""


def read_masks(
    value: Any, size: tuple[int, int], where: str, compute: ModuleType, *, one: bool = False
) -> TubeMasks:
    """The masks of one tube, all of ``size``; null is an absent frame. ``one``: it has one frame, without a number.

    Tubes of one spelling are read at once. Whatever that refuses is gone through mask by mask, which finds
    the fault and names it.
    """
    if not isinstance(value, list):
        raise AnnotationError(f"{where}: segmentations: expected a list, got {shown(value)}")
    try:
        return _at_once(value, size, compute)
    except (TypeError, LookupError, ValueError, OverflowError, AttributeError, struct.error, BadMaskError):
        pass
    texts = [
        b"" if mask is None else rle.from_coco(mask, size, where if one else f"{where}, frame {frame}").counts
        for frame, mask in enumerate(value)
    ]
    ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
    tube: TubeMasks = compute.from_text(b"".join(texts), ends, size)
    return tube


def _at_once(value: list[Any], size: tuple[int, int], compute: ModuleType) -> TubeMasks:
    """Masks that are all compressed texts, all lists of run lengths, or all polygons; any exception otherwise."""
    masks = [mask for mask in value if mask is not None]
    tube: TubeMasks
    if masks and isinstance(masks[0], list):
        tube = compute.from_polygons(_polygons(value), size)
        return tube
    if [mask["size"] for mask in masks].count(list(size)) != len(masks):
        raise ValueError("another size")
    counts = [mask["counts"] for mask in masks]
    if "" in counts or [] in counts:
        raise ValueError("no run lengths")
    ends = np.cumsum([0 if mask is None else len(mask["counts"]) for mask in value], dtype=np.int64)
    if counts and isinstance(counts[0], list):
        # pack() takes ints only, and nothing that does not fit 64 bits; it is the fastest that does.
        runs = b"".join([struct.pack(f"{len(listed)}q", *listed) for listed in counts])
        tube = compute.from_runs(np.frombuffer(runs, np.int64), ends, size)
    elif max(map(len, counts), default=0) <= MAX_CHARS * (size[0] * size[1] + 1):
        tube = compute.from_text("".join(counts).encode("ascii"), ends, size)
    else:
        raise ValueError("a text that is too long")
    return tube


def _polygons(value: list[Any]) -> Polygons:
    """Polygons as :mod:`vis.masks` takes them, too: at least three points, finite."""
    points, polygon_ends, mask_ends = array.array("d"), [], []
    for mask in value:
        for polygon in mask or ():
            if type(polygon) is not list or len(polygon) < 6 or len(polygon) % 2:
                raise ValueError("no polygon")
            points.extend(array.array("d", polygon))
            polygon_ends.append(len(points))
        mask_ends.append(len(polygon_ends))
    flat = np.array(points, np.float64)
    if not np.isfinite(flat).all():
        raise ValueError("not finite")
    return Polygons(flat, np.array(polygon_ends, np.int64), np.array(mask_ends, np.int64))
