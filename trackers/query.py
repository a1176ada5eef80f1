"""Association by what detections look like: their query (or appearance) embeddings.

For detectors that give an embedding per object, above all query-based ones (Mask2Former and kin),
whose queries stay alike from frame to frame. Three published methods are settings of this one:

- MinVIS (Huang et al. 2022): ``matching="cosine", memory=1, min_similarity=-1, min_cosine=-1,
  gate_overlap=None, min_score=0, new_track_thresh=0``: the best one-to-one matching of all queries, nothing else;
- QDTrack's and IDOL's bi-softmax (Pang et al. 2021, equation 4; Wu et al. 2022), with IDOL's
  memory of several frames, is the default;
- on top, a gate: a track seen a moment ago cannot be where it has no pixel in common.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trackers.assignment import match
from trackers.base import Array, Bool, Float32, Index, Int64, OnePassTracker, unit_rows
from trackers.mask_iou import MaskTracks, move_tracks, overlaps, remember_masks
from trackers.overlap import MaskCrops
from vis.errors import UsageError
from vis.structures import Detections

__all__ = ["QueryTracker"]


@dataclass
class QueryTracks(MaskTracks):
    """Tracks that remember what they looked like, and where they were."""

    bank: NDArray[np.float32]
    """(K, memory, D) latest embeddings of length 1, newest last; zeros where there was none yet."""


class QueryTracker(OnePassTracker[QueryTracks]):
    """One-to-one matching of embeddings with a memory bank.

    Args:
        matching: ``"bisoftmax"``: the mean of "this detection among all for the track" and "this
            track among all for the detection"; ``"cosine"``: plain cosine.
        temperature: of the softmax over cosines; smaller is more decided.
        memory: how many embeddings of a track are averaged.
        min_similarity: least similarity of a pair, in the unit of ``matching``.
        min_cosine: least cosine of a pair; a bi-softmax alone cannot say "none of these".
        gate_overlap: a track seen within ``gate_seconds`` takes only detections whose mask IoU
            with it (box IoU where masks are missing) is above this. None: no gate.
        gate_seconds: for how long a track is held to the gate after it was seen.
        step: the gate compares masks on every ``step``-th row and column.
        buffer_seconds: how long a track that is not seen may still be continued.
        settings: the others of ``OnePassTracker``.
    """

    def __init__(
        self,
        *,
        matching: Literal["bisoftmax", "cosine"] = "bisoftmax",
        temperature: float = 0.1,
        memory: int = 5,
        min_similarity: float = 0.4,
        min_cosine: float = 0.4,
        gate_overlap: float | None = 0.0,
        gate_seconds: float = 0.15,
        step: int = 4,
        buffer_seconds: float = 2.0,
        **settings: Any,
    ) -> None:
        if matching not in ("bisoftmax", "cosine"):
            raise UsageError(f"matching: expected 'bisoftmax' or 'cosine', got {matching!r}")
        if memory < 1 or not temperature > 0:
            raise UsageError(
                f"expected memory >= 1 and temperature > 0, got memory {memory}, temperature {temperature}"
            )
        self.matching = matching
        self.temperature = temperature
        self.memory = memory
        self.min_similarity = min_similarity
        self.min_cosine = min_cosine
        self.gate_overlap = gate_overlap
        self.gate_seconds = gate_seconds
        self.step = step
        super().__init__(buffer_seconds=buffer_seconds, **settings)

    def _empty(self) -> QueryTracks:
        plain = MaskTracks.empty()
        bank = np.zeros((0, self.memory, 0), np.float32)
        return QueryTracks(plain.ids, plain.labels, plain.seen, plain.boxes, plain.masks, bank)

    def compensate(self, affine: Array) -> None:
        """Move with the camera what the gate compares; see ``BaseTracker.compensate``."""
        move_tracks(self._tracks, affine, self.step)

    def _associate(self, detections: Detections, now: float) -> Int64:
        looked_at = self._looked_at(detections)
        looks, masks = self._looks(detections), MaskCrops.nothing(len(detections))
        tracks = self._tracks
        allowed = np.broadcast_to(looked_at, (len(tracks.ids), len(detections)))
        if self.gate_overlap is not None:
            masks = remember_masks(detections, self.step)
            allowed = allowed & self._gate(self.gate_overlap, detections, masks, now)
        if self.same_label:
            allowed = allowed & (tracks.labels[:, None] == detections.labels)
        similarity = self._similarity(looks, allowed)
        rows, cols = match(similarity, self.min_similarity)
        tracks.boxes[rows] = detections.boxes[cols]
        tracks.masks.put(rows, masks.take(cols))
        tracks.bank[rows, :-1] = tracks.bank[rows, 1:]
        tracks.bank[rows, -1] = looks[cols]

        def begin(born: Index, ids: Int64, labels: Int64, seen: Array) -> QueryTracks:
            bank = np.zeros((len(born), self.memory, looks.shape[1]), np.float32)
            bank[:, -1] = looks[born]
            return QueryTracks(ids, labels, seen, detections.boxes[born], masks.take(born), bank)

        return self._continue_and_begin(detections, looked_at, (rows, cols), now, begin=begin)

    def _similarity(self, looks: Float32, allowed: Bool) -> Array:
        """How alike each track and detection look, (K, N); -2, below everything, where not allowed."""
        templates = unit_rows(self._tracks.bank.sum(axis=1))
        cosine = templates @ looks.T
        allowed = allowed & (cosine >= self.min_cosine)
        if self.matching == "cosine":
            return np.where(allowed, cosine, np.float32(-2))
        # Cosines are at most 1, so nothing overflows; a row without any choice divides 0 by 1.
        weight = np.exp((cosine - 1) / np.float32(self.temperature)) * allowed
        by_track, by_detection = weight.sum(axis=1, keepdims=True), weight.sum(axis=0, keepdims=True)
        share = weight / (by_track + (by_track == 0)) + weight / (by_detection + (by_detection == 0))
        return np.where(allowed, share / 2, np.float32(-2))

    def _gate(self, gate_overlap: float, detections: Detections, masks: MaskCrops, now: float) -> Bool:
        """Pairs (K, N) that overlap, or whose track was not seen lately."""
        near = overlaps(self._tracks, detections, masks) > gate_overlap
        near[self._tracks.seen < now - self.gate_seconds] = True
        return near

    def _looks(self, detections: Detections) -> Float32:
        """The detections' embeddings at length 1, and a bank of their width."""
        looks, bank = detections.embeddings, self._tracks.bank
        if looks is None:
            if len(detections):
                raise UsageError(
                    "the tracker 'query' matches embeddings, and these detections have none; choose "
                    "another tracker, such as 'mask_iou', or a detector that gives embeddings"
                )
            return np.zeros((0, bank.shape[2]), np.float32)
        if looks.shape[1] != bank.shape[2]:
            if len(bank):
                raise UsageError(
                    f"expected embeddings of width {bank.shape[2]}, as in the frames before, got {looks.shape[1]}"
                )
            self._tracks.bank = np.zeros((0, self.memory, looks.shape[1]), np.float32)
        return unit_rows(looks)
