"""A whole video, both ways in time: prompts in, the stream of tracked frames out.

Every frame of an object is followed from the prompt that is nearest in time. So each prompt owns a
*segment* forwards and one backwards, segments do not overlap, and a correction changes nothing but the segments
around it::

    prompts          p1                       p2
    segments  <------|-------->  <-----------|---------->
    frames    0 . . . . . . . . . . . . . . . . . . . . n

Segments that run backwards come first and are kept as run lengths; the stream then runs forwards.

With ``keyframe_interval`` above 1 the network looks at key frames only, and where motion is hard to tell;
between, objects are carried by motion from both sides, so up to ``keyframe_interval`` frames are held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import CancelledError, PromptError, UsageError
from vis.follow.engine import Interpolator, Propagator
from vis.follow.follower import DOUBT, ObjectState
from vis.follow.prompts import Prompt
from vis.renamed import renamed_arguments
from vis.structures import Detections, Frame, MaskRLE, TrackedFrame

__all__ = [
    "SPEEDS",
    "MakeFollower",
    "Prompts",
    "PropagationPass",
    "Segment",
    "follow",
    "segments",
    "with_next",
]

SPEEDS = {"full": 1, "balanced": 4, "fastest": 8}
"""Name -> at most so many frames from one key frame, which the network sees, to the next."""

Prompts = Mapping[int, Mapping[int, Prompt]]
"""Object id -> frame index -> prompt."""
MakeFollower = Callable[[], Propagator]
"""Gives a new follower, such as an engine's ``propagator``."""


@dataclass(frozen=True, slots=True)
class Segment:
    """The frames that one prompt of one object answers for, in one direction."""

    object_id: int
    """The object's id."""
    prompt: int
    """Frame index of the prompt."""
    way: int
    """1 forwards, -1 backwards in time."""
    last: int
    """Frame index where it ends, inclusive; ``prompt`` itself when it has no frame beside that."""

    def ends_before(self, index: int) -> bool:
        """Whether a frame lies beyond it, in its direction."""
        return (index - self.last) * self.way > 0


def segments(prompts: Prompts, first: int, last: int) -> tuple[Segment, ...]:
    """The segments of all prompts over the frames ``first`` .. ``last`` (inclusive)."""
    out = []
    for object_id, at in prompts.items():
        frames = sorted(at)
        for before, frame, after in zip([None, *frames], frames, [*frames[1:], None], strict=False):
            out.append(Segment(object_id, frame, -1, first if before is None else (before + frame) // 2 + 1))
            out.append(Segment(object_id, frame, 1, last if after is None else (frame + after) // 2))
    return tuple(out)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What stays of an object on a frame."""

    object_id: int
    mask: MaskRLE
    box: NDArray[np.float32]
    score: float


@renamed_arguments(every="keyframe_interval")
def follow(
    frames: Iterable[Frame],
    make: MakeFollower,
    prompts: Prompts,
    *,
    backwards: Callable[[int, int], Iterable[Frame]] | None = None,
    keyframe_interval: int = 1,
    labels: Mapping[int, int] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[TrackedFrame]:
    """Follow every object from its prompts through all frames.

    Args:
        frames: in rising order.
        make: gives a new :class:`Follower`, or another propagator, one for each direction.
        prompts: by object id and frame index; the frames must be among ``frames``.
        backwards: gives the frames from one index down to another, in falling order; None follows
            forwards only.
        keyframe_interval: at most so many frames from one key frame, which the network sees, to the next.
        labels: object id -> class index; 0 where it is silent.
        cancelled: asked at every frame; true ends with :class:`CancelledError`.

    Yields one item per frame, in order; objects are absent where they are lost.

    Raises:
        PromptError: a prompt gives an empty mask, or lies on a frame that never comes.
    """
    missing = {(object_id, frame) for object_id, at in prompts.items() for frame in at}
    kept: dict[int, list[_Kept]] = {}
    back = [one for one in segments(prompts, 0, 0) if one.way < 0 and one.last < one.prompt]
    if backwards is not None and back:
        falling = backwards(max(one.prompt for one in back), min(one.last for one in back))
        down = PropagationPass(make(), prompts, back, keyframe_interval=keyframe_interval)
        for frame, found in down.through(_until(falling, cancelled)):
            new = [item for item in found if not item.lost and frame.index not in prompts[item.object_id]]
            kept[frame.index] = [_keep(item) for item in new]
    forwards = [one for one in segments(prompts, 0, np.iinfo(np.int64).max) if one.way > 0]
    up = PropagationPass(make(), prompts, forwards, keyframe_interval=keyframe_interval)
    for frame, found in up.through(_until(frames, cancelled)):
        seen = [_keep(item) for item in found if not item.lost]
        missing -= {(object_id, frame.index) for object_id, at in prompts.items() if frame.index in at}
        yield TrackedFrame(frame, _detections([*kept.pop(frame.index, []), *seen], frame.size, labels or {}))
    if missing:
        object_id, index = min(missing, key=lambda item: item[::-1])
        raise PromptError(
            f"object {object_id}: frame {index} of its prompt is not among the frames that came"
        )


class PropagationPass:
    """A follower led through frames in one direction, objects joining and leaving by the segments of that direction."""

    def __init__(
        self, follower: Propagator, prompts: Prompts, plan: Iterable[Segment], *, keyframe_interval: int
    ) -> None:
        self.follower = follower
        self.keyframe_interval = keyframe_interval
        self._interpolator = follower if isinstance(follower, Interpolator) else None
        if keyframe_interval > 1 and self._interpolator is None:
            raise UsageError(
                f"keyframe_interval {keyframe_interval}: this engine looks at every frame and carries nothing by "
                "motion; leave it at 1 (--speed full)"
            )
        self._starts: dict[int, list[tuple[Segment, Prompt]]] = defaultdict(list)
        for segment in plan:
            prompt = prompts[segment.object_id][segment.prompt]
            self._starts[segment.prompt].append((segment, prompt))
        self._running: dict[int, Segment] = {}

    def through(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[ObjectState]]]:
        """Each frame with what is seen on it, in order; frames between key frames wait for the next one."""
        waiting: list[Frame] = []
        for frame, following in with_next(frames):
            for object_id in [key for key, one in self._running.items() if one.ends_before(frame.index)]:
                self.follower.stop(object_id)
                del self._running[object_id]
            starts = self._starts.get(frame.index, [])
            if not starts and not self._running:
                yield frame, []
                continue
            due = len(waiting) + 1 >= self.keyframe_interval or not self._running
            between = None if due or starts or self._ends_here(following) else self._interpolator
            if between is not None and between.flow_step(frame.image) <= DOUBT:
                waiting.append(frame)
                continue
            embedding = self.follower.embed(frame.image)
            found = {item.object_id: item for item in self.follower.step(frame.image, embedding)}
            if self._interpolator is not None:
                for earlier, carried in zip(waiting, self._interpolator.interpolate(), strict=True):
                    yield earlier, list(carried)
            waiting = []
            for segment, prompt in starts:
                object_id = segment.object_id
                found[object_id] = self.follower.start(object_id, frame.image, embedding, prompt)
                self._running[object_id] = segment
            yield frame, list(found.values())

    def _ends_here(self, following: Frame | None) -> bool:
        """Whether a segment has no frame after this one."""
        return following is None or any(one.ends_before(following.index) for one in self._running.values())


def with_next(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
    """Each frame with the one that follows it."""
    stream = iter(frames)
    now = next(stream, None)
    while now is not None:
        following = next(stream, None)
        yield now, following
        now = following


def _until(frames: Iterable[Frame], cancelled: Callable[[], bool]) -> Iterator[Frame]:
    for frame in frames:
        if cancelled():
            raise CancelledError("following was stopped")
        yield frame


def _keep(item: ObjectState) -> _Kept:
    return _Kept(item.object_id, rle.encode(item.mask), item.box, item.score)


def _detections(rows: list[_Kept], size: tuple[int, int], labels: Mapping[int, int]) -> Detections:
    rows = sorted(rows, key=lambda row: row.object_id)
    masks = np.zeros((len(rows), *size), np.bool_)
    for target, row in zip(masks, rows, strict=True):
        target[:] = rle.decode(row.mask)
    return Detections(
        boxes=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row.score for row in rows], np.float32),
        labels=np.array([labels.get(row.object_id, 0) for row in rows], np.int64),
        masks=masks,
        track_ids=np.array([row.object_id for row in rows], np.int64),
    )
