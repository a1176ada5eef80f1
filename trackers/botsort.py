"""BoT-SORT: ByteTrack with the camera's motion taken out and with appearance. Boxes and embeddings.

Aharon et al. 2022, "BoT-SORT: Robust Associations Multi-Pedestrian Tracking". Tell it the camera's
motion through ``compensate`` before each ``update`` (``vis.video.motion`` estimates it); without,
and without embeddings, what is left is ByteTrack with a filter over width and height.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from trackers.base import Array, Float32, Index, Int64, unit_rows
from trackers.bytetrack import ByteTracker, ByteTracks
from trackers.kalman import XYWH, BoxModel
from vis.structures import Detections

__all__ = ["BotSortTracker"]


@dataclass
class BotSortTracks(ByteTracks):
    """BoT-SORT's view of a track."""

    looks: Float32
    """(K, D) smoothed embeddings of length 1; D is 0 until there are embeddings."""

    @classmethod
    def empty(cls) -> BotSortTracks:
        """No tracks."""
        return _with_looks(ByteTracks.empty(), np.zeros((0, 0), np.float32))


class BotSortTracker(ByteTracker):
    """ByteTrack's passes with fused appearance.

    Args:
        max_look_distance: a pair whose half cosine distance is above this is judged by overlap
            alone (0.25).
        min_look_overlap: so is one whose IoU is below this (0.5).
        smoothing: weight of the past in a track's smoothed embedding (0.9).
        settings: those of ``ByteTracker``.
    """

    _model: ClassVar[BoxModel] = XYWH
    _still_when_lost: ClassVar[tuple[int, ...]] = (2, 3)

    def __init__(
        self,
        *,
        max_look_distance: float = 0.25,
        min_look_overlap: float = 0.5,
        smoothing: float = 0.9,
        **settings: Any,
    ) -> None:
        self.max_look_distance = max_look_distance
        self.min_look_overlap = min_look_overlap
        self.smoothing = smoothing
        super().__init__(**settings)

    def _empty(self) -> ByteTracks:
        return BotSortTracks.empty()

    def _similarity(self, detections: Detections, rows: Index, cols: Index, overlap: Array) -> Array:
        by_overlap = super()._similarity(detections, rows, cols, overlap)
        if detections.embeddings is None:
            return by_overlap
        looks, seen = self._looks(detections), unit_rows(detections.embeddings)
        distance = (1 - (looks[rows] * seen[cols]).sum(axis=1)) / 2
        near = (distance <= self.max_look_distance) & (overlap >= self.min_look_overlap)
        known = looks[rows].any(axis=1)
        fused: Array = np.where(near & known, np.maximum(by_overlap, 1 - distance), by_overlap)
        return fused

    def _continue(self, detections: Detections, rows: Index, cols: Index, now: float) -> None:
        if detections.embeddings is not None:
            tracks, seen = self._bot_tracks, unit_rows(detections.embeddings)
            tracks.looks = self._looks(detections)
            mixed = self.smoothing * tracks.looks[rows] + (1 - self.smoothing) * seen[cols]
            tracks.looks[rows] = unit_rows(mixed)
        super()._continue(detections, rows, cols, now)

    def _new_tracks(self, detections: Detections, born: Index, ids: Int64, now: float) -> ByteTracks:
        if detections.embeddings is None:
            looks = np.zeros((len(born), self._bot_tracks.looks.shape[1]), np.float32)
        else:
            looks = unit_rows(detections.embeddings[born])
        return _with_looks(super()._new_tracks(detections, born, ids, now), looks)

    @property
    def _bot_tracks(self) -> BotSortTracks:
        assert isinstance(self._tracks, BotSortTracks)
        return self._tracks

    def _looks(self, detections: Detections) -> Float32:
        """The tracks' embeddings, forgotten (zeros) if the detector now gives others."""
        looks = self._bot_tracks.looks
        if detections.embeddings is None or looks.shape[1] == detections.embeddings.shape[1]:
            return looks
        return np.zeros((len(looks), detections.embeddings.shape[1]), np.float32)


def _with_looks(tracks: ByteTracks, looks: Float32) -> BotSortTracks:
    t = tracks
    return BotSortTracks(t.ids, t.labels, t.seen, t.born, t.confirmed, t.active, t.motion, looks)
