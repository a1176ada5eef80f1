"""A result set right: other prompts for its objects, and only the frames that these answer for followed anew.

Knows what :mod:`vis.follow.stream` says of segments; frames come from wherever the caller has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.follow.stream import MakeFollower, Prompts, PropagationPass, Segment, segments
from vis.renamed import renamed_arguments
from vis.structures import Frame, MaskRLE, Tube, VideoResult

__all__ = ["changed_segments", "follow_again"]


class _Row(NamedTuple):
    box: NDArray[np.float32]
    score: float
    mask: MaskRLE


@dataclass(frozen=True, slots=True)
class _Span:
    first: int
    last: int

    @classmethod
    def of(cls, segment: Segment) -> _Span:
        return cls(min(segment.prompt, segment.last), max(segment.prompt, segment.last))


def changed_segments(before: Prompts, after: Prompts, first: int, last: int) -> tuple[Segment, ...]:
    """The segments of ``after`` that ``before`` has not followed already, over the frames ``first`` .. ``last``.

    A prompt is the same when it is the same object. A segment that only became shorter is not followed again.
    """
    old = {(one.object_id, one.prompt, one.way): one for one in segments(before, first, last)}
    out = []
    for one in segments(after, first, last):
        done = old.get((one.object_id, one.prompt, one.way))
        same = done is not None and before[one.object_id][one.prompt] is after[one.object_id][one.prompt]
        if done is None or not same or done.ends_before(one.last):
            out.append(one)
    return tuple(out)


@renamed_arguments(every="keyframe_interval")
def follow_again(
    result: VideoResult,
    make: MakeFollower,
    before: Prompts,
    after: Prompts,
    frames: Callable[[int, int], Iterable[Frame]],
    *,
    keyframe_interval: int = 1,
) -> VideoResult:
    """``result`` as following ``after`` would have given it, where following ``before`` gave it.

    Args:
        result: what ``collect(follow(...))`` with ``before`` gave, both ways in time.
        make: gives a new :class:`Follower`, or another propagator: every engine's segments stand alone.
        before: the prompts of ``result``.
        after: the prompts wanted now; objects that are not among them lose their tubes.
        frames: gives the frames from one index to another (inclusive), rising or falling.
        keyframe_interval: as for ``follow``.

    Tubes of other objects are the very same as before. New objects get label 0.
    """
    first, last = int(result.frames[0]), int(result.frames[-1])
    todo = changed_segments(before, after, first, last)
    tubes = {tube.id: tube for tube in result.tubes if tube.id in after}
    for object_id in sorted({segment.object_id for segment in todo}):
        rows: dict[int, _Row] = {}
        own = [segment for segment in todo if segment.object_id == object_id]
        for segment in own:
            alone = PropagationPass(make(), after, [segment], keyframe_interval=keyframe_interval)
            for frame, found in alone.through(frames(segment.prompt, segment.last)):
                for seen in (seen for seen in found if not seen.lost):
                    rows[frame.index] = _Row(seen.box, seen.score, rle.encode(seen.mask))
        spans = [_Span.of(segment) for segment in own]
        old = tubes.pop(object_id, None)
        if old is not None and old.masks is not None:
            for row, index in enumerate(old.frames.tolist()):
                if not any(span.first <= index <= span.last for span in spans):
                    rows[index] = _Row(old.boxes[row], float(old.scores[row]), old.masks[row])
        if rows:
            tubes[object_id] = _tube(object_id, 0 if old is None else old.label, rows)
    return replace(result, tubes=tuple(tubes[object_id] for object_id in sorted(tubes)))


def _tube(object_id: int, label: int, rows: dict[int, _Row]) -> Tube:
    frames = sorted(rows)
    scores = np.array([rows[index].score for index in frames], np.float32)
    return Tube(
        id=object_id,
        label=label,
        score=float(np.mean([rows[index].score for index in frames])),
        frames=np.array(frames, np.int64),
        boxes=np.array([rows[index].box for index in frames], np.float32),
        scores=scores,
        masks=tuple(rows[index].mask for index in frames),
    )
