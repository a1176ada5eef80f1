"""EoMT (Kerssies et al. 2025) on DINOv2 or DINOv3, through transformers: COCO instances from a plain ViT.

The frame is laid into the model's square, its longer side as long as the square's, and padded with zeros. Each query
gives one object at most, its best class; a score is class probability times mask quality.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.hub_detector import HubDetector, check_limits
from detectors.query_masks import best_classes, detections_from, mask_quality, resize_logits
from vis.structures import Detections
from vis.weights.hub import checkpoint_folder, model_type_of, require

__all__ = ["Eomt"]


class Eomt(HubDetector):
    """An instance checkpoint of either backbone."""

    def __init__(
        self,
        *,
        weights: str | Path = "tue-mps/coco_instance_eomt_large_640",
        score: float = 0.5,
        max_detections: int = 100,
        device: str = "auto",
    ) -> None:
        """``weights``: a hub name or a folder. ``score``: least class probability times mask quality."""
        check_limits(score, max_detections)
        names = {"eomt_dinov3": "EomtDinov3ForUniversalSegmentation"}
        model = names.get(model_type_of(checkpoint_folder(weights)), "EomtForUniversalSegmentation")
        self._load(weights, device, model, "EomtImageProcessor")
        self._kept: Any = require(
            "transformers.image_transforms", "get_size_with_aspect_ratio"
        ).get_size_with_aspect_ratio
        self._score, self._max_detections = score, max_detections

    def _detect_batch(self, images: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> list[Detections]:
        # Padded, never split: pieces of a frame are the semantic models' way.
        inputs = self._processor(
            images=list(images), return_tensors="pt", do_pad=True, do_split_image=False, device=self._device
        )
        output = self._model(inputs["pixel_values"].to(self._device, self._model.dtype))
        return [self._objects(output, row, size) for row in range(len(images))]

    def _objects(self, output: Any, row: int, size: tuple[int, int]) -> Detections:
        scores, labels = best_classes(output.class_queries_logits[row])
        # A mask's quality is at most 1, so weaker classes cannot reach the score.
        rows = (scores >= self._score).nonzero()[:, 0]
        short, long = self._processor.size["shortest_edge"], self._processor.size["longest_edge"]
        square = resize_logits(output.masks_queries_logits[row][rows].float(), (short, long or short))
        height, width = self._kept(size, short, long)
        logits = resize_logits(square[:, :height, :width], size)
        scores = scores[rows] * mask_quality(logits)
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] >= self._score][: self._max_detections]
        return detections_from(scores[best], labels[rows][best], logits[best] > 0)
