"""What points at an object on one frame, and the first mask that it gives.

Knows no time: :mod:`vis.follow.follower` carries the mask on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from vis.errors import PromptError
from vis.interfaces import Embedding, MaskPredictor

__all__ = ["CANDIDATES", "Box", "Candidate", "FirstMask", "Point", "Prompt", "first_mask"]

Bool = NDArray[np.bool_]
Float32 = NDArray[np.float32]
Point = tuple[float, float]
Box = tuple[float, float, float, float]
Candidate = Literal["whole", "part", "subpart"]
CANDIDATES: tuple[Candidate, ...] = get_args(Candidate)
"""SAM's three masks of one click, the largest first."""


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
    candidate: Candidate | None = None
    """Which of SAM's masks of a single click is meant; None: the one that SAM estimates best."""


@dataclass(frozen=True, slots=True, eq=False)
class FirstMask:
    """The mask that a prompt gives."""

    mask: Bool
    """(H, W)."""
    logits: Float32
    """(s, s) low-resolution logits, usable as a mask prompt."""
    score: float
    """The network's own estimate of the mask's IoU, clipped to [0, 1]."""


WHOLE = 0.05
"""Of masks whose estimated IoUs differ by no more than this from the best one, the largest is meant."""
SAME = 0.8
"""Least IoU of the second mask of a click with its first, to be the same object more finely."""


def first_mask(predictor: MaskPredictor, embedding: Embedding, prompt: Prompt) -> FirstMask:
    """Decode one prompt.

    One click may mean a part or the whole, and SAM gives a mask of each. Estimates of them that are alike
    do not tell which is meant; then it is the whole, unless the prompt names a candidate. Its box and itself are
    then prompts beside the click, and what comes of them is taken where it is the same object.

    Raises :class:`PromptError` for a prompt without any field, and for a candidate of more than a click.
    """
    given = _arguments(prompt, predictor.mask_side)
    if not given:
        raise PromptError("the prompt is empty: give points, a box or a mask")
    if set(given) == {"points", "point_labels"} and len(prompt.points) == 1:
        return _of_one_click(predictor, embedding, given, prompt.candidate)
    if prompt.candidate is not None:
        raise PromptError(
            f"candidate {prompt.candidate!r}: SAM has three masks of a single click; give one point alone"
        )
    out = predictor.decode(embedding, **given)
    return FirstMask(out.masks[0], out.low_res_logits[0], _unit(out.scores[0]))


def _of_one_click(
    predictor: MaskPredictor, embedding: Embedding, given: dict[str, Any], candidate: Candidate | None
) -> FirstMask:
    three = predictor.decode(embedding, multimask=True, **given)
    areas = three.masks[0].sum(axis=(1, 2))
    if candidate is None:
        alike = three.scores[0] >= three.scores[0].max() - WHOLE
        best = int(np.where(alike, areas, -1).argmax())
    else:
        best = int(np.argsort(-areas, kind="stable")[CANDIDATES.index(candidate)])
    mask, logits = three.masks[0, best], three.low_res_logits[0, best]
    if not mask.any():
        return FirstMask(mask, logits, 0.0)
    ys, xs = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = np.array([[xs[0], ys[0], xs[-1] + 1, ys[-1] + 1]], np.float32)
    finer = predictor.decode(embedding, boxes=box, masks=logits[None], **given)
    common, union = int((finer.masks[0] & mask).sum()), int((finer.masks[0] | mask).sum())
    if common >= SAME * union:
        return FirstMask(finer.masks[0], finer.low_res_logits[0], _unit(finer.scores[0]))
    return FirstMask(mask, logits, _unit(three.scores[0, best]))


def _unit(score: Any) -> float:
    return float(np.clip(score, 0, 1))


def _arguments(prompt: Prompt, mask_side: int) -> dict[str, Any]:
    """The predictor's arguments for one object."""
    from vis.prompt_policies import mask_prompt

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
        given["masks"] = mask_prompt(prompt.mask[None], mask_side, alone=not given)
    return given


def _inside(mask: Bool, away_from: list[Point]) -> Point:
    """The pixel deepest inside the mask that keeps clear of the points; of the whole mask if none does."""
    from vis.prompt_policies import deepest_point

    ys, xs = np.mgrid[0 : mask.shape[0], 0 : mask.shape[1]]
    reach = 0.04 * mask.sum()  # a radius of a fifth of the object's side, squared
    clear = mask.copy()
    for x, y in away_from:
        clear &= (xs - x) ** 2 + (ys - y) ** 2 > reach
    x, y = deepest_point(clear if clear.any() else mask).tolist()
    return x, y
