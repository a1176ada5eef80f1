"""Pictures with exactly known masks: cut-outs and drawn shapes pasted on real photographs.

A cut-out is an RGBA picture: vector or rendered art with alpha, or an object of a photograph with the
zoom teacher's mask. It is scaled, turned, lit, partly matched to the background's colours so that edges
are not always easy, blurred as the lens or motion would, and pasted; later objects hide earlier ones.
Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.training.procedural import SHAPES, draw_shape
from vis.training.views import Target

__all__ = ["compose", "drawn_cutout"]

Rgba = NDArray[np.float32]


def drawn_cutout(texture: NDArray[np.uint8], side: int, rng: np.random.Generator) -> Rgba:
    """A drawn shape filled with a piece of a photograph: float32 (side, side, 4), colours 0-255, alpha 0-1."""
    import cv2

    kinds = list(SHAPES)
    alpha = draw_shape(kinds[int(rng.integers(len(kinds)))], side, rng)
    height, width = texture.shape[:2]
    size = int(min(height, width) * rng.uniform(0.15, 0.9))
    y, x = int(rng.integers(height - size + 1)), int(rng.integers(width - size + 1))
    piece = cv2.resize(texture[y : y + size, x : x + size], (side, side), interpolation=cv2.INTER_AREA)
    flat = rng.uniform(30, 230, 3)
    keep = rng.uniform(0.15, 1.0)
    colour = keep * piece.astype(np.float32) + (1 - keep) * flat
    return np.dstack([colour, alpha]).astype(np.float32)


def compose(
    background: NDArray[np.uint8], cutouts: Sequence[Rgba], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], list[Target]]:
    """Paste cut-outs on a photograph.

    Returns:
        The picture (H, W, 3), and for each cut-out that stays visible its exact target.
    """
    picture = background.astype(np.float32)
    height, width = picture.shape[:2]
    alphas: list[NDArray[np.float32]] = []
    for cutout in cutouts:
        colour, alpha = _place(_light(cutout, rng), (height, width), rng)
        strength = rng.uniform(0, 0.8)
        inside = alpha > 0.5
        if not inside.any():
            continue
        shift = picture[inside].mean(0) - colour[inside].mean(0)
        colour = colour + strength * shift
        colour, alpha = _soften(colour, alpha, rng)
        picture = picture + alpha[..., None] * (colour - picture)
        alphas = [(1 - alpha) * below for below in alphas]
        alphas.append(alpha)
    targets = []
    for alpha in alphas:
        if (alpha > 0.5).sum() >= 100:
            probability = np.round(alpha * 255).astype(np.uint8)
            targets.append(Target((0, 0), probability, np.full(alpha.shape, 255, np.uint8)))
    return np.clip(picture, 0, 255).astype(np.uint8), targets


def _light(cutout: Rgba, rng: np.random.Generator) -> Rgba:
    """Shade it across a random direction, as one lamp from the side would."""
    height, width = cutout.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (x / width - 0.5) * np.cos(angle) + (y / height - 0.5) * np.sin(angle)
    out = cutout.copy()
    out[..., :3] *= (rng.uniform(0.7, 1.2) + rng.uniform(0, 0.8) * ramp)[..., None]
    return out


def _place(
    cutout: Rgba, size: tuple[int, int], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour (H, W, 3) and alpha (H, W) of the cut-out somewhere in the picture."""
    import cv2

    height, width = size
    scale = rng.uniform(0.25, 0.85) * min(size) / max(cutout.shape[:2])
    turn = rng.normal(0, 20)
    if rng.random() < 0.5:
        cutout = np.ascontiguousarray(cutout[:, ::-1])
    matrix = cv2.getRotationMatrix2D((cutout.shape[1] / 2, cutout.shape[0] / 2), turn, scale)
    matrix[:, 2] += [
        rng.uniform(0.15, 0.85) * width - cutout.shape[1] / 2,
        rng.uniform(0.15, 0.85) * height - cutout.shape[0] / 2,
    ]
    # Premultiplied, so that the colour outside the object does not bleed in.
    joined = np.dstack([cutout[..., :3] * cutout[..., 3:], cutout[..., 3]])
    blur = 0.4 / scale if scale < 1 else 0.0
    if blur > 0.5:
        joined = cv2.GaussianBlur(joined, (0, 0), blur)
    laid = cv2.warpAffine(joined, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return _straight(laid)


def _soften(
    colour: NDArray[np.float32], alpha: NDArray[np.float32], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sometimes blur the object alone: out of focus, or moving."""
    import cv2

    if rng.random() < 0.5:
        return colour, alpha
    joined = np.dstack([colour * alpha[..., None], alpha])
    if rng.random() < 0.5:
        joined = cv2.GaussianBlur(joined, (0, 0), rng.uniform(0.5, 2.5))
    else:
        length = int(rng.integers(3, 12))
        kernel = np.zeros((length, length), np.float32)
        angle = rng.uniform(0, np.pi)
        middle = (length - 1) / 2
        for t in np.linspace(-middle, middle, 4 * length):
            kernel[round(middle + t * np.sin(angle)), round(middle + t * np.cos(angle))] = 1
        joined = cv2.filter2D(joined, -1, kernel / kernel.sum())
    return _straight(joined)


def _straight(premultiplied: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Colour (H, W, 3) and alpha (H, W) of a premultiplied picture (H, W, 4)."""
    colour = premultiplied[..., :3] / np.maximum(premultiplied[..., 3:], 1e-3)
    return np.asarray(colour, np.float32), np.asarray(premultiplied[..., 3], np.float32)
