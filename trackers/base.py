"""What all trackers share: the clock, the ids, the table of live tracks, and saving it all.

A tracker is a subclass that says how one frame's detections meet the live tracks (``_associate``)
and what it keeps about a track (a subclass of ``Tracks``). Everything that the contract of
``vis.interfaces.Tracker`` promises is kept here, once: rows in the order given and otherwise
untouched, ids from 1 per instance and never used again, time that only runs forward, and a history
no longer than ``buffer_seconds``.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import IntEnum
from math import isfinite
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from trackers.kalman import TICKS_PER_SECOND
from trackers.track_arrays import TrackArrays
from vis.boxes import iou
from vis.errors import UsageError
from vis.structures import Detections

__all__ = ["BaseTracker", "OnePassTracker", "TrackStatus", "Tracks", "new_track_threshold", "unit_rows"]

Array = NDArray[Any]
Bool = NDArray[np.bool_]
Index = NDArray[np.intp]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]


class TrackStatus(IntEnum):
    """What the last update made of a detection."""

    KEPT = 0
    """Continued a track or began one."""
    WEAK = 1
    """Its score is below everything that the tracker looks at."""
    UNMATCHED = 2
    """It fits no track, and is too weak to begin one."""


@dataclass
class Tracks(TrackArrays):
    """The live tracks, oldest first."""

    ids: Int64
    labels: Int64
    """Of the latest detection."""
    seen: NDArray[np.float64]
    """Time of the latest detection in seconds."""

    @classmethod
    def empty(cls) -> Any:
        """No tracks."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))


T = TypeVar("T", bound=Tracks)


class BaseTracker(Generic[T]):
    """Subclasses give ``_associate`` and ``_empty``, and take their settings as keywords.

    Args:
        buffer_seconds: how long a track that is not seen may still be continued.
        same_label: whether a track takes only detections of the label it had last.
    """

    def __init__(self, *, buffer_seconds: float, same_label: bool = False) -> None:
        if not buffer_seconds >= 0:
            raise UsageError(f"buffer_seconds: expected 0 or more, got {buffer_seconds}")
        self.buffer_seconds = buffer_seconds
        self.same_label = same_label
        self.reset()

    def reset(self) -> None:
        """Forget everything; the next id is 1 again. Touches no other tracker."""
        self._tracks: T = self._empty()
        self._next_id = 1
        self._now: float | None = None
        self._statuses = np.zeros(0, np.int8)

    def update(self, detections: Detections, pts_seconds: float) -> Detections:
        """The rows it keeps, in the order given, each with an id (> 0) from birth.

        Boxes, masks, labels, scores and embeddings pass through untouched; when every row is kept
        they are the very arrays given.

        Args:
            detections: the objects of one frame; none at all is a normal frame.
            pts_seconds: presentation time, never before that of the call before.

        Raises:
            UsageError: time runs backwards or is not a number.
        """
        if not (isfinite(pts_seconds) and self._ticks_until(pts_seconds) >= 0):
            raise UsageError(
                f"{type(self).__name__}: expected rising pts_seconds, got {pts_seconds} after {self._now}; "
                "call reset() before another video"
            )
        self._statuses = np.full(len(detections), TrackStatus.UNMATCHED, np.int8)
        ids = self._associate(detections, pts_seconds)
        self._now = float(pts_seconds)
        self._forget(pts_seconds)
        kept = ids > 0
        self._statuses[kept] = TrackStatus.KEPT
        # Without copying when that is all of them.
        return replace(detections if kept.all() else detections.select(kept), track_ids=ids[kept])

    def compensate(self, affine: Array) -> None:
        """Tell, before ``update``, how the camera moved since the frame before.

        Args:
            affine: (2, 3), carries a pixel of the frame before to its place in the coming one.
        """

    @property
    def live_ids(self) -> tuple[int, ...]:
        """Ids that may still be continued, rising."""
        return tuple(sorted(self._tracks.ids.tolist()))

    @property
    def statuses(self) -> tuple[TrackStatus, ...]:
        """What the last update made of each row of its input: why it was not kept, if so."""
        return tuple(TrackStatus(value) for value in self._statuses.tolist())

    @property
    def fates(self) -> tuple[TrackStatus, ...]:
        """The name of ``statuses`` in version 0.1."""
        warnings.warn("fates is called statuses since version 0.2", DeprecationWarning, stacklevel=2)
        return self.statuses

    def state_dict(self) -> dict[str, Any]:
        """All state as plain values and numpy arrays (copies), for going on later."""
        return {
            "tracker": type(self).__name__,
            "next_id": self._next_id,
            "now": self._now,
            "tracks": self._tracks.state(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that ``state_dict`` of the same kind of tracker gave.

        Raises:
            UsageError: the state is another tracker's.
        """
        if state.get("tracker") != type(self).__name__:
            raise UsageError(
                f"{type(self).__name__}: expected a state of its own, got one of {state.get('tracker')!r}"
            )
        self.reset()
        self._tracks = self._tracks.with_state(state["tracks"])
        self._next_id = int(state["next_id"])
        self._now = None if state["now"] is None else float(state["now"])

    # What a tracker is made of.

    def _empty(self) -> T:
        """A table without tracks."""
        raise NotImplementedError

    def _associate(self, detections: Detections, now: float) -> Int64:
        """Meet the tracks and the detections: an id (N,) for each detection, 0 where it has none.

        Must set ``seen`` of the tracks it continues, and add those it begins.
        """
        raise NotImplementedError

    # What trackers build with.

    def _ticks_until(self, now: float) -> float:
        """Time since the frame before, for motion models; 0 in the first frame."""
        return 0.0 if self._now is None else (now - self._now) * TICKS_PER_SECOND

    def _new_ids(self, count: int) -> Int64:
        ids = np.arange(self._next_id, self._next_id + count, dtype=np.int64)
        self._next_id += count
        return ids

    def _drop(self, gone: Bool) -> None:
        """Tracks that can no longer be continued."""
        if gone.any():
            self._tracks = self._tracks.take(~gone)

    def _forget(self, now: float) -> None:
        # A hair of slack: 30 frames of 1/30 s are to fit into a buffer of 1 s.
        self._drop(self._tracks.seen < now - self.buffer_seconds - 1e-6)

    def _label_fits(self, detections: Detections, rows: Index, cols: Index) -> Bool | None:
        """Which pairs (track, detection) may meet as far as labels go; None: all of them."""
        if not self.same_label:
            return None
        fits: Bool = self._tracks.labels[rows] == detections.labels[cols]
        return fits


class OnePassTracker(BaseTracker[T]):
    """Trackers that match all detections which are strong enough at once; those left over begin tracks.

    Args:
        min_score: weaker detections are not looked at.
        new_track_thresh: a detection left over begins a track from here on.
        buffer_seconds: how long a track that is not seen may still be continued.
        same_label: whether a track takes only detections of the label it had last.
        birth_score: the name of ``new_track_thresh`` in version 0.1; warns.
    """

    def __init__(
        self,
        *,
        min_score: float = 0.1,
        new_track_thresh: float = 0.3,
        buffer_seconds: float = 1.0,
        same_label: bool = False,
        birth_score: float | None = None,
    ) -> None:
        self.min_score = min_score
        self.new_track_thresh = new_track_threshold(new_track_thresh, birth_score)
        super().__init__(buffer_seconds=buffer_seconds, same_label=same_label)

    def _looked_at(self, detections: Detections) -> Bool:
        """Which detections (N,) are strong enough."""
        strong: Bool = detections.scores >= self.min_score
        self._statuses[~strong] = TrackStatus.WEAK
        return strong

    def _overlapping(
        self, boxes: Array, detections: Detections, looked_at: Bool, min_overlap: float
    ) -> tuple[Index, Index, Array]:
        """Pairs of a track, whose box is given, and a detection that may meet, and their IoU above the least."""
        overlap = iou(boxes, detections.boxes)
        rows, cols = np.nonzero((overlap > min_overlap) & looked_at)
        fits = self._label_fits(detections, rows, cols)
        if fits is not None:
            rows, cols = rows[fits], cols[fits]
        return rows, cols, overlap[rows, cols]

    def _continue_and_begin(
        self,
        detections: Detections,
        looked_at: Bool,
        matched: tuple[Index, Index],
        now: float,
        *,
        begin: Callable[..., T],
    ) -> Int64:
        """What ``_associate`` gives, once (track, detection) are ``matched``: (N,) ids.

        ``begin(born, ids, labels, seen)`` makes the tracks of the detections ``born``.
        """
        tracks, (rows, cols) = self._tracks, matched
        tracks.labels[rows] = detections.labels[cols]
        tracks.seen[rows] = now
        owner = np.zeros(len(detections), np.int64)
        owner[cols] = tracks.ids[rows]
        born = np.flatnonzero((owner == 0) & looked_at & (detections.scores >= self.new_track_thresh))
        owner[born] = self._new_ids(len(born))
        if len(born):
            new = begin(born, owner[born], detections.labels[born], np.full(len(born), now))
            self._tracks = tracks.extend(new)
        return owner


def new_track_threshold(new_track_thresh: float, birth_score: float | None) -> float:
    """``new_track_thresh``, or what was given by its name of version 0.1, which warns."""
    if birth_score is None:
        return new_track_thresh
    warnings.warn(
        "birth_score is called new_track_thresh since version 0.2", DeprecationWarning, stacklevel=3
    )
    return birth_score


def unit_rows(vectors: Array) -> Float32:
    """Vectors (N, D) scaled to length 1; zeros stay zeros."""
    length = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    unit: Float32 = vectors / np.maximum(length, 1e-12)[:, None]
    return unit
