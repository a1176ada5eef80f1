"""Several masks for each object from one embedding, to choose from. Knows no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vis.hqsam import ImageEmbedding, Predictor

__all__ = ["Candidates", "candidates"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Candidates:
    """K masks for each of N objects."""

    logits: Float32
    """(N, K, side, side)."""
    scores: Float32
    """(N, K): the network's own estimates of their IoU, not clipped."""

    def beside(self, other: Candidates) -> Candidates:
        """Both sets for the same objects."""
        return Candidates(
            np.concatenate([self.logits, other.logits], axis=1),
            np.concatenate([self.scores, other.scores], axis=1),
        )


def candidates(predictor: Predictor, embedding: ImageEmbedding, **prompts: Any) -> Candidates:
    """SAM's single mask with the HQ mask added, then SAM's three, of prompts as for ``decode``."""
    import torch

    from vis.hqsam.prompts import check_prompts

    checked = check_prompts(
        embedding.frame_size,
        4 * predictor.model.size.grid,
        prompts.get("boxes"),
        prompts.get("points"),
        prompts.get("point_labels"),
        prompts.get("masks"),
    )
    side = 4 * predictor.model.size.grid
    logits = np.zeros((checked.count, 4, side, side), np.float32)
    scores = np.zeros((checked.count, 4), np.float32)
    with torch.inference_mode():
        for row, sam, hq, predicted in predictor.draw(embedding, checked, slice(0, 4)):
            logits[row] = sam.float().cpu().numpy()
            if hq is not None:
                logits[row, 0] += hq.float().cpu().numpy()
            scores[row] = predicted.float().cpu().numpy()
    return Candidates(logits, scores)
