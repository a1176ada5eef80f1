"""Pictures with exactly known masks: cut-outs and drawn shapes pasted on real photographs.

A cut-out is an RGBA picture: vector or rendered art with alpha, or an object of a photograph with the
zoom teacher's mask. It is scaled, turned, lit, partly matched to the background's colours so that edges
are not always easy, blurred as the lens or motion would, and pasted; later objects hide earlier ones.
Knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.training.procedural import SHAPES, draw_shape
from vis.training.views import Target

__all__ = ["Rgba", "compose", "drawn_cutout", "join", "photographed", "rendered"]

Rgba = NDArray[np.float32]
"""(h, w, 4): colours 0-255, alpha 0-1."""


def drawn_cutout(
    texture: NDArray[np.uint8], side: int, rng: np.random.Generator, *, kinds: Sequence[str] = tuple(SHAPES)
) -> Rgba:
    """A drawn shape of one of the ``kinds``, (side, side, 4), filled with a piece of a photograph."""
    names = list(kinds)
    alpha = draw_shape(names[int(rng.integers(len(names)))], side, rng)
    return np.dstack([_texture(texture, (side, side), rng), alpha]).astype(np.float32)


def _texture(
    photo: NDArray[np.uint8], size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """A random piece of a photograph at ``size`` (width, height), washed out to some degree."""
    import cv2

    height, width = photo.shape[:2]
    side = int(min(height, width) * rng.uniform(0.15, 0.9))
    y, x = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
    piece = cv2.resize(photo[y : y + side, x : x + side], size, interpolation=cv2.INTER_AREA)
    flat = rng.uniform(30, 230, 3)
    keep = rng.uniform(0.15, 1.0)
    return np.asarray(keep * piece.astype(np.float32) + (1 - keep) * flat, np.float32)


def photographed(image: NDArray[np.uint8], target: Target) -> Rgba | None:
    """An object of a photograph, its border sharpened.

    None where the teacher was in doubt, or where the photograph's border cuts the object.
    """
    (y, x), (h, w) = target.origin, target.probability.shape
    whole = y >= 1 and x >= 1 and y + h < image.shape[0] and x + w < image.shape[1]
    if target.trust.mean() < 240 or not whole:
        return None
    alpha = np.clip((target.probability / 255.0 - 0.5) * 3 + 0.5, 0, 1)
    return np.dstack([image[y : y + h, x : x + w], alpha]).astype(np.float32)


def rendered(path: Path, photo: NDArray[np.uint8], rng: np.random.Generator) -> Rgba:
    """Rendered art; half of it takes on some of a photograph's texture."""
    from PIL import Image

    with Image.open(path) as opened:
        picture = np.array(opened.convert("RGBA"), np.float32)
    picture[..., 3] /= 255
    if rng.random() < 0.5:
        keep = rng.uniform(0.3, 0.8)
        texture = _texture(photo, (picture.shape[1], picture.shape[0]), rng)
        picture[..., :3] = (1 - keep) * picture[..., :3] + keep * texture
    return picture


def join(first: Rgba, second: Rgba, rng: np.random.Generator) -> Rgba:
    """One object of two that touch, as a rider and a horse: the first above or beside, and over, the second."""
    import cv2

    side = 384
    joined = np.zeros((side, side, 4), np.float32)
    offset = rng.uniform(0.1, 0.3) * np.array([rng.choice([-1, 1]) * rng.uniform(0, 1), 1.0])
    for piece, sign in ((second, 1), (first, -1)):
        size = rng.uniform(0.45, 0.65) * side
        scale = size / max(piece.shape[:2])
        centre = side * (0.5 + sign * offset / 2)
        shift = centre - scale * np.array([piece.shape[1], piece.shape[0]]) / 2
        matrix = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]], np.float32)
        flat = np.dstack([piece[..., :3] * piece[..., 3:], piece[..., 3]])
        laid = cv2.warpAffine(_thinned(flat, scale), matrix, (side, side), flags=cv2.INTER_LINEAR)
        joined = laid + (1 - laid[..., 3:]) * joined
    colour, alpha = _straight(joined)
    return np.dstack([colour, alpha]).astype(np.float32)


def compose(
    background: NDArray[np.uint8],
    cutouts: Sequence[Rgba],
    rng: np.random.Generator,
    *,
    occluders: Sequence[Rgba] = (),
) -> tuple[NDArray[np.uint8], list[Target]]:
    """Paste cut-outs on a photograph, later ones over earlier ones.

    ``occluders`` come last, over everything, and are no objects themselves: a post before a dog.

    Returns:
        The picture (H, W, 3), and for each cut-out that stays visible its exact target.
    """
    picture = background.astype(np.float32)
    size = (picture.shape[0], picture.shape[1])
    objects: list[tuple[tuple[slice, slice], NDArray[np.float32]]] = []
    for number, cutout in enumerate((*cutouts, *occluders)):
        part, colour, alpha = _place(_light(cutout, rng), size, rng)
        strength = rng.uniform(0, 0.5)
        inside = alpha > 0.5
        if not inside.any():
            continue
        below = picture[part]
        colour = colour + strength * (below[inside].mean(0) - colour[inside].mean(0))
        colour, alpha = _soften(colour, alpha, rng)
        below += alpha[..., None] * (colour - below)
        for where, earlier in objects:
            _hide(earlier, where, alpha, part)
        if number < len(cutouts):
            objects.append((part, alpha))
    targets = []
    for part, alpha in objects:
        if (alpha > 0.5).sum() >= 100:
            origin = (int(part[0].start), int(part[1].start))
            probability = np.round(alpha * 255).astype(np.uint8)
            targets.append(Target(origin, probability, np.full(alpha.shape, 255, np.uint8)))
    return np.clip(picture, 0, 255).astype(np.uint8), targets


def _hide(
    earlier: NDArray[np.float32],
    where: tuple[slice, slice],
    alpha: NDArray[np.float32],
    part: tuple[slice, slice],
) -> None:
    """Take what ``alpha`` at ``part`` of the picture covers off an earlier alpha at ``where``, in place."""
    starts = [max(a.start, b.start) for a, b in zip(where, part, strict=True)]
    stops = [min(a.stop, b.stop) for a, b in zip(where, part, strict=True)]
    if starts[0] < stops[0] and starts[1] < stops[1]:
        mine = tuple(
            slice(lo - a.start, hi - a.start) for lo, hi, a in zip(starts, stops, where, strict=True)
        )
        its = tuple(slice(lo - a.start, hi - a.start) for lo, hi, a in zip(starts, stops, part, strict=True))
        earlier[mine] *= 1 - alpha[its]


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
) -> tuple[tuple[slice, slice], NDArray[np.float32], NDArray[np.float32]]:
    """Where the cut-out lies (rows, columns of the picture), and its colour and alpha there."""
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
    h, w = cutout.shape[:2]
    corners = matrix @ np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]], float)
    margin = 16  # room for what _soften spreads
    x0, y0 = (max(0, int(v) - margin) for v in corners.min(1))
    x1, y1 = (
        min(limit, int(v) + margin + 1) for v, limit in zip(corners.max(1), (width, height), strict=True)
    )
    part = (slice(y0, max(y0 + 1, y1)), slice(x0, max(x0 + 1, x1)))
    matrix[:, 2] -= [x0, y0]
    # Premultiplied, so that the colour outside the object does not bleed in.
    joined = np.dstack([cutout[..., :3] * cutout[..., 3:], cutout[..., 3]])
    extent = (part[1].stop - part[1].start, part[0].stop - part[0].start)
    laid = cv2.warpAffine(_thinned(joined, scale), matrix, extent, flags=cv2.INTER_LINEAR)
    return part, *_straight(laid)


def _thinned(picture: NDArray[Any], scale: float) -> NDArray[Any]:
    """The picture without what a sampling at ``scale`` could not hold."""
    import cv2

    blur = 0.4 / scale if scale < 1 else 0.0
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), blur)) if blur > 0.5 else picture


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
