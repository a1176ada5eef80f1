"""Camera motion against warps of known size."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

import trackers
from vis.structures import Detections
from vis.video.motion import CameraMotion


def textured(height: int = 240, width: int = 320) -> np.ndarray:
    """Blobs at every scale: corners everywhere."""
    rng = np.random.default_rng(0)
    image = np.zeros((height, width, 3))
    for cells in (6, 12, 24, 48):
        noise = rng.uniform(0, 255, (cells, cells, 3))
        image += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(image / 4, 0, 255).astype(np.uint8)


def similarity(degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    c, s = scale * np.cos(np.radians(degrees)), scale * np.sin(np.radians(degrees))
    return np.array([[c, -s, shift[0]], [s, c, shift[1]]])


def warp(image: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Move the picture by an affine map of box coordinates, whose origin is a pixel's corner."""
    shift = affine[:, 2] - 0.5 + affine[:, :2] @ [0.5, 0.5]
    height, width = image.shape[:2]
    return cv2.warpAffine(image, np.column_stack([affine[:, :2], shift]), (width, height))


@pytest.mark.parametrize("longer_side", [320, 200])
@pytest.mark.parametrize(
    "affine", [similarity(0, 1, (7, -4)), similarity(2, 1, (3, 2)), similarity(-1, 1.04, (-5, 6))]
)
def test_finds_a_known_motion(affine, longer_side):
    motion, image = CameraMotion(longer_side=longer_side), textured()
    np.testing.assert_array_equal(motion(image), np.eye(2, 3))
    found = motion(warp(image, affine))
    corners = np.array([[0, 0, 1], [320, 0, 1], [0, 240, 1], [320, 240, 1]], float)
    error = np.abs(corners @ found.T - corners @ affine.T).max()
    assert error < 0.6, f"{error:.2f} pixels off"


def test_nothing_to_hold_on_to_is_a_still_camera():
    motion, plain = CameraMotion(), np.full((120, 160, 3), 90, np.uint8)
    motion(plain)
    np.testing.assert_array_equal(motion(plain), np.eye(2, 3))
    np.testing.assert_array_equal(motion(np.zeros((60, 80, 3), np.uint8)), np.eye(2, 3))
    motion.reset()
    np.testing.assert_array_equal(motion(textured()), np.eye(2, 3))


@pytest.mark.parametrize("name", sorted(set(trackers.TRACKERS) - {"native"}))
def test_trackers_follow_a_jolt_when_told_of_it(name):
    """The camera jumps by more than the objects' width: only compensation keeps the ids."""
    start = np.array([[20, 20, 40, 50], [70, 20, 90, 50], [120, 60, 140, 90]], np.float32)
    looks = np.eye(3, dtype=np.float32)
    jolt = similarity(3, 1.1, (45, 12))

    def seen(boxes: np.ndarray) -> Detections:
        masks = np.zeros((3, 200, 260), bool)
        for mask, (x0, y0, x1, y1) in zip(masks, boxes.astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        return Detections(boxes, np.full(3, 0.9, np.float32), np.zeros(3, np.int64), masks, None, looks)

    centre = (start[:, :2] + start[:, 2:]) / 2 @ jolt[:, :2].T + jolt[:, 2]
    half = (start[:, 2:] - start[:, :2]) / 2 * 1.1
    moved = np.concatenate([centre - half, centre + half], 1).astype(np.float32)

    told, untold = trackers.create(name), trackers.create(name)
    for tracker in (told, untold):
        for i in range(4):
            assert tracker.update(seen(start), i / 30).track_ids.tolist() == [1, 2, 3]
    told.compensate(jolt)
    assert told.update(seen(moved), 4 / 30).track_ids.tolist() == [1, 2, 3]
    assert untold.update(seen(moved), 4 / 30).track_ids.tolist() != [1, 2, 3]
