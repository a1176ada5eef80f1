"""Association by mask overlap with a track's last mask; boxes stand in where masks are missing.

Masks tell apart objects that share a box (a rider and a horse). No motion model: what moves by more
than its own width between frames is lost, as with ``iou``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trackers.assignment import match
from trackers.base import Array, Index, Int64, OnePassTracker
from trackers.iou import BoxTracks, move_boxes
from trackers.overlap import MaskCrops, mask_iou
from vis.boxes import iou
from vis.structures import Detections

__all__ = ["MaskIouTracker"]


@dataclass
class MaskTracks(BoxTracks):
    """Tracks that remember their latest box and mask."""

    masks: MaskCrops
    """Crops on a grid of every ``step``-th pixel; of area 0 where there was no mask."""

    @classmethod
    def empty(cls) -> MaskTracks:
        """No tracks."""
        plain = BoxTracks.empty()
        return cls(plain.ids, plain.labels, plain.seen, plain.boxes, MaskCrops.empty())


class MaskIouTracker(OnePassTracker[MaskTracks]):
    """Best mask overlap with the last mask.

    Args:
        min_overlap: least mask IoU between a track and a detection (0.2); box IoU where either
            has no mask.
        step: compare masks on every ``step``-th row and column: 1 is exact, 2 four times cheaper.
        settings: those of ``OnePassTracker``.
    """

    def __init__(self, *, min_overlap: float = 0.2, step: int = 2, **settings: Any) -> None:
        self.min_overlap = min_overlap
        self.step = step
        super().__init__(**settings)

    def _empty(self) -> MaskTracks:
        return MaskTracks.empty()

    def compensate(self, affine: Array) -> None:
        """Move what is remembered with the camera; masks are shifted by whole grid steps."""
        move_tracks(self._tracks, affine, self.step)

    def _associate(self, detections: Detections, now: float) -> Int64:
        tracks, looked_at = self._tracks, self._looked_at(detections)
        masks = remember_masks(detections, self.step)
        overlap = overlaps(tracks, detections, masks) * looked_at
        if self.same_label:
            overlap *= tracks.labels[:, None] == detections.labels
        rows, cols = match(overlap, self.min_overlap)
        tracks.boxes[rows] = detections.boxes[cols]
        tracks.masks.put(rows, masks.take(cols))

        def begin(born: Index, ids: Int64, labels: Int64, seen: Array) -> MaskTracks:
            return MaskTracks(ids, labels, seen, detections.boxes[born], masks.take(born))

        return self._continue_and_begin(detections, looked_at, (rows, cols), now, begin=begin)


def move_tracks(tracks: MaskTracks, affine: Array, step: int) -> None:
    """Move boxes with the camera, and masks by the whole grid steps nearest to that."""
    moved = move_boxes(tracks.boxes, affine)
    shift = (moved[:, :2] + moved[:, 2:] - tracks.boxes[:, :2] - tracks.boxes[:, 2:]) / 2
    tracks.masks.boxes = tracks.masks.boxes + np.tile(np.rint(shift / step).astype(np.int64), 2)
    tracks.boxes = moved


def remember_masks(detections: Detections, step: int) -> MaskCrops:
    """The detections' masks as crops; crops of nothing where there are no masks."""
    if detections.masks is None:
        return MaskCrops.nothing(len(detections))
    return MaskCrops.cut(detections.masks, step)


def overlaps(tracks: MaskTracks, detections: Detections, masks: MaskCrops) -> NDArray[np.float64]:
    """How far each track and detection overlap, (K, N): by mask, or by box where one has no mask."""
    by_mask = mask_iou(tracks.masks, masks)
    without = (tracks.masks.areas == 0)[:, None] | (masks.areas == 0)
    return np.where(without, iou(tracks.boxes, detections.boxes), by_mask) if without.any() else by_mask
