"""Boxes and sizes of dense masks. Knows no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vis.masks import extent

__all__ = ["enlarge", "tight_boxes"]


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Smallest half-open box of each mask: bool (N, H, W) -> float32 (N, 4); zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        box[:] = extent(mask) or 0
    return boxes


def enlarge(mask: NDArray[np.bool_], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """A mask at another size (height, width), by bilinear interpolation."""
    import cv2

    full = cv2.resize(mask.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_LINEAR)
    return np.asarray(full > 0.5)
