"""The detector's own ids, passed through: for video models whose queries are the tracks."""

from __future__ import annotations

import numpy as np

from trackers.base import BaseTracker, Int64, Tracks
from vis.errors import UsageError
from vis.structures import Detections

__all__ = ["NativeTracker"]


class NativeTracker(BaseTracker[Tracks]):
    """Checks the ids that detections carry, and keeps every row.

    That ids are not used again for another object is the detector's part.

    Args:
        buffer_seconds: how long an id that is not seen is still listed in ``live_ids``.
    """

    def __init__(self, *, buffer_seconds: float = 10.0) -> None:
        super().__init__(buffer_seconds=buffer_seconds)

    def _empty(self) -> Tracks:
        empty: Tracks = Tracks.empty()
        return empty

    def _associate(self, detections: Detections, now: float) -> Int64:
        ids = detections.track_ids
        if ids is None:
            if len(detections):
                raise UsageError(
                    "the tracker 'native' passes the detector's ids on, and these detections have none; "
                    "choose another tracker, such as 'bytetrack', or a detector that links frames itself"
                )
            return np.zeros(0, np.int64)
        if len(ids) and (int(ids.min()) < 1 or len(np.unique(ids)) != len(ids)):
            raise UsageError(
                "the tracker 'native' expects ids above 0, each once in a frame; "
                f"the detector gave {ids[:10].tolist()}"
            )
        tracks = self._tracks
        stays = ~np.isin(tracks.ids, ids)
        seen = Tracks(ids.copy(), detections.labels.copy(), np.full(len(ids), now))
        self._tracks = tracks.take(stays).extend(seen)
        return ids
