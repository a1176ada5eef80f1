"""SORT: a Kalman filter per track, matched to detections by overlap. Boxes only.

Bewley et al. 2016, "Simple Online and Realtime Tracking". The reference forgets a track at its
first miss and reports it from its third hit; here a track lives through ``buffer_seconds`` and has
its id from birth.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trackers import kalman
from trackers.assignment import match_pairs
from trackers.base import Array, BaseTracker, Int64, Tracks, TrackStatus, new_track_threshold
from trackers.kalman import XYSR, Motion
from vis.boxes import iou
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


class SortTracker(BaseTracker[SortTracks]):
    """Overlap with the predicted box.

    Args:
        min_overlap: least IoU between a predicted box and a detection (0.3).
        min_score: weaker detections are not looked at.
        new_track_thresh: a detection left over begins a track from here on.
        buffer_seconds: how long a track that is not seen may still be continued.
        same_label: whether a track takes only detections of the label it had last.
        birth_score: the name of ``new_track_thresh`` in version 0.1; warns.
    """

    def __init__(
        self,
        *,
        min_overlap: float = 0.3,
        min_score: float = 0.1,
        new_track_thresh: float = 0.3,
        buffer_seconds: float = 1.0,
        same_label: bool = False,
        birth_score: float | None = None,
    ) -> None:
        self.min_overlap = min_overlap
        self.min_score = min_score
        self.new_track_thresh = new_track_threshold(new_track_thresh, birth_score)
        super().__init__(buffer_seconds=buffer_seconds, same_label=same_label)

    def _empty(self) -> SortTracks:
        return SortTracks.empty()

    def compensate(self, affine: Array) -> None:
        """Move the predictions with the camera; see ``BaseTracker.compensate``."""
        kalman.move(XYSR, self._tracks.motion, affine)

    def _associate(self, detections: Detections, now: float) -> Int64:
        tracks = self._tracks
        looked_at = detections.scores >= self.min_score
        self._statuses[~looked_at] = TrackStatus.WEAK
        predict_areas(tracks.motion, self._ticks_until(now))
        predicted = XYSR.boxes(tracks.motion.position).astype(np.float32)
        overlap = iou(predicted, detections.boxes)
        rows, cols = np.nonzero((overlap > self.min_overlap) & looked_at)
        fits = self._label_fits(detections, rows, cols)
        if fits is not None:
            rows, cols = rows[fits], cols[fits]
        best = match_pairs(rows, cols, overlap[rows, cols] - self.min_overlap)
        rows, cols = rows[best], cols[best]

        tracks.labels[rows] = detections.labels[cols]
        tracks.seen[rows] = now
        tracks.motion.put(rows, kalman.update(XYSR, tracks.motion.take(rows), detections.boxes[cols]))
        owner = np.zeros(len(detections), np.int64)
        owner[cols] = tracks.ids[rows]
        born = np.flatnonzero((owner == 0) & looked_at & (detections.scores >= self.new_track_thresh))
        owner[born] = self._new_ids(len(born))
        if len(born):
            time = np.full(len(born), now)
            motion = kalman.start(XYSR, detections.boxes[born])
            self._tracks = tracks.extend(SortTracks(owner[born], detections.labels[born], time, motion))
        return owner


def predict_areas(motion: Motion, ticks: float) -> None:
    """A step of the area filter; an area that would shrink to nothing stands still instead."""
    area, growth = motion.position[:, 2], motion.velocity[:, 2]
    growth[area + growth * ticks <= 0] = 0
    kalman.predict(XYSR, motion, ticks)
