"""The salient object of a frame: U2NetP (Qin et al. 2020, "U^2-Net") through onnxruntime.

Saliency -> regions -> boxes, coarse masks and scores. The network looks at one picture and knows no
class; on video its map flickers, so the main object of the frame before helps to find it again
(``temporal``), in three ways that need no truth and no look ahead:

1. Far from where the main object was, saliency counts a little less (``prior``).
2. Regions that almost touch are one object: a pole before a dog does not make two of it.
3. An object does not grow by half from one frame to the next: what a main region suddenly adds far
   from its last place is cut off, until it has stayed for ``_PATIENCE`` frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.dense_masks import enlarge, tight_boxes
from detectors.onnx_session import open_session, weights_file
from vis.errors import CheckpointError, UsageError
from vis.structures import Detections
from vis.weights import sha256_of

__all__ = ["Salient"]

_SIDE = 320  # the network's input and output
_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_STD = np.array([0.229, 0.224, 0.225], np.float32)

_FLOOR = 0.1  # a map that nowhere rises above it shows nothing salient
_SPREAD = 32.0  # pixels of the map over which the prior fades
_GROWTH = 1.5  # times the usual area from which a main region is held back
_REACH = 9  # side of the square, in map pixels, by which it may move and grow meanwhile
_PATIENCE = 12  # frames after which a held-back region is believed, half a second of film
_NEW_SCENE = 0.15  # less of the region than this near the old place: it is another object

Map = NDArray[np.float32]
Mask = NDArray[np.bool_]


class Salient:
    """U2NetP saliency, split into objects."""

    class_names: tuple[str, ...] = ("object",)

    def __init__(
        self,
        *,
        weights: str | Path = "u2netp",
        threshold: float = 0.5,
        min_area: float = 0.003,
        merge_gap: float = 0.05,
        temporal: bool = True,
        prior: float = 0.35,
        max_detections: int = 5,
        threads: int | None = None,
    ) -> None:
        """``weights``: an ``.onnx`` file, or a name of the weights table.

        ``threshold``: saliency of an object's pixels, relative to the frame's most salient one.
        ``min_area``: smallest region, as a share of the picture. ``merge_gap``: regions closer than
        this share of the picture's side are one object. ``temporal``: use the frames before;
        ``prior`` in [0, 1) is how much saliency far from the last main object is weakened.
        """
        if not 0 < threshold < 1 or not 0 <= min_area < 1 or not 0 <= merge_gap < 0.5 or not 0 <= prior < 1:
            raise UsageError(
                "salient: expected 0 < threshold < 1, 0 <= min_area < 1, 0 <= merge_gap < 0.5 and "
                f"0 <= prior < 1; got {threshold}, {min_area}, {merge_gap}, {prior}"
            )
        path = weights_file(weights)
        self._session = open_session(path, threads=threads)
        shape = self._session.get_inputs()[0].shape
        if list(shape[-3:]) != [3, _SIDE, _SIDE]:
            raise CheckpointError(
                f"{path}: expected an input [1, 3, {_SIDE}, {_SIDE}] like U2Net's, it has {shape}"
            )
        self.weights_sha256 = {path.name: sha256_of(path)}
        self._threshold, self._min_pixels = threshold, max(1, round(min_area * _SIDE * _SIDE))
        self._gap = 2 * round(merge_gap * _SIDE / 2) + 1
        self._temporal, self._prior, self._max_detections = temporal, prior, max_detections
        self.reset()

    def reset(self) -> None:
        """Forget the frames before, at the start of another video."""
        self._last: Mask | None = None
        self._weight: Map | None = None
        self._usual_area = 0.0
        self._held_frames = 0

    def state_dict(self) -> dict[str, Any]:
        """What is remembered of the frames before, for going on later."""
        return {
            "last": self._last,
            "weight": self._weight,
            "usual_area": self._usual_area,
            "held_frames": self._held_frames,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that ``state_dict`` gave."""
        self._last, self._weight = state["last"], state["weight"]
        self._usual_area, self._held_frames = state["usual_area"], state["held_frames"]

    def compensate_flow(self, back: NDArray[np.float32]) -> None:
        """Move what is remembered of the frame before to where it is by now, as of ``MotionCompensator``."""
        import cv2

        from vis.follow.motion import warp

        if self._last is None or self._weight is None:
            return
        shares = cv2.resize(back, (_SIDE, _SIDE), interpolation=cv2.INTER_LINEAR)
        flow = np.asarray(shares * _SIDE, np.float32)
        self._last = warp(self._last.astype(np.float32), flow) > 0.5
        self._weight = warp(self._weight, flow)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes, coarse masks and scores of each image, the main object first.

        The score is the mean saliency inside the object, which the network puts near 1 for a clear
        object and near 0 where nothing stands out.
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        saliency = self._saliency(image)
        regions = self._regions(saliency)[: self._max_detections]
        if not regions:
            return Detections.empty()
        scores = np.array([saliency[region].mean() for region in regions], np.float32)
        masks = np.stack([enlarge(region, image.shape[:2]) for region in regions])
        found = Detections(tight_boxes(masks), scores.clip(0, 1), np.zeros(len(scores), np.int64), masks)
        return found.select(np.flatnonzero(masks.any(axis=(1, 2))))

    def _saliency(self, image: NDArray[np.uint8]) -> Map:
        """The network's finest map, (320, 320) in [0, 1]; preprocessing as its authors'."""
        import cv2

        small = cv2.resize(image, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
        small /= max(float(small.max()), 1.0)
        blob = ((small - _MEAN) / _STD).transpose(2, 0, 1)[None]
        name = self._session.get_inputs()[0].name
        first = self._session.get_outputs()[0].name
        output = self._session.run([first], {name: np.ascontiguousarray(blob, np.float32)})[0]
        return np.asarray(output, np.float32).reshape(_SIDE, _SIDE)

    def _regions(self, saliency: Map) -> list[Mask]:
        """Objects of a map, the one with most saliency first."""
        weighted = saliency if self._weight is None else saliency * self._weight
        peak = float(weighted.max())
        if peak < _FLOOR:
            return []
        regions = self._connected(weighted > self._threshold * peak, weighted)
        if regions and self._temporal:
            regions[0] = self._held_back(regions[0])
            self._remember(regions[0])
        return regions

    def _connected(self, chosen: Mask, weighted: Map) -> list[Mask]:
        """Regions of ``chosen``, across gaps, that are large enough; most salient first."""
        import cv2

        bridge = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (self._gap, self._gap))
        joined = cv2.morphologyEx(chosen.view(np.uint8), cv2.MORPH_CLOSE, bridge)
        count, labels = cv2.connectedComponents(joined, connectivity=8)
        labels = np.where(chosen, labels, 0)
        areas = np.bincount(labels.ravel(), minlength=count)
        weights = np.bincount(labels.ravel(), weights=weighted.ravel(), minlength=count)
        large = [label for label in range(1, count) if areas[label] >= self._min_pixels]
        return [labels == label for label in sorted(large, key=lambda label: -weights[label])]

    def _held_back(self, region: Mask) -> Mask:
        """The part of a suddenly grown main region that lies where the object was; else the region."""
        import cv2

        if self._last is None or region.sum() <= _GROWTH * self._usual_area:
            self._held_frames = 0
            return region
        if self._held_frames < _PATIENCE:
            near = cv2.dilate(self._last.view(np.uint8), np.ones((_REACH, _REACH), np.uint8)).view(np.bool_)
            kept = region & near
            if kept.sum() >= max(self._min_pixels, _NEW_SCENE * region.sum()):
                self._held_frames += 1
                return kept
        self._held_frames = 0
        self._usual_area = 0.0
        return region

    def _remember(self, region: Mask) -> None:
        import cv2

        area = float(region.sum())
        self._usual_area = area if not self._usual_area else 0.8 * self._usual_area + 0.2 * area
        self._last = region
        near = cv2.GaussianBlur(region.astype(np.float32), (0, 0), _SPREAD)
        near = np.maximum(near / near.max(), region)
        self._weight = (1 - self._prior * (1 - near)).astype(np.float32)
