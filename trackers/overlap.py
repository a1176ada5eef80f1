"""IoU of masks, on crops around each mask. Knows no run lengths and no tracking."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackers.columns import Columns
from vis.boxes import intersection

__all__ = ["MaskCrops", "mask_iou_pairs"]

Array = NDArray[Any]
Index = NDArray[np.intp]


@dataclass
class MaskCrops(Columns):
    """N masks cut out of their pictures: what a tracker remembers of them."""

    boxes: NDArray[np.int64]
    """(N, 4) tight box of each mask in its own grid; zeros for an empty mask."""
    areas: NDArray[np.int64]
    """(N,) set pixels."""
    crops: NDArray[np.object_]
    """N bool arrays, each of its box's size."""

    @classmethod
    def empty(cls) -> MaskCrops:
        """No masks."""
        return cls(np.zeros((0, 4), np.int64), np.zeros(0, np.int64), np.zeros(0, object))

    @classmethod
    def cut(cls, masks: NDArray[np.bool_], step: int = 1) -> MaskCrops:
        """Crops of bool masks (N, H, W); with ``step`` s only every s-th row and column counts."""
        masks = masks[:, ::step, ::step]
        boxes = _tight_boxes(masks)
        crops = np.empty(len(masks), object)
        for i, (x0, y0, x1, y1) in enumerate(boxes.tolist()):
            crops[i] = masks[i, y0:y1, x0:x1].copy()
        areas = np.array([np.count_nonzero(crop) for crop in crops], np.int64)
        return cls(boxes, areas, crops)


def mask_iou_pairs(a: MaskCrops, b: MaskCrops) -> tuple[Index, Index, NDArray[np.float64]]:
    """All pairs of masks that share a pixel, and their IoU: rows into ``a``, into ``b``, (P,) IoU.

    Exact: outside its tight box a mask is empty, so only where two boxes meet is there work.
    """
    rows, cols = np.nonzero(intersection(a.boxes, b.boxes))
    if not len(rows):
        return rows, cols, np.zeros(0)
    common = np.array(
        [
            _common(a.crops[r], b.crops[c], p, q)
            for r, c, p, q in zip(rows, cols, a.boxes[rows].tolist(), b.boxes[cols].tolist(), strict=True)
        ]
    )
    share = common > 0
    rows, cols, common = rows[share], cols[share], common[share]
    return rows, cols, common / (a.areas[rows] + b.areas[cols] - common)


def _common(a: Array, b: Array, p: list[int], q: list[int]) -> int:
    """Pixels set in both crops, whose boxes are ``p`` and ``q``."""
    x0, y0 = max(p[0], q[0]), max(p[1], q[1])
    x1, y1 = min(p[2], q[2]), min(p[3], q[3])
    return int(
        np.count_nonzero(
            a[y0 - p[1] : y1 - p[1], x0 - p[0] : x1 - p[0]] & b[y0 - q[1] : y1 - q[1], x0 - q[0] : x1 - q[0]]
        )
    )


def _tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Smallest box around each mask (N, H, W), zeros where it is empty."""
    x0, x1 = _span(np.asarray(masks.any(axis=1)))
    y0, y1 = _span(np.asarray(masks.any(axis=2)))
    return np.stack([x0, y0, x1, y1], axis=1)


def _span(touched: NDArray[np.bool_]) -> tuple[Index, Index]:
    """First and one past the last True of each row (N, L); zeros where there is none."""
    length = touched.shape[1]
    first = touched.argmax(axis=1)
    end = length - touched[:, ::-1].argmax(axis=1)
    return first, np.where(touched.any(axis=1), end, first)
