"""What moves before a fixed camera: background subtraction (Zivkovic's adaptive mixture, MOG2).

Keeps a model of the background between calls; ``reset()`` forgets it. Knows no class, and a moving
camera makes everything move.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.dense_masks import enlarge, tight_boxes
from vis.errors import UsageError
from vis.structures import Detections

__all__ = ["Motion"]

_FOREGROUND = 255  # MOG2 marks shadows with 127


class Motion:
    """Connected regions that differ from the background seen so far."""

    class_names: tuple[str, ...] = ("moving",)

    def __init__(
        self,
        *,
        min_area: float = 0.0008,
        history: int = 300,
        warm_up: int = 10,
        sensitivity: float = 25.0,
        work_side: int = 640,
        max_detections: int = 100,
    ) -> None:
        """``min_area``: smallest region, as a share of the picture.

        ``history``: frames that the background model remembers; what stands still for about a tenth of
        them becomes background. ``warm_up``: first frames that only
        teach it. ``sensitivity``: squared distance, in variances, from which a pixel is foreground
        (less is more sensitive). ``work_side``: longer side, in pixels, at which it is computed.
        """
        if not 0 < min_area < 1 or history < 1 or warm_up < 1 or sensitivity <= 0 or work_side < 32:
            raise UsageError(
                "motion: expected 0 < min_area < 1, history and warm_up of at least 1, sensitivity > 0 and "
                f"work_side >= 32; got {min_area}, {history}, {warm_up}, {sensitivity}, {work_side}"
            )
        self._min_area, self._history, self._warm_up = min_area, history, warm_up
        self._sensitivity, self._work_side, self._max_detections = sensitivity, work_side, max_detections
        self.reset()

    def reset(self) -> None:
        """Forget the background, before another video."""
        import cv2

        self._model: Any = cv2.createBackgroundSubtractorMOG2(
            history=self._history, varThreshold=self._sensitivity, detectShadows=True
        )
        self._seen = 0
        self._size: tuple[int, int] | None = None

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes and masks of what moves, largest first.

        The score is the share of the mask that the background model called foreground before
        small holes and specks were cleaned up.
        """
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        import cv2

        size = (image.shape[0], image.shape[1])
        if self._size not in (None, size):
            self.reset()
        self._size = size
        small = _shrink(image, self._work_side)
        # OpenCV's own choice of rate learns a slow object away within a few frames of the start.
        rate = 1 / (self._seen + 1 if self._seen < self._warm_up else self._history)
        raw = self._model.apply(small, None, rate) == _FOREGROUND
        self._seen += 1
        if self._seen <= self._warm_up:
            return Detections.empty()
        clean = _clean(raw)
        count, regions, stats, _ = cv2.connectedComponentsWithStats(clean.view(np.uint8), connectivity=8)
        areas = stats[1:count, cv2.CC_STAT_AREA]
        big = 1 + np.flatnonzero(areas >= self._min_area * raw.size)
        chosen = big[np.argsort(-areas[big - 1], kind="stable")][: self._max_detections]
        if not len(chosen):
            return Detections.empty()
        masks = np.stack([enlarge(regions == region, size) for region in chosen])
        scores = np.array([raw[regions == region].mean() for region in chosen], np.float32)
        found = Detections(tight_boxes(masks), scores, np.zeros(len(chosen), np.int64), masks)
        return found.select(np.flatnonzero(masks.any(axis=(1, 2))))


def _shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    import cv2

    height, width = image.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return image
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(image, inner, interpolation=cv2.INTER_AREA), np.uint8)


def _clean(raw: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Specks away, then gaps closed; both about one hundredth of the picture's longer side."""
    import cv2

    reach = max(3, max(raw.shape) // 100 | 1)
    speck = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (3, 3))
    gap = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
    opened = cv2.morphologyEx(raw.view(np.uint8), cv2.MORPH_OPEN, speck)
    return np.asarray(cv2.morphologyEx(opened, cv2.MORPH_CLOSE, gap), np.uint8).view(np.bool_)
