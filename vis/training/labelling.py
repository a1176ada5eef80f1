"""Pseudo-labels: which tubes of a result are good enough to train on, and the images and masks that they give.

As in Segment Anything's data engine (section 4): masks that are confident and stable are taken as they are,
duplicates are dropped, and what is left waits for a person. Stability here is over time: an object whose shape
changes from one frame to the next more than things do was not held by its masks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.pipeline import replay
from vis.structures import Frame, MaskRLE, Tube, VideoResult

__all__ = ["Candidate", "only", "pairs", "select_pseudo_labels", "stability", "tube_iou"]

MAX_SAMPLED = 60
"""Neighbouring frames that are compared per tube, at most, evenly over its length."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tube that may serve as pseudo-labels, and whether it does."""

    tube: int
    kept: bool
    reason: str
    """Why it is left, in words; empty for a kept one."""
    score: float
    """The tube's own confidence, [0, 1]."""
    stability: float
    """See :func:`stability`; NaN where it cannot be told."""
    frames: int


def select_pseudo_labels(
    result: VideoResult,
    *,
    min_score: float = 0.6,
    min_stability: float = 0.75,
    min_frames: int = 5,
    min_area: float = 0.0005,
    max_overlap: float = 0.7,
) -> list[Candidate]:
    """Every tube as a candidate, the best first: by score times stability.

    ``min_area`` is the mean mask's least share of the picture. A tube whose :func:`tube_iou` with a better kept one
    is over ``max_overlap`` is a duplicate of that one. The class plays no part.
    """
    height, width = result.video.size
    steady = {tube.id: stability(tube) for tube in result.tubes}
    ordered = sorted(result.tubes, key=lambda t: (-t.score * np.nan_to_num(steady[t.id]), t.id))
    candidates: list[Candidate] = []
    kept: list[Tube] = []
    for tube in ordered:
        reason = ""
        if tube.masks is None:
            reason = "has no masks"
        elif len(tube) < min_frames:
            reason = f"is on {len(tube)} frames only"
        elif np.mean([rle.area(mask) for mask in tube.masks]) < min_area * height * width:
            reason = "is too small"
        elif tube.score < min_score:
            reason = f"is unsure ({tube.score:.2f})"
        elif steady[tube.id] < min_stability:
            reason = f"changes its shape ({steady[tube.id]:.2f})"
        elif better := next((other for other in kept if tube_iou(tube, other) > max_overlap), None):
            reason = f"is the same as object {better.id}"
        if not reason:
            kept.append(tube)
        candidates.append(Candidate(tube.id, not reason, reason, tube.score, steady[tube.id], len(tube)))
    return candidates


def stability(tube: Tube) -> float:
    """Median IoU of the tube's mask with its mask one processed frame on, centre laid on centre.

    In [0, 1]; 1 for a rigid object that only moves. NaN for a tube without masks or of one frame.
    """
    if tube.masks is None or len(tube) < 2:
        return float("nan")
    first = np.unique(np.linspace(0, len(tube) - 2, min(MAX_SAMPLED, len(tube) - 1)).round().astype(int))
    return float(np.median([_shape_iou(tube.masks[i], tube.masks[i + 1]) for i in first]))


def _shape_iou(a: MaskRLE, b: MaskRLE) -> float:
    """IoU of two masks after the middles of their boxes were laid on each other, to the pixel."""
    crops = [_cropped(mask) for mask in (a, b)]
    height, width = (max(crop.shape[axis] for crop in crops) for axis in (0, 1))
    laid = np.zeros((2, height, width), np.bool_)
    for canvas, crop in zip(laid, crops, strict=True):
        top, left = (height - crop.shape[0]) // 2, (width - crop.shape[1]) // 2
        canvas[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    union = (laid[0] | laid[1]).sum()
    return float((laid[0] & laid[1]).sum() / union) if union else 0.0


def _cropped(mask: MaskRLE) -> NDArray[np.bool_]:
    x0, y0, x1, y1 = rle.bounding_box(mask).astype(int)
    return rle.decode(mask)[y0:y1, x0:x1]


def tube_iou(a: Tube, b: Tube) -> float:
    """Sum of intersections over sum of unions, over all frames of either: the IoU of tube AP."""
    assert a.masks is not None
    assert b.masks is not None
    mine = dict(zip(a.frames.tolist(), a.masks, strict=True))
    shared = sum(
        rle.intersection(mine[frame], mask)
        for frame, mask in zip(b.frames.tolist(), b.masks, strict=True)
        if frame in mine
    )
    total = sum(map(rle.area, a.masks)) + sum(map(rle.area, b.masks)) - shared
    return shared / total if total else 0.0


def only(result: VideoResult, ids: Iterable[int]) -> VideoResult:
    """The result with the tubes of these ids and no others."""
    wanted = set(ids)
    return replace(result, tubes=tuple(tube for tube in result.tubes if tube.id in wanted))


def pairs(
    frames: Iterable[Frame], result: VideoResult, *, every: int = 1
) -> Iterator[tuple[Frame, list[tuple[int, NDArray[np.bool_]]]]]:
    """Every ``every``-th processed frame with the (id, bool (H, W)) of the objects on it, if there are any."""
    for place, tracked in enumerate(replay(frames, result)):
        found = tracked.detections
        if place % every or found.masks is None or found.track_ids is None:
            continue
        shown = [
            (number, mask)
            for number, mask in zip(found.track_ids.tolist(), found.masks, strict=True)
            if mask.any()
        ]
        if shown:
            yield tracked.frame, shown
