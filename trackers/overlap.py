"""IoU of masks, on crops around each mask. Knows no run lengths and no tracking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackers.track_arrays import TrackArrays
from vis.boxes import intersection

__all__ = ["MaskCrops", "mask_iou"]

Array = NDArray[Any]
Index = NDArray[np.intp]


@dataclass
class MaskCrops(TrackArrays):
    """N masks cut out of their pictures: what a tracker remembers of them."""

    boxes: NDArray[np.int64]
    """(N, 4) a box around each mask, in steps of its grid; zeros for an empty mask."""
    areas: NDArray[np.int64]
    """(N,) set pixels."""
    crops: NDArray[np.object_]
    """N bool arrays, each of its box's size."""

    @classmethod
    def empty(cls) -> MaskCrops:
        """No masks."""
        return cls(np.zeros((0, 4), np.int64), np.zeros(0, np.int64), np.zeros(0, object))

    @classmethod
    def nothing(cls, count: int) -> MaskCrops:
        """As many empty masks."""
        crops = np.empty(count, object)
        crops.fill(np.zeros((0, 0), bool))
        return cls(np.zeros((count, 4), np.int64), np.zeros(count, np.int64), crops)

    @classmethod
    def cut(cls, masks: NDArray[np.bool_], step: int = 1) -> MaskCrops:
        """Crops of bool masks (N, H, W); with ``step`` s only every s-th row and column counts."""
        # TrackArrays are thinned out last: reductions over memory in a row are many times faster.
        thinned = masks[:, ::step]
        x0, x1 = _span(np.asarray(thinned.any(axis=1))[:, ::step])
        y0, y1 = _span(np.asarray(thinned.any(axis=2)))
        found = cls.nothing(len(masks))
        found.boxes = np.stack([x0, y0, x1, y1], axis=1)
        for i, (left, top, right, bottom) in enumerate(found.boxes.tolist()):
            found.crops[i] = crop = thinned[i, top:bottom, left * step : right * step : step].copy()
            found.areas[i] = np.count_nonzero(crop)
        return found


def mask_iou(a: MaskCrops, b: MaskCrops) -> NDArray[np.float64]:
    """IoU of every pair of masks, in [0, 1]: K and N masks -> (K, N).

    Exact: outside its box a mask is empty, so only where two boxes meet is there work.
    """
    overlap = np.zeros((len(a.areas), len(b.areas)))
    if not (a.areas.any() and b.areas.any()):
        return overlap
    rows, cols = np.nonzero(intersection(a.boxes, b.boxes))
    for r, c, p, q in zip(rows, cols, a.boxes[rows].tolist(), b.boxes[cols].tolist(), strict=True):
        overlap[r, c] = _common(a.crops[r], b.crops[c], p, q)
    union = a.areas[rows] + b.areas[cols] - overlap[rows, cols]
    overlap[rows, cols] /= np.maximum(union, 1)
    return overlap


def _common(a: Array, b: Array, p: list[int], q: list[int]) -> int:
    """Pixels set in both crops, whose boxes are ``p`` and ``q``."""
    x0, y0 = max(p[0], q[0]), max(p[1], q[1])
    x1, y1 = min(p[2], q[2]), min(p[3], q[3])
    return int(
        np.count_nonzero(
            a[y0 - p[1] : y1 - p[1], x0 - p[0] : x1 - p[0]] & b[y0 - q[1] : y1 - q[1], x0 - q[0] : x1 - q[0]]
        )
    )


def _span(touched: NDArray[np.bool_]) -> tuple[Index, Index]:
    """First and one past the last True of each row (N, L); zeros where there is none."""
    length = touched.shape[1]
    first = touched.argmax(axis=1)
    end = length - touched[:, ::-1].argmax(axis=1)
    return first, np.where(touched.any(axis=1), end, first)
