"""Pillow's antialiased bilinear resize of uint8 pictures as tensor operations, equal to the last bit.

SAM was trained on pictures that Pillow shrank. Pillow resizes along the width, rounds to uint8, then along
the height (very tall pictures the other way round); its weights are fixed-point numbers with 22 fractional
bits. The same integers are used here, so that a picture may be resized where the network runs, and nothing
downstream can tell.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from torch import Tensor

__all__ = ["resize"]

_BITS = 22


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """uint8 (H, W, C) on any device to uint8 (h, w, C) for ``size`` (h, w)."""
    height, width = size
    if image.shape[0] > 100 * image.shape[1] and height < image.shape[0]:
        return _along(_along(image, height, 0), width, 1)
    return _along(_along(image, width, 1), height, 0)


def _along(image: Tensor, length: int, axis: int) -> Tensor:
    if image.shape[axis] == length:
        return image
    at, weights = _taps(image.shape[axis], length, image.device)
    shape = [1, 1, 1]
    shape[axis] = length
    total: Tensor | None = None
    for i in range(len(at)):
        part = image.index_select(axis, at[i]).int() * weights[i].view(shape)
        total = part if total is None else total.add_(part)
    assert total is not None
    return (total.add_(1 << (_BITS - 1)) >> _BITS).clamp_(0, 255).to(torch.uint8)


@functools.lru_cache(maxsize=16)
def _taps(given: int, wanted: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Source index and integer weight, each (taps, wanted): a triangle as wide as the shrinking asks."""
    scale = given / wanted
    support = max(scale, 1.0)
    centre = (np.arange(wanted) + 0.5) * scale
    first = np.maximum((centre - support + 0.5).astype(np.int64), 0)
    last = np.minimum((centre + support + 0.5).astype(np.int64), given)
    at = first + np.arange(int(np.ceil(support)) * 2 + 1)[:, None]
    inside = at < last
    weights = np.maximum(1 - np.abs((at - centre + 0.5) / support), 0) * inside
    weights /= weights.sum(0)
    fixed = np.floor(0.5 + weights * (1 << _BITS)).astype(np.int32)
    return (
        torch.from_numpy(np.where(inside, at, 0)).to(device),
        torch.from_numpy(fixed).to(device),
    )
