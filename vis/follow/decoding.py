"""Several masks for each object from one embedding, to choose from. Knows no time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis.interfaces import Embedding, MaskPredictor
from vis.prompts import Prompts

__all__ = ["Candidates", "candidates"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """Four masks for each of N objects."""

    logits: Float32
    """(N, 4, side, side): the single mask, with the residual if the model has one, then the three."""
    scores: Float32
    """(N, 4): the network's own estimates of their IoU, not clipped."""


def candidates(predictor: MaskPredictor, embedding: Embedding, prompts: Prompts) -> Candidates:
    """Every mask that the model has for each prompt."""
    side = predictor.mask_side
    logits = np.zeros((prompts.count, 4, side, side), np.float32)
    scores = np.zeros((prompts.count, 4), np.float32)
    for part in predictor.predict_masks(embedding, prompts, slice(0, 4)):
        logits[part.rows] = part.logits.float().cpu().numpy()
        if part.residual is not None:
            logits[part.rows, 0] += part.residual.float().cpu().numpy()
        scores[part.rows] = part.scores.float().cpu().numpy()
    return Candidates(logits, scores)
