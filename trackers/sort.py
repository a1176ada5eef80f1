"""SORT: a Kalman filter per track, matched to detections by overlap. Boxes only.

Bewley et al. 2016, "Simple Online and Realtime Tracking". The reference forgets a track at its
first miss and reports it from its third hit; here a track lives through ``buffer_seconds`` and has
its id from birth.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trackers import kalman
from trackers.assignment import match_pairs
from trackers.base import Array, Index, Int64, OnePassTracker, Tracks
from trackers.kalman import XYSR, Motion
from vis.structures import Detections

__all__ = ["SortTracker"]


@dataclass
class SortTracks(Tracks):
    """Tracks that move."""

    motion: Motion

    @classmethod
    def empty(cls) -> SortTracks:
        """No tracks."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), Motion.empty())


class SortTracker(OnePassTracker[SortTracks]):
    """Overlap with the predicted box.

    Args:
        min_overlap: least IoU between a predicted box and a detection (0.3).
        settings: those of ``OnePassTracker``.
    """

    def __init__(self, *, min_overlap: float = 0.3, **settings: Any) -> None:
        self.min_overlap = min_overlap
        super().__init__(**settings)

    def _empty(self) -> SortTracks:
        return SortTracks.empty()

    def compensate(self, affine: Array) -> None:
        """Move the predictions with the camera; see ``BaseTracker.compensate``."""
        kalman.move(XYSR, self._tracks.motion, affine)

    def _associate(self, detections: Detections, now: float) -> Int64:
        tracks, looked_at = self._tracks, self._looked_at(detections)
        predict_areas(tracks.motion, self._ticks_until(now))
        predicted = XYSR.boxes(tracks.motion.position).astype(np.float32)
        rows, cols, overlap = self._overlapping(predicted, detections, looked_at, self.min_overlap)
        best = match_pairs(rows, cols, overlap - self.min_overlap)
        rows, cols = rows[best], cols[best]
        tracks.motion.put(rows, kalman.update(XYSR, tracks.motion.take(rows), detections.boxes[cols]))

        def begin(born: Index, ids: Int64, labels: Int64, seen: Array) -> SortTracks:
            return SortTracks(ids, labels, seen, kalman.start(XYSR, detections.boxes[born]))

        return self._continue_and_begin(detections, looked_at, (rows, cols), now, begin=begin)


def predict_areas(motion: Motion, ticks: float) -> None:
    """A step of the area filter; an area that would shrink to nothing stands still instead."""
    area, growth = motion.position[:, 2], motion.velocity[:, 2]
    growth[area + growth * ticks <= 0] = 0
    kalman.predict(XYSR, motion, ticks)
