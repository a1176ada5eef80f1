"""OC-SORT: SORT that trusts observations more than its filter's guesses. Boxes only.

Cao et al. 2023, "Observation-Centric SORT". Three things on top of SORT:

- momentum (OCM): a detection that lies where the track was heading is preferred;
- recovery (OCR): tracks left over are tried again at the place where they were last seen;
- re-update (ORU): a track found again after a gap is filtered anew along the straight line between
  its last and its new observation, so that the drift of the blind steps is undone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trackers import kalman
from trackers.assignment import match_pairs
from trackers.base import Array, Bool, Index, Int64, OnePassTracker, Tracks
from trackers.iou import move_boxes
from trackers.kalman import TICKS_PER_SECOND, XYSR, Motion
from trackers.sort import predict_areas
from vis.structures import Detections

__all__ = ["OcSortTracker"]


@dataclass
class OcSortTracks(Tracks):
    """OC-SORT's view of a track."""

    missed: Int64
    """Frames since it was last seen."""
    history: NDArray[np.float32]
    """float32 (K, look_back + 1, 4): the latest observed boxes, oldest first; at first one box repeated."""
    motion: Motion
    settled: Motion
    """The filter as it was right after the latest observation."""


class OcSortTracker(OnePassTracker[OcSortTracks]):
    """SORT with momentum, recovery and re-update; settings default to the reference's.

    Args:
        min_overlap: least IoU between a predicted (or last seen) box and a detection (0.3).
        min_score: weaker detections are not looked at (0.6).
        inertia: weight of the direction against the overlap (0.2).
        look_back: over how many observations a direction is taken (3).
        buffer_seconds: how long a track that is not seen may still be continued.
        same_label: whether a track takes only detections of the label it had last.
    """

    def __init__(
        self,
        *,
        min_overlap: float = 0.3,
        min_score: float = 0.6,
        inertia: float = 0.2,
        look_back: int = 3,
        buffer_seconds: float = 1.0,
        same_label: bool = False,
    ) -> None:
        self.min_overlap = min_overlap
        self.inertia = inertia
        self.look_back = look_back
        super().__init__(
            min_score=min_score, new_track_thresh=0.0, buffer_seconds=buffer_seconds, same_label=same_label
        )

    def _empty(self) -> OcSortTracks:
        none = np.zeros(0, np.int64)
        history = np.zeros((0, self.look_back + 1, 4), np.float32)
        return OcSortTracks(none, none, np.zeros(0), none, history, Motion.empty(), Motion.empty())

    def compensate(self, affine: Array) -> None:
        """Move predictions and observations with the camera; see ``BaseTracker.compensate``."""
        tracks = self._tracks
        kalman.move(XYSR, tracks.motion, affine)
        kalman.move(XYSR, tracks.settled, affine)
        tracks.history = move_boxes(tracks.history.reshape(-1, 4), affine).reshape(tracks.history.shape)

    def _associate(self, detections: Detections, now: float) -> Int64:
        tracks, boxes = self._tracks, detections.boxes
        looked_at = self._looked_at(detections)
        predict_areas(tracks.motion, self._ticks_until(now))

        predicted = XYSR.boxes(tracks.motion.position).astype(np.float32)
        rows, cols, overlap = self._overlapping(predicted, detections, looked_at, self.min_overlap)
        # Shifted so that no heading makes an overlapping pair worthless.
        bonus = self.inertia * (self._headings(detections, rows, cols) + 0.5)
        best = match_pairs(rows, cols, overlap - self.min_overlap + bonus)
        rows, cols = rows[best], cols[best]
        more_rows, more_cols = self._recover(detections, looked_at, rows, cols)
        rows, cols = np.concatenate([rows, more_rows]), np.concatenate([cols, more_cols])

        tracks.missed += 1
        self._observe(rows, boxes[cols], now)

        def begin(born: Index, ids: Int64, labels: Int64, seen: Array) -> OcSortTracks:
            history = np.repeat(boxes[born, None], self.look_back + 1, axis=1)
            motion, settled = kalman.start(XYSR, boxes[born]), kalman.start(XYSR, boxes[born])
            return OcSortTracks(ids, labels, seen, np.zeros(len(born), np.int64), history, motion, settled)

        return self._continue_and_begin(detections, looked_at, (rows, cols), now, begin=begin)

    def _headings(self, detections: Detections, rows: Index, cols: Index) -> Array:
        """How well each pair keeps the track's direction, times the score: -0.5 .. 0.5, 0: unknown.

        Equation 4 of the paper, as the angle between "observed so far" and "on to the detection".
        """
        history = self._tracks.history
        centres = (history[..., :2] + history[..., 2:]) / 2
        # The reference measures from the observation ``look_back`` steps before the latest.
        so_far = centres[:, -1] - centres[:, 0]
        target = (detections.boxes[cols, :2] + detections.boxes[cols, 2:]) / 2
        onward = target - centres[rows, min(1, self.look_back)]
        so_far = so_far[rows]
        length = np.hypot(so_far[:, 0], so_far[:, 1]) * np.hypot(onward[:, 0], onward[:, 1])
        cosine = (so_far * onward).sum(axis=1) / np.maximum(length, 1e-6)
        angle = np.arccos(np.clip(cosine, -1, 1))
        headings: Array = (0.5 - angle / np.pi) * detections.scores[cols] * (length > 1e-6)
        return headings

    def _recover(
        self, detections: Detections, looked_at: Bool, rows: Index, cols: Index
    ) -> tuple[Index, Index]:
        """Match what is left over at the place where each track was last seen."""
        tracks = self._tracks
        left = np.ones(len(tracks.ids), bool)
        left[rows] = False
        looked_at = looked_at.copy()
        looked_at[cols] = False
        if not (left.any() and looked_at.any()):
            return rows[:0], cols[:0]
        last = tracks.history[:, -1]
        rows, cols, overlap = self._overlapping(last, detections, looked_at, self.min_overlap)
        rows, cols, overlap = rows[left[rows]], cols[left[rows]], overlap[left[rows]]
        best = match_pairs(rows, cols, overlap - self.min_overlap)
        return rows[best], cols[best]

    def _observe(self, rows: Index, boxes: Array, now: float) -> None:
        """Filter the given tracks with their new boxes."""
        tracks = self._tracks
        found = np.flatnonzero(tracks.missed[rows] > 1)
        if len(found):
            self._update_again(rows[found], boxes[found], now)
        motion = kalman.update(XYSR, tracks.motion.take(rows), boxes)
        tracks.motion.put(rows, motion)
        tracks.settled.put(rows, motion)
        tracks.missed[rows] = 0
        tracks.history[rows] = np.concatenate([tracks.history[rows, 1:], boxes[:, None]], axis=1)

    def _update_again(self, rows: Index, boxes: Array, now: float) -> None:
        """Replace predictions across a gap by a filter run along the straight line (ORU).

        Ends with a prediction for the present, as if there had been no gap.
        """
        tracks = self._tracks
        motion = tracks.settled.take(rows)
        last, steps = tracks.history[rows, -1], tracks.missed[rows]
        ticks = ((now - tracks.seen[rows]) * TICKS_PER_SECOND / steps)[:, None]
        for step in range(1, int(steps.max()) + 1):
            going = np.flatnonzero(step <= steps)
            part = motion.take(going)
            kalman.predict(XYSR, part, ticks[going])
            between = np.flatnonzero(step < steps[going])
            share = (step / steps[going[between]])[:, None]
            line = last[going[between]] * (1 - share) + boxes[going[between]] * share
            part.put(between, kalman.update(XYSR, part.take(between), line))
            motion.put(going, part)
        tracks.motion.put(rows, motion)
