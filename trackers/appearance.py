"""What objects look like, without a network: colours under their masks. For linking and matching.

A histogram over 6 x 6 x 6 RGB cells, square-rooted (so that the dot product of two is their
Bhattacharyya coefficient) and of length 1. It tells a brown horse from a white one, not two brown
ones; an embedding from a detector does better where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackers.base import Float32
from vis import boxes as bx
from vis import masks as rle
from vis.structures import Frame, VideoResult

__all__ = ["WIDTH", "colour_looks", "colours"]

_CELLS = 6
WIDTH = _CELLS**3
"""Length of one vector."""


def colours(image: NDArray[np.uint8], boxes: NDArray[Any], masks: NDArray[np.bool_] | None = None) -> Float32:
    """Colour vectors of the objects of a frame.

    Args:
        image: RGB uint8 (H, W, 3).
        boxes: (N, 4) x0, y0, x1, y1 in pixels.
        masks: bool (N, H, W), or None: an ellipse in the box stands for the object.

    Returns:
        float32 (N, 216), each of length 1, or zeros where no pixel of the object is in the picture.
    """
    cells = _cells(image)
    out = np.zeros((len(boxes), WIDTH), np.float32)
    for row, (x0, y0, x1, y1) in enumerate(_whole(boxes, cells.shape)):
        inside = _ellipse(y1 - y0, x1 - x0) if masks is None else masks[row, y0:y1, x0:x1]
        out[row] = _vector(cells[y0:y1, x0:x1][inside])
    return out


def colour_looks(frames: Iterable[Frame], result: VideoResult) -> dict[int, Float32]:
    """Colours of every tube on every one of its frames, for ``trackers.linking``.

    Args:
        frames: the video that ``result`` was made from; frames it does not cover are passed over.
        result: tubes, with or without masks.

    Returns:
        Tube id -> float32 (L, 216), zeros on frames that the video did not give.
    """
    looks = {tube.id: np.zeros((len(tube), WIDTH), np.float32) for tube in result.tubes}
    rows = {tube.id: dict(zip(tube.frames.tolist(), range(len(tube)), strict=True)) for tube in result.tubes}
    last = max((int(tube.frames[-1]) for tube in result.tubes), default=-1)
    for frame in frames:
        if frame.index > last:
            break
        here = [(tube, rows[tube.id][frame.index]) for tube in result.tubes if frame.index in rows[tube.id]]
        for tube, row in here:
            masks = None if tube.masks is None else rle.decode(tube.masks[row])[None]
            looks[tube.id][row] = colours(frame.image, tube.boxes[row : row + 1], masks)[0]
    return looks


def _cells(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Which of the 216 cells each pixel's colour falls into, uint8 (H, W)."""
    level = np.arange(256, dtype=np.uint16) * _CELLS // 256
    table = level.astype(np.uint8)
    cells: NDArray[np.uint8] = table[image[..., 0]] * np.uint8(_CELLS * _CELLS)
    cells += table[image[..., 1]] * np.uint8(_CELLS) + table[image[..., 2]]
    return cells


def _whole(boxes: NDArray[Any], size: tuple[int, ...]) -> list[list[int]]:
    """Boxes rounded outwards to whole pixels of the picture."""
    outward = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1)
    whole: list[list[int]] = bx.clip(outward, (size[0], size[1])).astype(int).tolist()
    return whole


def _ellipse(height: int, width: int) -> NDArray[np.bool_]:
    y = (np.arange(height) + 0.5) / max(height, 1) * 2 - 1
    x = (np.arange(width) + 0.5) / max(width, 1) * 2 - 1
    inside: NDArray[np.bool_] = y[:, None] ** 2 + x**2 <= 1
    return inside


def _vector(cells: NDArray[np.uint8]) -> Float32:
    counts = np.bincount(cells, minlength=WIDTH)
    vector: Float32 = np.sqrt(counts / max(len(cells), 1)).astype(np.float32)
    return vector
