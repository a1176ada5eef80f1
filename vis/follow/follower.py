"""Follower: objects carried from picture to picture, checked, and found again.

::

    follower = Follower(predictor)
    follower.start(1, image, embedding, Prompt(box=(10, 20, 80, 90)))
    for image in pictures:                       # in either direction of time
        for seen in follower.step(image, predictor.embed(image)):
            seen.object_id, seen.mask, seen.score, seen.lost

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
from vis.follow.decoding import candidates
from vis.follow.grid import Grid
from vis.follow.interpolation import LIMIT, FlowStep, blend, carry, doubt, ways_ahead
from vis.follow.memory import Memory
from vis.follow.motion import Field, FlowFinder, compose
from vis.follow.prompts import Prompt, first_mask
from vis.interfaces import DenseFeatures, Embedding, MaskPredictor
from vis.prompts import check_prompts
from vis.renamed import renamed_attribute

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Follower", "ObjectState"]

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
"""A picture is worth a pass of the network when the motion of more than this share of an object is unsure."""
ESTIMATE = 0.4
"""Weight of the network's own estimate of a mask's quality beside its agreement with the prior."""


@dataclass(frozen=True, slots=True, eq=False)
class ObjectState:
    """One object on one picture."""

    object_id: int
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

    number = renamed_attribute("number", "object_id")


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
        self._objects: dict[int, ObjectState] = {}
        self._before: dict[int, ObjectState] = {}
        self._flow_steps: list[FlowStep] = []
        self._flow_image: NDArray[np.uint8] | None = None
        self._passed: list[FlowStep] = []

    @property
    def object_ids(self) -> tuple[int, ...]:
        """Ids of the objects that are followed, lost ones among them."""
        return tuple(self._objects)

    def embed(self, image: NDArray[np.uint8]) -> Embedding:
        """What ``start`` and ``step`` need of one picture: the predictor's embedding."""
        return self.predictor.embed(image)

    def start(
        self, object_id: int, image: NDArray[np.uint8], embedding: Embedding, prompt: Prompt
    ) -> ObjectState:
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
                f"object {object_id}: its prompt gives an empty mask; click inside of the object, or draw a box"
            )
        seen = ObjectState(object_id, mask, _box_of(mask), score, False, logits)
        self._objects[object_id] = seen
        if self._memory is not None and now.keys is not None:
            self._memory.pin(now.keys, object_id, self._memory.cells_of(logits))
        return seen

    def stop(self, object_id: int) -> None:
        """Follow an object no longer."""
        del self._objects[object_id]
        if self._memory is not None:
            self._memory.forget(object_id)

    def step(self, image: NDArray[np.uint8], embedding: Embedding) -> tuple[ObjectState, ...]:
        """The objects on the next picture, or on that of the last flow step, in the order of their starts."""
        flow = self._flow_steps.pop() if self._flow_image is image else self._move(image)
        self._flow_image = None
        before = self._objects
        now = self._look(image, embedding, flow)
        if flow is None or not before:
            self._passed, self._flow_steps, self._before = [], [], {}
            return ()
        memory, object_ids = self._memory, list(before)
        remembered: Float32 | list[None] = [None] * len(object_ids)
        if memory is not None and now.keys is not None:
            remembered = memory.read(now.keys, object_ids)
        priors: dict[int, Float32] = {}
        for object_id, odds in zip(object_ids, remembered, strict=True):
            prior = self._prior(before[object_id], flow.back, odds)
            if prior is not None:
                priors[object_id] = prior
        found = self._decode(embedding, priors)
        self._objects = {
            object_id: found.get(object_id) or _lost(before[object_id]) for object_id in object_ids
        }
        if memory is not None and now.keys is not None:
            cells = {object_id: memory.cells_of(seen.logits) for object_id, seen in found.items()}
            memory.add(
                now.keys, cells, {object_id for object_id, seen in found.items() if seen.score >= SURE}
            )
        self._passed, self._flow_steps, self._before = [*self._flow_steps, flow], [], before
        return tuple(self._objects.values())

    def flow_step(self, image: NDArray[np.uint8]) -> float:
        """Take a picture without the network: its motion is noted, and the next step goes on from there.

        Returns how little the motion can be trusted, in [0, 1], for the object where it is worst. Above
        0.3 it is better to ``step`` to this picture after all, which takes the motion as found here.
        """
        flow = self._move(image)
        if flow is None:
            return 1.0
        self._flow_steps.append(flow)
        self._flow_image = image
        grid = self._grid_of(image)
        in_sight = [seen for seen in self._objects.values() if not seen.lost]
        return max((doubt(seen.logits, flow.back, grid) for seen in in_sight), default=0.0)

    def carried(self) -> tuple[ObjectState, ...]:
        """The objects on the picture of the last flow step, carried there by motion alone: for live pictures."""
        if not self._flow_steps or self._grid is None:
            return tuple(self._objects.values())
        back = self._flow_steps[-1].back
        logits = {
            object_id: blend([(seen.logits, back, 0.5)], self._grid)
            for object_id, seen in self._objects.items()
            if not seen.lost
        }
        shown = self._show(logits, {object_id: self._objects[object_id].score for object_id in logits})
        return tuple(shown.get(object_id) or _lost(seen) for object_id, seen in self._objects.items())

    def interpolate(self) -> list[tuple[ObjectState, ...]]:
        """The objects on each flow step's picture between the last two steps, carried from both sides."""
        grid, passed = self._grid, self._passed
        if grid is None or len(passed) < 2:
            return []
        out = []
        for place, (flow, ahead) in enumerate(zip(passed[:-1], ways_ahead(passed), strict=True), start=1):
            share = place / len(passed)
            logits, scores = {}, {}
            for object_id, old in self._before.items():
                new = self._objects.get(object_id, old)
                if (old if share < 0.5 else new).lost:
                    continue
                sides = (old, flow.back, 1 - share), (new, ahead, share)
                seen = [(side.logits, way, near) for side, way, near in sides if not side.lost]
                logits[object_id] = blend(seen, grid)
                scores[object_id] = min(side.score for side in (old, new) if not side.lost)
            shown = self._show(logits, scores)
            out.append(tuple(shown.get(object_id) or _lost(seen) for object_id, seen in self._before.items()))
        return out

    numbers = renamed_attribute("numbers", "object_ids")
    glance = renamed_attribute("glance", "flow_step")
    between = renamed_attribute("between", "interpolate")

    def _move(self, image: NDArray[np.uint8]) -> FlowStep | None:
        """The motion to the next picture; None for the first one."""
        grid = self._grid_of(image)
        if self._flow is None:
            self._flow = FlowFinder(grid)
        if self._now is None:
            return None
        grey = self._flow.grey(image)
        last = self._flow_steps[-1] if self._flow_steps else None
        back, ahead = self._flow.between(grey, self._now.grey if last is None else last.grey)
        return FlowStep(grey, back if last is None else compose(back, last.back), ahead)

    def _show(self, logits: dict[int, Float32], scores: dict[int, float]) -> dict[int, ObjectState]:
        """Objects that have a mask left at the frame's size."""
        if not logits or self._grid is None:
            return {}
        (masks,) = self.predictor.logits_to_masks(np.stack(list(logits.values())), self._grid.frame)
        return {
            object_id: ObjectState(
                object_id, mask, _box_of(mask), scores[object_id], False, logits[object_id]
            )
            for object_id, mask in zip(logits, masks, strict=True)
            if mask.any()
        }

    def _look(self, image: NDArray[np.uint8], embedding: Embedding, flow: FlowStep | None = None) -> _Picture:
        """Make ``image`` the current picture."""
        if self._now is not None and self._now.image is image:
            return self._now
        if self._now is not None and flow is None and self._objects:
            raise PromptError("objects start on the picture of the last step; call step with this one first")
        grid = self._grid_of(image)
        if self._flow is None:
            self._flow = FlowFinder(grid)
        keys = None
        if isinstance(self.predictor, DenseFeatures):
            self._memory = self._memory or Memory(grid)
            keys = self._memory.keys(self.predictor.dense_features(embedding))
        grey = self._flow.grey(image) if flow is None else flow.grey
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

    def _prior(self, seen: ObjectState, field: Field, odds: Float32 | None) -> Float32 | None:
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

    def _decode(self, embedding: Embedding, priors: dict[int, Float32]) -> dict[int, ObjectState]:
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
        for object_id, prior, logits, estimates in zip(
            priors, masks, drawn.logits, drawn.scores, strict=True
        ):
            agreements = [_agreement(prior[:rows, :columns], one[:rows, :columns]) for one in logits]
            best, agreement, estimate = _choose(logits, np.array(agreements), np.clip(estimates, 0, 1))
            if agreement >= (FOUND if self._objects[object_id].lost else BELIEVED):
                chosen[object_id], scores[object_id] = best, estimate * agreement
        return self._show(chosen, scores)


def _choose(logits: Float32, agreements: NDArray[Any], estimates: Float32) -> tuple[Float32, float, float]:
    """The mask of K (K, side, side) to believe, its agreement with the prior and its estimated quality."""
    best = int((agreements + ESTIMATE * estimates).argmax())
    return logits[best], float(agreements[best]), float(estimates[best])


def _lost(seen: ObjectState) -> ObjectState:
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
