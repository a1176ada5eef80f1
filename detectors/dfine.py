"""D-FINE (Peng et al. 2024), through transformers: COCO boxes in real time.

Each query gives one object at most, its best class; the library may give a query once per class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.hub_detector import HubDetector, check_limits
from detectors.rfdetr import corners
from vis import boxes as box_maths
from vis.structures import Detections

__all__ = ["DFine"]


class DFine(HubDetector):
    """A D-FINE checkpoint of any size."""

    def __init__(
        self,
        *,
        weights: str | Path = "ustc-community/dfine-medium-coco",
        score: float = 0.4,
        max_detections: int = 100,
        device: str = "auto",
    ) -> None:
        """``weights``: a hub name or a folder. ``score``: least class probability."""
        check_limits(score, max_detections)
        self._load(weights, device, "DFineForObjectDetection", "RTDetrImageProcessor")
        self._score, self._max_detections = score, max_detections

    def _detect_batch(self, images: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> list[Detections]:
        inputs = self._processor(images=list(images), return_tensors="pt", device=self._device)
        output = self._model(inputs["pixel_values"].to(self._device, self._model.dtype))
        return [self._objects(output, row, size) for row in range(len(images))]

    def _objects(self, output: Any, row: int, size: tuple[int, int]) -> Detections:
        scores, labels = output.logits[row].float().sigmoid().max(dim=-1)
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] > self._score][: self._max_detections]
        boxes = corners(output.pred_boxes[row][best].float().cpu().numpy(), size)
        found = Detections(boxes, scores[best].cpu().numpy(), labels[best].cpu().numpy().astype(np.int64))
        return found.select(np.flatnonzero(box_maths.area(boxes) > 0))
