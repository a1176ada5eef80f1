"""How the camera moved between two frames: sparse optical flow and a robust similarity.

For trackers that predict where objects will be (``tracker.compensate``). Knows no objects: when most
of the picture's corners lie on moving things, their motion is what is found.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["CameraMotion"]

Float64 = NDArray[np.float64]


class CameraMotion:
    """Fed frame by frame; keeps one small grey picture between calls.

    Corners of the frame before (Shi and Tomasi) are followed by pyramidal Lucas-Kanade flow, and a
    similarity (turn, scale, shift) is fitted to them by RANSAC, as BoT-SORT's sparse flow does.

    Args:
        longer_side: pictures are shrunk to this many pixels first; more is slower and finer.
        max_corners: corners that are followed.
        min_inliers: with fewer corners in agreement the camera counts as still.
    """

    def __init__(self, *, longer_side: int = 480, max_corners: int = 400, min_inliers: int = 12) -> None:
        self.longer_side = longer_side
        self.max_corners = max_corners
        self.min_inliers = min_inliers
        self.reset()

    def reset(self) -> None:
        """Forget the frame before, at the start of another video."""
        self._before: NDArray[Any] | None = None

    def __call__(self, image: NDArray[np.uint8]) -> Float64:
        """Motion from the frame before to this one.

        Args:
            image: RGB uint8 (H, W, 3).

        Returns:
            float64 (2, 3): carries a point ``(x, y, 1)`` of the frame before, in the coordinates of
            boxes, to its place in this one. The identity for the first frame, after a change of
            size, and where too few corners agree (a cut, a plain wall).
        """
        scale = min(1.0, self.longer_side / max(image.shape[:2]))
        size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small: NDArray[Any] = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
        before, self._before = self._before, small
        if before is None or before.shape != small.shape:
            return np.eye(2, 3)
        found = self._between(before, small)
        if found is None:
            return np.eye(2, 3)
        # OpenCV counts from the centre of the first pixel, boxes from its corner: half a pixel of the
        # shrunk picture. Then from its pixels to those of the full one, which may differ by axis.
        shift = found[:, 2] + 0.5 - found[:, :2] @ [0.5, 0.5]
        ratio = np.array([image.shape[1] / size[0], image.shape[0] / size[1]])
        linear, shift = found[:, :2] * ratio[:, None] / ratio, shift * ratio
        return np.concatenate([linear, shift[:, None]], axis=1)

    def _between(self, before: NDArray[Any], now: NDArray[Any]) -> Float64 | None:
        """The similarity between two grey pictures, or None where it cannot be trusted."""
        corners: Any = cv2.goodFeaturesToTrack(before, self.max_corners, qualityLevel=0.01, minDistance=7)
        if corners is None or len(corners) < self.min_inliers:
            return None
        moved, status, _ = cv2.calcOpticalFlowPyrLK(before, now, corners, None)  # type: ignore[call-overload]
        good = status.ravel() == 1
        if good.sum() < self.min_inliers:
            return None
        # OpenCV draws RANSAC's samples from a generator of its own with a fixed seed per call.
        found, inliers = cv2.estimateAffinePartial2D(
            corners[good], moved[good], method=cv2.RANSAC, ransacReprojThreshold=1.5
        )
        if found is None or int(inliers.sum()) < self.min_inliers:
            return None
        return np.asarray(found, np.float64)
