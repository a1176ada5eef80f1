"""Keeps the frozen features of images with masks, so that training on a CPU need not compute them again.

One file per view (``vis.training.cache``), all in one folder. What is there is not made again, so an
interrupted run goes on where it stopped. Every view draws from a generator of its own.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vis.training.cache import cache_view, save_view
from vis.training.datasets import MaskedImage
from vis.training.frozen import FrozenSam
from vis.training.views import random_view

__all__ = ["cache_views", "view_path"]

_MAX_OBJECTS = 3


def cache_views(
    frozen: FrozenSam,
    images: Sequence[MaskedImage],
    out: Path,
    *,
    views: int = 2,
    seed: int = 0,
    on_image: Callable[[str], None] | None = None,
) -> int:
    """Cache views of images with masks; returns how many of them there are.

    Args:
        frozen: the network, with an initial head.
        images: with their masks.
        out: folder for the views; made when the first one is written.
        views: per image, of at most three objects each; the first shows the whole image. A view that shows
            no object is left out.
        seed: of everything drawn.
        on_image: told a line per image.
    """
    made = 0
    for item in images:
        missing = [n for n in range(views) if not view_path(out, item.path, n).is_file()]
        made += views - len(missing)
        masks = item.masks() if missing else []
        for number in missing if masks else ():
            rng = np.random.default_rng((seed, zlib.crc32(os.fsencode(item.path.name)), number))
            view = random_view(item.image(), masks, rng, whole=number == 0, max_objects=_MAX_OBJECTS)
            if view.masks:
                save_view(view_path(out, item.path, number), cache_view(frozen, view, rng))
                made += 1
        if on_image:
            on_image(f"{item.path.name}: {made} views so far")
    return made


def view_path(out: Path, image: Path, number: int) -> Path:
    """Where view ``number`` of an image lies; images of one name in two folders do not clash."""
    place = zlib.crc32(os.fsencode(image.resolve()))
    return out / f"{image.stem}-{place:08x}-{number}.pt"
