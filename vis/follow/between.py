"""The frames between two key frames: their objects carried by motion from both, or asked for where it explains nothing.

Knows no particular mask network.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vis.follow.grid import Grid
from vis.follow.interpolation import blend, carry
from vis.follow.motion import Field, compose
from vis.mask_cleaning import cleaned_logits, resolve_overlaps, resolved_logits
from vis.masks import extent
from vis.structures import Detections, Frame, TrackedFrame

__all__ = ["Between", "KeyFrame", "Refine", "Steps", "seen_before"]

Float32 = NDArray[np.float32]

Refine = Callable[[Frame, Detections], Detections]
"""Some of a frame's objects with masks from the mask network."""
Steps = Sequence[tuple[Field, Field]]
"""Of each frame the motion from it back to the frame before, and from that one ahead to it."""


@dataclass(frozen=True, slots=True, eq=False)
class KeyFrame:
    """What was found on a key frame."""

    objects: Detections
    rows: dict[int, int]
    """Object id -> row of ``objects``, of those that have something to carry."""
    logits: dict[int, Float32]
    """Object id -> (SIDE, SIDE) logits of its mask, or of its box where it has no mask."""

    @classmethod
    def of(cls, objects: Detections, grid: Grid) -> KeyFrame:
        """Of the objects of a frame, with ids."""
        assert objects.track_ids is not None  # TrackedFrame holds this
        rows, logits = {}, {}
        for row, object_id in enumerate(objects.track_ids.tolist()):
            mask = _painted(objects.boxes[row], grid) if objects.masks is None else objects.masks[row]
            if mask.any():
                rows[object_id], logits[object_id] = row, grid.logits_of(mask)
        return cls(objects, rows, logits)


def seen_before(back: Field) -> NDArray[np.bool_]:
    """Cells (rows, columns) that motion leads from.

    What an object uncovers has nowhere to come from: it would stay behind as a part of the object.
    """
    return back.trust > 0.5


def _carried_mask(logits: Float32, back: Field, grid: Grid) -> NDArray[np.bool_]:
    """Cells (rows, columns) that an object moves to."""
    return (carry(logits, back, grid) > 0) & seen_before(back)


@dataclass(frozen=True, slots=True, eq=False)
class _Carried:
    """One object on a frame between key frames."""

    object_id: int
    logits: Float32
    box: Float32 | None
    """None where only one key frame shows it: then its mask tells."""
    score: float
    label: int


@dataclass(frozen=True, slots=True, eq=False)
class Between:
    """Fills the frames between two key frames."""

    grid: Grid
    agreement: float
    refine: Refine | None
    resolve: bool
    clean: bool
    look_within: int

    def frames(
        self, before: KeyFrame, after: KeyFrame, frames: Sequence[Frame], steps: Steps
    ) -> list[TrackedFrame]:
        """The objects of ``frames``; ``steps`` has one more, which leads to the second key frame."""
        if not frames:
            return []
        backs, aheads = _to_either_side(steps)
        surprises: tuple[int, ...] = ()
        if self.refine is not None and len(frames) >= self.look_within:
            surprises = self.unexplained(before, after, backs[-1])
        if surprises:
            middle = len(frames) // 2
            carried = self._mixed(before, after, backs, aheads, middle + 1)
            seen = self._seen(frames[middle], carried, surprises)
            key = KeyFrame.of(seen.detections, self.grid)
            return [
                *self.frames(before, key, frames[:middle], steps[: middle + 1]),
                seen,
                *self.frames(key, after, frames[middle + 1 :], steps[middle + 1 :]),
            ]
        with_masks = any(objects.masks is not None for objects in (before.objects, after.objects))
        out = []
        for place, frame in enumerate(frames, start=1):
            found = self._settled(self._mixed(before, after, backs, aheads, place))
            out.append(TrackedFrame(frame, found if with_masks else replace(found, masks=None)))
        return out

    def unexplained(
        self, before: KeyFrame, after: KeyFrame, back: Field, *, missing: bool = False
    ) -> tuple[int, ...]:
        """Objects of both key frames from whose mask on one motion does not lead to that on the other.

        With ``missing``, those of the first one too that motion leads to a place on the second, where nothing is.
        """
        rows, columns = self.grid.valid
        found = []
        for object_id, logits in before.logits.items():
            if object_id in after.logits:
                moved = _carried_mask(logits, back, self.grid)
                there = after.logits[object_id][:rows, :columns] > 0
                union = np.count_nonzero(moved | there)
                if np.count_nonzero(moved & there) < self.agreement * union:
                    found.append(object_id)
            elif missing and _carried_mask(logits, back, self.grid).any():
                found.append(object_id)
        return tuple(found)

    def bridged(
        self, before: KeyFrame, after: KeyFrame, found: Detections, steps: Steps, faults: Sequence[int]
    ) -> Detections:
        """What was ``found`` on the frame before ``after``, with the objects ``faults`` carried to it instead."""
        backs, aheads = _to_either_side(steps)
        carried = self._mixed(before, after, backs, aheads, len(aheads))
        settled = self._settled([one for one in carried if one.object_id in faults])
        return self._joined(_without(found, settled), settled)

    def _seen(self, frame: Frame, objects: list[_Carried], asked: Sequence[int]) -> TrackedFrame:
        """Carried objects, those that are ``asked`` for with masks of the network, by their boxes."""
        assert self.refine is not None
        settled = self._settled(objects)
        wanted = settled.select(np.flatnonzero(np.isin(_ids(settled), asked)))
        if not len(wanted):
            return TrackedFrame(frame, settled)
        found = self.refine(frame, replace(wanted, masks=None))
        return TrackedFrame(frame, self._joined(found, _without(settled, found)))

    def _joined(self, one: Detections, other: Detections) -> Detections:
        """The objects of both, without embeddings."""
        masks, ids = None, np.concatenate([_ids(one), _ids(other)])
        if one.masks is not None and other.masks is not None:
            masks = np.concatenate([one.masks, other.masks])
            if self.resolve:
                resolve_overlaps(
                    masks, {row: self.grid.logits_of(mask) for row, mask in enumerate(masks)}, ids
                )
        return Detections(
            boxes=np.concatenate([one.boxes, other.boxes]),
            scores=np.concatenate([one.scores, other.scores]),
            labels=np.concatenate([one.labels, other.labels]),
            masks=masks,
            track_ids=ids,
        )

    def _mixed(
        self, before: KeyFrame, after: KeyFrame, backs: list[Field], aheads: list[Field], place: int
    ) -> list[_Carried]:
        """The objects of the frame at ``place``, from 1 on, carried from both sides."""
        back, ahead, share = backs[place - 1], aheads[place - 1], place / len(backs)
        nearer = before if share < 0.5 else after
        objects = []
        for object_id in sorted(nearer.logits):
            sides = [
                (key.logits[object_id], field, near)
                for key, field, near in ((before, back, 1 - share), (after, ahead, share))
                if object_id in key.logits
            ]
            row = nearer.rows[object_id]
            box, score = None, float(nearer.objects.scores[row])
            if len(sides) == 2:
                a, b = before.rows[object_id], after.rows[object_id]
                box = (1 - share) * before.objects.boxes[a] + share * after.objects.boxes[b]
                score = float((1 - share) * before.objects.scores[a] + share * after.objects.scores[b])
            label = int(nearer.objects.labels[row])
            objects.append(_Carried(object_id, blend(sides, self.grid), box, score, label))
        return objects

    def _settled(self, objects: list[_Carried]) -> Detections:
        """The carried objects that have a mask left, as the refiner of a key frame would leave them."""
        rows, columns = self.grid.valid
        ids = np.array([one.object_id for one in objects], np.int64)
        logits = [one.logits[:rows, :columns] for one in objects]
        if self.clean:
            logits = [cleaned_logits(each) for each in logits]
        if self.resolve and len(objects) > 1:
            logits = list(resolved_logits(np.stack(logits), ids))
        masks = np.zeros((len(objects), *self.grid.frame), np.bool_)
        kept, boxes = [], []
        for row, (one, each) in enumerate(zip(objects, logits, strict=True)):
            self.grid.mask_of(each, out=masks[row])
            around = extent(masks[row])
            if around is not None:
                kept.append(row)
                boxes.append(np.array(around) if one.box is None else one.box)
        return Detections(
            boxes=np.array(boxes, np.float32).reshape(-1, 4),
            scores=np.array([objects[row].score for row in kept], np.float32),
            labels=np.array([objects[row].label for row in kept], np.int64),
            masks=masks if len(kept) == len(masks) else masks[kept],
            track_ids=ids[kept],
        )


def _ids(objects: Detections) -> NDArray[np.int64]:
    assert objects.track_ids is not None  # TrackedFrame holds this
    return objects.track_ids


def _without(objects: Detections, other: Detections) -> Detections:
    """The objects whose ids ``other`` has not."""
    return objects.select(np.flatnonzero(~np.isin(_ids(objects), _ids(other))))


def _to_either_side(steps: Steps) -> tuple[list[Field], list[Field]]:
    """Of each frame the motion back to the first key frame; of each but the last, ahead to the second."""
    backs = [steps[0][0]]
    for near, _ in steps[1:]:
        backs.append(compose(near, backs[-1]))
    aheads: list[Field] = []
    for _, near in reversed(steps[1:]):
        aheads.append(compose(near, aheads[-1]) if aheads else near)
    return backs, aheads[::-1]


def _painted(box: Float32, grid: Grid) -> NDArray[np.bool_]:
    """A box as a mask of the frame."""
    x0, y0, x1, y1 = np.clip(np.rint(box), 0, np.array([*grid.frame[::-1]] * 2)).astype(int).tolist()
    mask = np.zeros(grid.frame, np.bool_)
    mask[y0:y1, x0:x1] = True
    return mask
