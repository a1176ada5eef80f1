"""A whole video, both ways in time: prompts in, the stream of tracked frames out.

Every frame of an object is followed from the prompt that is nearest in time. So each prompt owns a
*leg* forwards and one backwards, legs do not overlap, and a correction changes nothing but the legs
around it::

    prompts          p1                       p2
    legs      <------|-------->  <-----------|---------->
    frames    0 . . . . . . . . . . . . . . . . . . . . n

Legs that run backwards are walked first and kept as run lengths; the stream then runs forwards.

With ``every`` above 1 the network looks at key frames only, and where motion is hard to tell;
between, objects are carried by motion from both sides, so up to ``every`` frames are held.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import CancelledError, PromptError
from vis.follow.follower import DOUBT, Followed, Follower
from vis.follow.prompts import Prompt
from vis.structures import Detections, Frame, MaskRLE, TrackedFrame

__all__ = ["SPEEDS", "Leg", "MakeFollower", "Prompts", "Walk", "follow", "legs"]

SPEEDS = {"exact": 1, "balanced": 4, "fastest": 8}
"""Name -> at most so many frames from one look of the network to the next."""

Prompts = Mapping[int, Mapping[int, Prompt]]
"""Object id -> frame index -> prompt."""
MakeFollower = Callable[[], Follower]
"""Gives a new follower."""


@dataclass(frozen=True, slots=True)
class Leg:
    """The frames that one prompt of one object answers for, in one direction."""

    number: int
    """The object's id."""
    prompt: int
    """Frame index of the prompt."""
    way: int
    """1 forwards, -1 backwards in time."""
    last: int
    """Frame index where it ends, inclusive; ``prompt`` itself when it has no frame beside that."""


def legs(prompts: Prompts, first: int, last: int) -> tuple[Leg, ...]:
    """The legs of all prompts over the frames ``first`` .. ``last`` (inclusive)."""
    out = []
    for number, at in prompts.items():
        frames = sorted(at)
        for before, frame, after in zip([None, *frames], frames, [*frames[1:], None], strict=False):
            out.append(Leg(number, frame, -1, first if before is None else (before + frame) // 2 + 1))
            out.append(Leg(number, frame, 1, last if after is None else (frame + after) // 2))
    return tuple(out)


@dataclass(frozen=True, slots=True, eq=False)
class _Kept:
    """What stays of an object on a frame."""

    number: int
    mask: MaskRLE
    box: NDArray[np.float32]
    score: float


def follow(
    frames: Iterable[Frame],
    make: MakeFollower,
    prompts: Prompts,
    *,
    backwards: Callable[[int, int], Iterable[Frame]] | None = None,
    every: int = 1,
    labels: Mapping[int, int] | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[TrackedFrame]:
    """Follow every object from its prompts through all frames.

    Args:
        frames: in rising order.
        make: gives a new :class:`Follower`, one for each direction.
        prompts: by object id and frame index; the frames must be among ``frames``.
        backwards: gives the frames from one index down to another, in falling order; None follows
            forwards only.
        every: at most so many frames from one look of the network to the next.
        labels: object id -> class index; 0 where it is silent.
        cancelled: asked at every frame; true ends with :class:`CancelledError`.

    Yields one item per frame, in order; objects are absent where they are lost.

    Raises:
        PromptError: a prompt gives an empty mask, or lies on a frame that never comes.
    """
    missing = {(number, frame) for number, at in prompts.items() for frame in at}
    kept: dict[int, list[_Kept]] = defaultdict(list)
    if backwards is not None:
        _walk_back(prompts, make, backwards, every, kept, cancelled)
    plan = legs(prompts, 0, np.iinfo(np.int64).max)
    ends = {(leg.number, leg.prompt): leg.last for leg in plan if leg.way > 0}
    walk = Walk(make(), prompts, ends, way=1, every=every)
    for frame, found in walk.through(_until(frames, cancelled)):
        seen = [_keep(item) for item in found if not item.lost]
        missing -= {(number, frame.index) for number, at in prompts.items() if frame.index in at}
        yield TrackedFrame(frame, _detections([*kept.pop(frame.index, []), *seen], frame.size, labels or {}))
    if missing:
        number, index = min(missing, key=lambda item: item[::-1])
        raise PromptError(f"object {number}: frame {index} of its prompt is not among the frames that came")


class Walk:
    """A follower led through frames in one direction, objects joining and leaving by plan."""

    def __init__(
        self,
        follower: Follower,
        prompts: Prompts,
        ends: Mapping[tuple[int, int], int],
        *,
        way: int,
        every: int,
    ) -> None:
        self.follower = follower
        self.way = way
        self.every = every
        self._ends = ends
        self._starts: dict[int, list[tuple[int, Prompt]]] = defaultdict(list)
        for number, at in prompts.items():
            for frame, prompt in at.items():
                self._starts[frame].append((number, prompt))
        self._until: dict[int, int] = {}

    def through(self, frames: Iterable[Frame]) -> Iterator[tuple[Frame, list[Followed]]]:
        """Each frame with what is seen on it, in order; frames between key frames wait for the next one."""
        waiting: list[Frame] = []
        for frame, following in _with_next(frames):
            for number in [number for number, end in self._until.items() if self._past(frame.index, end)]:
                self.follower.stop(number)
                del self._until[number]
            starts = self._starts.get(frame.index, [])
            if not starts and not self._until:
                yield frame, []
                continue
            due = len(waiting) + 1 >= self.every or not self._until
            if (
                not (due or starts or self._ends_here(following))
                and self.follower.glance(frame.image) <= DOUBT
            ):
                waiting.append(frame)
                continue
            embedding = self.follower.predictor.embed(frame.image)
            found = {item.number: item for item in self.follower.step(frame.image, embedding)}
            for earlier, carried in zip(waiting, self.follower.between(), strict=True):
                yield earlier, list(carried)
            waiting = []
            for number, prompt in starts:
                found[number] = self.follower.start(number, frame.image, embedding, prompt)
                self._until[number] = self._ends[number, frame.index]
            yield frame, list(found.values())

    def _past(self, index: int, end: int) -> bool:
        return (index - end) * self.way > 0

    def _ends_here(self, following: Frame | None) -> bool:
        """Whether a leg has no frame after this one."""
        return following is None or any(self._past(following.index, end) for end in self._until.values())


def _with_next(frames: Iterable[Frame]) -> Iterator[tuple[Frame, Frame | None]]:
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


def _walk_back(
    prompts: Prompts,
    make: MakeFollower,
    backwards: Callable[[int, int], Iterable[Frame]],
    every: int,
    kept: dict[int, list[_Kept]],
    cancelled: Callable[[], bool],
) -> None:
    """The legs that run backwards, kept by frame."""
    ends = {(leg.number, leg.prompt): leg.last for leg in legs(prompts, 0, 0) if leg.way < 0}
    starting = {key: last for key, last in ends.items() if last < key[1]}
    if not starting:
        return
    walk = Walk(make(), _only(prompts, starting), starting, way=-1, every=every)
    frames = backwards(max(frame for _, frame in starting), min(starting.values()))
    for frame, found in walk.through(_until(frames, cancelled)):
        for item in found:
            if not item.lost and frame.index not in prompts[item.number]:
                kept[frame.index].append(_keep(item))


def _only(prompts: Prompts, keys: Iterable[tuple[int, int]]) -> Prompts:
    out: dict[int, dict[int, Prompt]] = defaultdict(dict)
    for number, frame in keys:
        out[number][frame] = prompts[number][frame]
    return out


def _keep(item: Followed) -> _Kept:
    return _Kept(item.number, rle.encode(item.mask), item.box, item.score)


def _detections(rows: list[_Kept], size: tuple[int, int], labels: Mapping[int, int]) -> Detections:
    rows = sorted(rows, key=lambda row: row.number)
    masks = np.zeros((len(rows), *size), np.bool_)
    for target, row in zip(masks, rows, strict=True):
        target[:] = rle.decode(row.mask)
    return Detections(
        boxes=np.array([row.box for row in rows], np.float32).reshape(-1, 4),
        scores=np.array([row.score for row in rows], np.float32),
        labels=np.array([labels.get(row.number, 0) for row in rows], np.int64),
        masks=masks,
        track_ids=np.array([row.number for row in rows], np.int64),
    )
