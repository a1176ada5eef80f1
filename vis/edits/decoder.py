"""Prompts to masks with a SAM or HQ-SAM predictor: the ``decode`` that edits are played with.

A frame is embedded once and a few embeddings are kept, so that a second click on a frame costs the
light decoder only. Kept embeddings never change a mask: the same prompt on the same frame gives the
same mask, first time or later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vis.edits.apply import Prompt
from vis.edits.operations import Point

if TYPE_CHECKING:
    from vis.hqsam import ImageEmbedding, Predictor

__all__ = ["FrameDecoder"]


class FrameDecoder:
    """Callable ``(frame index, Prompt) -> bool (H, W)``.

    ``image_of(index)`` gives a frame's picture, RGB uint8 (H, W, 3). The ``keep`` embeddings used last
    stay in memory (4 to 8 MB each).
    """

    def __init__(
        self, predictor: Predictor, image_of: Callable[[int], NDArray[np.uint8]], *, keep: int = 8
    ) -> None:
        self.predictor = predictor
        self._image_of = image_of
        self._keep = keep
        self._embeddings: OrderedDict[int, ImageEmbedding] = OrderedDict()
        self._lock = Lock()

    def __call__(self, index: int, prompt: Prompt) -> NDArray[np.bool_]:
        """The mask of one prompt."""
        embedding = self.embedding(index)
        given = self._prompts(prompt)
        if set(given) == {"points", "point_labels"} and len(prompt.points) == 1:
            # One click may mean a part or the whole: SAM gives three masks, the best of which is then
            # a prompt beside the click, as in SAM's own interactive evaluation.
            three = self.predictor.decode(embedding, multimask=True, **given)
            given["masks"] = three.low_res_logits[:, int(three.scores[0].argmax())]
        mask: NDArray[np.bool_] = self.predictor.decode(embedding, **given).masks[0]
        return mask

    def embedding(self, index: int) -> ImageEmbedding:
        """The frame's embedding, made at most once while it is kept."""
        with self._lock:
            if index not in self._embeddings:
                self._embeddings[index] = self.predictor.embed(self._image_of(index))
                if len(self._embeddings) > self._keep:
                    self._embeddings.popitem(last=False)
            self._embeddings.move_to_end(index)
            return self._embeddings[index]

    def _prompts(self, prompt: Prompt) -> dict[str, Any]:
        """The predictor's arguments for one object."""
        from vis.refine import mask_prompt

        given: dict[str, Any] = {}
        points, labels = list(prompt.points), list(prompt.point_labels)
        if points and 1 not in labels and prompt.mask is not None:
            # Minus clicks alone tell the network no object: the mask's own middle says which one.
            points.append(_inside(prompt.mask, points))
            labels.append(1)
        if points:
            given["points"] = np.array([points], np.float32)
            given["point_labels"] = np.array([labels], np.int64)
        if prompt.box is not None:
            given["boxes"] = np.array([prompt.box], np.float32)
        if prompt.mask is not None:
            given["masks"] = mask_prompt(prompt.mask[None])
        return given


def _inside(mask: NDArray[np.bool_], away_from: list[Point]) -> Point:
    """The pixel deepest inside the mask that keeps clear of the points; of the whole mask if none does."""
    from vis.refine import deepest_point

    ys, xs = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    reach = 0.04 * mask.sum()  # a radius of a fifth of the object's side, squared
    clear = mask.copy()
    for x, y in away_from:
        clear &= (xs - x) ** 2 + (ys - y) ** 2 > reach
    x, y = deepest_point(clear if clear.any() else mask).tolist()
    return x, y
