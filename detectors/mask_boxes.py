"""Tight boxes of dense masks. Knows no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vis.masks import extent

__all__ = ["tight_boxes"]


def tight_boxes(masks: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Smallest half-open box of each mask: bool (N, H, W) -> float32 (N, 4); zeros for an empty mask."""
    boxes = np.zeros((len(masks), 4), np.float32)
    for box, mask in zip(boxes, masks, strict=True):
        box[:] = extent(mask) or 0
    return boxes
