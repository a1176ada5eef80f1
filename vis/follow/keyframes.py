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

from vis.follow.between import Between, KeyFrame, Refine, seen_before
from vis.follow.grid import Grid
from vis.follow.interpolation import carry, doubt_within
from vis.follow.motion import Field, FlowFinder, compose
from vis.follow.stream import with_next
from vis.structures import Detections, Frame, TrackedFrame

__all__ = ["SIDE", "keyframe_groups"]

Float32 = NDArray[np.float32]

SIDE = 256
"""Cells along the longer side of the grid on which masks are carried."""
DOUBT = 0.6
"""A frame becomes a key frame where the motion of more than this share of an object is unsure."""

Carried = Callable[[Frame, Detections], None]
"""Told where the objects of the last key frame are on a frame that is none."""
Moved = Callable[[NDArray[np.float32]], None]
"""Told the motion from a key frame back to the one before, as of ``MotionCompensator``, before it is looked at."""


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
        stretch = _Stretch(KeyFrame.of(start.detections, finder.grid))
    for frame, following in with_next(frames):
        finder = finder or FlowFinder(Grid(frame.size, SIDE))
        between = Between(finder.grid, agreement, refine, resolve, clean, look_within)
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
        now = KeyFrame.of(tracked.detections, finder.grid)
        group: list[TrackedFrame] = []
        if stretch is not None:
            if refine is not None and following is not None and stretch.held is None:
                stretch.surprises = between.unexplained(stretch.key, now, stretch.back, missing=True)
                if stretch.surprises:
                    stretch.held = tracked
                    continue
            group = _filled(stretch, now, between)
        stretch = _Stretch(now)
        yield [*group, tracked]


@dataclass(slots=True, eq=False)
class _Stretch:
    """The way from a key frame to the frame in hand."""

    key: KeyFrame
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
            here, there = self.key.logits[object_id][:rows, :columns] > 0, cells & seen_before(self.back)
            if here.any() and there.any():
                kept.append(self.key.rows[object_id])
                boxes.append(self.key.objects.boxes[kept[-1]] + grid.box(there) - grid.box(here))
        moved = replace(self.key.objects, masks=None).select(np.array(kept, np.intp))
        return replace(moved, boxes=np.array(boxes, np.float32).reshape(-1, 4))


def _in_shares(field: Field, grid: Grid) -> Float32:
    """Motion (rows, columns, 2) in shares of the frame's width and height."""
    rows, columns = grid.valid
    return np.asarray(field.back / np.array([columns, rows], np.float32), np.float32)


def _filled(stretch: _Stretch, after: KeyFrame, between: Between) -> list[TrackedFrame]:
    """The objects of a stretch up to the key frame ``after``.

    Where motion leads over a surprise of the held key frame, from the one before to ``after``, what was found there, or
    not, was a fault of that frame: the object is carried over it.
    """
    before, held, frames, steps = stretch.key, stretch.held, stretch.frames, stretch.steps
    if held is None:
        return between.frames(before, after, frames, steps)
    real = between.unexplained(before, after, stretch.back)
    faults = [one for one in stretch.surprises if one in after.logits and one not in real]
    if faults:
        held = replace(held, detections=between.bridged(before, after, held.detections, steps, faults))
    key = KeyFrame.of(held.detections, between.grid)
    return [*between.frames(before, key, frames, steps[:-1]), held]
