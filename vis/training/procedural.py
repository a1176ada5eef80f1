"""Drawn shapes with exact alpha: smooth large bodies and thin structures. Knows no image and no network.

Real masks are weakest where objects are thin, so wires, fences, foliage, hair and spokes are drawn here
at four times the resolution and averaged down; bodies are smooth closed curves such as animals and people
have, some with limbs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHAPES", "draw_shape"]

Alpha = NDArray[np.float32]
_FINE = 4


def draw_shape(kind: str, side: int, rng: np.random.Generator) -> Alpha:
    """Alpha (side, side) float32 in [0, 1] of a shape named in SHAPES."""
    import cv2

    canvas = np.zeros((side * _FINE, side * _FINE), np.uint8)
    SHAPES[kind](canvas, rng)
    small = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255)


def _blob(
    centre: NDArray[np.float64], radius: float, rough: float, rng: np.random.Generator
) -> NDArray[np.int32]:
    """A closed curve around a centre: a circle bent by a few random harmonics."""
    angle = np.linspace(0, 2 * np.pi, 180, endpoint=False)
    length = np.ones_like(angle)
    for k in range(2, 9):
        length += rough / k * rng.normal() * np.cos(k * angle + rng.uniform(0, 2 * np.pi))
    length = radius * np.clip(length, 0.25, 1.8)
    squash = rng.uniform(0.5, 1.0)
    turn = rng.uniform(0, 2 * np.pi)
    x, y = length * np.cos(angle), squash * length * np.sin(angle)
    curve = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=1)
    return np.asarray(np.round(centre + curve), np.int32)


def _body(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    import cv2

    side = canvas.shape[0]
    centre = np.array([side, side]) * rng.uniform(0.4, 0.6, 2)
    cv2.fillPoly(canvas, [_blob(centre, 0.28 * side, 0.5, rng)], 255)


def _animal(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """A body with a head, legs and a tail."""
    import cv2

    side = canvas.shape[0]
    centre = np.array([0.5, 0.42]) * side
    cv2.ellipse(
        canvas,
        (int(centre[0]), int(centre[1])),
        (int(rng.uniform(0.2, 0.28) * side), int(rng.uniform(0.1, 0.16) * side)),
        rng.uniform(-15, 15),
        0,
        360,
        255,
        -1,
    )
    head = centre + np.array([rng.choice([-1, 1]) * rng.uniform(0.26, 0.33), -rng.uniform(0.05, 0.2)]) * side
    cv2.fillPoly(canvas, [_blob(head, rng.uniform(0.07, 0.11) * side, 0.3, rng)], 255)
    _limb(canvas, centre, head, rng.uniform(0.08, 0.12) * side, rng)
    for dx in (-0.18, -0.12, 0.1, 0.17):
        start = centre + np.array([dx, 0.05]) * side
        end = start + np.array([rng.uniform(-0.08, 0.08), rng.uniform(0.25, 0.42)]) * side
        _limb(canvas, start, end, rng.uniform(0.025, 0.05) * side, rng)
    tail = centre - (head - centre) * rng.uniform(1.0, 1.3) + rng.uniform(-0.1, 0.1, 2) * side
    _limb(canvas, centre, tail, rng.uniform(0.008, 0.025) * side, rng)


def _limb(
    canvas: NDArray[np.uint8],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    width: float,
    rng: np.random.Generator,
) -> None:
    """A bent stroke from start to end."""
    import cv2

    bend = (start + end) / 2 + rng.normal(0, 0.12, 2) * np.linalg.norm(end - start)
    t = np.linspace(0, 1, 24)[:, None]
    curve = (1 - t) ** 2 * start + 2 * t * (1 - t) * bend + t**2 * end
    cv2.polylines(canvas, [np.round(curve).astype(np.int32)], False, 255, max(1, int(width)), cv2.LINE_8)


def _wires(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    side = canvas.shape[0]
    hub = rng.uniform(0.3, 0.7, 2) * side
    for _ in range(int(rng.integers(3, 8))):
        _limb(canvas, hub, rng.uniform(0.05, 0.95, 2) * side, rng.uniform(0.006, 0.02) * side, rng)


def _spokes(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    import cv2

    side = canvas.shape[0]
    middle = (side // 2, side // 2)
    radius = int(rng.uniform(0.3, 0.45) * side)
    cv2.circle(canvas, middle, radius, 255, max(2, int(rng.uniform(0.02, 0.05) * side)))
    cv2.circle(canvas, middle, int(0.12 * radius), 255, -1)
    count, turn = int(rng.integers(5, 14)), rng.uniform(0, 1)
    for k in range(count):
        angle = 2 * np.pi * (k + turn) / count
        tip = (int(middle[0] + radius * np.cos(angle)), int(middle[1] + radius * np.sin(angle)))
        cv2.line(canvas, middle, tip, 255, max(2, int(rng.uniform(0.008, 0.02) * side)))


def _fence(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    import cv2

    side = canvas.shape[0]
    x0, y0 = (rng.uniform(0.02, 0.2, 2) * side).astype(int)
    x1, y1 = (rng.uniform(0.8, 0.98, 2) * side).astype(int)
    width = max(2, int(rng.uniform(0.02, 0.05) * side))
    for x in np.linspace(x0, x1, int(rng.integers(4, 9))):
        cv2.line(canvas, (int(x), y0), (int(x), y1), 255, width)
    for y in (y0 + (y1 - y0) // 4, y1 - (y1 - y0) // 4):
        cv2.line(canvas, (x0, y), (x1, y), 255, width)


def _foliage(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    side = canvas.shape[0]
    base = np.array([rng.uniform(0.4, 0.6), 0.97]) * side
    for _ in range(int(rng.integers(4, 9))):
        tip = np.array([rng.uniform(0.1, 0.9), rng.uniform(0.05, 0.6)]) * side
        _limb(canvas, base, tip, rng.uniform(0.006, 0.015) * side, rng)
        for t in rng.uniform(0.3, 1.0, int(rng.integers(4, 10))):
            import cv2

            leaf = base + t * (tip - base) + rng.normal(0, 0.04, 2) * side
            cv2.fillPoly(canvas, [_blob(leaf, rng.uniform(0.02, 0.06) * side, 0.3, rng)], 255)


def _hair(canvas: NDArray[np.uint8], rng: np.random.Generator) -> None:
    """A body with tufts standing off its outline."""
    import cv2

    side = canvas.shape[0]
    outline = _blob(np.array([0.5, 0.5]) * side, 0.26 * side, 0.3, rng)
    cv2.fillPoly(canvas, [outline], 255)
    for _ in range(int(rng.integers(60, 160))):
        root = outline[int(rng.integers(len(outline)))].astype(float)
        out = (root - 0.5 * side) / max(1.0, float(np.linalg.norm(root - 0.5 * side)))
        tip = root + (out + rng.normal(0, 0.4, 2)) * rng.uniform(0.02, 0.1) * side
        _limb(canvas, root - 0.02 * side * out, tip, rng.uniform(0.004, 0.01) * side, rng)


SHAPES: dict[str, Callable[[NDArray[np.uint8], np.random.Generator], None]] = {
    "body": _body,
    "animal": _animal,
    "wires": _wires,
    "spokes": _spokes,
    "fence": _fence,
    "foliage": _foliage,
    "hair": _hair,
}
"""How each kind of shape is drawn on a fine canvas."""
