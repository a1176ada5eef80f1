"""Prompts to masks with a mask model: the ``decode`` that edits are played with.

A frame is embedded once and a few embeddings are kept, so that a second click on a frame costs the
light decoder only. Kept embeddings never change a mask: the same prompt on the same frame gives the
same mask, first time or later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from vis import engines
from vis.follow.engine import Engine, Propagator
from vis.follow.prompts import Prompt, first_mask
from vis.interfaces import Embedding, MaskPredictor

__all__ = ["FrameDecoder", "NoDecoder"]


class FrameDecoder:
    """Callable ``(frame index, Prompt) -> bool (H, W)``.

    ``image_of(index)`` gives a frame's picture, RGB uint8 (H, W, 3). The ``keep`` embeddings used last
    stay in memory (4 to 8 MB each).
    """

    def __init__(
        self,
        predictor: MaskPredictor,
        image_of: Callable[[int], NDArray[np.uint8]],
        *,
        keep: int = 8,
        engine_of: Callable[[str], Engine] = engines.create,
    ) -> None:
        """``engine_of``: gives an engine by name, loaded, for followings by another than the package's own."""
        self.predictor = predictor
        self._image_of = image_of
        self._engine_of = engine_of
        self._keep = keep
        self._embeddings: OrderedDict[int, Embedding] = OrderedDict()
        self._lock = Lock()

    def __call__(self, index: int, prompt: Prompt) -> NDArray[np.bool_]:
        """The mask of one prompt."""
        return first_mask(self.predictor, self.embedding(index), prompt).mask

    def carry(
        self, index: int, mask: NDArray[np.bool_], onto: Sequence[int], engine: str = engines.DEFAULT
    ) -> Iterator[tuple[int, NDArray[np.bool_] | None, float]]:
        """(frame, mask or None where it is lost, score) of the object on the frames ``onto``, in their order.

        The package's own engine goes with the decoder's mask model. Raises :class:`PromptError` when ``mask`` is empty.
        """
        from vis.follow.follower import Follower

        if not len(onto):
            return
        own = engine == engines.DEFAULT
        follower: Propagator = Follower(self.predictor) if own else self._engine_of(engine).propagator()

        def embedding(frame: int) -> Embedding:
            return self.embedding(frame) if own else follower.embed(self._image_of(frame))

        follower.start(1, self._image_of(index), embedding(index), Prompt(mask=mask))
        for frame in onto:
            (seen,) = follower.step(self._image_of(frame), embedding(frame))
            yield frame, None if seen.lost else seen.mask, seen.score

    def embedding(self, index: int) -> Embedding:
        """The frame's embedding, made at most once while it is kept."""
        with self._lock:
            if index not in self._embeddings:
                self._embeddings[index] = self.predictor.embed(self._image_of(index))
                if len(self._embeddings) > self._keep:
                    self._embeddings.popitem(last=False)
            self._embeddings.move_to_end(index)
            return self._embeddings[index]


class NoDecoder:
    """For edits that ask for no mask: they need neither video nor network, and this says so if they do."""

    def __call__(self, index: int, prompt: Prompt) -> NDArray[np.bool_]:
        """Never called."""
        raise AssertionError(f"an edit asks for a mask on frame {index}: {prompt}")

    def carry(
        self, index: int, mask: NDArray[np.bool_], onto: Sequence[int], engine: str = engines.DEFAULT
    ) -> Iterator[tuple[int, NDArray[np.bool_] | None, float]]:
        """Never called."""
        raise AssertionError(
            f"an edit follows a mask of {mask.sum()} pixels from {index} onto {onto} by {engine}"
        )
