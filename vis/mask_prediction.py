"""What a mask model answers with: masks at the frame's size, or logits at low resolution to choose among."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["LowResMasks", "MaskPrediction"]

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrediction:
    """Masks of N prompts. With ``multimask=True`` the arrays have a further axis of 3 after N."""

    masks: Bool
    """(N, H, W) at the frame's size; with multimask (N, 3, H, W)."""
    scores: Float32
    """(N,) the network's own estimate of the mask's IoU, not clipped; with multimask (N, 3).

    HQ-SAM's belongs to SAM's mask: the HQ mask has no estimate of its own.
    """
    low_res_logits: Float32
    """(N, s, s), usable as a mask prompt; with multimask (N, 3, s, s). s is 256 for every published size."""
    hq_low_res_logits: Float32 | None = None
    """(N, s, s): the HQ mask by itself, only with ``multimask=True`` on an HQ-SAM."""
    hq_masks: Bool | None = None
    """(N, H, W): likewise."""
    three_scores: Float32 | None = None
    """(N, 3): the estimates that were chosen among, only with ``best_of_three=True``."""


class LowResMasks(NamedTuple):
    """Masks of n objects at low resolution, as logits."""

    rows: list[int]
    """Which objects, counted from the first of the prompts given."""
    logits: Tensor
    """(n, M, s, s) float32 of the masks asked for; M is 1 where only the best was."""
    residual: Tensor | None
    """(n, s, s) float32 that sharpens whichever mask is taken, by adding it: HQ-SAM's mask. None for other models."""
    scores: Tensor
    """(n, 4) predicted IoUs of all four masks, whichever were asked for."""
