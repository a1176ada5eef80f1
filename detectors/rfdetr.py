"""RF-DETR-Seg (Robinson et al. 2025), through transformers: fast COCO boxes and masks.

Each query gives one object at most, its best class; the library may give a query once per class.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.query_masks import resize_logits
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

__all__ = ["RfDetrSeg"]


class RfDetrSeg:
    """An RF-DETR segmentation checkpoint."""

    def __init__(
        self,
        *,
        weights: str | Path = "Roboflow/rf-detr-seg-medium",
        score: float = 0.4,
        max_detections: int = 100,
        device: str = "auto",
    ) -> None:
        """``weights``: a hub name or a folder. ``score``: least class probability."""
        if not 0 <= score <= 1 or max_detections < 1:
            raise UsageError(
                f"score {score} and max_detections {max_detections}: give 0 <= score <= 1 and 1 or more"
            )
        library = require("transformers", "RfDetrForInstanceSegmentation", "RfDetrImageProcessor")
        folder = checkpoint_folder(weights)
        self._device = torch_device(device)
        self._model = load_model(library.RfDetrForInstanceSegmentation, folder).to(self._device)
        self._processor = load_processor(library.RfDetrImageProcessor, folder)
        self._score, self._max_detections = score, max_detections
        self.weights_sha256 = weights_sha256(folder)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return class_names_of(self._model.config)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes, masks, labels and scores of each image, best first."""
        import torch

        if not images:
            return []
        if len({image.shape for image in images}) > 1:
            return [found for image in images for found in self.detect([image])]
        inputs = self._processor(images=list(images), return_tensors="pt")
        pixels = inputs["pixel_values"].to(self._device, next(self._model.parameters()).dtype)
        mask = inputs.get("pixel_mask")
        with torch.inference_mode():
            output = self._model(
                pixel_values=pixels, pixel_mask=None if mask is None else mask.to(self._device)
            )
            size = (images[0].shape[0], images[0].shape[1])
            return [self._objects(output, row, size) for row in range(len(images))]

    def _objects(self, output: Any, row: int, size: tuple[int, int]) -> Detections:
        scores, labels = output.logits[row].sigmoid().max(dim=-1)
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] > self._score][: self._max_detections]
        masks = (resize_logits(output.pred_masks[row][best].float(), size) > 0).cpu().numpy()
        boxes = corners(output.pred_boxes[row][best].float().cpu().numpy(), size)
        found = Detections(
            boxes, scores[best].float().cpu().numpy(), labels[best].cpu().numpy().astype(np.int64), masks
        )
        return found.select(np.flatnonzero(masks.any(axis=(1, 2)) & (box_maths.area(boxes) > 0)))


def corners(relative: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Centre x, y, width, height in [0, 1] of the picture -> corners in pixels, clipped to it."""
    height, width = size
    centre, half = relative[:, :2], relative[:, 2:] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1) * [width, height, width, height]
    return box_maths.clip(boxes.astype(np.float32), size)
