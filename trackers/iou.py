"""The plainest tracker: a detection continues the track whose last box it overlaps best. Boxes only.

No motion model, so it wants small steps between frames (Bochinski et al. 2017, "High-Speed
Tracking-by-Detection Without Using Image Information", with an optimal assignment in place of the
greedy one, and a memory across gaps).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackers.assignment import match_pairs
from trackers.base import Array, Index, Int64, OnePassTracker, Tracks
from vis.structures import Detections

__all__ = ["IouTracker"]


@dataclass
class BoxTracks(Tracks):
    """Tracks that remember their latest box."""

    boxes: NDArray[np.float32]

    @classmethod
    def empty(cls) -> BoxTracks:
        """No tracks."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, 4), np.float32))


class IouTracker(OnePassTracker[BoxTracks]):
    """Best overlap with the last box.

    Args:
        min_overlap: least IoU between a track's last box and a detection (0.3).
        settings: those of ``OnePassTracker``.
    """

    def __init__(self, *, min_overlap: float = 0.3, **settings: Any) -> None:
        self.min_overlap = min_overlap
        super().__init__(**settings)

    def _empty(self) -> BoxTracks:
        return BoxTracks.empty()

    def compensate(self, affine: Array) -> None:
        """Move the remembered boxes with the camera; see ``BaseTracker.compensate``."""
        self._tracks.boxes = move_boxes(self._tracks.boxes, affine)

    def _associate(self, detections: Detections, now: float) -> Int64:
        tracks, looked_at = self._tracks, self._looked_at(detections)
        rows, cols, overlap = self._overlapping(tracks.boxes, detections, looked_at, self.min_overlap)
        best = match_pairs(rows, cols, overlap - self.min_overlap)
        rows, cols = rows[best], cols[best]
        tracks.boxes[rows] = detections.boxes[cols]

        def begin(born: Index, ids: Int64, labels: Int64, seen: Array) -> BoxTracks:
            return BoxTracks(ids, labels, seen, detections.boxes[born])

        return self._continue_and_begin(detections, looked_at, (rows, cols), now, begin=begin)


def move_boxes(boxes: Array, affine: Array) -> NDArray[np.float32]:
    """The upright boxes (K, 4) around what ``affine`` (2, 3) makes of the given ones.

    Centres move exactly; sides are scaled by the root of the area's change, so that a turning
    camera does not make boxes grow without end.
    """
    linear, shift = np.asarray(affine, float)[:, :2], np.asarray(affine, float)[:, 2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + shift
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * np.sqrt(abs(np.linalg.det(linear)))
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
