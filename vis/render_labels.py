"""Labels on pictures: plates with letters, and the places where they cover no other. Knows no detection."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Color",
    "Rect",
    "blend",
    "find_spot",
    "ink_on",
    "label_image",
    "overlap",
    "paste",
    "shortened",
    "text_coverage",
]

Image = NDArray[np.uint8]
Color = tuple[int, int, int]  # red, green, blue
Rect = tuple[int, int, int, int]  # x0, y0, x1, y1

_LONGEST = 60  # letters of a name
_MOST_SPOTS = 64  # places down an object that are tried for its label


def shortened(name: str) -> str:
    """A name as it fits on a label."""
    return name if len(name) <= _LONGEST else name[: _LONGEST - 1] + "…"


@lru_cache(maxsize=256)
def label_image(text: str, color: Color, height: int) -> NDArray[np.uint8]:
    """A label as RGBA uint8: letters on a rounded plate of the object's colour."""
    import cv2

    letters = text_coverage(text, height)
    pad = max(3, height // 3)
    size = letters.shape[0] + pad, letters.shape[1] + 2 * pad
    # Drawn four times too large and shrunk: round corners without steps.
    plate = np.zeros((4 * size[0], 4 * size[1]), np.uint8)
    round_, far = max(2, 4 * height // 4), (plate.shape[1] - 1, plate.shape[0] - 1)
    cv2.rectangle(plate, (round_, 0), (far[0] - round_, far[1]), 255, -1)
    cv2.rectangle(plate, (0, round_), (far[0], far[1] - round_), 255, -1)
    for x in (round_, far[0] - round_):
        for y in (round_, far[1] - round_):
            cv2.circle(plate, (x, y), round_, 255, -1)
    image = np.empty((*size, 4), np.uint8)
    image[:, :, :3] = color
    image[:, :, 3] = cv2.resize(plate, size[::-1], interpolation=cv2.INTER_AREA)
    blend(image[:, :, :3], letters, ink_on(color), pad, pad // 2)
    image.setflags(write=False)
    return image


@lru_cache(maxsize=256)
def text_coverage(text: str, height: int) -> Image:
    """uint8 (h, w) coverage of a line of text in Pillow's own font; ``height`` is the letters' size."""
    from PIL import Image as Pillow
    from PIL import ImageDraw, ImageFont

    font: Any = ImageFont.load_default(size=height)
    ascent, descent = font.getmetrics()
    picture = Pillow.new("L", (max(1, int(font.getlength(text) + 1)), ascent + descent))
    ImageDraw.Draw(picture).text((0, 0), text, fill=255, font=font)
    return np.asarray(picture)


def ink_on(color: Color) -> Color:
    """Black or white, whichever has more contrast (WCAG relative luminance)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in color)]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    # (L + 0.05) / 0.05 against 1.05 / (L + 0.05): equal at L = 0.179.
    return (0, 0, 0) if luminance > 0.179 else (255, 255, 255)


def find_spot(place: Rect, size: tuple[int, int], frame: tuple[int, int], taken: list[Rect]) -> Rect:
    """Where a label goes: at a corner of its object, inside the frame, on no other label if possible."""
    x0, y0, x1, y1 = place
    height, width = size
    corners = [(x0, y0 - height), (x1 - width, y0 - height), (x0, y0), (x1 - width, y0)]
    corners += [(x0, y1), (x1 - width, y1), (x0, y1 - height), (x1 - width, y1 - height)]
    # When all corners are taken, step down through the object, label by label.
    corners += [(x0, y) for y in range(y0 + height, y1, height)][:_MOST_SPOTS]
    spots = []
    for x, y in corners:
        x, y = max(0, min(x, frame[1] - width)), max(0, min(y, frame[0] - height))
        spot = (x, y, x + width, y + height)
        if not any(overlap(spot, other) for other in taken):
            return spot
        spots.append(spot)
    return min(spots, key=lambda spot: sum(overlap(spot, other) for other in taken))


def overlap(a: Rect, b: Rect) -> int:
    """Pixels that two rectangles have in common."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))


def paste(canvas: Image, image: NDArray[np.uint8], spot: Rect) -> None:
    """Draw an RGBA image onto the canvas from the spot's corner on, as far as it goes."""
    x, y = spot[:2]
    part = canvas[y : y + image.shape[0], x : x + image.shape[1]]
    image = image[: part.shape[0], : part.shape[1]]
    cover = image[:, :, 3:].astype(np.uint16)
    part[:] = (part * (255 - cover) + image[:, :, :3] * cover + 127) // 255


def blend(canvas: Image, cover: Image, ink: Color, x: int, y: int) -> None:
    """Mix a colour into the canvas from (x, y) on, by a coverage (h, w) of 0 to 255."""
    part = canvas[y : y + cover.shape[0], x : x + cover.shape[1]]
    weight = cover[: part.shape[0], : part.shape[1], None].astype(np.uint16)
    part[:] = (part * (255 - weight) + np.array(ink, np.uint16) * weight + 127) // 255
