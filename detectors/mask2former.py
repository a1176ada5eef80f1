"""Mask2Former (Cheng et al. 2022) for images, through transformers: boxes, masks, labels, scores and queries.

Frames of one call are one batch. The query embeddings come along, so that a tracker can follow
queries from frame to frame (MinVIS, Huang et al. 2022). Each query gives one object at most: its
best class. Masks at full resolution are made only for queries whose class score can reach
``score``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.mask2former_decoder import decode, mask_logits, pixel_features
from detectors.query_masks import best_classes, detections_from, mask_quality, resize_binary, resize_logits
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

__all__ = ["Mask2Former"]

_LIBRARY_SIDE = 384  # transformers measures and resizes every mask at 384 x 384


class Mask2Former:
    """A COCO instance model, or any other Mask2Former checkpoint that transformers reads."""

    def __init__(
        self,
        *,
        weights: str | Path = "facebook/mask2former-swin-small-coco-instance",
        score: float = 0.5,
        max_detections: int = 100,
        smooth_masks: bool = True,
        device: str = "auto",
    ) -> None:
        """``weights``: a hub name or a folder. ``score``: least class probability times mask quality.

        ``smooth_masks``: mask logits go straight to the frame's size; False resizes the binary
        384 x 384 masks as transformers' own post-processing does, which leaves steps.
        """
        library = require(
            "transformers", "Mask2FormerForUniversalSegmentation", "Mask2FormerImageProcessorPil"
        )
        folder = checkpoint_folder(weights)
        model = load_model(library.Mask2FormerForUniversalSegmentation, folder)
        processor = load_processor(library.Mask2FormerImageProcessorPil, folder)
        self._set_up(
            model,
            processor,
            score=score,
            max_detections=max_detections,
            smooth_masks=smooth_masks,
            device=device,
        )
        self.weights_sha256 = weights_sha256(folder)

    def _set_up(
        self,
        model: Any,
        processor: Any,
        *,
        score: float,
        max_detections: int,
        smooth_masks: bool,
        device: str,
    ) -> None:
        if not 0 <= score <= 1 or max_detections < 1:
            raise UsageError(
                f"score {score} and max_detections {max_detections}: give 0 <= score <= 1 and 1 or more"
            )
        self._device = torch_device(device)
        self._model = model.to(self._device)
        self._processor = processor
        self._score, self._max_detections, self._smooth = score, max_detections, smooth_masks

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return class_names_of(self._model.config)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Objects of each image, best first, with masks and query embeddings (n, D)."""
        import torch

        if not images:
            return []
        if len({image.shape for image in images}) > 1:
            return [found for image in images for found in self.detect([image])]
        with torch.inference_mode():
            decoded = decode(self._model, *pixel_features(self._model, self._pixels(images)))
            size = (images[0].shape[0], images[0].shape[1])
            return [self._objects(decoded, row, size) for row in range(len(images))]

    def _pixels(self, images: Sequence[NDArray[np.uint8]]) -> Any:
        dtype = next(self._model.parameters()).dtype
        pixels = self._processor(images=list(images), return_tensors="pt")["pixel_values"]
        return pixels.to(self._device, dtype)

    def _objects(self, decoded: Any, row: int, size: tuple[int, int]) -> Detections:
        scores, labels = best_classes(decoded.class_logits[row])
        # A mask's quality is at most 1, so weaker classes cannot reach the score.
        rows = (scores >= self._score).nonzero()[:, 0]
        logits = mask_logits(self._model, decoded.embeddings[row][rows], decoded.pixels[row])[:, 0]
        square = resize_logits(logits, (_LIBRARY_SIDE, _LIBRARY_SIDE))
        scores = scores[rows] * mask_quality(square).float()
        best = scores.argsort(descending=True, stable=True)
        best = best[scores[best] >= self._score][: self._max_detections]
        masks = (
            resize_logits(logits[best], size) > 0 if self._smooth else resize_binary(square[best] > 0, size)
        )
        rows = rows[best]
        return detections_from(scores[best], labels[rows], masks, embeddings=decoded.embeddings[row][rows])
