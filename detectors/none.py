"""No detector: frames pass, nothing is found. For objects that a person draws, or points at, afterwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vis.structures import Detections

__all__ = ["Nothing"]


class Nothing:
    """Finds nothing, so that a result holds the clip's frames and times and no object yet."""

    class_names: tuple[str, ...] = ("object",)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """No detection for each RGB uint8 image (H, W, 3)."""
        return [Detections.empty() for _ in images]
