"""IoU of tubes, of their masks and of their boundary bands, computed only where it can count.

Tube IoU sums intersections and unions over frames, then divides (Yang et al., Video Instance
Segmentation, ICCV 2019). Boundary IoU does the same on the bands (Cheng et al., arXiv 2103.16562;
as tubes: Ke et al., Video Mask Transfiner, ECCV 2022). With E = eroded mask, band = mask minus E, so

    |band a and band b| = |a b| - |a Eb| - |Ea b| + |Ea Eb|        |band a| = |a| - |Ea|

and no band is ever made.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vis.evaluation.runs import Engine, TubeMasks

__all__ = ["boundary_ious", "mask_ious"]


def mask_ious(
    detections: Sequence[TubeMasks], truths: Sequence[TubeMasks], compute: Engine
) -> NDArray[np.float64]:
    """Mask tube IoU, float64 (D, G), over the frames that both lists cover; 0 when both are empty."""
    spans = np.array([[0, len(detections), 0, len(truths)]], np.int64)
    return compute.ious(detections, truths, spans, 0.0).reshape(len(detections), len(truths))


def boundary_ious(
    detections: Sequence[TubeMasks],
    truths: Sequence[TubeMasks],
    pairs: NDArray[np.int64],
    detection_widths: NDArray[np.int64],
    truth_widths: NDArray[np.int64],
    compute: Engine,
) -> NDArray[np.float64]:
    """Boundary tube IoU, float64 (P,), of ``pairs`` int64 (P, 2); widths are pixels, one per tube.

    Every tube that a pair names is eroded once.
    """
    rows = np.empty_like(pairs)

    def chosen(side: int, tubes: Sequence[TubeMasks], widths: NDArray[np.int64]) -> list[list[TubeMasks]]:
        used, rows[:, side] = np.unique(pairs[:, side], return_inverse=True)
        some = [tubes[k] for k in used.tolist()]
        return [some, compute.erode(some, widths[used].tolist())]

    a, a_inner = chosen(0, detections, detection_widths)
    b, b_inner = chosen(1, truths, truth_widths)
    return compute.bands(a, a_inner, b, b_inner, rows)
