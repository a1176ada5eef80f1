"""What points at an object on one frame, and the first mask that it gives.

Knows no time: :mod:`vis.follow.follower` carries the mask on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import PromptError

if TYPE_CHECKING:
    from vis.hqsam import ImageEmbedding, Predictor

__all__ = ["Box", "FirstMask", "Point", "Prompt", "first_mask"]

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Point = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Prompt:
    """What is known of one object on one frame; at least one field is set."""

    points: tuple[Point, ...] = ()
    """x, y in pixels."""
    point_labels: tuple[int, ...] = ()
    """1 inside, 0 outside, one per point."""
    box: Box | None = None
    """x0, y0, x1, y1 in pixels."""
    mask: Bool | None = None
    """bool (H, W): a mask to go on from."""


@dataclass(frozen=True, slots=True, eq=False)
class FirstMask:
    """The mask that a prompt gives."""

    mask: Bool
    """(H, W)."""
    logits: Float32
    """(256, 256) low-resolution logits, usable as a mask prompt."""
    score: float
    """The network's own estimate of the mask's IoU, clipped to [0, 1]."""


def first_mask(predictor: Predictor, embedding: ImageEmbedding, prompt: Prompt) -> FirstMask:
    """Decode one prompt.

    One click may mean a part or the whole: SAM gives three masks, the best of which is then a prompt
    beside the click, as in SAM's own interactive evaluation.

    Raises :class:`PromptError` for a prompt without any field.
    """
    given = _arguments(prompt)
    if not given:
        raise PromptError("the prompt is empty: give points, a box or a mask")
    if set(given) == {"points", "point_labels"} and len(prompt.points) == 1:
        three = predictor.decode(embedding, multimask=True, **given)
        given["masks"] = three.low_res_logits[:, int(three.scores[0].argmax())]
    out = predictor.decode(embedding, **given)
    return FirstMask(out.masks[0], out.low_res_logits[0], float(np.clip(out.scores[0], 0, 1)))


def _arguments(prompt: Prompt) -> dict[str, Any]:
    """The predictor's arguments for one object."""
    from vis.refine import mask_prompt

    given: dict[str, Any] = {}
    points, labels = list(prompt.points), list(prompt.point_labels)
    if points and 1 not in labels and prompt.mask is not None:
        # Minus clicks alone tell the network no object: the mask's own middle says which one.
        points.append(_inside(prompt.mask, points))
        labels.append(1)
    if points:
        given["points"] = np.array([points], np.float32)
        given["point_labels"] = np.array([labels], np.int64)
    if prompt.box is not None:
        given["boxes"] = np.array([prompt.box], np.float32)
    if prompt.mask is not None:
        given["masks"] = mask_prompt(prompt.mask[None])
    return given


def _inside(mask: Bool, away_from: list[Point]) -> Point:
    """The pixel deepest inside the mask that keeps clear of the points; of the whole mask if none does."""
    from vis.refine import deepest_point

    ys, xs = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    reach = 0.04 * mask.sum()  # a radius of a fifth of the object's side, squared
    clear = mask.copy()
    for x, y in away_from:
        clear &= (xs - x) ** 2 + (ys - y) ** 2 > reach
    x, y = deepest_point(clear if clear.any() else mask).tolist()
    return x, y
