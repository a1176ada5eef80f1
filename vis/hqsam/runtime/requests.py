"""What an engine is asked for, and the choice among masks by their scores: tensors only."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

__all__ = ["DecodeRequest", "filter_by_iou", "select_best_mask"]


class DecodeRequest(NamedTuple):
    """Which masks are wanted of every object."""

    masks: slice
    """Of SAM's four: 0 the single one, 1-3 the three."""
    min_iou: float = float("-inf")
    """An object none of whose ``masks`` is predicted an IoU above this is left out."""
    best_only: bool = False
    """Compute only one of ``masks``: the one that is predicted the highest IoU."""
    iou_bias: Tensor | None = None
    """(N, M) added to the predicted IoUs of ``masks`` before the best is chosen; None adds nothing."""
    boxes: Tensor | None = None
    """(N, 4) in network pixels: an engine that is faster for it may compute a single mask only around its box and
    wherever SAM sees the object. None asks for all of the map."""


def filter_by_iou(scores: Tensor, request: DecodeRequest) -> list[int]:
    """Rows of ``scores`` (N, 4) whose best among the masks asked for is above ``min_iou``."""
    if request.min_iou == float("-inf"):
        return list(range(len(scores)))
    kept: list[int] = (scores[:, request.masks].amax(1) > request.min_iou).nonzero()[:, 0].tolist()
    return kept


def select_best_mask(masks: Tensor, scores: Tensor, iou_bias: Tensor | None) -> Tensor:
    """(N, M, ...) of M masks with (N, M) scores to (N, 1, ...): each row's best by score and bias together."""
    best = (scores if iou_bias is None else scores + iou_bias).argmax(1)
    return masks.take_along_dim(best.view(-1, *[1] * (masks.dim() - 1)), dim=1)
