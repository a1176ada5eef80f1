"""Everything mode as a detector: SAM finds objects of no class in every frame, masks included.

It asks a grid of clicks per frame, so it is slow (seconds a frame on a CPU) and knows no names: the one
class is ``object``. For tubes, an association by mask overlap fits it best.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.structures import Detections

if TYPE_CHECKING:
    from vis.automatic_masks import FoundMask
    from vis.interfaces import MaskPredictor

__all__ = ["Everything"]


class Everything:
    """Detector over any promptable mask model; see :func:`vis.automatic_masks.find_everything` for the settings."""

    class_names = ("object",)

    def __init__(
        self,
        *,
        model: str = "sam-tiny",
        device: str = "auto",
        predictor: MaskPredictor | None = None,
        points_per_side: int = 16,
        most: int = 50,
        min_area: int = 100,
        largest: float = 0.9,
        **settings: Any,
    ) -> None:
        """``model`` by name or file, unless a ``predictor`` is given.

        ``points_per_side``: 16 here rather than 32, a video has many frames. ``most``: objects kept per
        frame, those of highest predicted IoU. ``largest``: masks above this share of the frame are
        background and dropped. Other ``settings`` go to ``find_everything``.
        """
        if predictor is None:
            from vis import refiners

            predictor = refiners.create(model, device=device)
        self.predictor = predictor
        self.most = most
        self.largest = largest
        self.settings = {"points_per_side": points_per_side, "min_area": min_area, **settings}

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Objects of each image, best first, with masks."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        from vis.automatic_masks import find_everything

        limit = self.largest * image.shape[0] * image.shape[1]
        found = [
            item
            for item in find_everything(self.predictor, image, **self.settings)
            if 0 < rle.area(item.mask) <= limit
        ]
        found = sorted(found, key=lambda item: -item.predicted_iou)[: self.most]
        return _as_detections(found, (image.shape[0], image.shape[1]))


def _as_detections(found: list[FoundMask], size: tuple[int, int]) -> Detections:
    if not found:
        return Detections.empty()
    scores = np.array([item.predicted_iou for item in found], np.float32)
    return Detections(
        np.array([item.box for item in found], np.float32),
        np.clip(scores, 0, 1),
        np.zeros(len(found), np.int64),
        masks=rle.decode_many([item.mask for item in found], size),
    )
