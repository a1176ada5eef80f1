"""The block filter against the matrix form of the papers."""

from __future__ import annotations

import numpy as np
import pytest

from trackers import kalman
from trackers.kalman import XYAH, XYSR, XYWH, Motion


class MatrixFilter:
    """Textbook predict and update with full matrices, for one box."""

    def __init__(self, position, variance, speeds):
        n = len(position)
        self.n, self.x = n, np.concatenate([position, np.zeros(speeds)])
        self.P = np.diag(variance)
        self.F = np.eye(n + speeds)
        self.F[:speeds, n:] = np.eye(speeds)
        self.H = np.eye(n, n + speeds)

    def predict(self, noise):
        self.x = self.F @ self.x
        self.P = self.F @ self.P @ self.F.T + np.diag(noise)

    def update(self, z, noise):
        S = self.H @ self.P @ self.H.T + np.diag(noise)
        K = self.P @ self.H.T @ np.linalg.inv(S)
        self.x = self.x + K @ (z - self.H @ self.x)
        self.P = (np.eye(len(self.x)) - K @ self.H) @ self.P


def walk(seed: int, frames: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = np.array([200.0, 150]) + np.cumsum(rng.normal(2, 3, (frames, 2)), axis=0)
    size = np.array([40.0, 90]) + np.cumsum(rng.normal(0, 1, (frames, 2)), axis=0)
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def published_noise(name: str):
    """(start, process, measurement) variances as functions of the state, from the references."""
    if name == "xyah":  # ByteTrack's kalman_filter.py
        return (
            lambda x: np.square([x[3] / 10] * 2 + [1e-2, x[3] / 10] + [x[3] / 16] * 2 + [1e-5, x[3] / 16]),
            lambda x: np.square([x[3] / 20] * 2 + [1e-2, x[3] / 20] + [x[3] / 160] * 2 + [1e-5, x[3] / 160]),
            lambda x: np.square([x[3] / 20] * 2 + [1e-1, x[3] / 20]),
        )
    if name == "xywh":  # BoT-SORT's

        def sides(x, at, speed):
            w, h = x[2], x[3]
            return np.square([w * at, h * at] * 2 + [w * speed, h * speed] * 2)

        return (
            lambda x: sides(x, 1 / 10, 1 / 16),
            lambda x: sides(x, 1 / 20, 1 / 160),
            lambda x: sides(x, 1 / 20, 0)[:4],
        )
    return (  # SORT's sort.py
        lambda x: np.array([10.0] * 4 + [1e4] * 3),
        lambda x: np.array([1.0] * 4 + [0.01, 0.01, 0.0001]),
        lambda x: np.array([1.0, 1, 10, 10]),
    )


@pytest.mark.parametrize(("name", "model"), [("xyah", XYAH), ("xywh", XYWH), ("xysr", XYSR)])
def test_equals_the_published_filter_at_30_frames_per_second(name, model):
    speeds = 3 if name == "xysr" else 4
    start, process, measurement = published_noise(name)
    walks = np.stack([walk(seed, 25) for seed in range(4)])
    motion = kalman.start(model, walks[:, 0])
    singles = [MatrixFilter(z, start(z), speeds) for z in model.measure(walks[:, 0])]
    for t in range(1, 25):
        kalman.predict(model, motion, 1.0)
        for single in singles:
            single.predict(process(single.x))
        np.testing.assert_allclose(motion.position, [s.x[:4] for s in singles], rtol=1e-9)
        if t % 5 == 0:
            continue  # a miss
        seen = model.measure(walks[:, t])
        motion = kalman.update(model, motion, walks[:, t])
        for single, z in zip(singles, seen, strict=True):
            single.update(z, measurement(single.x))
    np.testing.assert_allclose(motion.position, [s.x[:4] for s in singles], rtol=1e-8)
    np.testing.assert_allclose(motion.velocity[:, :speeds], [s.x[4:] for s in singles], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(motion.position_variance, [np.diag(s.P)[:4] for s in singles], rtol=1e-8)
    variances = [np.diag(s.P)[4:] for s in singles]
    np.testing.assert_allclose(motion.velocity_variance[:, :speeds], variances, rtol=1e-8)
    shared = [np.diag(s.P[:speeds, 4:]) for s in singles]
    np.testing.assert_allclose(motion.covariance[:, :speeds], shared, rtol=1e-8)


@pytest.mark.parametrize("model", [XYAH, XYWH, XYSR])
def test_coordinates_round_trip(model):
    boxes = walk(3, 20)
    np.testing.assert_allclose(model.boxes(model.measure(boxes)), boxes, rtol=1e-9)


@pytest.mark.parametrize("model", [XYAH, XYWH])
def test_speed_is_in_seconds(model):
    """The same even walk seen at 10 and at 60 frames per second: the same place a second later."""
    places = []
    for fps in (10, 60):
        ticks = 30 / fps
        boxes = [np.array([[100 + 60 * t / fps, 50, 140 + 60 * t / fps, 130]]) for t in range(3 * fps)]
        motion = kalman.start(model, boxes[0])
        for box in boxes[1:]:
            kalman.predict(model, motion, ticks)
            motion = kalman.update(model, motion, box)
        kalman.predict(model, motion, 30 + ticks)
        places.append(model.boxes(motion.position)[0, 0])
    assert places[0] == pytest.approx(100 + 60 * 4, abs=3)
    assert places[1] == pytest.approx(places[0], abs=3)


@pytest.mark.parametrize("model", [XYAH, XYWH, XYSR])
def test_move_scales_and_shifts_like_the_boxes_themselves(model):
    """Without a turn the block form loses nothing: filtering then moving equals moving then filtering."""
    boxes, affine = walk(5, 12), np.array([[1.25, 0, 30.0], [0, 1.25, -8.0]])
    motion, moved = kalman.start(model, boxes[:1]), None
    for t in range(1, 12):
        kalman.predict(model, motion, 1.0)
        motion = kalman.update(model, motion, boxes[t : t + 1])
    moved = motion.take([0])
    kalman.move(model, moved, affine)
    want = boxes_of(model, motion) * 1.25 + np.array([30, -8, 30, -8])
    np.testing.assert_allclose(boxes_of(model, moved), want, rtol=1e-9)
    kalman.predict(model, motion, 10)
    speed = boxes_of(model, motion)[0, :2] * 1.25 + [30, -8]
    # noise of XYSR is in pixels, so only means can be compared, and they can for all
    kalman.predict(model, moved, 10)
    np.testing.assert_allclose(boxes_of(model, moved)[0, :2], speed, rtol=1e-9)


def boxes_of(model, motion: Motion) -> np.ndarray:
    return model.boxes(motion.position)
