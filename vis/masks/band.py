"""IoU of dense masks, and of the bands along their borders."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from vis.masks.codec import extent

__all__ = ["boundary", "boundary_width", "dense_boundary_iou", "dense_iou", "erode"]


def dense_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """Intersection over union of two bool (H, W) masks; 1 when both are empty."""
    union = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / union if union else 1.0


def dense_boundary_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    """IoU of two masks' boundary bands (Boundary IoU, arXiv 2103.16562); 1 when both are empty."""
    width = boundary_width((a.shape[0], a.shape[1]))
    return dense_iou(boundary(a, width), boundary(b, width))


def boundary_width(size: tuple[int, int], ratio: float = 0.02) -> int:
    """Pixels of the boundary band: ``max(1, round(ratio * diagonal))`` (Boundary IoU, section 4)."""
    return max(1, round(ratio * math.hypot(*size)))


def boundary(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The band of a bool (H, W) mask: its pixels within Chebyshev distance ``width`` of a 0.

    What lies outside of the image counts as 0. Equal to the mask minus ``width`` erosions with a
    3 x 3 square after padding by one zero pixel (Boundary IoU, arXiv 2103.16562).
    """
    band: NDArray[np.bool_] = mask & ~erode(mask, width)
    return band


def erode(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of a bool (H, W) mask farther than ``width`` (Chebyshev) from every 0 and the outside."""
    if mask.ndim != 2 or mask.dtype != np.bool_ or width < 0:
        raise ValueError(
            f"expected a bool (H, W) mask and a width >= 0, got {mask.dtype}{list(mask.shape)}, {width}"
        )
    out = np.zeros_like(mask)
    found = extent(mask)
    if found is None:
        return out
    x0, y0, x1, y1 = found
    box = slice(y0, y1), slice(x0, x1)
    kept = _erode_down(_erode_down(mask[box], width).T, width).T
    out[box] = kept
    return out


def _erode_down(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Keep a pixel when all pixels up to ``width`` above and below it are set."""
    height = len(mask)
    out = np.zeros_like(mask)
    if height > 2 * width:
        count = np.zeros((height + 1, mask.shape[1]), np.int32)
        np.cumsum(mask, axis=0, out=count[1:])
        window = 2 * width + 1
        out[width : height - width] = count[window:] - count[:-window] == window
    return out
