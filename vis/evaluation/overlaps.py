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

__all__ = ["Overlaps", "area_until", "mask_iou"]


def area_until(masks: TubeMasks, frames: int) -> int:
    """Pixels over the first ``frames`` frames."""
    return int(masks.areas[:frames].sum())


def mask_iou(a: TubeMasks, b: TubeMasks, compute: Engine, floor: float = 0.0) -> float:
    """Tube IoU over the frames that both lists cover; 0 when it cannot reach ``floor``."""
    frames = min(len(a), len(b))
    total = area_until(a, frames) + area_until(b, frames)
    if total == 0:
        return 0.0
    if floor > 0:
        # No intersection is larger than the smaller mask of each frame.
        most = int(np.minimum(a.areas[:frames], b.areas[:frames]).sum())
        if most / (total - most) < floor:
            return 0.0
    common = compute.overlap(a, b, frames)
    return common / (total - common)


class Overlaps:
    """IoUs between detections and truths of one video; keeps the eroded masks that it made."""

    def __init__(
        self, compute: Engine, *, detection_width: int, truth_width: int, floor: float = 0.0
    ) -> None:
        """Band widths in pixels for either side; mask IoUs below ``floor`` may be given as 0."""
        self.compute, self.floor = compute, floor
        self.detection_width, self.truth_width = detection_width, truth_width
        self._eroded: dict[tuple[int, int], TubeMasks] = {}

    def masks(self, detections: Sequence[TubeMasks], truths: Sequence[TubeMasks]) -> NDArray[np.float64]:
        """Mask tube IoU, float64 (D, G)."""
        ious = np.zeros((len(detections), len(truths)))
        for d, detection in enumerate(detections):
            for g, truth in enumerate(truths):
                ious[d, g] = mask_iou(detection, truth, self.compute, self.floor)
        return ious

    def boundary(self, detection: TubeMasks, truth: TubeMasks) -> float:
        """Boundary tube IoU of one pair."""
        compute = self.compute
        frames = min(len(detection), len(truth))
        inner_d = self._inner(detection, self.detection_width)
        inner_g = self._inner(truth, self.truth_width)
        common = (
            compute.overlap(detection, truth, frames)
            - compute.overlap(detection, inner_g, frames)
            - compute.overlap(inner_d, truth, frames)
            + compute.overlap(inner_d, inner_g, frames)
        )
        band_d = area_until(detection, frames) - area_until(inner_d, frames)
        band_g = area_until(truth, frames) - area_until(inner_g, frames)
        union = band_d + band_g - common
        return common / union if union else 0.0

    def _inner(self, masks: TubeMasks, width: int) -> TubeMasks:
        key = id(masks), width
        if key not in self._eroded:
            self._eroded[key] = self.compute.erode(masks, width)
        return self._eroded[key]
