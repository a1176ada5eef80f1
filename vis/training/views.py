"""What the head is trained on: random crops of an image and the wear of real video.

Large-scale jitter as the HQ-SAM recipe has it, drawn so that objects appear at the sizes that videos
show them: a random crop around one object, or the whole image, mirrored half of the time, with changed
light, blur, noise and compression. :class:`ViewSource` gives them by number, from any number of images. Knows images
and masks, no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis.errors import InputError
from vis.masks import extent
from vis.training.datasets import MaskedImage

__all__ = ["View", "ViewSource", "random_view", "wear"]

_TRIES = 200
_SHOW_ALL = 0.3
"""Chance that a view of a stream is the whole image instead of a crop around one object."""
_OBJECTS = 2
"""Most objects of such a view."""
_FRACTION = (0.22, 0.9)
"""Range of an object's longer side over its crop's."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """One training picture, with the objects that are visible in it."""

    image: NDArray[np.uint8]
    """RGB (H, W, 3)."""
    masks: tuple[NDArray[np.bool_], ...]
    """(H, W) of each object."""


class ViewSource:
    """Endless views of images, by number: the same number always gives the same view.

    Pickles, so that worker processes can make views while a GPU trains.
    """

    def __init__(self, images: Sequence[MaskedImage], *, seed: int = 0) -> None:
        if not images:
            raise InputError("training views need at least one image with masks")
        self.images, self.seed = images, seed

    def view(self, number: int) -> View:
        """View ``number``."""
        rng = self.generator(number)
        for _ in range(_TRIES):
            item = self.images[int(rng.integers(len(self.images)))]
            if masks := item.masks():
                shown = bool(rng.random() < _SHOW_ALL)
                view = random_view(item.image(), masks, rng, whole=shown, max_objects=_OBJECTS)
                if view.masks:
                    return view
        raise InputError(
            f"{_TRIES} draws of a training view in a row showed no object; check images and masks"
        )

    def generator(self, number: int, purpose: int = 0) -> np.random.Generator:
        """Random numbers of view ``number`` alone."""
        return np.random.default_rng((self.seed, 11 + purpose, number))


def random_view(
    image: NDArray[np.uint8],
    masks: Sequence[NDArray[np.bool_]],
    rng: np.random.Generator,
    *,
    whole: bool = False,
    max_objects: int = 5,
) -> View:
    """A view of the image with at least one of its objects.

    Args:
        image: RGB uint8 (H, W, 3).
        masks: of its objects, bool (H, W), at least one; none is empty.
        rng: draws everything.
        whole: show the whole image instead of a crop around one object.
        max_objects: most objects of the view; others are left out at random.
    """
    height, width = image.shape[:2]
    crop = (0, 0, width, height)
    if not whole:
        crop = _crop_around(masks[int(rng.integers(len(masks)))], rng)
    x0, y0, x1, y1 = crop
    visible = []
    for mask in masks:
        shown = mask[y0:y1, x0:x1]
        if shown.sum() >= 0.4 * mask.sum() and _large(shown, 0.04):
            visible.append(shown)
    order = rng.permutation(len(visible))[:max_objects]
    picture = image[y0:y1, x0:x1]
    chosen = [visible[i] for i in order]
    if rng.random() < 0.5:
        picture = picture[:, ::-1]
        chosen = [mask[:, ::-1] for mask in chosen]
    return View(wear(np.ascontiguousarray(picture), rng), tuple(chosen))


def wear(image: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Change light and colour; now and then blur, noise and JPEG, as cameras and codecs do."""
    import cv2

    out = image.astype(np.float32)
    if rng.random() < 0.7:
        out = (out - 110) * rng.uniform(0.7, 1.3) + 110 * rng.uniform(0.7, 1.3)
        out *= rng.uniform(0.92, 1.08, 3).astype(np.float32)
    if rng.random() < 0.2:
        out = _blur(out, rng)
    if rng.random() < 0.25:
        out += rng.normal(0, rng.uniform(2, 8), out.shape).astype(np.float32)
    worn = np.clip(out, 0, 255).astype(np.uint8)
    if rng.random() < 0.4:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(40, 90))]
        _, coded = cv2.imencode(".jpg", worn, quality)
        worn = np.asarray(cv2.imdecode(coded, cv2.IMREAD_COLOR), np.uint8)
    return worn


def _blur(image: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Defocus or motion of a few pixels."""
    import cv2

    size = max(image.shape[:2])
    if rng.random() < 0.5:
        return np.asarray(
            cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, max(0.4, 0.002 * size))), np.float32
        )
    length = int(rng.integers(3, max(4, round(0.012 * size))))
    kernel = np.zeros((length, length), np.float32)
    angle = rng.uniform(0, np.pi)
    middle = (length - 1) / 2
    for t in np.linspace(-middle, middle, 4 * length):
        kernel[round(middle + t * np.sin(angle)), round(middle + t * np.cos(angle))] = 1
    return np.asarray(cv2.filter2D(image, -1, kernel / kernel.sum()), np.float32)


def _large(mask: NDArray[np.bool_], least: float) -> bool:
    """Whether the mask's longer side is at least this fraction of the picture's."""
    box = extent(mask)
    return box is not None and max(box[3] - box[1], box[2] - box[0]) - 1 >= least * max(mask.shape)


def _crop_around(mask: NDArray[np.bool_], rng: np.random.Generator) -> tuple[int, int, int, int]:
    """A crop with the object at a share of its longer side within _FRACTION; it may cut the object a little."""
    height, width = mask.shape
    box = extent(mask)
    assert box is not None  # data sets leave out objects without a pixel
    x0, y0, x1, y1 = box
    wide = max(x1 - x0, y1 - y0, 24) / rng.uniform(*_FRACTION)
    aspect = rng.uniform(0.56, 1.0)
    spans = []
    tall = rng.random() < 0.2
    for low, high, limit, length in (
        (x0, x1, width, wide * (aspect if tall else 1)),
        (y0, y1, height, wide * (1 if tall else aspect)),
    ):
        side = int(min(max(length, 0.9 * (high - low)), limit))
        slack = side - (high - low)
        start = low - rng.uniform(-0.1, 1.1) * max(slack, 0) + min(slack, 0) * rng.uniform(-1, 0)
        start = int(min(max(start, 0), limit - side))
        spans.append((start, start + side))
    return spans[0][0], spans[1][0], spans[0][1], spans[1][1]
