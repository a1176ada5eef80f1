"""Motion before a fixed camera: a square that moves over noise that does not."""

from __future__ import annotations

import numpy as np
import pytest

import detectors
from vis import boxes as box_maths
from vis.errors import UsageError


@pytest.fixture(scope="module")
def scene():
    """frame(t): still texture with camera noise, and a square (60 + 6 t, 80) of 50 x 50 from frame 15 on."""
    background = np.random.default_rng(1).integers(60, 180, (240, 320, 3))

    def frame(t: int) -> np.ndarray:
        noise = np.random.default_rng(t).normal(0, 2, background.shape)
        image = background + noise
        if t >= 15:
            x = 60 + 6 * (t - 15)
            image[80:130, x : x + 50] = (250, 20, 20)
        return image.clip(0, 255).astype(np.uint8)

    return frame


def test_a_moving_square_is_found_and_the_still_scene_is_not(scene):
    detector = detectors.create("motion")
    before = detector.detect([scene(t) for t in range(15)])
    assert [len(found) for found in before] == [0] * 15
    for t in range(15, 35):
        found = detector.detect([scene(t)])[0]
        truth = np.array([[60 + 6 * (t - 15), 80, 110 + 6 * (t - 15), 130]], np.float32)
        assert box_maths.iou(found.boxes[:1], truth)[0, 0] > 0.7
        assert found.masks[0, 90:120, int(truth[0, 0]) + 10 : int(truth[0, 2]) - 10].mean() > 0.95
        assert found.scores[0] > 0.8


def test_batches_and_single_calls_say_the_same(scene):
    images = [scene(t) for t in range(25)]
    together = detectors.create("motion").detect(images)
    detector = detectors.create("motion")
    for image, found in zip(images, together, strict=True):
        alone = detector.detect([image])[0]
        np.testing.assert_array_equal(found.boxes, alone.boxes)


def test_reset_forgets_the_background(scene):
    detector = detectors.create("motion")
    for t in range(20):
        detector.detect([scene(t)])
    assert len(detector.detect([scene(20)])[0]) == 1
    detector.reset()
    assert [len(found) for found in detector.detect([scene(t) for t in range(20, 30)])] == [0] * 10


def test_another_picture_size_starts_anew(scene):
    detector = detectors.create("motion")
    detector.detect([scene(t) for t in range(20)])
    assert len(detector.detect([np.zeros((100, 100, 3), np.uint8)])[0]) == 0


def test_work_is_done_small_and_given_large(scene):
    detector = detectors.create("motion", work_side=160)
    for t in range(25):
        found = detector.detect([scene(t)])[0]
    assert found.masks.shape == (1, 240, 320)
    np.testing.assert_allclose(found.boxes, [[114, 80, 164, 130]], atol=8)


def test_impossible_settings_are_refused():
    with pytest.raises(UsageError, match="sensitivity > 0"):
        detectors.create("motion", sensitivity=0)
