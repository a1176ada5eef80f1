"""Zero-shot edges: the outlines of everything that a mask model finds (Segment Anything, section 7.2 and appendix).

A grid of points gives masks, none filtered by its scores, of which redundant ones go. Of each mask's probability map
the Sobel gradient counts where the mask ends; the highest of all masks is the edge map, from 0 to 1, and is thinned.
Nothing here was trained on edges. Knows no file.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.automatic_masks import find_unfiltered
from vis.follow.grid import Grid
from vis.interfaces import MaskPredictor

__all__ = ["detect_edges", "suppress_non_maxima"]

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

_MARGIN = 1.01
"""A pixel goes when a neighbour across the edge is higher than this times itself."""
_FADE = 5
"""Pixels from the image's border over which edges fade out: smoothing makes some there."""


def detect_edges(
    predictor: MaskPredictor,
    image: NDArray[np.uint8],
    *,
    points_per_side: int = 16,
    box_nms: float = 0.7,
    thin: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Float32:
    """The edges of an image, float32 (H, W) in [0, 1]; a mask model that finds nothing gives zeros.

    Args:
        predictor: a SAM, an HQ-SAM, or another mask model; what one of them gives for a point says
            :mod:`vis.automatic_masks`.
        image: RGB uint8 (H, W, 3).
        points_per_side: the grid is this many points squared.
        box_nms: of masks whose boxes overlap more than this IoU, the one of higher predicted IoU stays.
        thin: suppress what is not highest across its edge.
        progress: called with points done and points in all.
    """
    found = find_unfiltered(
        predictor,
        image,
        points_per_side=points_per_side,
        box_nms=box_nms,
        keep_logits=True,
        progress=progress,
    )
    grid = Grid((image.shape[0], image.shape[1]), predictor.mask_side)
    highest = np.zeros(grid.frame, np.float32)
    for one in found:
        assert one.logits is not None
        np.maximum(highest, _outline(grid.enlarged(one.logits), rle.decode(one.mask)), out=highest)
    low, high = float(highest.min()), float(highest.max())
    edges: Float32 = (highest - low) / (high - low) if high > low else np.zeros_like(highest)
    return suppress_non_maxima(edges) if thin else edges


def _outline(logits: Float32, mask: NDArray[np.bool_]) -> Float32:
    """The gradient of the probabilities on the pixels just outside of the mask (H, W), 0 elsewhere."""
    import cv2
    from scipy.special import expit

    probability = expit(logits)
    gradient = np.hypot(cv2.Sobel(probability, cv2.CV_32F, 1, 0), cv2.Sobel(probability, cv2.CV_32F, 0, 1))
    around = cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    return np.where(around & ~mask, gradient, 0)


def suppress_non_maxima(edges: Float32) -> Float32:
    """An edge map (H, W), smoothed a little, with 0 wherever it is higher across the edge; float32 (H, W).

    What edge benchmarks apply before they score (Canny, PAMI 8(6), 1986; Dollár & Zitnick, arXiv 1406.5549): the
    direction across an edge is that of the strongest curvature of the map, smoothed more.
    """
    smooth = _triangle(edges.astype(np.float64), 1)
    if min(smooth.shape) < 2:  # a line has no curvature
        return smooth.astype(np.float32)
    slope_y, slope_x = np.gradient(_triangle(smooth, 4))
    xy, xx = np.gradient(slope_x)
    yy, _ = np.gradient(slope_y)
    across = np.arctan(yy * np.where(xy > 0, -1, 1) / (xx + 1e-5)) % math.pi
    y, x = np.nonzero(smooth)
    step_y, step_x = np.sin(across[y, x]), np.cos(across[y, x])
    neighbours = np.maximum(
        _between(smooth, y + step_y, x + step_x), _between(smooth, y - step_y, x - step_x)
    )
    out: Float64 = np.zeros_like(smooth)
    out[y, x] = np.where(smooth[y, x] * _MARGIN < neighbours, 0, smooth[y, x])
    for axis, length in enumerate(out.shape):
        fade = min(_FADE, length // 2)
        at = np.arange(length)
        share = np.minimum(np.minimum(at, at[::-1]) / max(fade, 1), 1)
        out *= share[:, None] if axis == 0 else share
    return out.astype(np.float32)


def _triangle(values: Float64, radius: int) -> Float64:
    """Convolved with a triangle of this radius along both axes; the border mirrors."""
    import cv2

    rise = np.arange(1.0, radius + 2)
    kernel = np.concatenate([rise, rise[-2::-1]]) / (radius + 1) ** 2
    smooth = cv2.sepFilter2D(values, cv2.CV_64F, kernel, kernel, borderType=cv2.BORDER_REFLECT)
    return np.asarray(smooth, np.float64)


def _between(values: Float64, y: Float64, x: Float64) -> Float64:
    """Bilinear values (N,) at rows ``y`` and columns ``x``; beyond the border that of the border."""
    height, width = values.shape
    y, x = np.minimum(np.maximum(y, 0), height - 1), np.minimum(np.maximum(x, 0), width - 1)
    top, left = y.astype(np.int64), x.astype(np.int64)
    bottom, right = np.minimum(top + 1, height - 1), np.minimum(left + 1, width - 1)
    down, over = y - top, x - left
    upper = values[top, left] * (1 - over) + values[top, right] * over
    lower = values[bottom, left] * (1 - over) + values[bottom, right] * over
    values_between: Float64 = upper * (1 - down) + lower * down
    return values_between
