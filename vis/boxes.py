"""Pure box maths on arrays. Knows no frame, no detector and no mask.

Boxes are ``x0, y0, x1, y1`` in pixels, half-open: ``(2, 3, 5, 7)`` covers columns 2, 3, 4 and rows
3, 4, 5, 6, an area of 12. A box whose end is not beyond its start covers nothing: its area and all
of its overlaps are 0. Every function takes any floating (or integer) dtype, gives back new arrays
and leaves its input alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["area", "clip", "intersection", "iou", "nms"]

Array = NDArray[Any]


def area(boxes: Array) -> Array:
    """Area of each box in square pixels: (N, 4) -> (N,)."""
    width = np.maximum(boxes[:, 2] - boxes[:, 0], 0)
    height = np.maximum(boxes[:, 3] - boxes[:, 1], 0)
    product: Array = width * height
    return product


def intersection(a: Array, b: Array) -> Array:
    """Common area of every pair in square pixels: (N, 4), (M, 4) -> (N, M)."""
    width = np.minimum(a[:, None, 2], b[None, :, 2])
    width -= np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3])
    height -= np.maximum(a[:, None, 1], b[None, :, 1])
    np.maximum(width, 0, out=width)
    np.maximum(height, 0, out=height)
    width *= height
    return width


def iou(a: Array, b: Array) -> Array:
    """Intersection over union of every pair, in [0, 1]: (N, 4), (M, 4) -> floating (N, M).

    Two empty boxes overlap by 0, not by 0 / 0.
    """
    common = intersection(a, b)
    union = area(a)[:, None] + area(b)[None, :] - common
    # A union of 0 has a common area of 0, so dividing by 1 there is all that is needed.
    ratio: Array = common / (union + (union <= 0))
    return ratio


def clip(boxes: Array, size: tuple[int, int]) -> Array:
    """The part of each box inside a picture of ``size`` = (height, width).

    A box wholly outside becomes an empty one on the border.
    """
    height, width = size
    return np.clip(boxes, 0, np.asarray([width, height, width, height], boxes.dtype))


def nms(boxes: Array, scores: Array, threshold: float, labels: Array | None = None) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: indices of the boxes to keep, best score first.

    A box goes when its IoU with a kept, better one is greater than ``threshold``; as
    ``torchvision.ops.nms``, except that equal scores keep their order. With ``labels`` (N,), boxes
    of different labels do not touch each other.
    """
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    labels = None if labels is None else labels[order]
    alive = np.ones(len(order), bool)
    for i in range(len(order)):
        if not alive[i]:
            continue
        rest = i + 1 + np.flatnonzero(alive[i + 1 :])
        gone = iou(boxes[i : i + 1], boxes[rest])[0] > threshold
        if labels is not None:
            gone &= labels[rest] == labels[i]
        alive[rest[gone]] = False
    return order[alive].astype(np.int64, copy=False)
