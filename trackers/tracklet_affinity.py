"""Affinity of two tracklets (pieces of tubes): how likely they are one object, by motion, size, shape and looks.

Each part is a log likelihood ratio in nats: the same object against two that have nothing to do with each
other. So they add up, and a long gap weakens the part of motion by itself, because everything becomes possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trackers.base import Array, Bool, Index, unit_rows
from trackers.overlap import MaskCrops, mask_iou
from vis import masks as rle
from vis.structures import Tube

__all__ = ["End", "LookScale", "Looks", "affinities", "look_scale"]

Float64 = NDArray[np.float64]
Looks = Mapping[int, Array]
"""Tube id -> (L, D): a vector for each frame of the tube."""

_SPEED_SECONDS = 0.5
"""A speed is fitted over this much of a piece's end."""
_SPEED_LASTS = 1.0
"""A speed is believed for about this many seconds, then the object is as likely to have turned."""
_STRAY, _STRAY_PER_SECOND, _STRAY_PER_WAY = 0.3, 0.3, 0.3
"""How far from where its speed carries it an object turns up: in sides of its box, at once (boxes
are cut off where objects pass behind something) and for each second, and in shares of the way."""
_GROWTH, _GROWTH_PER_SECOND, _ANY_GROWTH = 0.25, 0.2, 0.7
"""By how much (log of the side) an object grows over a gap, and two objects differ."""
_OTHER_LABEL = -0.5
"""Affinity of two labels that differ."""
_BORDER = -3.0
"""Affinity of an end at the picture's border where looks are unknown: it went out, or came in new."""
_WINDOW = 8
"""Frames whose looks are averaged at an end, or on either side of a possible cut."""


@dataclass(frozen=True)
class End:
    """What a piece of a tube looks like at its two ends. Each pair is (first, last)."""

    first_second: float
    last_second: float
    boxes: Float64
    """(2, 4) pixels."""
    speeds: Float64
    """(2, 2) pixels per second."""
    sides: Float64
    """(2,) root of the box's area in pixels."""
    label: int
    looks: Array | None
    """(2, D) of length 1."""
    masks: MaskCrops | None
    """Two masks."""

    @classmethod
    def of(cls, piece: Tube, seconds: Float64, looks: Array | None) -> End:
        """The ends of a piece whose frames are shown at ``seconds`` (L,)."""
        boxes = piece.boxes.astype(float)
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        areas = np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 1), axis=1)
        begin, end = seconds <= seconds[0] + _SPEED_SECONDS, seconds >= seconds[-1] - _SPEED_SECONDS
        if looks is not None:
            looks = unit_rows(np.stack([looks[:_WINDOW].mean(axis=0), looks[-_WINDOW:].mean(axis=0)]))
        masks = None
        if piece.masks is not None:
            masks = MaskCrops.cut(np.stack([rle.decode(piece.masks[0]), rle.decode(piece.masks[-1])]))
        return cls(
            first_second=float(seconds[0]),
            last_second=float(seconds[-1]),
            boxes=boxes[[0, -1]],
            speeds=np.stack([_speed(seconds[begin], centres[begin]), _speed(seconds[end], centres[end])]),
            sides=np.sqrt([np.median(areas[begin]), np.median(areas[end])]),
            label=piece.label,
            looks=looks,
            masks=masks,
        )


@dataclass(frozen=True)
class LookScale:
    """What cosines between looks mean in this video: learnt from the tubes themselves."""

    neutral: float
    """The cosine that speaks neither for nor against."""
    slope: float
    """Nats per unit of cosine."""

    def nats(self, cosine: Array) -> Array:
        """Affinity by looks: at most 6 nats for, and 12 against, which outweighs any other part."""
        return np.clip((cosine - self.neutral) * self.slope, -12, 6)

    def breaks(self, looks: Array) -> Bool:
        """Where a tube (L, D) becomes another object: (L - 1,), True between the rows."""
        n = len(looks)
        found = np.zeros(max(n - 1, 0), bool)
        if n < _WINDOW or self.slope == 0:
            return found
        # Means of up to _WINDOW rows before and after each gap, by differences of running sums.
        total = np.concatenate([np.zeros((1, looks.shape[1])), np.cumsum(looks, axis=0)])
        at = np.arange(1, n)
        before = unit_rows(total[at] - total[np.maximum(at - _WINDOW, 0)])
        after = unit_rows(total[np.minimum(at + _WINDOW, n)] - total[at])
        cosine = (before * after).sum(axis=1)
        bad = cosine < self.neutral
        # One cut for each run of doubt, at its worst place.
        edges = np.flatnonzero(np.diff(np.concatenate([[False], bad, [False]]).astype(np.int8)))
        for start, stop in edges.reshape(-1, 2).tolist():
            found[start + int(np.argmin(cosine[start:stop]))] = True
        return found


def look_scale(tubes: Sequence[Tube], looks: Looks) -> LookScale:
    """Learn what cosines mean: halves of a tube look the same, tubes on the same frame do not.

    Two normal distributions of one variance make the affinity linear in the cosine (linear
    discriminant). Without enough tubes to learn from, a cosine of 0.8 is neutral and 0.9 is 2 nats.
    """
    same, other = [], []
    # The longest tell most, and pairs grow with the square of their number.
    tubes = sorted((tube for tube in tubes if len(tube) >= 4), key=lambda tube: -len(tube))[:200]
    centre = [unit_rows(np.asarray(looks[tube.id]).mean(axis=0, keepdims=True))[0] for tube in tubes]
    for i, tube in enumerate(tubes):
        rows = np.asarray(looks[tube.id])
        middle = len(rows) // 2
        before, after = rows[max(middle - _WINDOW, 0) : middle], rows[middle : middle + _WINDOW]
        halves = unit_rows(np.stack([before.mean(axis=0), after.mean(axis=0)]))
        same.append(float(halves[0] @ halves[1]))
        for j in range(i):
            together = np.intersect1d(tube.frames, tubes[j].frames, assume_unique=True)
            if 2 * len(together) > min(len(tube), len(tubes[j])):
                other.append(float(centre[i] @ centre[j]))
    if len(same) < 3 or len(other) < 3:
        return LookScale(neutral=0.8, slope=20.0)
    # The median: a few tubes hold two objects, or are one object twice.
    high, low = float(np.median(same)), float(np.median(other))
    # How much one object varies; others may differ as they like.
    spread = 1.4826 * max(_deviation(same), 0.02)
    if high - low < 0.02:
        return LookScale(neutral=high, slope=0.0)  # these looks tell nothing apart
    return LookScale(neutral=(high + low) / 2, slope=min((high - low) / spread**2, 20 / (high - low)))


def affinities(
    ends: Sequence[End], tails: Index, heads: Index, scale: LookScale | None, size: tuple[int, int]
) -> Float64:
    """Affinity in nats (P,): that piece ``heads[p]`` goes on where ``tails[p]`` ended."""
    boxes, speeds = np.stack([end.boxes for end in ends]), np.stack([end.speeds for end in ends])
    centres = (boxes[..., :2] + boxes[..., 2:]) / 2
    sides = np.stack([end.sides for end in ends])
    labels = np.array([end.label for end in ends])
    gap = (
        np.array([end.first_second for end in ends])[heads]
        - np.array([end.last_second for end in ends])[tails]
    )

    moved = centres[heads, 0] - centres[tails, 1]
    lasting = _SPEED_LASTS * (1 - np.exp(-gap / _SPEED_LASTS))
    drift = (speeds[tails, 1] + speeds[heads, 0]) / 2 * lasting[:, None]
    side = np.sqrt(sides[tails, 1] * sides[heads, 0])
    sigma = side * (_STRAY + _STRAY_PER_SECOND * gap) + _STRAY_PER_WAY * np.hypot(*drift.T)
    distance = np.square(moved - drift).sum(axis=1) / sigma**2
    # A bivariate Cauchy density against a uniform one over the picture.
    affinity: Float64 = np.log(size[0] * size[1] / (2 * np.pi * sigma**2)) - 1.5 * np.log1p(distance)

    growth = np.log(sides[heads, 0] / sides[tails, 1])
    spread = _GROWTH + _GROWTH_PER_SECOND * gap
    # A Cauchy density against one as wide as sizes differ between any two objects.
    affinity += (
        np.log(_ANY_GROWTH / spread)
        - np.log1p((growth / spread) ** 2)
        + np.log1p((growth / _ANY_GROWTH) ** 2)
    )
    affinity += _OTHER_LABEL * (labels[tails] != labels[heads])
    if scale is None:
        leaves = _at_border(boxes, size)
        affinity += _BORDER * (leaves[tails, 1].astype(float) + leaves[heads, 0])
    else:
        looks = np.stack([np.asarray(end.looks) for end in ends])
        affinity += scale.nats((looks[tails, 1] * looks[heads, 0]).sum(axis=1))
    affinity += _shapes(ends, tails, heads, gap, affinity)
    return affinity


def _at_border(boxes: Float64, size: tuple[int, int]) -> Bool:
    """Whether boxes (..., 4) touch the picture's border, but for a hundredth of its side."""
    height, width = size
    near = np.array([width, height]) / 100
    beyond = (boxes[..., :2] < near) | (boxes[..., 2:] > np.array([width, height]) - near)
    touches: Bool = beyond[..., 0] | beyond[..., 1]
    return touches


def _shapes(ends: Sequence[End], tails: Index, heads: Index, gap: Float64, affinity: Float64) -> Float64:
    """Up to a nat either way for masks that agree when laid over each other, fading in a second."""
    nats = np.zeros(len(tails))
    for p in np.flatnonzero((gap < 1) & (affinity > -3)).tolist():
        a, b = ends[tails[p]].masks, ends[heads[p]].masks
        if a is None or b is None:
            continue
        last, first = a.take([1]), b.take([0])
        shift = (first.boxes[0] + np.roll(first.boxes[0], 2) - last.boxes[0] - np.roll(last.boxes[0], 2)) // 2
        last.boxes = last.boxes + shift
        nats[p] = (mask_iou(last, first)[0, 0] - 0.5) * 2 * (1 - gap[p])
    return nats


def _speed(seconds: Float64, centres: Float64) -> Float64:
    """Least-squares speed of (L, 2) centres; at rest when there are fewer than three."""
    if len(seconds) < 3 or seconds[-1] <= seconds[0]:
        return np.zeros(2)
    t = seconds - seconds.mean()
    speed: Float64 = (t[:, None] * (centres - centres.mean(axis=0))).sum(axis=0) / np.square(t).sum()
    return speed


def _deviation(values: Sequence[float]) -> float:
    """Median absolute deviation."""
    return float(np.median(np.abs(np.asarray(values) - np.median(values))))
