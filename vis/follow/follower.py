"""Follower: objects carried from picture to picture, checked, and found again.

::

    follower = Follower(predictor)
    follower.start(1, image, embedding, Prompt(box=(10, 20, 80, 90)))
    for image in pictures:                       # in either direction of time
        for seen in follower.step(image, predictor.embed(image)):
            seen.number, seen.mask, seen.score, seen.lost

Each step carries the last logits along the motion between the two pictures, turns them into a box and a
mask prompt, lets the decoder draw several masks, and keeps the one that agrees best with what was carried
and with the network's own estimate. All objects share the picture's embedding and its motion.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vis.errors import PromptError
from vis.follow.decoding import candidates
from vis.follow.grid import Grid
from vis.follow.motion import Field, FlowFinder, warp
from vis.follow.prompts import Prompt, first_mask

if TYPE_CHECKING:
    from vis.hqsam import ImageEmbedding, Predictor

__all__ = ["Followed", "Follower"]

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

LOST_BELOW = 0.3
"""A mask that agrees less than this with what was carried is not the object."""


@dataclass(frozen=True, slots=True, eq=False)
class Followed:
    """One object on one picture."""

    number: int
    """The object's id, as given to ``start``."""
    mask: Bool
    """(H, W); empty where the object is lost."""
    box: Float32
    """(4,) x0, y0, x1, y1 around the mask in pixels; where the object is lost, its last one."""
    score: float
    """In [0, 1]: how well the network's estimate and the agreement with the past speak for the mask."""
    lost: bool
    """Not seen on this picture: hidden, gone, or no mask could be trusted."""
    logits: Float32
    """(256, 256) low-resolution logits: what is carried on."""


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    image: NDArray[np.uint8]
    grey: NDArray[np.uint8]


class Follower:
    """Follows any number of objects through pictures of one size, given in order."""

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self._grid: Grid | None = None
        self._flow: FlowFinder | None = None
        self._now: _Picture | None = None
        self._objects: dict[int, Followed] = {}

    @property
    def numbers(self) -> tuple[int, ...]:
        """Ids of the objects that are followed, lost ones among them."""
        return tuple(self._objects)

    def start(
        self, number: int, image: NDArray[np.uint8], embedding: ImageEmbedding, prompt: Prompt
    ) -> Followed:
        """Begin to follow an object, or set one right, on the picture of the last step (or the first one).

        A prompt that is a mask alone is taken as it is.

        Raises:
            PromptError: the prompt gives an empty mask, or cannot prompt one.
        """
        self._look(image)
        grid = self._grid_of(image)
        if prompt.mask is not None and not prompt.points and prompt.box is None:
            mask, logits, score = prompt.mask, grid.logits_of(prompt.mask), 1.0
        else:
            first = first_mask(self.predictor, embedding, prompt)
            mask, logits, score = first.mask, first.logits, first.score
        if not mask.any():
            raise PromptError(
                f"object {number}: its prompt gives an empty mask; click inside of the object, or draw a box"
            )
        seen = Followed(number, mask, _box_of(mask), score, False, logits)
        self._objects[number] = seen
        return seen

    def stop(self, number: int) -> None:
        """Follow an object no longer."""
        del self._objects[number]

    def step(self, image: NDArray[np.uint8], embedding: ImageEmbedding) -> tuple[Followed, ...]:
        """The objects on the next picture, in the order in which they were started."""
        before = self._now
        self._look(image, moved=True)
        if not self._objects or before is None:
            return ()
        assert self._flow is not None
        assert self._now is not None
        field = self._flow.between(self._now.grey, before.grey)
        carried = {number: self._carry(seen, field) for number, seen in self._objects.items()}
        alive = [number for number, logits in carried.items() if self._inside(logits).any()]
        found = self._decode(embedding, alive, carried)
        for number, seen in self._objects.items():
            self._objects[number] = found.get(number) or _lost(seen)
        return tuple(self._objects.values())

    def _look(self, image: NDArray[np.uint8], *, moved: bool = False) -> None:
        """Make ``image`` the current picture."""
        if self._now is not None and self._now.image is image and not moved:
            return
        if self._now is not None and not moved and self._objects:
            raise PromptError("objects start on the picture of the last step; call step with this one first")
        grid = self._grid_of(image)
        if self._flow is None:
            self._flow = FlowFinder(grid)
        self._now = _Picture(image, self._flow.grey(image))

    def _grid_of(self, image: NDArray[np.uint8]) -> Grid:
        size = (image.shape[0], image.shape[1])
        if self._grid is None:
            self._grid = Grid(size, self.predictor.model.size.image_size)
        if self._grid.frame != size:
            raise PromptError(
                f"a picture of {size} follows one of {self._grid.frame}; all must have one size"
            )
        return self._grid

    def _inside(self, logits: Float32) -> Bool:
        assert self._grid is not None
        rows, columns = self._grid.valid
        inside: Bool = logits[:rows, :columns] > 0
        return inside

    def _carry(self, seen: Followed, field: Field) -> Float32:
        assert self._grid is not None
        rows, columns = self._grid.valid
        out = np.full_like(seen.logits, -10.0)
        out[:rows, :columns] = warp(np.clip(seen.logits[:rows, :columns], -10, 10), field.back)
        return out

    def _decode(
        self, embedding: ImageEmbedding, alive: list[int], carried: dict[int, Float32]
    ) -> dict[int, Followed]:
        import torch

        if not alive:
            return {}
        assert self._grid is not None
        boxes = np.stack([self._grid.box(self._inside(carried[number])) for number in alive])
        masks = np.stack([carried[number] for number in alive])
        drawn = candidates(self.predictor, embedding, boxes=boxes, masks=masks)
        up = self.predictor.upsampler(embedding)
        found = {}
        for number, prior, logits, scores in zip(alive, masks, drawn.logits, drawn.scores, strict=True):
            agreement = _agreement(prior, logits[0])
            mask = up.mask(torch.from_numpy(logits[0]).to(up.rows.device)).cpu().numpy()
            if agreement < LOST_BELOW or not mask.any():
                continue
            score = float(np.clip(scores[0], 0, 1)) * agreement
            found[number] = Followed(number, mask, _box_of(mask), score, False, logits[0])
        return found


def _agreement(a: Float32, b: Float32) -> float:
    """Soft IoU of two logit maps as probabilities."""
    p, q = 1 / (1 + np.exp(-a)), 1 / (1 + np.exp(-b))
    union = float(np.maximum(p, q).sum())
    return float(np.minimum(p, q).sum()) / union if union else 0.0


def _lost(seen: Followed) -> Followed:
    return replace(seen, mask=np.zeros_like(seen.mask), score=0.0, lost=True)


def _box_of(mask: Bool) -> Float32:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)
