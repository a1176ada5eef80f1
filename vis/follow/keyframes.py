"""Objects found on key frames only, and carried to the frames between by motion, from both sides.

::

    frames    k0 - - - - k1 - - - k2      k: detector, tracker and mask network look
    between      >>> <<<    >>> <<<       -: masks of the key frames on either side, moved and mixed

A frame becomes a key frame when it is the last one, when the interval is full, or when the motion since the key frame
before cannot be told for an object. An object that only one of two key frames shows is carried half of the way. Up to
an interval of frames is held. Knows no particular detector, tracker or mask network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vis.follow.follower import DOUBT
from vis.follow.grid import Grid
from vis.follow.interpolation import FlowStep, blend, carry, doubt, ways_ahead
from vis.follow.motion import FlowFinder, compose
from vis.follow.stream import with_next
from vis.mask_cleaning import cleaned, resolve_overlaps
from vis.masks import extent
from vis.structures import Detections, Frame, TrackedFrame

__all__ = ["SIDE", "carry_between_keyframes"]

Float32 = NDArray[np.float32]

SIDE = 256
"""Cells along the longer side of the grid on which masks are carried."""

Carried = Callable[[Frame, Detections], None]
"""Told where the objects of the last key frame are on a frame that is none."""


@dataclass(frozen=True, slots=True, eq=False)
class _KeyFrame:
    """What was found on a key frame."""

    objects: Detections
    grey: NDArray[np.uint8]
    rows: dict[int, int]
    """Object id -> row of ``objects``, of those that have something to carry."""
    logits: dict[int, Float32]
    """Object id -> (SIDE, SIDE) logits of its mask, or of its box where it has no mask."""

    @classmethod
    def of(cls, objects: Detections, grey: NDArray[np.uint8], grid: Grid) -> _KeyFrame:
        assert objects.track_ids is not None  # TrackedFrame holds this
        rows, logits = {}, {}
        for row, object_id in enumerate(objects.track_ids.tolist()):
            mask = _painted(objects.boxes[row], grid) if objects.masks is None else objects.masks[row]
            if mask.any():
                rows[object_id], logits[object_id] = row, grid.logits_of(mask)
        return cls(objects, grey, rows, logits)


def carry_between_keyframes(
    frames: Iterable[Frame],
    look: Callable[[Frame], TrackedFrame],
    *,
    interval: int,
    carried: Carried | None = None,
    resolve: bool = False,
    clean: bool = False,
) -> Iterator[TrackedFrame]:
    """Objects of every frame, of which ``look`` sees the key frames only.

    Args:
        frames: in rising order, of one size.
        look: finds the objects of a key frame, with ids that hold and, if possible, with masks.
        interval: at most so many frames from one key frame to the next; 1 looks at every frame.
        carried: is told of every frame that may be none where the objects of the key frame before are by motion, with
            their ids, labels, scores and embeddings: a tracker that takes them is not surprised by the next key frame.
        resolve: pixels that two carried masks claim go to the surer one.
        clean: carried masks lose specks and pin-holes.

    Yields one item per frame, in order. Boxes and scores between key frames are interpolated.
    """
    grid: Grid | None = None
    finder: FlowFinder | None = None
    key: _KeyFrame | None = None
    waiting: list[Frame] = []
    steps: list[FlowStep] = []
    for frame, following in with_next(frames):
        if grid is None or finder is None:
            grid = Grid(frame.size, SIDE)
            finder = FlowFinder(grid)
        grey = finder.grey(frame.image)
        if key is not None:
            steps.append(_step(finder, grey, key, steps))
            if following is not None and len(steps) < interval and _worst(key, steps[-1], grid) <= DOUBT:
                if carried is not None:
                    carried(frame, _moved(key, steps[-1], grid))
                waiting.append(frame)
                continue
        tracked = look(frame)
        now = _KeyFrame.of(tracked.detections, grey, grid)
        if key is not None:
            with_masks = any(objects.masks is not None for objects in (key.objects, now.objects))
            for earlier, objects in zip(waiting, _between(key, now, steps, grid), strict=True):
                found = _settled(objects, grid, resolve=resolve, clean=clean)
                yield TrackedFrame(earlier, found if with_masks else replace(found, masks=None))
        waiting, steps, key = [], [], now
        yield tracked


def _step(finder: FlowFinder, grey: NDArray[np.uint8], key: _KeyFrame, steps: list[FlowStep]) -> FlowStep:
    """The motion from the frame before, and back to the key frame."""
    back, ahead = finder.between(grey, steps[-1].grey if steps else key.grey)
    return FlowStep(grey, compose(back, steps[-1].back) if steps else back, ahead)


def _worst(key: _KeyFrame, step: FlowStep, grid: Grid) -> float:
    """How little the motion can be trusted, in [0, 1], for the object where it is worst."""
    return max((doubt(logits, step.back, grid) for logits in key.logits.values()), default=0.0)


def _moved(key: _KeyFrame, step: FlowStep, grid: Grid) -> Detections:
    """The key frame's objects on the frame of ``step``: boxes that move as their masks do. They have no masks."""
    rows, columns = grid.valid
    boxes, kept = [], []
    for object_id, logits in key.logits.items():
        here = logits[:rows, :columns] > 0
        # What the object uncovers has nowhere to come from: it would stay behind as a part of the object.
        there = (carry(logits, step.back, grid) > 0) & (step.back.trust > 0.5)
        if here.any() and there.any():
            kept.append(key.rows[object_id])
            boxes.append(key.objects.boxes[kept[-1]] + grid.box(there) - grid.box(here))
    moved = replace(key.objects, masks=None).select(np.array(kept, np.intp))
    return replace(moved, boxes=np.array(boxes, np.float32).reshape(-1, 4))


@dataclass(frozen=True, slots=True, eq=False)
class _Carried:
    """One object on a frame between key frames."""

    object_id: int
    logits: Float32
    box: Float32 | None
    """None where only one key frame shows it: then its mask tells."""
    score: float
    label: int


def _between(
    before: _KeyFrame, after: _KeyFrame, steps: list[FlowStep], grid: Grid
) -> Iterator[list[_Carried]]:
    """The objects of each frame between two key frames; the last of ``steps`` leads to the second of them."""
    for place, (step, ahead) in enumerate(zip(steps[:-1], ways_ahead(steps), strict=True), start=1):
        share = place / len(steps)
        nearer = before if share < 0.5 else after
        objects = []
        for object_id in sorted(nearer.logits):
            sides = [
                (key, field, near)
                for key, field, near in ((before, step.back, 1 - share), (after, ahead, share))
                if object_id in key.logits
            ]
            logits = blend([(key.logits[object_id], field, near) for key, field, near in sides], grid)
            row = nearer.rows[object_id]
            box, score = None, float(nearer.objects.scores[row])
            if len(sides) == 2:
                a, b = before.rows[object_id], after.rows[object_id]
                box = (1 - share) * before.objects.boxes[a] + share * after.objects.boxes[b]
                score = float((1 - share) * before.objects.scores[a] + share * after.objects.scores[b])
            objects.append(_Carried(object_id, logits, box, score, int(nearer.objects.labels[row])))
        yield objects


def _settled(objects: list[_Carried], grid: Grid, *, resolve: bool, clean: bool) -> Detections:
    """The carried objects that have a mask left, as the refiner of a key frame would leave them."""
    masks = np.zeros((len(objects), *grid.frame), np.bool_)
    for target, one in zip(masks, objects, strict=True):
        mask = grid.mask_of(one.logits)
        target[:] = cleaned(mask) if clean else mask
    ids = np.array([one.object_id for one in objects], np.int64)
    if resolve and len(objects) > 1:
        resolve_overlaps(masks, {row: one.logits for row, one in enumerate(objects)}, ids)
    kept, boxes = [], []
    for row, one in enumerate(objects):
        around = extent(masks[row])
        if around is not None:
            kept.append(row)
            boxes.append(np.array(around) if one.box is None else one.box)
    return Detections(
        boxes=np.array(boxes, np.float32).reshape(-1, 4),
        scores=np.array([objects[row].score for row in kept], np.float32),
        labels=np.array([objects[row].label for row in kept], np.int64),
        masks=masks[kept],
        track_ids=ids[kept],
    )


def _painted(box: Float32, grid: Grid) -> NDArray[np.bool_]:
    """A box as a mask of the frame."""
    x0, y0, x1, y1 = np.clip(np.rint(box), 0, np.array([*grid.frame[::-1]] * 2)).astype(int).tolist()
    mask = np.zeros(grid.frame, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask
