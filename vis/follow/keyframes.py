"""Objects found on key frames only, and carried to the frames between by motion, from both sides.

::

    frames    k0 - - - - k1 - - - k2      k: detector, tracker and mask network look
    between      >>> <<<    >>> <<<       -: masks of the key frames on either side, moved and mixed

A frame becomes a key frame when it is the last one, when the interval is full, or when the motion since the key frame
before cannot be told for an object. Where what one key frame shows, moved to the next, is not what that one shows, the
frame behind is a key frame too. Where motion leads over the surprise, it was a fault of one frame, and the object is
carried over it; else the mask network looks at the frame in the middle, and so on with either half. An object that only
one of two key frames shows is carried half of the way. Up to an interval of frames and one more is held. Knows no
particular detector, tracker or mask network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vis.follow.grid import Grid
from vis.follow.interpolation import blend, carry, doubt_within
from vis.follow.motion import Field, FlowFinder, compose
from vis.follow.stream import with_next
from vis.mask_cleaning import cleaned_logits, resolve_overlaps, resolved_logits
from vis.masks import extent
from vis.structures import Detections, Frame, TrackedFrame

__all__ = ["SIDE", "keyframe_groups"]

Float32 = NDArray[np.float32]

SIDE = 256
"""Cells along the longer side of the grid on which masks are carried."""
DOUBT = 0.6
"""A frame becomes a key frame where the motion of more than this share of an object is unsure."""

Refine = Callable[[Frame, Detections], Detections]
"""Some of a frame's objects with masks from the mask network."""
Carried = Callable[[Frame, Detections], None]
"""Told where the objects of the last key frame are on a frame that is none."""
Moved = Callable[[NDArray[np.float32]], None]
"""Told the motion from a key frame back to the one before, as of ``MotionCompensator``, before it is looked at."""
Steps = Sequence[tuple[Field, Field]]
"""Of each frame the motion from it back to the frame before, and from that one ahead to it."""


@dataclass(frozen=True, slots=True, eq=False)
class _KeyFrame:
    """What was found on a key frame."""

    objects: Detections
    rows: dict[int, int]
    """Object id -> row of ``objects``, of those that have something to carry."""
    logits: dict[int, Float32]
    """Object id -> (SIDE, SIDE) logits of its mask, or of its box where it has no mask."""

    @classmethod
    def of(cls, objects: Detections, grid: Grid) -> _KeyFrame:
        assert objects.track_ids is not None  # TrackedFrame holds this
        rows, logits = {}, {}
        for row, object_id in enumerate(objects.track_ids.tolist()):
            mask = _painted(objects.boxes[row], grid) if objects.masks is None else objects.masks[row]
            if mask.any():
                rows[object_id], logits[object_id] = row, grid.logits_of(mask)
        return cls(objects, rows, logits)


def keyframe_groups(
    frames: Iterable[Frame],
    look: Callable[[Frame], TrackedFrame],
    *,
    interval: int,
    agreement: float = 0.7,
    refine: Refine | None = None,
    carried: Carried | None = None,
    moved: Moved | None = None,
    resolve: bool = False,
    clean: bool = False,
    look_within: int = 1,
    start: TrackedFrame | None = None,
) -> Iterator[list[TrackedFrame]]:
    """Objects of every frame, of which ``look`` sees the key frames only.

    Args:
        frames: in rising order, of one size.
        look: finds the objects of a key frame, with ids that hold and, if possible, with masks.
        interval: at most so many frames from one key frame to the next; 1 looks at every frame.
        agreement: least IoU in [0, 1] of an object's mask carried from one key frame to the next with its mask there,
            for motion to explain both.
        refine: gives some objects of a frame, whose boxes are known, their masks; asked in the middle between two key
            frames, for those whose masks on both motion does not explain. None: never.
        carried: is told of every frame that may be none where the objects of the key frame before are by motion, with
            their ids, labels, scores and embeddings: a tracker that takes them is not surprised by the next key frame.
        moved: is told of the motion to each key frame from the one before, before ``look`` sees it.
        resolve: pixels that two carried masks claim go to the surer one.
        clean: carried masks lose specks and pin-holes.
        look_within: ``refine`` is asked between two key frames where at least so many frames lie there.
        start: the key frame that ended the last list of a run before, with its masks; ``frames`` go on behind it.

    Yields lists of one item per frame, in order. Each ends in a key frame: there, work can be left and taken up. Boxes
    and scores between key frames are interpolated.
    """
    finder: FlowFinder | None = None
    last: NDArray[np.uint8] | None = None
    stretch: _Stretch | None = None
    if start is not None:
        finder = FlowFinder(Grid(start.frame.size, SIDE))
        last = finder.grey(start.frame.image)
        stretch = _Stretch(_KeyFrame.of(start.detections, finder.grid))
    for frame, following in with_next(frames):
        finder = finder or FlowFinder(Grid(frame.size, SIDE))
        between = _Between(finder.grid, agreement, refine, resolve, clean, look_within)
        before, last = last, finder.grey(frame.image)
        if stretch is not None and before is not None:
            stretch.go_on(finder.between(last, before))
            if following is not None and stretch.held is None and len(stretch.steps) < interval:
                inside = stretch.carried(finder.grid)
                if (
                    max((doubt_within(cells, stretch.back) for cells in inside.values()), default=0.0)
                    <= DOUBT
                ):
                    if carried is not None:
                        carried(frame, stretch.moved(inside, finder.grid))
                    stretch.frames.append(frame)
                    continue
            if moved is not None:
                moved(_in_shares(stretch.since_look, finder.grid))
        tracked = look(frame)
        now = _KeyFrame.of(tracked.detections, finder.grid)
        group: list[TrackedFrame] = []
        if stretch is not None:
            if refine is not None and following is not None and stretch.held is None:
                stretch.surprises = between.unexplained(stretch.key, now, stretch.back, missing=True)
                if stretch.surprises:
                    stretch.held = tracked
                    continue
            group = between.filled(stretch, now)
        stretch = _Stretch(now)
        yield [*group, tracked]


@dataclass(slots=True, eq=False)
class _Stretch:
    """The way from a key frame to the frame in hand."""

    key: _KeyFrame
    frames: list[Frame] = field(default_factory=list)
    """Those that wait for the next key frame to be filled."""
    steps: list[tuple[Field, Field]] = field(default_factory=list)
    held: TrackedFrame | None = None
    """A key frame with surprises, behind ``frames``: the next frame, a key frame too, tells what to think of them."""
    surprises: Sequence[int] = ()
    _back: Field | None = None

    def go_on(self, step: tuple[Field, Field]) -> None:
        """To the next frame."""
        self.steps.append(step)
        self._back = step[0] if self._back is None else compose(step[0], self._back)

    @property
    def back(self) -> Field:
        """From the frame in hand to the key frame."""
        assert self._back is not None  # a step was made
        return self._back

    @property
    def since_look(self) -> Field:
        """From the frame in hand to the last one that was looked at."""
        return self.back if self.held is None else self.steps[-1][0]

    def carried(self, grid: Grid) -> dict[int, NDArray[np.bool_]]:
        """Object id -> cells (rows, columns) of the frame in hand that motion leads to it from."""
        return {object_id: carry(each, self.back, grid) > 0 for object_id, each in self.key.logits.items()}

    def moved(self, inside: Mapping[int, NDArray[np.bool_]], grid: Grid) -> Detections:
        """The key frame's objects on the frame in hand: boxes that move as their masks do. They have no masks."""
        rows, columns = grid.valid
        boxes, kept = [], []
        for object_id, cells in inside.items():
            here, there = self.key.logits[object_id][:rows, :columns] > 0, cells & _seen_before(self.back)
            if here.any() and there.any():
                kept.append(self.key.rows[object_id])
                boxes.append(self.key.objects.boxes[kept[-1]] + grid.box(there) - grid.box(here))
        moved = replace(self.key.objects, masks=None).select(np.array(kept, np.intp))
        return replace(moved, boxes=np.array(boxes, np.float32).reshape(-1, 4))


def _in_shares(field: Field, grid: Grid) -> Float32:
    """Motion (rows, columns, 2) in shares of the frame's width and height."""
    rows, columns = grid.valid
    return np.asarray(field.back / np.array([columns, rows], np.float32), np.float32)


def _seen_before(back: Field) -> NDArray[np.bool_]:
    """Cells (rows, columns) that motion leads from.

    What an object uncovers has nowhere to come from: it would stay behind as a part of the object.
    """
    return back.trust > 0.5


def _carried_mask(logits: Float32, back: Field, grid: Grid) -> NDArray[np.bool_]:
    """Cells (rows, columns) that an object moves to."""
    return (carry(logits, back, grid) > 0) & _seen_before(back)


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
class _Between:
    """Fills the frames between two key frames."""

    grid: Grid
    agreement: float
    refine: Refine | None
    resolve: bool
    clean: bool
    look_within: int

    def filled(self, stretch: _Stretch, after: _KeyFrame) -> list[TrackedFrame]:
        """The objects of a stretch up to the key frame ``after``.

        Where motion leads over a surprise of the held key frame, from the one before to ``after``, what was found
        there, or not, was a fault of that frame: the object is carried over it.
        """
        before, held, frames, steps = stretch.key, stretch.held, stretch.frames, stretch.steps
        if held is None:
            return self.frames(before, after, frames, steps)
        real = self.unexplained(before, after, stretch.back)
        faults = [one for one in stretch.surprises if one in after.logits and one not in real]
        if faults:
            backs, aheads = _to_either_side(steps)
            carried = self._mixed(before, after, backs, aheads, len(frames) + 1)
            carried = [one for one in carried if one.object_id in faults]
            held = replace(held, detections=self._repaired(held.detections, carried))
        key = _KeyFrame.of(held.detections, self.grid)
        return [*self.frames(before, key, frames, steps[:-1]), held]

    def frames(
        self, before: _KeyFrame, after: _KeyFrame, frames: Sequence[Frame], steps: Steps
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
            key = _KeyFrame.of(seen.detections, self.grid)
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
        self, before: _KeyFrame, after: _KeyFrame, back: Field, *, missing: bool = False
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

    def _repaired(self, found: Detections, carried: list[_Carried]) -> Detections:
        """What was found, with carried objects in place of those of the same ids."""
        settled = self._settled(carried)
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
        self, before: _KeyFrame, after: _KeyFrame, backs: list[Field], aheads: list[Field], place: int
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
