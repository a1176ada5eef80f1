"""ByteTrack: strong detections first, then weak ones for the tracks left over. Boxes only.

Zhang et al. 2022, "ByteTrack: Multi-Object Tracking by Associating Every Detection Box". A weak
detection may continue a track (an object half hidden scores low) but never begin one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from trackers import kalman
from trackers.assignment import match_pairs
from trackers.base import Array, BaseTracker, Bool, Index, Int64, Tracks, TrackStatus, new_track_threshold
from trackers.kalman import XYAH, BoxModel, Motion
from vis.boxes import iou
from vis.structures import Detections

__all__ = ["ByteTracker"]


@dataclass
class ByteTracks(Tracks):
    """ByteTrack's view of a track."""

    born: NDArray[np.float64]
    confirmed: Bool
    """Seen twice, or born in the first frame."""
    active: Bool
    """Seen in the frame before."""
    motion: Motion

    @classmethod
    def empty(cls) -> ByteTracks:
        """No tracks."""
        none = np.zeros(0)
        no = np.zeros(0, bool)
        return cls(none.astype(np.int64), none.astype(np.int64), none, none, no, no, Motion.empty())


class ByteTracker(BaseTracker[ByteTracks]):
    """Two passes over a Kalman filter's predictions; settings default to the reference's.

    Args:
        high_score: detections from here on are strong (0.6).
        low_score: those not above this are not looked at (0.1).
        new_track_thresh: a strong detection left over begins a track from here on (0.7).
        min_overlap: least IoU times score between a track and a strong detection (0.2).
        min_overlap_low: least IoU between a track and a weak detection (0.5).
        min_overlap_new: least IoU times score for a track seen only once so far (0.3); such a
            track ends at its first miss.
        duplicate_overlap: of a seen and a lost track that overlap by more, the younger one ends.
        buffer_seconds: how long a lost track may still be found again (30 frames of 1/30 s).
        same_label: whether a track takes only detections of the label it had last.
        birth_score: the name of ``new_track_thresh`` in version 0.1; warns.
    """

    _model: ClassVar[BoxModel] = XYAH
    _still_when_lost: ClassVar[tuple[int, ...]] = (3,)
    """Coordinates that do not change while a track is lost: its size."""

    def __init__(
        self,
        *,
        high_score: float = 0.6,
        low_score: float = 0.1,
        new_track_thresh: float = 0.7,
        min_overlap: float = 0.2,
        min_overlap_low: float = 0.5,
        min_overlap_new: float = 0.3,
        duplicate_overlap: float = 0.85,
        buffer_seconds: float = 1.0,
        same_label: bool = False,
        birth_score: float | None = None,
    ) -> None:
        self.high_score = high_score
        self.low_score = low_score
        self.new_track_thresh = new_track_threshold(new_track_thresh, birth_score)
        self.min_overlap = min_overlap
        self.min_overlap_low = min_overlap_low
        self.min_overlap_new = min_overlap_new
        self.duplicate_overlap = duplicate_overlap
        super().__init__(buffer_seconds=buffer_seconds, same_label=same_label)

    def _empty(self) -> ByteTracks:
        return ByteTracks.empty()

    def compensate(self, affine: Array) -> None:
        """Move the predictions with the camera; see ``BaseTracker.compensate``."""
        kalman.move(self._model, self._tracks.motion, affine)

    def _associate(self, detections: Detections, now: float) -> Int64:
        tracks, scores = self._tracks, detections.scores
        strong = scores >= self.high_score
        weak = ~strong & (scores > self.low_score)
        self._statuses[~strong & ~weak] = TrackStatus.WEAK

        for coordinate in self._still_when_lost:
            tracks.motion.velocity[~tracks.active, coordinate] = 0
        kalman.predict(self._model, tracks.motion, self._ticks_until(now))
        rows, cols = self._passes(detections, strong, weak)

        owner = np.zeros(len(detections), np.int64)
        owner[cols] = tracks.ids[rows]
        self._continue(detections, rows, cols, now)
        born = np.flatnonzero(strong & (owner == 0) & (scores >= self.new_track_thresh))
        owner[born] = self._begin(detections, born, now)
        self._end_duplicates()
        return owner

    def _passes(self, detections: Detections, strong: Bool, weak: Bool) -> tuple[Index, Index]:
        """Pairs (track, detection) of the three passes together."""
        tracks = self._tracks
        overlap = iou(self._model.boxes(tracks.motion.position).astype(np.float32), detections.boxes)
        floor = min(self.min_overlap, self.min_overlap_low, self.min_overlap_new)
        rows, cols = np.nonzero(overlap > floor)
        plain = overlap[rows, cols]
        fused = self._similarity(detections, rows, cols, plain)

        fits = self._label_fits(detections, rows, cols)
        free = np.ones(len(rows), bool) if fits is None else fits
        row_free, col_free = np.ones(len(tracks.ids), bool), np.ones(len(detections), bool)
        taken = []
        for allowed, similarity, minimum in (
            (strong[cols] & tracks.confirmed[rows], fused, self.min_overlap),
            (weak[cols] & (tracks.confirmed & tracks.active)[rows], plain, self.min_overlap_low),
            (strong[cols] & ~tracks.confirmed[rows], fused, self.min_overlap_new),
        ):
            (pairs,) = np.nonzero(free & allowed & (similarity > minimum))
            if len(pairs):
                best = pairs[match_pairs(rows[pairs], cols[pairs], similarity[pairs] - minimum)]
                row_free[rows[best]] = col_free[cols[best]] = False
                free &= row_free[rows] & col_free[cols]
                taken.append(best)
        pairs = np.concatenate(taken) if taken else np.zeros(0, np.intp)
        return rows[pairs], cols[pairs]

    def _similarity(
        self,
        detections: Detections,
        rows: Index,  # noqa: ARG002 (for trackers that know more about a track)
        cols: Index,
        overlap: Array,
    ) -> Array:
        """How alike tracks and strong detections are, for pairs of the given overlap."""
        fused: Array = overlap * detections.scores[cols]
        return fused

    def _continue(self, detections: Detections, rows: Index, cols: Index, now: float) -> None:
        tracks = self._tracks
        seen = np.zeros(len(tracks.ids), bool)
        seen[rows] = True
        tracks.motion.put(rows, kalman.update(self._model, tracks.motion.take(rows), detections.boxes[cols]))
        tracks.labels[rows] = detections.labels[cols]
        tracks.seen[rows] = now
        gone = ~seen & ~tracks.confirmed
        tracks.confirmed |= seen
        tracks.active = seen
        self._drop(gone)

    def _begin(self, detections: Detections, born: Index, now: float) -> Int64:
        ids = self._new_ids(len(born))
        if len(born):
            self._tracks = self._tracks.extend(self._new_tracks(detections, born, ids, now))
        return ids

    def _new_tracks(self, detections: Detections, born: Index, ids: Int64, now: float) -> ByteTracks:
        time = np.full(len(born), now)
        first = np.full(len(born), self._now is None)
        active = np.ones(len(born), bool)
        motion = kalman.start(self._model, detections.boxes[born])
        return ByteTracks(ids, detections.labels[born], time, time, first, active, motion)

    def _end_duplicates(self) -> None:
        """Of a seen and a lost track in the same place, end the one with the shorter life."""
        tracks = self._tracks
        lost = np.flatnonzero(~tracks.active)
        if not len(lost):
            return
        seen = np.flatnonzero(tracks.active)
        boxes = self._model.boxes(tracks.motion.position)
        a, b = np.nonzero(iou(boxes[seen], boxes[lost]) > self.duplicate_overlap)
        life = tracks.seen - tracks.born
        lost_goes = life[seen[a]] > life[lost[b]]
        gone = np.zeros(len(tracks.ids), bool)
        gone[np.where(lost_goes, lost[b], seen[a])] = True
        self._drop(gone)
