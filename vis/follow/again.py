"""A result set right: other prompts for its objects, and only the frames that these answer for followed anew.

Knows what :mod:`vis.follow.stream` says of legs; frames come from wherever the caller has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.follow.follower import Followed
from vis.follow.stream import Leg, MakeFollower, Prompts, Walk, legs
from vis.structures import Frame, MaskRLE, Tube, VideoResult

__all__ = ["changed_legs", "follow_again"]


class _Row(NamedTuple):
    box: NDArray[np.float32]
    score: float
    mask: MaskRLE


@dataclass(frozen=True, slots=True)
class _Span:
    first: int
    last: int

    @classmethod
    def of(cls, leg: Leg) -> _Span:
        return cls(min(leg.prompt, leg.last), max(leg.prompt, leg.last))


def changed_legs(before: Prompts, after: Prompts, first: int, last: int) -> tuple[Leg, ...]:
    """The legs of ``after`` that ``before`` did not walk already, over the frames ``first`` .. ``last``.

    A prompt is the same when it is the same object. A leg that only became shorter is not walked again.
    """
    old = {(leg.number, leg.prompt, leg.way): leg.last for leg in legs(before, first, last)}
    out = []
    for leg in legs(after, first, last):
        walked = old.get((leg.number, leg.prompt, leg.way))
        same = walked is not None and before[leg.number][leg.prompt] is after[leg.number][leg.prompt]
        if not same or walked is None or (leg.last - walked) * leg.way > 0:
            out.append(leg)
    return tuple(out)


def follow_again(
    result: VideoResult,
    make: MakeFollower,
    before: Prompts,
    after: Prompts,
    frames: Callable[[int, int], Iterable[Frame]],
    *,
    every: int = 1,
) -> VideoResult:
    """``result`` as following ``after`` would have given it, where following ``before`` gave it.

    Args:
        result: what ``collect(follow(...))`` with ``before`` gave, both ways in time.
        make: gives a new :class:`Follower`.
        before: the prompts of ``result``.
        after: the prompts wanted now; objects that are not among them lose their tubes.
        frames: gives the frames from one index to another (inclusive), rising or falling.
        every: as for ``follow``.

    Tubes of other objects are the very same as before. New objects get label 0.
    """
    first, last = int(result.frames[0]), int(result.frames[-1])
    todo = changed_legs(before, after, first, last)
    tubes = {tube.id: tube for tube in result.tubes if tube.id in after}
    for number in sorted({leg.number for leg in todo}):
        rows: dict[int, _Row] = {}
        own = [leg for leg in todo if leg.number == number]
        for leg in own:
            for index, seen in _walk(leg, make, after, frames, every):
                if not seen.lost:
                    rows[index] = _Row(seen.box, seen.score, rle.encode(seen.mask))
        spans = [_Span.of(leg) for leg in own]
        old = tubes.pop(number, None)
        if old is not None and old.masks is not None:
            for row, index in enumerate(old.frames.tolist()):
                if not any(span.first <= index <= span.last for span in spans):
                    rows[index] = _Row(old.boxes[row], float(old.scores[row]), old.masks[row])
        if rows:
            tubes[number] = _tube(number, 0 if old is None else old.label, rows)
    return replace(result, tubes=tuple(tubes[number] for number in sorted(tubes)))


def _walk(
    leg: Leg,
    make: MakeFollower,
    prompts: Prompts,
    frames: Callable[[int, int], Iterable[Frame]],
    every: int,
) -> Iterable[tuple[int, Followed]]:
    """Each frame of a leg, its prompt's among them, with what is seen there."""
    own = {leg.number: {leg.prompt: prompts[leg.number][leg.prompt]}}
    walk = Walk(make(), own, {(leg.number, leg.prompt): leg.last}, way=leg.way, every=every)
    for frame, found in walk.through(frames(leg.prompt, leg.last)):
        yield from ((frame.index, seen) for seen in found)


def _tube(number: int, label: int, rows: dict[int, _Row]) -> Tube:
    frames = sorted(rows)
    scores = np.array([rows[index].score for index in frames], np.float32)
    return Tube(
        id=number,
        label=label,
        score=float(np.mean([rows[index].score for index in frames])),
        frames=np.array(frames, np.int64),
        boxes=np.array([rows[index].box for index in frames], np.float32),
        scores=scores,
        masks=tuple(rows[index].mask for index in frames),
    )
