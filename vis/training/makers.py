"""Views by number, from any mix of sources: what a stream of training views is made of.

A maker draws one view from a generator; :class:`ViewSource` picks a maker by its share. Everything here
pickles, so that worker processes can make views while a GPU trains. Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np

from vis.errors import InputError
from vis.training.composites import compose, drawn_cutout, join, photographed, rendered
from vis.training.datasets import MaskedImage
from vis.training.teacher import load_targets
from vis.training.views import View, random_view

__all__ = ["CompositeViews", "MaskedViews", "Part", "TaughtViews", "ViewMaker", "ViewSource"]

_TRIES = 200
_THIN = ("wires", "fence", "foliage")


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
        targets = item.targets()
        if not targets:
            return None
        whole = bool(rng.random() < self.whole)
        return random_view(item.image(), targets, rng, whole=whole, max_objects=self.max_objects)


@dataclass(frozen=True, slots=True)
class TaughtViews:
    """Views of photographs with the zoom teacher's masks."""

    pairs: Sequence[tuple[Path, Path]] = field(repr=False)
    """(image, targets file of ``teacher.save_targets``)"""
    whole: float = 0.4
    max_objects: int = 2

    def __call__(self, rng: np.random.Generator) -> View | None:
        """See :class:`ViewMaker`."""
        image, targets_file = self.pairs[int(rng.integers(len(self.pairs)))]
        targets = load_targets(targets_file)
        if not targets:
            return None
        whole = bool(rng.random() < self.whole)
        return random_view(
            MaskedImage(image).image(), targets, rng, whole=whole, max_objects=self.max_objects
        )


@dataclass(frozen=True, slots=True)
class CompositeViews:
    """Views of cut-outs pasted on photographs, their masks exact.

    A cut-out is rendered art where there is any, an object of a photograph, or a drawn shape.
    """

    backgrounds: Sequence[Path] = field(repr=False)
    art: Sequence[Path] = field(default=(), repr=False)
    """RGBA pictures: clip art, rendered emoji."""
    taught: Sequence[tuple[Path, Path]] = field(default=(), repr=False)
    """(image, targets file): objects of photographs."""
    shares: tuple[float, float, float] = (0.4, 0.45, 0.15)
    """Chances of a photographed, a rendered and a drawn cut-out."""
    joined: float = 0.2
    """Chance that two cut-outs are first joined to one object, as a rider and a horse are."""
    occluded: float = 0.3
    """Chance that something thin, which is no object, stands before them."""
    pieces: int = 3
    whole: float = 0.6
    max_objects: int = 2

    def __call__(self, rng: np.random.Generator) -> View | None:
        """See :class:`ViewMaker`."""
        cutouts = []
        for _ in range(int(rng.integers(1, self.pieces + 1))):
            piece = self._cutout(rng)
            if piece is not None and rng.random() < self.joined:
                other = self._cutout(rng)
                piece = piece if other is None else join(piece, other, rng)
            if piece is not None:
                cutouts.append(piece)
        before = []
        if rng.random() < self.occluded:
            before = [drawn_cutout(self._photo(rng), 384, rng, kinds=_THIN)]
        picture, targets = compose(self._photo(rng), cutouts, rng, occluders=before)
        if not targets:
            return None
        whole = bool(rng.random() < self.whole)
        return random_view(picture, targets, rng, whole=whole, max_objects=self.max_objects)

    def _photo(self, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        return MaskedImage(self.backgrounds[int(rng.integers(len(self.backgrounds)))]).image()

    def _cutout(self, rng: np.random.Generator) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]] | None:
        photographs, art, _ = np.cumsum(self.shares) / sum(self.shares)
        draw = rng.random()
        if draw < photographs and self.taught:
            image, targets_file = self.taught[int(rng.integers(len(self.taught)))]
            targets = load_targets(targets_file)
            if not targets:
                return None
            return photographed(MaskedImage(image).image(), targets[int(rng.integers(len(targets)))])
        if draw < art and self.art:
            return rendered(self.art[int(rng.integers(len(self.art)))], self._photo(rng), rng)
        return drawn_cutout(self._photo(rng), 384, rng)


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
            if view is not None and view.targets:
                return view
        raise InputError(
            f"training part {part.name!r}: {_TRIES} draws in a row showed no object; check its images and masks"
        )

    def generator(self, number: int, purpose: int = 0) -> np.random.Generator:
        """Random numbers of view ``number`` alone."""
        return np.random.default_rng((self.seed, 11 + purpose, number))
