"""The objects of an overlay, each drawn inside the rectangle that holds it. Knows no video and no label."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vis.masks import decode_crop
from vis.render_labels import Color, Rect
from vis.structures import Detections, MaskRLE

__all__ = ["Room", "Shape", "cut_shape", "draw_box", "draw_contour", "fill"]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_SOFT = 1 / 3  # opacity of the pixels on either side of a contour


class Shape(NamedTuple):
    """Where an object is on a frame."""

    place: Rect
    """The rectangle that holds its mask; of its box where it has no pixel."""
    mask: Mask | None
    """Its mask in that rectangle, or None."""


class Room:
    """Memory for two pictures of a canvas's parts, used by one object after the other: new memory costs time."""

    def __init__(self, size: int) -> None:
        self._bytes = np.empty((2, size), np.uint8)

    def like(self, part: Image, which: int) -> Image:
        """An array of the part's shape, contiguous, with anything in it."""
        return self._bytes[which, : part.size].reshape(part.shape)


def cut_shape(
    detections: Detections, shapes: Sequence[MaskRLE] | None, row: int, size: tuple[int, ...]
) -> Shape:
    """The shape of the object in this row; its mask is taken from ``shapes`` (run lengths) where they are given."""
    import cv2

    if shapes is not None:
        x, y, mask = decode_crop(shapes[row])
        if mask.size:
            return Shape((x, y, x + mask.shape[1], y + mask.shape[0]), mask)
    elif detections.masks is not None:
        x, y, width, height = cv2.boundingRect(detections.masks[row].view(np.uint8))
        if width:
            part = detections.masks[row, y : y + height, x : x + width]
            return Shape((x, y, x + width, y + height), part)
    x0, y0, x1, y1 = detections.boxes[row].tolist()
    far_y, far_x = size[0], size[1]
    place = (
        *(round(min(max(x0, 0), far_x)), round(min(max(y0, 0), far_y))),
        *(round(min(max(x1, 0), far_x)), round(min(max(y1, 0), far_y))),
    )
    return Shape(place, None)


def fill(canvas: Image, shape: Shape, color: Color, *, opacity: float, room: Room) -> None:
    """The object's pixels mixed with its colour."""
    import cv2

    if shape.mask is not None:
        x0, y0, x1, y1 = shape.place
        part = canvas[y0:y1, x0:x1]
        cv2.copyTo(_mixed(part, color, opacity, room), shape.mask.view(np.uint8), part)


def draw_contour(canvas: Image, shape: Shape, color: Color, line: int, room: Room) -> None:
    """The object's edge as a band ``line`` pixels wide, with a soft pixel on either side of it.

    The band is where the mask grown and the mask shrunk differ: a third of the time of a traced line.
    """
    import cv2

    if shape.mask is None:
        return
    (x0, y0, x1, y1), grown = shape.place, line // 2
    pad = grown + 1
    inside = cv2.copyMakeBorder(shape.mask.view(np.uint8), pad, pad, pad, pad, cv2.BORDER_CONSTANT)
    band = cv2.subtract(cv2.dilate(inside, _disk(grown)), cv2.erode(inside, _disk(line - grown)))
    soft = cv2.subtract(cv2.dilate(band, _disk(1)), band)
    left, top = max(0, pad - x0), max(0, pad - y0)  # what lies beyond the frame
    part = canvas[y0 - pad + top : y1 + pad, x0 - pad + left : x1 + pad]
    here = (slice(top, top + part.shape[0]), slice(left, left + part.shape[1]))
    band, soft = band[here], soft[here]
    cv2.copyTo(_mixed(part, color, _SOFT, room), soft, part)
    cv2.copyTo(_swatch(part, color, room), band, part)


def draw_box(canvas: Image, box: NDArray[np.float32], color: Color, line: int) -> None:
    """The edge of a box (4,), as far as it lies on the canvas."""
    import cv2

    height, width = canvas.shape[:2]
    x0, y0, x1, y1 = np.clip(box, 0, [width, height, width, height]).round().astype(int).tolist()
    # Boxes are half-open: the last pixel inside is x1 - 1.
    cv2.rectangle(canvas, (x0, y0), (max(x0, x1 - 1), max(y0, y1 - 1)), color, line)


def _mixed(part: Image, color: Color, opacity: float, room: Room) -> Image:
    """All of a part of the canvas mixed with a colour."""
    import cv2

    mixed = cv2.addWeighted(part, 1 - opacity, _swatch(part, color, room), opacity, 0, room.like(part, 1))
    return np.asarray(mixed, np.uint8)


def _swatch(part: Image, color: Color, room: Room) -> Image:
    """A picture of the part's shape in one colour."""
    import cv2

    swatch = room.like(part, 0)
    cv2.rectangle(swatch, (0, 0), (part.shape[1], part.shape[0]), color, cv2.FILLED)
    return swatch


@lru_cache(maxsize=64)
def _disk(radius: int) -> Image:
    import cv2

    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))
