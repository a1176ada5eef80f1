"""Views by number, from any mix of sources: what a stream of training views is made of.

A maker draws one view from a generator; :class:`ViewSource` picks a maker by its share. Everything here
pickles, so that worker processes can make views while a GPU trains. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from vis.errors import InputError
from vis.training.datasets import MaskedImage
from vis.training.views import View, random_view

__all__ = ["MaskedViews", "Part", "ViewMaker", "ViewSource"]

_TRIES = 200


class ViewMaker(Protocol):
    """Draws one view; None where the draw shows no object."""

    def __call__(self, rng: np.random.Generator) -> View | None:
        """A view, every choice drawn from ``rng``."""


@dataclass(frozen=True, slots=True)
class MaskedViews:
    """Views of images with given masks."""

    images: Sequence[MaskedImage] = field(repr=False)
    whole: float = 0.3
    """Chance that the whole image is shown instead of a crop around one object."""
    max_objects: int = 2

    def __call__(self, rng: np.random.Generator) -> View | None:
        """See :class:`ViewMaker`."""
        item = self.images[int(rng.integers(len(self.images)))]
        masks = item.masks()
        if not masks:
            return None
        whole = bool(rng.random() < self.whole)
        return random_view(item.image(), masks, rng, whole=whole, max_objects=self.max_objects)


@dataclass(frozen=True, slots=True)
class Part:
    """One source in a mix."""

    name: str
    share: float
    """Of all views, relative to the other parts."""
    maker: ViewMaker = field(repr=False)


class ViewSource:
    """An endless mix of views by number: the same number always gives the same view."""

    def __init__(self, parts: Sequence[Part], *, seed: int = 0) -> None:
        if not parts or not all(part.share > 0 for part in parts):
            raise InputError("a mix of training views needs at least one part, every share above 0")
        self.parts = tuple(parts)
        self.seed = seed
        self._shares = np.array([part.share for part in parts]) / sum(part.share for part in parts)

    def view(self, number: int) -> View:
        """View ``number``."""
        rng = self.generator(number)
        part = self.parts[int(rng.choice(len(self.parts), p=self._shares))]
        for _ in range(_TRIES):
            view = part.maker(rng)
            if view is not None and view.masks:
                return view
        raise InputError(
            f"training part {part.name!r}: {_TRIES} draws in a row showed no object; check its images and masks"
        )

    def generator(self, number: int, purpose: int = 0) -> np.random.Generator:
        """Random numbers of view ``number`` alone."""
        return np.random.default_rng((self.seed, 11 + purpose, number))
