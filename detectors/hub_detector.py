"""Detectors on a model of transformers: loading it, and batches of images of one size."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vis.devices import pick_device
from vis.errors import UsageError
from vis.structures import Detections
from vis.weights.hub import (
    checkpoint_folder,
    class_names_of,
    load_model,
    load_processor,
    require,
    weights_sha256,
)

__all__ = ["HubDetector", "check_limits"]


class HubDetector:
    """What detectors on a model of transformers share: the model, its preprocessing, its names and its batches.

    A subclass says what a batch of images holds (``_detect_batch``).
    """

    weights_sha256: dict[str, str]
    """Of the checkpoint's files."""

    def _load(self, weights: str | Path, device: str, model: str, processor: str) -> Path:
        """The checkpoint's folder, its model and its preprocessing loaded by the library's names for them."""
        library = require("transformers", model, processor)
        folder = checkpoint_folder(weights)
        self._device = pick_device(device)
        self._model = load_model(getattr(library, model), folder).to(self._device)
        self._processor = load_processor(getattr(library, processor), folder)
        self.weights_sha256 = weights_sha256(folder)
        return folder

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return class_names_of(self._model.config)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Objects of each image, best first; images of one size are one batch."""
        import torch

        if not images:
            return []
        if len({image.shape for image in images}) > 1:
            return [found for image in images for found in self.detect([image])]
        with torch.inference_mode():
            return self._detect_batch(images, (images[0].shape[0], images[0].shape[1]))

    def _detect_batch(self, images: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> list[Detections]:
        """Objects of each of some images of ``size`` (height, width)."""
        raise NotImplementedError


def check_limits(score: float, max_detections: int) -> None:
    """Raise :class:`UsageError` unless a least score lies in [0, 1] and some detections are allowed."""
    if not 0 <= score <= 1 or max_detections < 1:
        raise UsageError(
            f"score {score} and max_detections {max_detections}: give 0 <= score <= 1 and 1 or more"
        )
