"""Gaps of saved tubes bridged: where the detector missed an object, or was not asked.

A gap of a tube is followed from both of its ends, and the two passes meet in the middle::

    frames    4     5 . . . 9     10
    tube      A     - - - - -     B          A, B: what the tube holds on the gap's edges
    forwards  A --> 5 6 7
    backwards             7 8 9 <-- B        on 7 both have a mask

Where both masks of the meeting frame show something and hardly overlap, A and B are two objects that
the association took for one: the tube is cut there instead of filled. Works on the stream of a video's
frames, once in each direction; holds the pictures' masks as run lengths only.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import CancelledError, InputError
from vis.follow.follower import Follower, ObjectState
from vis.follow.prompts import Prompt
from vis.structures import Frame, MaskRLE, Tube, VideoResult

__all__ = ["Gap", "fill_gaps", "find_gaps"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that a tube lacks between two that it has."""

    tube: int
    """The tube's id."""
    before: int
    """Frame index of the last mask before the gap."""
    after: int
    """Frame index of the first mask after it."""

    @property
    def middle(self) -> int:
        """Where the two passes meet."""
        return (self.before + self.after) // 2


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    mask: MaskRLE
    box: NDArray[np.float32]
    score: float


Found = dict[tuple[int, int], _Seen]
"""(tube id, frame index) -> what was found there."""


def find_gaps(result: VideoResult, *, longest: float = float("inf")) -> tuple[Gap, ...]:
    """The gaps between a tube's frames, up to ``longest`` frames missing."""
    return tuple(
        Gap(tube.id, int(before), int(after))
        for tube in result.tubes
        for before, after in zip(tube.frames[:-1], tube.frames[1:], strict=True)
        if 1 < after - before <= longest + 1
    )


def fill_gaps(
    result: VideoResult,
    frames: Iterable[Frame],
    make: Callable[[], Follower],
    *,
    backwards: Callable[[int, int], Iterable[Frame]],
    longest: float = float("inf"),
    cut_below: float = 0.05,
    cancelled: Callable[[], bool] = lambda: False,
) -> VideoResult:
    """The result with its tubes' gaps filled, on every frame that comes.

    Args:
        result: tubes with masks, or boxes alone (which the follower turns into masks at the gaps' edges).
        frames: the video's, in rising order; those between the result's first and last frame count, also
            where the detector was run on every tenth frame only.
        make: gives a new :class:`Follower`, one for each direction.
        backwards: gives the frames from one index down to another, in falling order.
        longest: gaps with more missing frames stay as they are.
        cut_below: IoU of the two masks on the meeting frame below which the tube is cut in two; 0 never cuts.
        cancelled: asked at every frame; true ends with :class:`CancelledError`.

    Returns:
        A result that covers every frame from the first to the last of ``result``. A filled frame's score is
        the lower of the gap's two edges times the follower's. Frames where the object was lost stay empty.

    Raises:
        InputError: a frame of the result is not among ``frames``.
    """
    if not len(result.frames):
        return result
    gaps = find_gaps(result, longest=longest)
    tubes = {tube.id: tube for tube in result.tubes}
    back = _propagate(gaps, tubes, make(), _falling(gaps, backwards), way=-1, cancelled=cancelled)
    times: dict[int, float] = {}
    noted = _noted(frames, int(result.frames[0]), int(result.frames[-1]), times)
    ahead = _propagate(gaps, tubes, make(), noted, way=1, cancelled=cancelled)
    missing = set(result.frames.tolist()) - set(times)
    if missing:
        raise InputError(
            f"frame {min(missing)} of the saved result is not in this video; give the video that it was made from"
        )
    cuts = [gap for gap in gaps if _are_two(gap, ahead, back, cut_below)]
    for gap in cuts:
        for index in range(gap.before + 1, gap.after):
            ahead.pop((gap.tube, index), None)
            back.pop((gap.tube, index), None)
    found = {**back, **ahead}  # on the meeting frame the forward pass counts
    filled = [piece for tube in result.tubes for piece in _pieces(tube, found, cuts)]
    return replace(
        result,
        tubes=_numbered(filled, tubes),
        frames=np.array(sorted(times), np.int64),
        pts_seconds=np.array([times[index] for index in sorted(times)], np.float64),
    )


def _falling(gaps: Sequence[Gap], backwards: Callable[[int, int], Iterable[Frame]]) -> Iterator[Frame]:
    """The frames of all gaps with their later edges, in falling order, none twice."""
    spans: list[list[int]] = []
    for low, high in sorted((gap.middle, gap.after) for gap in gaps):
        if spans and low <= spans[-1][1] + 1:
            spans[-1][1] = max(spans[-1][1], high)
        else:
            spans.append([low, high])
    for low, high in reversed(spans):
        yield from backwards(high, low)


def _noted(frames: Iterable[Frame], first: int, last: int, times: dict[int, float]) -> Iterator[Frame]:
    """Frames ``first`` to ``last``; their times are noted on the way."""
    for frame in frames:
        if frame.index > last:
            return
        if frame.index >= first:
            times[frame.index] = frame.pts_seconds
            yield frame


def _propagate(
    gaps: Sequence[Gap],
    tubes: dict[int, Tube],
    follower: Follower,
    frames: Iterable[Frame],
    *,
    way: int,
    cancelled: Callable[[], bool],
) -> Found:
    """Follow every gap from one side to its middle. Frames on which no gap is under way are not embedded."""
    starts: dict[int, list[Gap]] = defaultdict(list)
    for gap in gaps:
        starts[gap.before if way > 0 else gap.after].append(gap)
    under_way: dict[int, Gap] = {}
    found: Found = {}
    for frame in frames:
        if cancelled():
            raise CancelledError("filling gaps was stopped")
        for object_id, gap in list(under_way.items()):
            if (frame.index - gap.middle) * way > 0:
                follower.stop(object_id)
                del under_way[object_id]
        here = starts.get(frame.index, [])
        if not here and not under_way:
            continue
        embedding = follower.predictor.embed(frame.image)
        for seen in follower.step(frame.image, embedding):
            if not seen.lost:
                gap = under_way[seen.object_id]
                found[seen.object_id, frame.index] = _keep(seen, _edge_score(tubes[seen.object_id], gap))
        for gap in here:
            tube = tubes[gap.tube]
            edge = follower.start(gap.tube, frame.image, embedding, _prompt(tube, frame.index))
            under_way[gap.tube] = gap
            if tube.masks is None:
                found[gap.tube, frame.index] = _keep(edge, _edge_score(tube, gap))
    return found


def _prompt(tube: Tube, index: int) -> Prompt:
    """What the tube holds on a frame."""
    row = int(np.searchsorted(tube.frames, index))
    if tube.masks is not None and rle.area(tube.masks[row]):
        return Prompt(mask=rle.decode(tube.masks[row]))
    x0, y0, x1, y1 = (float(v) for v in tube.boxes[row])
    return Prompt(box=(x0, y0, x1, y1))


def _edge_score(tube: Tube, gap: Gap) -> float:
    rows = np.searchsorted(tube.frames, [gap.before, gap.after])
    return float(tube.scores[rows].min())


def _keep(seen: ObjectState, edge: float) -> _Seen:
    return _Seen(rle.encode(seen.mask), seen.box, seen.score * edge)


def _are_two(gap: Gap, ahead: Found, back: Found, cut_below: float) -> bool:
    """Whether the passes from both sides met and found different things."""
    here = (gap.tube, gap.middle)
    if here not in ahead or here not in back:
        return False
    return rle.iou(ahead[here].mask, back[here].mask) < cut_below


def _pieces(tube: Tube, found: Found, cuts: Sequence[Gap]) -> list[Tube]:
    """The tube with what was found, in one piece or, where it was cut, in several."""
    own = {int(index): row for row, index in enumerate(tube.frames)}
    here = {index: seen for (object_id, index), seen in found.items() if object_id == tube.id}
    order = sorted({*own, *here})
    ends = [gap.before for gap in cuts if gap.tube == tube.id]
    if not here and not ends:
        return [tube]
    pieces = []
    for first, last in zip([-1, *ends], [*ends, order[-1]], strict=True):
        part = [index for index in order if first < index <= last]
        boxes = [tube.boxes[own[index]] if index in own else here[index].box for index in part]
        scores = [tube.scores[own[index]] if index in own else here[index].score for index in part]
        pieces.append(
            replace(
                tube,
                frames=np.array(part, np.int64),
                boxes=np.array(boxes, np.float32).reshape(-1, 4),
                scores=np.array(scores, np.float32),
                masks=_masks(tube, own, here, part),
            )
        )
    return pieces


def _masks(
    tube: Tube, own: dict[int, int], here: dict[int, _Seen], part: Sequence[int]
) -> tuple[MaskRLE, ...] | None:
    """The tube's own masks where it has them, then what was found; empty where only a box is known."""
    if tube.masks is not None:
        return tuple(tube.masks[own[index]] if index in own else here[index].mask for index in part)
    if not here:
        return None
    blank = rle.encode(np.zeros(next(iter(here.values())).mask.size, np.bool_))
    return tuple(here[index].mask if index in here else blank for index in part)


def _numbered(pieces: Sequence[Tube], tubes: dict[int, Tube]) -> tuple[Tube, ...]:
    """The pieces with ids of their own: the first of a tube keeps its id, the others follow the highest."""
    used: set[int] = set()
    highest = max(tubes, default=0)
    out = []
    for piece in pieces:
        object_id = piece.id
        if object_id in used:
            highest += 1
            object_id = highest
        used.add(object_id)
        out.append(piece if piece.id == object_id else replace(piece, id=object_id))
    return tuple(sorted(out, key=lambda tube: tube.id))
