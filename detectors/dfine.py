"""D-FINE (Peng et al. 2024), through transformers: COCO boxes in real time.

Each query gives one object at most, its best class; the library may give a query once per class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.rfdetr import corners
from vis import boxes as box_maths
from vis.errors import UsageError
from vis.structures import Detections
from vis.weights.hub import (
    checkpoint_folder,
    class_names_of,
    load_model,
    load_processor,
    require,
    torch_device,
    weights_sha256,
)

__all__ = ["DFine"]


class DFine:
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
        if not 0 <= score <= 1 or max_detections < 1:
            raise UsageError(
                f"score {score} and max_detections {max_detections}: give 0 <= score <= 1 and 1 or more"
            )
        library = require("transformers", "DFineForObjectDetection", "RTDetrImageProcessor")
        folder = checkpoint_folder(weights)
        self._device = torch_device(device)
        self._model = load_model(library.DFineForObjectDetection, folder).to(self._device)
        self._processor = load_processor(library.RTDetrImageProcessor, folder)
        self._score, self._max_detections = score, max_detections
        self.weights_sha256 = weights_sha256(folder)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return class_names_of(self._model.config)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes, labels and scores of each image, best first."""
        import torch

        if not images:
            return []
        if len({image.shape for image in images}) > 1:
            return [found for image in images for found in self.detect([image])]
        inputs = self._processor(images=list(images), return_tensors="pt", device=self._device)
        with torch.inference_mode():
            output = self._model(inputs["pixel_values"].to(self._device, self._model.dtype))
            size = (images[0].shape[0], images[0].shape[1])
            return [self._objects(output, row, size) for row in range(len(images))]

    def _objects(self, output: Any, row: int, size: tuple[int, int]) -> Detections:
        scores, labels = output.logits[row].float().sigmoid().max(dim=-1)
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] > self._score][: self._max_detections]
        boxes = corners(output.pred_boxes[row][best].float().cpu().numpy(), size)
        found = Detections(boxes, scores[best].cpu().numpy(), labels[best].cpu().numpy().astype(np.int64))
        return found.select(np.flatnonzero(box_maths.area(boxes) > 0))
