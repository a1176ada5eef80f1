"""From queries with classes and masks to Detections: shared by the mask-classification models."""

from __future__ import annotations

from typing import Any

import numpy as np

from detectors.dense_masks import tight_boxes
from vis.structures import Detections

__all__ = ["best_classes", "detections_from", "mask_quality", "resize_binary", "resize_logits"]


def best_classes(class_logits: Any) -> tuple[Any, Any]:
    """Softmax over classes and "no object", then each query's best real class: (..., K + 1) -> scores, labels."""
    scores, labels = class_logits.float().softmax(dim=-1)[..., :-1].max(dim=-1)
    return scores, labels


def mask_quality(logits: Any) -> Any:
    """Mean probability inside each mask, (n, h, w) -> (n,) in [0, 1]; 0 for an empty mask."""
    inside = (logits > 0).flatten(1)
    return (logits.sigmoid().flatten(1) * inside).sum(1) / (inside.sum(1) + 1e-6)


def detections_from(
    scores: Any, labels: Any, masks: Any, *, ids: Any = None, embeddings: Any = None
) -> Detections:
    """Tensors of n objects as Detections with tight boxes; objects with an empty mask are left out.

    Takes scores (n,), labels (n,), masks bool (n, H, W), and optionally ids (n,) and embeddings
    (n, D).
    """
    dense = masks.cpu().numpy().astype(np.bool_, copy=False)
    found = Detections(
        boxes=tight_boxes(dense),
        scores=scores.float().clamp(0, 1).cpu().numpy(),
        labels=labels.cpu().numpy().astype(np.int64),
        masks=dense,
        track_ids=None if ids is None else ids.cpu().numpy().astype(np.int64),
        embeddings=None if embeddings is None else embeddings.float().cpu().numpy(),
    )
    return found.select(np.flatnonzero(dense.any(axis=(1, 2))))


def resize_logits(logits: Any, size: tuple[int, int]) -> Any:
    """Bilinear, (n, h, w) -> (n, *size); n may be 0."""
    import torch

    return torch.nn.functional.interpolate(logits[:, None], size=size, mode="bilinear", align_corners=False)[
        :, 0
    ]


def resize_binary(masks: Any, size: tuple[int, int]) -> Any:
    """Nearest neighbour, bool (n, h, w) -> bool (n, *size); n may be 0."""
    import torch

    return torch.nn.functional.interpolate(masks[:, None].float(), size=size, mode="nearest")[:, 0] > 0
