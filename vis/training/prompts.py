"""Prompts drawn from a mask: exact or jittered box, points, a noisy coarse mask. Knows no network.

The HQ-SAM recipe draws uniformly among exact box, ten points and coarse mask. Ours leans to boxes,
because that is what detectors give, and draws one to ten points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis.masks import extent
from vis.prompt_policies import ALONE_LOGIT, PROMPT_LOGIT

__all__ = ["MIX", "Prompt", "coarse_mask", "jitter_box", "random_points", "sample_prompt", "tight_box"]

MIX = {"box": 0.5, "jittered box": 0.2, "points": 0.15, "mask": 0.05, "box and mask": 0.1}
"""Chances of each kind of prompt."""


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What the network is told about one object, in pixels of the picture."""

    kind: str
    """A key of MIX."""
    box: NDArray[np.float32] | None = None
    """(4,) x0, y0, x1, y1."""
    points: NDArray[np.float32] | None = None
    """(K, 2) x, y."""
    labels: NDArray[np.int64] | None = None
    """(K,) 1 inside, 0 outside."""
    mask: NDArray[np.float32] | None = None
    """(side, side) logits on the network's mask grid."""


def sample_prompt(
    mask: NDArray[np.bool_],
    rng: np.random.Generator,
    *,
    mask_side: int = 256,
    mix: Mapping[str, float] | None = None,
) -> Prompt:
    """A random prompt for the object ``mask`` (H, W), which must not be empty."""
    chances = mix or MIX
    kinds = list(chances)
    weights = np.array([chances[kind] for kind in kinds], float)
    kind = kinds[int(rng.choice(len(kinds), p=weights / weights.sum()))]
    box = tight_box(mask)
    if kind == "box":
        return Prompt(kind, box=box)
    if kind == "jittered box":
        return Prompt(kind, box=jitter_box(box, mask.shape, rng))
    if kind == "points":
        count = int(rng.choice([1, 3, 5, 10]))
        return Prompt(kind, points=random_points(mask, count, rng), labels=np.ones(count, np.int64))
    logits = coarse_mask(mask, rng, side=mask_side, alone=kind == "mask")
    return Prompt(kind, box=box if kind == "box and mask" else None, mask=logits)


def tight_box(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """x0, y0, x1, y1 of the mask's pixels, half-open, float32 (4,); the mask must not be empty."""
    return np.array(extent(mask), np.float32)


def jitter_box(
    box: NDArray[np.float32], size: tuple[int, ...], rng: np.random.Generator, *, spread: float = 0.05
) -> NDArray[np.float32]:
    """The box with each side moved by a normal step of ``spread`` of its length, inside the picture."""
    sides = np.array([box[2] - box[0], box[3] - box[1]] * 2)
    limit = np.array([size[1], size[0]] * 2)
    moved = np.clip(box + np.clip(rng.normal(0, spread, 4), -0.15, 0.15) * sides, 0, limit)
    whole = np.tile(moved[2:] - moved[:2] >= 1, 2)
    return np.asarray(np.where(whole, moved, box), np.float32)


def random_points(mask: NDArray[np.bool_], count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Centres of ``count`` random pixels of the mask: float32 (count, 2) x, y."""
    ys, xs = np.nonzero(mask)
    pick = rng.integers(0, len(xs), count)
    return np.stack([xs[pick] + 0.5, ys[pick] + 0.5], axis=1).astype(np.float32)


def coarse_mask(
    mask: NDArray[np.bool_], rng: np.random.Generator, *, side: int = 256, alone: bool = False
) -> NDArray[np.float32]:
    """The mask as a coarse detector might give it: logits (side, side), the longer side filling the grid.

    As in the HQ-SAM recipe, noise is added on a grid eight times coarser, so that the border moves by a
    few cells and is blunt. ``alone``: as loud as SAM needs it without a box or points beside it.
    """
    import cv2

    height, width = mask.shape
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    few = (max(1, size[0] // 8), max(1, size[1] // 8))
    blunt = cv2.resize(small, few, interpolation=cv2.INTER_AREA)
    noise = np.asarray(rng.normal(0, 0.15, (few[1], few[0])), np.float32)
    blunt = blunt + noise * ((blunt > 0.02) & (blunt < 0.98))
    noisy = cv2.resize(blunt, size, interpolation=cv2.INTER_LINEAR) > 0.5
    if not noisy.any():
        noisy = small > 0.25
    level = ALONE_LOGIT if alone else PROMPT_LOGIT
    out = np.full((side, side), -level, np.float32)
    out[: size[1], : size[0]] = np.where(noisy, level, -level)
    return out
