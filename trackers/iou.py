"""The plainest tracker: a detection continues the track whose last box it overlaps best. Boxes only.

No motion model, so it wants small steps between frames (Bochinski et al. 2017, "High-Speed
Tracking-by-Detection Without Using Image Information", with an optimal assignment in place of the
greedy one, and a memory across gaps).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trackers.assignment import match_pairs
from trackers.base import Array, BaseTracker, Int64, Tracks, TrackStatus, new_track_threshold
from vis.boxes import iou
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


class IouTracker(BaseTracker[BoxTracks]):
    """Best overlap with the last box.

    Args:
        min_overlap: least IoU between a track's last box and a detection (0.3).
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

    def _empty(self) -> BoxTracks:
        return BoxTracks.empty()

    def compensate(self, affine: Array) -> None:
        """Move the remembered boxes with the camera; see ``BaseTracker.compensate``."""
        self._tracks.boxes = move_boxes(self._tracks.boxes, affine)

    def _associate(self, detections: Detections, now: float) -> Int64:
        tracks = self._tracks
        looked_at = detections.scores >= self.min_score
        self._statuses[~looked_at] = TrackStatus.WEAK
        overlap = iou(tracks.boxes, detections.boxes)
        rows, cols = np.nonzero((overlap > self.min_overlap) & looked_at)
        fits = self._label_fits(detections, rows, cols)
        if fits is not None:
            rows, cols = rows[fits], cols[fits]
        best = match_pairs(rows, cols, overlap[rows, cols] - self.min_overlap)
        rows, cols = rows[best], cols[best]

        tracks.labels[rows] = detections.labels[cols]
        tracks.seen[rows] = now
        tracks.boxes[rows] = detections.boxes[cols]
        owner = np.zeros(len(detections), np.int64)
        owner[cols] = tracks.ids[rows]
        born = np.flatnonzero((owner == 0) & looked_at & (detections.scores >= self.new_track_thresh))
        owner[born] = self._new_ids(len(born))
        if len(born):
            self._tracks = tracks.extend(
                BoxTracks(
                    owner[born], detections.labels[born], np.full(len(born), now), detections.boxes[born]
                )
            )
        return owner


def move_boxes(boxes: Array, affine: Array) -> NDArray[np.float32]:
    """The upright boxes (K, 4) around what ``affine`` (2, 3) makes of the given ones.

    Centres move exactly; sides are scaled by the root of the area's change, so that a turning
    camera does not make boxes grow without end.
    """
    linear, shift = np.asarray(affine, float)[:, :2], np.asarray(affine, float)[:, 2]
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 @ linear.T + shift
    half = (boxes[:, 2:] - boxes[:, :2]) / 2 * np.sqrt(abs(np.linalg.det(linear)))
    return np.concatenate([centre - half, centre + half], axis=1).astype(np.float32)
