"""The zoom teacher: finer masks than SAM's own, from SAM looking closer.

SAM draws a mask on a 256 x 256 grid over the whole image. Shown an enlarged crop around one object, the
same frozen network spends that grid on the object alone. Several crops, some of them mirrored, are
averaged; a pixel is trusted where they agree. An annotated polygon, where there is one, says which object
is meant: it prompts the views, and overrules them where they leave it by more than annotators err. What
comes out are soft masks finer than both the polygon's and the student's, with doubtful pixels marked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import InputError
from vis.files import whole_file
from vis.training.frozen import FrozenSam
from vis.training.prompts import Prompt
from vis.training.views import Target

__all__ = ["TaughtMask", "as_target", "crop_square", "load_targets", "save_targets", "teach"]

_OVERRULED = 0.5  # weight of pixels that the polygon decides against the teacher
_LOGIT = 8.0  # about what SAM's own low-resolution logits reach inside an object


@dataclass(frozen=True, slots=True, eq=False)
class TaughtMask:
    """A soft mask and where it may be believed."""

    probability: NDArray[np.float32]
    """(H, W) in [0, 1]."""
    trust: NDArray[np.float32]
    """(H, W) in [0, 1]: how much training may rely on each pixel."""
    agreement: float
    """IoU of the mean with the polygon; without a polygon, of the views with one another (least)."""


def crop_square(
    box: NDArray[np.float32], size: tuple[int, int], factor: float, shift: tuple[float, float]
) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a crop around a box: ``factor`` times its longer side, shifted, inside the image.

    ``shift`` is in fractions of the free margin, each in [-1, 1]; the crop always holds the box.
    """
    height, width = size
    side = factor * max(box[2] - box[0], box[3] - box[1], 32.0)
    spans = []
    for low, high, limit, s in (
        (float(box[0]), float(box[2]), width, shift[0]),
        (float(box[1]), float(box[3]), height, shift[1]),
    ):
        length = min(side, limit)
        start = (low + high - length) / 2 + s * (length - (high - low)) / 2
        start = min(max(start, 0.0), limit - length)
        spans.append((int(np.floor(start)), int(np.ceil(start + length))))
    return spans[0][0], spans[1][0], min(spans[0][1], width), min(spans[1][1], height)


def teach(
    frozen: FrozenSam,
    image: NDArray[np.uint8],
    box: NDArray[np.float32],
    polygon: NDArray[np.bool_] | None = None,
    *,
    views: tuple[tuple[float, float, float, bool], ...] = ((1.2, 0.0, 0.0, False), (1.6, 0.5, -0.5, True)),
    rng: np.random.Generator | None = None,
) -> TaughtMask:
    """A finer soft mask of the object in ``box``.

    Args:
        frozen: the network; its HQ branch is not used.
        image: RGB uint8 (H, W, 3).
        box: x0, y0, x1, y1 in pixels.
        polygon: (H, W) annotated mask, coarse at its border but right about which object is meant. It
            becomes mask and point prompts, and bounds how far the teacher may stray.
        views: crop factor, shift right and down in fractions of the free margin, mirrored or not.
        rng: draws the prompt points; seeded with 0 when None.
    """
    rng = rng or np.random.default_rng(0)
    total = np.zeros(image.shape[:2], np.float32)
    seen = np.zeros(image.shape[:2], np.float32)
    signs: list[NDArray[np.int8]] = []
    for turn, (factor, right, down, mirrored) in enumerate(views):
        crop = crop_square(box, image.shape[:2], factor, (right, down))
        x0, y0, x1, y1 = crop
        logits = _one_view(frozen, image, box, polygon, crop, mirrored, with_mask=turn % 2 == 0, rng=rng)
        total[y0:y1, x0:x1] += logits
        seen[y0:y1, x0:x1] += 1
        sign = np.zeros(image.shape[:2], np.int8)
        sign[y0:y1, x0:x1] = np.where(logits > 0, 1, -1)
        signs.append(sign)
    mean = np.where(seen > 0, total / np.maximum(seen, 1), -_LOGIT)
    stacked = np.stack(signs)
    agree = ~((stacked > 0).any(0) & (stacked < 0).any(0))
    # Near the mean's own contour views differ by a fraction of a cell: that is precision, not doubt.
    trust = agree | (_band(mean > 0, 1 + _tolerance(box) // 3))
    probability = (1 / (1 + np.exp(-np.clip(mean, -20, 20)))).astype(np.float32)
    if polygon is None:
        agreement = min(_iou(sign > 0, mean > 0) for sign in signs)
        return TaughtMask(probability, trust.astype(np.float32), agreement)
    # Far from its border the polygon knows better which parts belong: there it overrules the teacher.
    overruled = ((mean > 0) != polygon) & ~_band(polygon, _tolerance(box))
    probability[overruled] = polygon[overruled]
    weight = np.where(overruled, _OVERRULED, trust.astype(np.float32)).astype(np.float32)
    return TaughtMask(probability, weight, _iou(mean > 0, polygon))


def save_targets(path: str | Path, targets: Sequence[Target]) -> None:
    """Write an image's targets whole, as compressed numpy arrays."""
    arrays: dict[str, Any] = {}
    for i, target in enumerate(targets):
        arrays[f"origin{i}"] = np.array(target.origin, np.int64)
        arrays[f"probability{i}"] = target.probability
        arrays[f"trust{i}"] = target.trust
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(file, **arrays)


def load_targets(path: str | Path) -> list[Target]:
    """Targets that :func:`save_targets` wrote."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return [
                Target(
                    (int(arrays[f"origin{i}"][0]), int(arrays[f"origin{i}"][1])),
                    arrays[f"probability{i}"],
                    arrays[f"trust{i}"],
                )
                for i in range(len(arrays.files) // 3)
            ]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(f"{path}: is no file of taught targets ({error}); make it again") from error


def as_target(taught: TaughtMask) -> Target | None:
    """A taught mask as a training target, cut to where it may lie; None when it is empty."""
    if not (taught.probability > 0.5).any():
        return None
    possible = taught.probability > 0.05
    rows, cols = np.flatnonzero(possible.any(1)), np.flatnonzero(possible.any(0))
    y0, x0 = max(0, int(rows[0]) - 2), max(0, int(cols[0]) - 2)
    part = (slice(y0, int(rows[-1]) + 3), slice(x0, int(cols[-1]) + 3))
    probability = np.round(taught.probability[part] * 255).astype(np.uint8)
    return Target((y0, x0), probability, np.round(taught.trust[part] * 255).astype(np.uint8))


def _one_view(
    frozen: FrozenSam,
    image: NDArray[np.uint8],
    box: NDArray[np.float32],
    polygon: NDArray[np.bool_] | None,
    crop: tuple[int, int, int, int],
    mirrored: bool,
    *,
    with_mask: bool,
    rng: np.random.Generator,
) -> NDArray[np.float32]:
    """Logits (h, w) of one crop at the image's resolution."""
    import cv2

    x0, y0, x1, y1 = crop
    width, height = x1 - x0, y1 - y0
    view = image[y0:y1, x0:x1]
    inside = np.array([box[0] - x0, box[1] - y0, box[2] - x0, box[3] - y0], np.float32)
    known = None if polygon is None else polygon[y0:y1, x0:x1]
    if mirrored:
        view = view[:, ::-1]
        inside = np.array([width - inside[2], inside[1], width - inside[0], inside[3]], np.float32)
        known = None if known is None else known[:, ::-1]
    scale = frozen.side / max(height, width)
    # cv2's cubic filter enlarges without the blocks of a bilinear one
    big = cv2.resize(
        np.ascontiguousarray(view),
        (round(width * scale), round(height * scale)),
        interpolation=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA,
    )
    embedded = frozen.embed(np.asarray(big, np.uint8))
    points = labels = mask_logits = None
    if known is not None and known.any():
        if with_mask:
            mask_logits = _mask_prompt(known, frozen.side // 4)
        else:
            points, labels = _inner_points(known, 4, rng)
            points = points * scale
    prompt = Prompt("teacher", inside * scale, points, labels, mask_logits)
    logits = frozen.decode(embedded, prompt).sam_logits.detach().cpu().numpy()
    side = logits.shape[0]
    rows, cols = big.shape[0] * side / frozen.side, big.shape[1] * side / frozen.side
    logits = _resample(logits, (cols, rows), (width, height))
    return logits[:, ::-1] if mirrored else logits


def _resample(
    logits: NDArray[np.float32], extent: tuple[float, float], size: tuple[int, int]
) -> NDArray[np.float32]:
    """The part of a logit map of ``extent`` (cells wide, high) at ``size`` (width, height) pixels."""
    import cv2

    fx, fy = extent[0] / size[0], extent[1] / size[1]
    matrix = np.array([[fx, 0, fx / 2 - 0.5], [0, fy, fy / 2 - 0.5]], np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    out = cv2.warpAffine(logits, matrix, size, flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(out, np.float32)


def _mask_prompt(mask: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """A mask as logits (side, side): the longer side fills the map, the rest is background."""
    import cv2

    height, width = mask.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    out = np.full((side, side), -_LOGIT, np.float32)
    out[: size[1], : size[0]] = (2 * small - 1) * _LOGIT
    return out


def _inner_points(
    mask: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Points deep inside a mask and apart from one another: (count, 2) x, y and their labels (all 1)."""
    import cv2

    depth = cv2.distanceTransform(np.pad(mask.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
    ys, xs = np.nonzero(depth >= 0.4 * depth.max())
    chosen = [int(rng.integers(len(xs)))]
    nearest = np.full(len(xs), np.inf)
    while len(chosen) < count:
        nearest = np.minimum(nearest, (xs - xs[chosen[-1]]) ** 2 + (ys - ys[chosen[-1]]) ** 2)
        chosen.append(int(nearest.argmax()))
    points = np.stack([xs[chosen] + 0.5, ys[chosen] + 0.5], axis=1).astype(np.float32)
    return points, np.ones(count, np.int64)


def _tolerance(box: NDArray[np.float32]) -> int:
    """Pixels by which polygons err at their border: about 4 % of the object's size, at least 3."""
    return max(3, round(0.04 * float(np.sqrt((box[2] - box[0]) * (box[3] - box[1])))))


def _band(mask: NDArray[np.bool_], radius: int) -> NDArray[np.bool_]:
    """Pixels within ``radius`` of the mask's contour."""
    import cv2

    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    wide = cv2.dilate(mask.astype(np.uint8), kernel)
    core = cv2.erode(mask.astype(np.uint8), kernel)
    return np.asarray(wide != core)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    union = int((a | b).sum())
    return float((a & b).sum() / union) if union else 1.0
