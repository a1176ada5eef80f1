"""What is wrong with a tube by its masks alone: frames where a mask falls to a part of its object. Reads no frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vis import masks
from vis.structures import Tube

__all__ = ["collapsed_frames"]

WINDOW = 5
"""Rows before, of which the usual area and the trend are taken."""
LEFT = 0.5
"""Of the area that was to be expected; less is a collapse."""
BACK = 0.75
"""Of it, from which on the mask counts as whole again."""
LONGEST_GAP = 3
"""Most processed frames between two rows that are compared; what is hidden longer may come back smaller."""


def collapsed_frames(tube: Tube, processed: NDArray[np.int64], size: tuple[int, int]) -> NDArray[np.int64]:
    """Frames on which the tube's mask has suddenly lost half of its area, until it has it again.

    Motion explains some losses: an object that leaves the picture touches its edge, one that goes away shrinks
    steadily; neither counts. An object that another one covers does: its mask is worth a look as well.

    Args:
        tube: the tube; of boxes only, it has no such frame.
        processed: int64 (T,): the frames that were processed, rising, those of the tube among them.
        size: (height, width) of the video.

    Returns:
        int64, rising: frames of the tube.
    """
    if tube.masks is None or len(tube) < 2:
        return np.zeros(0, np.int64)
    areas = np.array([masks.area(mask) for mask in tube.masks], np.float64)
    at_edge = [_touches(masks.bounding_box(mask), size) for mask in tube.masks]
    places = np.searchsorted(processed, tube.frames)
    found: list[int] = []
    whole: float | None = None
    """Area before the collapse that goes on."""
    good: list[int] = [0]
    """Last rows with a whole mask."""
    for row in range(1, len(tube)):
        if places[row] - places[row - 1] > LONGEST_GAP:
            whole, good = None, [row]
            continue
        if whole is not None and areas[row] >= BACK * whole:
            whole, good = None, []
        if whole is None and good:
            usual = _expected(areas[good], row - good[-1])
            if areas[row] < LEFT * usual and not (at_edge[row] or at_edge[good[-1]]):
                whole = usual
        if whole is None:
            good = [*good[-(WINDOW - 1) :], row]
        else:
            found.append(row)
    return tube.frames[found]


def _expected(before: NDArray[np.float64], ahead: int) -> float:
    """The area to be expected from those before: their median, carried on where they shrink steadily."""
    usual = float(np.median(before))
    if len(before) < 3 or not before.all():
        return usual
    steps = before[1:] / before[:-1]
    shrink = min(1.0, float(np.median(steps)))
    if (steps > 1).any() or shrink == 1.0:
        return usual
    return min(usual, float(before[-1]) * shrink**ahead)


def _touches(box: NDArray[np.float32], size: tuple[int, int]) -> bool:
    empty = box[2] <= box[0]
    return bool(not empty and (box[0] <= 0 or box[1] <= 0 or box[2] >= size[1] or box[3] >= size[0]))
