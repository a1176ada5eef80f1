"""What carries objects from picture to picture must offer, and the engine of this package.

An :class:`Engine` is a loaded model; it makes a :class:`Propagator` for each pass through a video. What carries
objects by motion over pictures that the network does not see is an :class:`Interpolator` too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vis import refiners
from vis.follow.follower import Follower, ObjectState
from vis.follow.prompts import Prompt
from vis.interfaces import Embedding

__all__ = ["Engine", "Interpolator", "OwnEngine", "Propagator"]


@runtime_checkable
class Propagator(Protocol):
    """Follows any number of objects through pictures of one size, given in order, in either direction of time."""

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects that are followed, lost ones among them."""

    def embed(self, image: NDArray[np.uint8]) -> Embedding:
        """What ``start`` and ``step`` need of one picture, RGB uint8 (H, W, 3)."""

    def start(
        self, object_id: int, image: NDArray[np.uint8], embedding: Embedding, prompt: Prompt
    ) -> ObjectState:
        """Begin to follow an object, or set one right, on the picture of the last step (or the first one).

        A prompt that is a mask alone is taken as it is. Raises :class:`PromptError` where the mask is empty.
        """

    def stop(self, object_id: int) -> None:
        """Follow an object no longer."""

    def step(self, image: NDArray[np.uint8], embedding: Embedding) -> tuple[ObjectState, ...]:
        """The objects on the next picture, in the order of their starts."""


@runtime_checkable
class Interpolator(Propagator, Protocol):
    """Carries objects by motion between pictures that the network sees."""

    def flow_step(self, image: NDArray[np.uint8]) -> float:
        """Take a picture without the network; how little the motion can be trusted, in [0, 1]."""

    def carried(self) -> tuple[ObjectState, ...]:
        """The objects on the picture of the last flow step."""

    def interpolate(self) -> list[tuple[ObjectState, ...]]:
        """The objects on each flow step's picture between the last two steps."""


@runtime_checkable
class Engine(Protocol):
    """A loaded model that follows objects."""

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """File name -> SHA-256 of what it was loaded from."""

    def describe(self) -> dict[str, Any]:
        """What runs, as plain JSON values: ``network``, ``size``, ``mode`` and ``device`` at least."""

    def propagator(self) -> Propagator:
        """A new one, without objects."""


class OwnEngine:
    """Any mask model of images, led by motion and a memory of its features (:class:`Follower`)."""

    def __init__(self, *, model: str, device: str = "auto", mode: str = "fast") -> None:
        """Arguments as for :func:`vis.refiners.create`."""
        self.predictor = refiners.create(model, device=device, mode=mode)
        self._model = model

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """File name -> SHA-256 of what it was loaded from."""
        return refiners.checksums(self._model)

    def describe(self) -> dict[str, Any]:
        """The mask model's own description."""
        return self.predictor.describe()

    def propagator(self) -> Follower:
        """A new follower, without objects."""
        return Follower(self.predictor)
