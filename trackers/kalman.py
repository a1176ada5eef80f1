"""Constant-velocity Kalman filters for many boxes at once. Knows no detection, score or identity.

The filters of SORT, ByteTrack and BoT-SORT move four box coordinates, each with its own velocity,
under noise without correlations between coordinates. Their 8x8 covariances are therefore four 2x2
blocks for ever: a position variance, a velocity variance and what the two share. Here these blocks
are arrays of shape (K, 4), and both filter steps are a few element-wise lines in closed form; the
results are those of the matrix form to rounding (the tests compare).

Time runs in ticks of 1/30 s, because the published noise is meant per frame of such video. A step
of one tick is the published step; longer ones add process noise in proportion, so that a model
behaves alike at 10, 30 and 60 frames per second and over gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from trackers.track_arrays import TrackArrays

__all__ = [
    "TICKS_PER_SECOND",
    "XYAH",
    "XYSR",
    "XYWH",
    "BoxModel",
    "Motion",
    "move",
    "predict",
    "start",
    "update",
]

TICKS_PER_SECOND = 30.0

Array = NDArray[Any]
Float64 = NDArray[np.float64]


@dataclass
class Motion(TrackArrays):
    """The filters of K boxes: each field is float64 (K, 4), a column per coordinate."""

    position: Float64
    velocity: Float64
    """Per tick."""
    position_variance: Float64
    covariance: Float64
    """Between position and velocity of the same coordinate."""
    velocity_variance: Float64

    @classmethod
    def empty(cls) -> Motion:
        """No boxes."""
        return cls(*(np.zeros((0, 4)) for _ in range(5)))


class BoxModel(Protocol):
    """Which four coordinates describe a box, and how noisy each is (variances, (K, 4) or (4,))."""

    scaling: tuple[int, int]
    """Powers of the picture's scale with which the third and fourth coordinate grow."""

    def measure(self, boxes: Array) -> Float64:
        """``x0, y0, x1, y1`` -> coordinates, both (K, 4)."""

    def boxes(self, position: Float64) -> Float64:
        """Coordinates -> ``x0, y0, x1, y1``, both (K, 4)."""

    def initial(self, position: Float64) -> tuple[Array, Array]:
        """Variances of position and velocity at birth."""

    def process(self, position: Float64) -> tuple[Array, Array]:
        """Variances that one tick adds to position and velocity."""

    def measurement(self, position: Float64) -> Array:
        """Variance of a measured position."""


def start(model: BoxModel, boxes: Array) -> Motion:
    """Filters at rest on first seen boxes (K, 4)."""
    position = model.measure(boxes)
    position_variance, velocity_variance = model.initial(position)
    zeros = np.zeros_like(position)
    return Motion(position, zeros, position_variance + zeros, zeros.copy(), velocity_variance + zeros)


def predict(model: BoxModel, motion: Motion, ticks: float | Float64) -> None:
    """Move all filters on in place, by any time >= 0: one for all, or (K, 1).

    ``x = F x`` and ``P = F P F' + Q`` with ``F = [[1, t], [0, 1]]`` for each coordinate.
    """
    position_noise, velocity_noise = model.process(motion.position)
    motion.position += motion.velocity * ticks
    spread = motion.velocity_variance * ticks
    motion.position_variance += (motion.covariance * 2 + spread + position_noise) * ticks
    motion.covariance += spread
    motion.velocity_variance += velocity_noise * ticks


def update(model: BoxModel, motion: Motion, boxes: Array) -> Motion:
    """Filters after seeing one box each: (K, 4) boxes -> K new filters.

    ``S = P + R``, gain ``K = P / S``, innovation ``y = z - x`` for each coordinate.
    """
    prior = motion.position_variance
    noise = model.measurement(motion.position)
    total = prior + noise
    gain = prior / total
    velocity_gain = motion.covariance / total
    innovation = model.measure(boxes) - motion.position
    left = 1 - gain
    return Motion(
        motion.position + gain * innovation,
        motion.velocity + velocity_gain * innovation,
        prior * left,
        motion.covariance * left,
        motion.velocity_variance - velocity_gain * motion.covariance,
    )


def move(model: BoxModel, motion: Motion, affine: Array) -> None:
    """Carry all filters along with the camera, in place: ``affine`` (2, 3) acts on pixels.

    Centres and their velocities move exactly. Sizes grow with the root of the area's change, so a
    turning camera does not blow boxes up. What the turn would mix between the variances of x and y
    is kept, their correlation is not: a camera turns by a degree between frames, seldom by more.
    """
    affine = np.asarray(affine, float)
    linear, shift = affine[:, :2], affine[:, 2]
    motion.position[:, :2] = motion.position[:, :2] @ linear.T + shift
    motion.velocity[:, :2] = motion.velocity[:, :2] @ linear.T
    spread = np.square(linear).T
    growth = np.sqrt(abs(np.linalg.det(linear))) ** np.array(model.scaling)
    motion.position[:, 2:] *= growth
    motion.velocity[:, 2:] *= growth
    for variance in (motion.position_variance, motion.covariance, motion.velocity_variance):
        variance[:, :2] = variance[:, :2] @ spread
        variance[:, 2:] *= growth**2


def _centre_and_size(boxes: Array) -> Float64:
    """Centre x, centre y, width, height; sizes of at least a thousandth of a pixel."""
    out = np.empty((len(boxes), 4))
    np.add(boxes[:, :2], boxes[:, 2:], out=out[:, :2])
    out[:, :2] *= 0.5
    np.subtract(boxes[:, 2:], boxes[:, :2], out=out[:, 2:])
    np.maximum(out[:, 2:], 1e-3, out=out[:, 2:])
    return out


def _corners(position: Float64, size: Float64) -> Float64:
    """Centre (K, 2) and size (K, 2) -> boxes."""
    half = np.maximum(size, 0) * 0.5
    out = np.empty((len(position), 4))
    np.subtract(position[:, :2], half, out=out[:, :2])
    np.add(position[:, :2], half, out=out[:, 2:])
    return out


class _XYAH:
    """Centre, aspect ratio width / height, height: DeepSORT's and ByteTrack's coordinates.

    Standard deviations are 1/20 of the height for positions and 1/160 for velocities.
    """

    scaling = (0, 1)
    _START = np.square([2 / 20, 2 / 20, 0, 2 / 20]), np.square([10 / 160, 10 / 160, 0, 10 / 160])
    _START_CONSTANT = np.square([0, 0, 1e-2, 0]), np.square([0, 0, 1e-5, 0])
    _STEP = np.square([1 / 20, 1 / 20, 0, 1 / 20]), np.square([1 / 160, 1 / 160, 0, 1 / 160])
    _MEASURED_CONSTANT = np.square([0, 0, 1e-1, 0])

    def measure(self, boxes: Array) -> Float64:
        position = _centre_and_size(boxes)
        position[:, 2] /= position[:, 3]
        return position

    def boxes(self, position: Float64) -> Float64:
        size = position[:, 2:].copy()
        size[:, 0] *= size[:, 1]
        return _corners(position, size)

    def initial(self, position: Float64) -> tuple[Array, Array]:
        square = np.square(position[:, 3:])
        at, speed = self._START
        return square * at + self._START_CONSTANT[0], square * speed + self._START_CONSTANT[1]

    def process(self, position: Float64) -> tuple[Array, Array]:
        square = np.square(position[:, 3:])
        at, speed = self._STEP
        return square * at + self._START_CONSTANT[0], square * speed + self._START_CONSTANT[1]

    def measurement(self, position: Float64) -> Array:
        noise: Array = np.square(position[:, 3:]) * self._STEP[0] + self._MEASURED_CONSTANT
        return noise


class _XYWH:
    """Centre, width, height: BoT-SORT's coordinates, noise in proportion to the side concerned."""

    scaling = (1, 1)
    _AT = 1 / 20
    _SPEED = 1 / 160

    def measure(self, boxes: Array) -> Float64:
        return _centre_and_size(boxes)

    def boxes(self, position: Float64) -> Float64:
        return _corners(position, position[:, 2:])

    def initial(self, position: Float64) -> tuple[Array, Array]:
        square = self._squared_sides(position)
        return square * (2 * self._AT) ** 2, square * (10 * self._SPEED) ** 2

    def process(self, position: Float64) -> tuple[Array, Array]:
        square = self._squared_sides(position)
        return square * self._AT**2, square * self._SPEED**2

    def measurement(self, position: Float64) -> Array:
        return self._squared_sides(position) * self._AT**2

    @staticmethod
    def _squared_sides(position: Float64) -> Array:
        return np.tile(np.square(position[:, 2:]), 2)


class _XYSR:
    """Centre, area, aspect ratio without velocity: SORT's coordinates and its noise in pixels."""

    scaling = (2, 0)
    _INITIAL = np.array([10.0, 10, 10, 10]), np.array([1e4, 1e4, 1e4, 0])
    _PROCESS = np.array([1.0, 1, 1, 1]), np.array([1e-2, 1e-2, 1e-4, 0])
    _MEASUREMENT = np.array([1.0, 1, 10, 10])

    def measure(self, boxes: Array) -> Float64:
        position = _centre_and_size(boxes)
        width, height = position[:, 2].copy(), position[:, 3].copy()
        position[:, 2], position[:, 3] = width * height, width / height
        return position

    def boxes(self, position: Float64) -> Float64:
        width = np.sqrt(np.maximum(position[:, 2] * position[:, 3], 0))
        height = np.maximum(position[:, 2], 0) / np.maximum(width, 1e-6)
        return _corners(position, np.stack([width, height], axis=1))

    def initial(self, position: Float64) -> tuple[Array, Array]:
        return self._spread(self._INITIAL, position)

    def process(self, position: Float64) -> tuple[Array, Array]:
        return self._spread(self._PROCESS, position)

    def measurement(self, position: Float64) -> Array:
        return np.broadcast_to(self._MEASUREMENT, position.shape)

    @staticmethod
    def _spread(variances: tuple[Array, Array], position: Float64) -> tuple[Array, Array]:
        return np.broadcast_to(variances[0], position.shape), np.broadcast_to(variances[1], position.shape)


XYAH: BoxModel = _XYAH()
XYWH: BoxModel = _XYWH()
XYSR: BoxModel = _XYSR()
