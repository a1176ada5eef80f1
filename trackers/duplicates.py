"""Two tubes of one object made one. Knows no frames and no model.

A detector may give two boxes of one object, the whole and a large part of it, too far apart for its non-maximum
suppression. A tracker then follows both, each for a while, and the object is in two tubes. Or the box of the part grows
to be the whole while the other is lost: one tube hands the object over to the other.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from trackers.base import Index
from vis import boxes as box_maths
from vis import masks as rle
from vis.structures import Tube, VideoResult

__all__ = ["merge_duplicates"]

MIN_COMMON_FRAMES = 3
MIN_IOU = 0.35
"""Median IoU of the boxes of two tubes, on the frames of both, from which on they show one object.

A detector's non-maximum suppression leaves boxes up to an IoU of about .5. On seven clips of BMS-26 the mean tube IoU
is .8015 without merging and .807 with any threshold from .3 to .4; on seven DAVIS clips .8917 and .8932.
"""
MAX_HANDOVER = 0.2
"""Share of the shorter tube's frames on which both may be there, where one ends and the other goes on."""
MIN_INSIDE = 0.5
"""Median share of the smaller box that lies in the larger one meanwhile. Merging such pairs changes nothing where every
frame is looked at, on seven clips of DAVIS and of BMS-26; with key frames it joins both halves of parkour's tube.
"""


def merge_duplicates(result: VideoResult) -> VideoResult:
    """Tubes of one class as one, where their boxes are alike on the frames that they share.

    So are tubes of which one ends soon after the other began inside its box. The pair of the highest IoU first. The
    merged tube has the id of the longer one; on the frames of both it has the box around both, the higher score and the
    union of the masks. Its score is the mean over its frames.
    """
    tubes = {tube.id: tube for tube in result.tubes}
    alike = {
        (a.id, b.id): likeness
        for a, b in combinations(result.tubes, 2)
        if (likeness := _likeness(a, b)) >= MIN_IOU
    }
    while alike:
        pair = max(alike, key=lambda ids: (alike[ids], -ids[0], -ids[1]))
        longer, other = sorted((tubes.pop(id_) for id_ in pair), key=lambda tube: (-len(tube), tube.id))
        merged = _merged(longer, other)
        alike = {ids: value for ids, value in alike.items() if not set(ids) & set(pair)}
        alike |= {
            (min(merged.id, tube.id), max(merged.id, tube.id)): likeness
            for tube in tubes.values()
            if (likeness := _likeness(merged, tube)) >= MIN_IOU
        }
        tubes[merged.id] = merged
    return replace(result, tubes=tuple(tubes[id_] for id_ in sorted(tubes)))


def _likeness(a: Tube, b: Tube) -> float:
    """Median IoU of the boxes on common frames; 0 for tubes that cannot be one object."""
    if a.label != b.label or a.frames[0] > b.frames[-1] or b.frames[0] > a.frames[-1]:
        return 0.0
    rows, others = _common(a, b)
    if len(rows) < MIN_COMMON_FRAMES:
        return 0.0
    first, second = a.boxes[rows], b.boxes[others]
    inner = np.concatenate(
        [np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])], axis=1
    )
    common = box_maths.area(inner)
    union = box_maths.area(first) + box_maths.area(second) - common
    likeness = float(np.median(common / np.maximum(union, 1e-6)))
    if _is_handed_over(a, b, common, np.stack([box_maths.area(first), box_maths.area(second)])):
        return max(likeness, MIN_IOU)
    return likeness


def _is_handed_over(a: Tube, b: Tube, inner: NDArray[np.float64], areas: NDArray[np.float64]) -> bool:
    """Whether one tube ends where the other begins, and the smaller box lies in the larger one meanwhile.

    ``inner`` (K,), ``areas`` (2, K): of the boxes on the K common frames.
    """
    first, second = sorted((a, b), key=lambda tube: (tube.frames[0], tube.frames[-1]))
    ends = first.frames[-1] < second.frames[-1]
    brief = len(inner) <= MAX_HANDOVER * min(len(a), len(b))
    return bool(ends and brief and np.median(inner / np.maximum(areas.min(axis=0), 1e-6)) >= MIN_INSIDE)


def _common(a: Tube, b: Tube) -> tuple[Index, Index]:
    """Rows of ``a`` and of ``b`` on the frames of both."""
    _, rows, others = np.intersect1d(a.frames, b.frames, assume_unique=True, return_indices=True)
    return rows, others


def _merged(tube: Tube, other: Tube) -> Tube:
    """Both as one, with the id and the label of ``tube``."""
    frames = np.union1d(tube.frames, other.frames)
    at, also_at = np.searchsorted(frames, tube.frames), np.searchsorted(frames, other.frames)
    boxes, scores = np.empty((len(frames), 4), np.float32), np.empty(len(frames), np.float32)
    boxes[also_at], scores[also_at] = other.boxes, other.scores
    boxes[at], scores[at] = tube.boxes, tube.scores
    rows, others = _common(tube, other)
    boxes[at[rows]] = _around(tube.boxes[rows], other.boxes[others])
    scores[at[rows]] = np.maximum(tube.scores[rows], other.scores[others])
    masks = None
    if tube.masks is not None and other.masks is not None:
        of_frame = dict(zip(other.frames.tolist(), other.masks, strict=True))
        for frame, mask in zip(tube.frames.tolist(), tube.masks, strict=True):
            of_frame[frame] = rle.union([mask, of_frame[frame]]) if frame in of_frame else mask
        masks = tuple(of_frame[frame] for frame in frames.tolist())
    return replace(
        tube,
        frames=frames,
        boxes=boxes,
        scores=scores,
        masks=masks,
        score=float(scores.mean(dtype=np.float64)),
    )


def _around(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.concatenate([np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])], axis=1)
