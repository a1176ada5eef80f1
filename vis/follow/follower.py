"""Follower: objects carried from picture to picture, checked, and found again.

::

    follower = Follower(predictor)
    follower.start(1, image, embedding, Prompt(box=(10, 20, 80, 90)))
    for image in pictures:                       # in either direction of time
        for seen in follower.step(image, predictor.embed(image)):
            seen.number, seen.mask, seen.score, seen.lost

A step, for each object::

    last logits --motion--> carried    \\
                                        prior --> box and mask prompt --> masks --> the one nearest the prior
    features    --memory--> remembered /

The prior is what is expected; masks are what the decoder makes of it. A mask that agrees too little
with the prior is not believed, and the object is lost: then memory alone looks for it, everywhere,
until a region looks enough like it. All objects share the picture's embedding, its motion, and the
search through the memory. With a model that has no :class:`vis.interfaces.DenseFeatures` there is no
memory: objects are carried by motion alone, and a lost one stays lost.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import PromptError
from vis.follow.between import LIMIT, Glance, blend, carry, doubt, ways_ahead
from vis.follow.decoding import candidates
from vis.follow.grid import Grid
from vis.follow.memory import Memory
from vis.follow.motion import Field, FlowFinder, compose
from vis.follow.prompts import Prompt, first_mask
from vis.interfaces import DenseFeatures, Embedding, MaskPredictor
from vis.prompts import check_prompts

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Followed", "Follower"]

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]

BELIEVED = 0.25
"""Least agreement (soft IoU) of a mask with what is expected, for an object that is in sight."""
FOUND = 0.3
"""The same for an object that was lost: it must be surer than one that never left."""
SURE = 0.6
"""Masks that agree less than this are shown, but not remembered."""
REMEMBERED = 1.0
"""Weight of the memory's log odds in the prior."""
CARRIED = 0.5
"""Weight of the carried logits in the prior."""
REACH = 0.5
"""How far from where the object was carried to its parts may lie, as a share of its size."""
DOUBT = 0.3
"""A picture is worth a look of the network when the motion of more than this share of an object is unsure."""
ESTIMATE = 0.4
"""Weight of the network's own estimate of a mask's quality beside its agreement with the prior."""


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
    """(s, s) low-resolution logits: what is carried on."""


@dataclass(frozen=True, slots=True, eq=False)
class _Picture:
    image: NDArray[np.uint8]
    grey: NDArray[np.uint8]
    keys: Tensor | None
    """What the memory knows it by; None without a memory."""


class Follower:
    """Follows any number of objects through pictures of one size, given in order."""

    def __init__(self, predictor: MaskPredictor) -> None:
        self.predictor = predictor
        self._grid: Grid | None = None
        self._flow: FlowFinder | None = None
        self._memory: Memory | None = None
        self._now: _Picture | None = None
        self._objects: dict[int, Followed] = {}
        self._before: dict[int, Followed] = {}
        self._glances: list[Glance] = []
        self._glanced: NDArray[np.uint8] | None = None
        self._passed: list[Glance] = []

    @property
    def numbers(self) -> tuple[int, ...]:
        """Ids of the objects that are followed, lost ones among them."""
        return tuple(self._objects)

    def start(self, number: int, image: NDArray[np.uint8], embedding: Embedding, prompt: Prompt) -> Followed:
        """Begin to follow an object, or set one right, on the picture of the last step (or the first one).

        A prompt that is a mask alone is taken as it is.

        Raises:
            PromptError: the prompt gives an empty mask, or cannot prompt one.
        """
        now = self._look(image, embedding)
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
        if self._memory is not None and now.keys is not None:
            self._memory.pin(now.keys, number, self._memory.cells_of(logits))
        return seen

    def stop(self, number: int) -> None:
        """Follow an object no longer."""
        del self._objects[number]
        if self._memory is not None:
            self._memory.forget(number)

    def step(self, image: NDArray[np.uint8], embedding: Embedding) -> tuple[Followed, ...]:
        """The objects on the next picture, or on the one glanced at last, in the order in which they were started."""
        glance = self._glances.pop() if self._glanced is image else self._move(image)
        self._glanced = None
        before = self._objects
        now = self._look(image, embedding, glance)
        if glance is None or not before:
            self._passed, self._glances, self._before = [], [], {}
            return ()
        memory, numbers = self._memory, list(before)
        remembered: Float32 | list[None] = [None] * len(numbers)
        if memory is not None and now.keys is not None:
            remembered = memory.read(now.keys, numbers)
        priors: dict[int, Float32] = {}
        for number, odds in zip(numbers, remembered, strict=True):
            prior = self._prior(before[number], glance.back, odds)
            if prior is not None:
                priors[number] = prior
        found = self._decode(embedding, priors)
        self._objects = {number: found.get(number) or _lost(before[number]) for number in numbers}
        if memory is not None and now.keys is not None:
            cells = {number: memory.cells_of(seen.logits) for number, seen in found.items()}
            memory.add(now.keys, cells, {number for number, seen in found.items() if seen.score >= SURE})
        self._passed, self._glances, self._before = [*self._glances, glance], [], before
        return tuple(self._objects.values())

    def glance(self, image: NDArray[np.uint8]) -> float:
        """Pass a picture without the network: its motion is noted, and the next step goes on from there.

        Returns how little the motion can be trusted, in [0, 1], for the object where it is worst. Above
        0.3 it is better to ``step`` to this picture after all, which takes the motion as found here.
        """
        glance = self._move(image)
        if glance is None:
            return 1.0
        self._glances.append(glance)
        self._glanced = image
        grid = self._grid_of(image)
        in_sight = [seen for seen in self._objects.values() if not seen.lost]
        return max((doubt(seen.logits, glance.back, grid) for seen in in_sight), default=0.0)

    def carried(self) -> tuple[Followed, ...]:
        """The objects on the picture glanced at last, carried there by motion alone: for live pictures."""
        if not self._glances or self._grid is None:
            return tuple(self._objects.values())
        back = self._glances[-1].back
        logits = {
            number: blend(seen.logits, None, back, back, 0.5, self._grid)
            for number, seen in self._objects.items()
            if not seen.lost
        }
        shown = self._show(logits, {number: self._objects[number].score for number in logits})
        return tuple(shown.get(number) or _lost(seen) for number, seen in self._objects.items())

    def between(self) -> list[tuple[Followed, ...]]:
        """The objects on each picture glanced at between the last two steps, carried from both sides."""
        grid, passed = self._grid, self._passed
        if grid is None or len(passed) < 2:
            return []
        out = []
        for place, (glance, ahead) in enumerate(zip(passed[:-1], ways_ahead(passed), strict=True), start=1):
            share = place / len(passed)
            logits, scores = {}, {}
            for number, old in self._before.items():
                new = self._objects.get(number, old)
                if (old if share < 0.5 else new).lost:
                    continue
                sides = None if old.lost else old.logits, None if new.lost else new.logits
                logits[number] = blend(*sides, glance.back, ahead, share, grid)
                scores[number] = (
                    old.score if new.lost else new.score if old.lost else min(old.score, new.score)
                )
            shown = self._show(logits, scores)
            out.append(tuple(shown.get(number) or _lost(seen) for number, seen in self._before.items()))
        return out

    def _move(self, image: NDArray[np.uint8]) -> Glance | None:
        """The motion to the next picture; None for the first one."""
        grid = self._grid_of(image)
        if self._flow is None:
            self._flow = FlowFinder(grid)
        if self._now is None:
            return None
        grey = self._flow.grey(image)
        last = self._glances[-1] if self._glances else None
        back, ahead = self._flow.between(grey, self._now.grey if last is None else last.grey)
        return Glance(grey, back if last is None else compose(back, last.back), ahead)

    def _show(self, logits: dict[int, Float32], scores: dict[int, float]) -> dict[int, Followed]:
        """Objects that have a mask left at the frame's size."""
        if not logits or self._grid is None:
            return {}
        (masks,) = self.predictor.logits_to_masks(np.stack(list(logits.values())), self._grid.frame)
        return {
            number: Followed(number, mask, _box_of(mask), scores[number], False, logits[number])
            for number, mask in zip(logits, masks, strict=True)
            if mask.any()
        }

    def _look(self, image: NDArray[np.uint8], embedding: Embedding, glance: Glance | None = None) -> _Picture:
        """Make ``image`` the current picture."""
        if self._now is not None and self._now.image is image:
            return self._now
        if self._now is not None and glance is None and self._objects:
            raise PromptError("objects start on the picture of the last step; call step with this one first")
        grid = self._grid_of(image)
        if self._flow is None:
            self._flow = FlowFinder(grid)
        keys = None
        if isinstance(self.predictor, DenseFeatures):
            self._memory = self._memory or Memory(grid)
            keys = self._memory.keys(self.predictor.dense_features(embedding))
        grey = self._flow.grey(image) if glance is None else glance.grey
        self._now = _Picture(image, grey, keys)
        return self._now

    def _grid_of(self, image: NDArray[np.uint8]) -> Grid:
        size = (image.shape[0], image.shape[1])
        if self._grid is None:
            self._grid = Grid(size, self.predictor.mask_side)
        if self._grid.frame != size:
            raise PromptError(
                f"a picture of {size} follows one of {self._grid.frame}; all must have one size"
            )
        return self._grid

    def _prior(self, seen: Followed, field: Field, odds: Float32 | None) -> Float32 | None:
        """Logits (side, side) of where the object is expected; None where nothing speaks for any place.

        ``odds`` (P,): the memory's log odds by feature cell; None without a memory.
        """
        import cv2

        assert self._grid is not None
        rows, columns = self._grid.valid
        prior = np.zeros((rows, columns), np.float32)
        if odds is not None:
            down, across = self._grid.coarse
            wide: Any = cv2.resize(
                odds.reshape(down, across), (4 * across, 4 * down), interpolation=cv2.INTER_LINEAR
            )
            prior = REMEMBERED * wide[:rows, :columns]
        if not seen.lost:
            carried = carry(seen.logits, field, self._grid)
            prior = prior + CARRIED * carried * (0.3 + 0.7 * field.trust)
            prior = _near(prior, carried)
        else:
            prior = _largest(prior)
        if not (prior > 0).any():
            return None
        out = np.full_like(seen.logits, -LIMIT)
        out[:rows, :columns] = np.clip(prior, -LIMIT, LIMIT)
        return out

    def _decode(self, embedding: Embedding, priors: dict[int, Float32]) -> dict[int, Followed]:
        if not priors:
            return {}
        assert self._grid is not None
        rows, columns = self._grid.valid
        masks = np.stack(list(priors.values()))
        boxes = np.stack([self._grid.box(prior[:rows, :columns] > 0) for prior in masks])
        prompts = check_prompts(self._grid.frame, self._grid.side, boxes=boxes, masks=masks)
        drawn = candidates(self.predictor, embedding, prompts)
        chosen: dict[int, Float32] = {}
        scores: dict[int, float] = {}
        for number, prior, logits, estimates in zip(priors, masks, drawn.logits, drawn.scores, strict=True):
            agreements = [_agreement(prior[:rows, :columns], one[:rows, :columns]) for one in logits]
            best, agreement, estimate = _choose(logits, np.array(agreements), np.clip(estimates, 0, 1))
            if agreement >= (FOUND if self._objects[number].lost else BELIEVED):
                chosen[number], scores[number] = best, estimate * agreement
        return self._show(chosen, scores)


def _choose(logits: Float32, agreements: NDArray[Any], estimates: Float32) -> tuple[Float32, float, float]:
    """The mask of K (K, side, side) to believe, its agreement with the prior and its estimated quality."""
    best = int((agreements + ESTIMATE * estimates).argmax())
    return logits[best], float(agreements[best]), float(estimates[best])


def _lost(seen: Followed) -> Followed:
    return replace(seen, mask=np.zeros_like(seen.mask), score=0.0, lost=True)


def _near(prior: Float32, carried: Float32) -> Float32:
    """The prior without regions that do not touch where the object was carried to, or its surroundings."""
    import cv2

    core = (carried > 0).astype(np.uint8)
    if not core.any():
        return prior
    count, parts = cv2.connectedComponents((prior > 0).astype(np.uint8))
    if count <= 2:
        return prior
    # As far as half the object's size: what hides its middle must not cut off the far part.
    step = 2 * int(4 + REACH * np.sqrt(core.sum())) + 1
    reach = cv2.dilate(core, np.ones((step, step), np.uint8)) > 0
    keep = np.zeros(count, np.bool_)
    keep[np.unique(parts[reach])] = True
    keep[0] = True
    if keep.sum() == 1:
        return prior
    return np.where(keep[parts], prior, -LIMIT).astype(np.float32)


def _largest(prior: Float32) -> Float32:
    """The prior with its region of the greatest sum alone."""
    import cv2

    count, parts = cv2.connectedComponents((prior > 0).astype(np.uint8))
    if count <= 2:
        return prior
    weight = np.bincount(parts.ravel(), np.maximum(prior, 0).ravel(), count)
    weight[0] = -1
    return np.where((parts == 0) | (parts == weight.argmax()), prior, -LIMIT).astype(np.float32)


def _agreement(a: Float32, b: Float32) -> float:
    """Soft IoU of two logit maps as probabilities."""
    p, q = (1 / (1 + np.exp(-np.clip(logits, -30, 30))) for logits in (a, b))
    union = float(np.maximum(p, q).sum())
    return float(np.minimum(p, q).sum()) / union if union else 0.0


def _box_of(mask: Bool) -> Float32:
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)
