"""What is done to the masks of one frame after the network: specks and pin-holes out, no pixel claimed twice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["cleaned", "resolve_overlaps"]

SPECK = 0.003
"""Share of a mask's largest piece: a smaller piece is a speck, a smaller hole a pin-hole.

On seven DAVIS clips (mean IoU .9031 without) it gives .9032 at .003, .9027 at .01, .9010 at .03: what is larger is
more often a real part than not.
"""
SAME = 0.6
"""IoU of two masks from which on they show one thing."""

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]


def cleaned(mask: Bool) -> Bool:
    """The mask (H, W) without specks and pin-holes: pieces and holes much smaller than its largest piece.

    Nothing is smoothed: a thin part that hangs together with the rest stays as it is.
    """
    import cv2

    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return mask
    part = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    inside = mask[part].astype(np.uint8)
    _, labels, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=8)
    areas = stats[:, cv2.CC_STAT_AREA]
    least = SPECK * areas[1:].max()
    kept = areas >= least
    kept[0] = False
    # A hole is a piece of the background that a frame of background around the mask does not reach.
    around = np.pad(1 - kept[labels].astype(np.uint8), 1, constant_values=1)
    _, holes, hole_stats, _ = cv2.connectedComponentsWithStats(around, connectivity=4)
    filled = hole_stats[:, cv2.CC_STAT_AREA] < least
    filled[[0, holes[0, 0]]] = False
    out = np.zeros_like(mask)
    out[part] = kept[labels] | filled[holes[1:-1, 1:-1]]
    return out


def resolve_overlaps(masks: Bool, logits: Mapping[int, Float32], rank: NDArray[Any]) -> None:
    """Give every pixel that several of ``masks`` (N, H, W) claim to one of them; ``masks`` is changed.

    Two masks of one thing (IoU of :data:`SAME` or more) are not cut into pieces of each other: the one of lower
    ``rank`` (N,) stays whole and the other becomes empty. Elsewhere the surest has the pixel. ``logits``: row ->
    (S, S), the network's logits over a square into whose upper left corner the frame is laid; a row without them keeps
    only what no other row claims. Only pixels in dispute are looked at.
    """
    y, x = _disputed(masks)
    if not len(y):
        return
    claims = masks[:, y, x]
    areas = masks.sum(axis=(1, 2))
    order = [row for row in np.argsort(rank, kind="stable").tolist() if claims[row].any()]
    kept: list[int] = []
    for row in order:
        for other in kept:
            common = np.count_nonzero(claims[row] & claims[other])
            if common >= SAME * (areas[row] + areas[other] - common):
                masks[row] = claims[row] = False
                break
        else:
            kept.append(row)
    surest = np.full(len(y), -np.inf, np.float32)
    owner = np.full(len(y), -1)
    for row in kept:
        at = np.flatnonzero(claims[row])
        level = np.full(len(at), -np.finfo(np.float32).max, np.float32)
        if row in logits:
            level = _sampled(logits[row], y[at], x[at], max(masks.shape[1:]))
        better = level > surest[at]
        surest[at[better]], owner[at[better]] = level[better], row
    masks[:, y, x] = np.arange(len(masks))[:, None] == owner


def _disputed(masks: Bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the pixels that more than one mask claims."""
    claims = np.zeros(masks.shape[1:], np.uint16)
    for mask in masks:
        claims += mask
    y, x = np.nonzero(claims > 1)
    return y, x


def _sampled(logits: Float32, y: NDArray[np.intp], x: NDArray[np.intp], longer: int) -> Float32:
    """Bilinear values of (S, S) logits at pixels of a frame whose longer side fills the square."""
    side = len(logits)
    scale = side / longer
    v, u = ((np.clip((at + 0.5) * scale - 0.5, 0, side - 1)).astype(np.float32) for at in (y, x))
    top, left = np.floor(v).astype(np.intp), np.floor(u).astype(np.intp)
    bottom, right = np.minimum(top + 1, side - 1), np.minimum(left + 1, side - 1)
    down, along = v - top, u - left
    upper = logits[top, left] * (1 - along) + logits[top, right] * along
    lower = logits[bottom, left] * (1 - along) + logits[bottom, right] * along
    return np.asarray(upper * (1 - down) + lower * down, np.float32)
