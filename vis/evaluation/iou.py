"""IoU of tubes, of their masks and of their boundaries.

Tube IoU sums intersections and unions over frames, then divides (Yang et al., Video Instance
Segmentation, ICCV 2019). Boundary IoU does the same on the boundaries (Cheng et al., arXiv 2103.16562;
as tubes: Ke et al., Video Mask Transfiner, ECCV 2022). With E = eroded mask, boundary B = mask minus E, so

    |Ba and Bb| = |a b| - |a Eb| - |Ea b| + |Ea Eb|        |Ba| = |a| - |Ea|

and no boundary is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from vis.evaluation import intervals
from vis.evaluation.tube_masks import Packed, TubeMasks, pack

__all__ = ["boundary_ious", "mask_ious"]


def mask_ious(
    detections: Sequence[TubeMasks], truths: Sequence[TubeMasks], compute: ModuleType = intervals
) -> NDArray[np.float64]:
    """Mask tube IoU, float64 (D, G), over the frames that both lists cover; 0 when both are empty."""
    spans = np.array([[0, len(detections), 0, len(truths)]], np.int64)
    values: NDArray[np.float64] = compute.ious(pack(detections), pack(truths), spans, 0.0)
    return values.reshape(len(detections), len(truths))


def boundary_ious(
    detections: Sequence[TubeMasks],
    truths: Sequence[TubeMasks],
    pairs: NDArray[np.int64],
    detection_widths: NDArray[np.int64],
    truth_widths: NDArray[np.int64],
    *,
    compute: ModuleType = intervals,
) -> NDArray[np.float64]:
    """Boundary tube IoU, float64 (P,), of ``pairs`` int64 (P, 2); widths are pixels, one per tube.

    Every tube that a pair names is eroded once.
    """
    sides: list[Packed] = []
    rows = np.empty_like(pairs)
    for side, (tubes, widths) in enumerate(((detections, detection_widths), (truths, truth_widths))):
        used, rows[:, side] = np.unique(pairs[:, side], return_inverse=True)
        some = [tubes[k] for k in used.tolist()]
        packed = pack(some)
        heights = np.array([tube.size[0] for tube in some], np.int64)
        sides += [packed, compute.erode(packed, heights, widths[used])]
    values: NDArray[np.float64] = compute.boundary_ious(*sides, rows)
    return values
