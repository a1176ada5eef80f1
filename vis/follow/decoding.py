"""Several masks for each object from one embedding, to choose from. Knows no time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from vis.hqsam import ImageEmbedding, Predictor

__all__ = ["Candidates", "candidates", "masks_of"]

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
        **prompts,
    )
    side = 4 * predictor.model.size.grid
    logits = np.zeros((checked.count, 4, side, side), np.float32)
    scores = np.zeros((checked.count, 4), np.float32)
    with torch.inference_mode():
        for rows, sam, hq, predicted in predictor.predict_masks(embedding, checked, slice(0, 4)):
            logits[rows] = sam.float().cpu().numpy()
            if hq is not None:
                logits[rows, 0] += hq.float().cpu().numpy()
            scores[rows] = predicted.float().cpu().numpy()
    return Candidates(logits, scores)


def masks_of(predictor: Predictor, frame: tuple[int, int], logits: Float32) -> NDArray[np.bool_]:
    """Low-resolution logits (N, side, side) as masks (N, H, W) of a frame of (height, width)."""
    import torch

    from vis.hqsam.resize import network_size, upsampler

    model = predictor.model
    side = model.size.image_size
    up = upsampler(frame, network_size(frame, side), side // 4, side, model.device)
    out = np.zeros((len(logits), *frame), np.bool_)
    with torch.inference_mode():
        up.masks(torch.from_numpy(np.ascontiguousarray(logits)).to(model.device), out)
    if model.device.type == "cuda":
        torch.cuda.current_stream(model.device).synchronize()
    return out
