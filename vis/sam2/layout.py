"""Two ways to lay a frame into a square: stretched to fill it, or with its longer side as long as the square's.

::

    stretched (s, s)        padded (s, s)
    +-------+               +-------+
    |       |               | frame |      a frame of 16:9; what lies below it
    | frame |      <-->     +-------+      repeats its last row
    |       |               |       |
    +-------+               +-------+

SAM 2 and its kin work on the first, :class:`vis.interfaces.MaskPredictor` speaks of the second.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

__all__ = ["padded_of", "stretched_of"]


def padded_of(values: Tensor, frame_size: tuple[int, int]) -> Tensor:
    """Values (..., s, s) of a stretched frame of ``frame_size`` (height, width), as float32 in the padded square."""
    return _resampled(values, frame_size, padded=True)


def stretched_of(values: Tensor, frame_size: tuple[int, int]) -> Tensor:
    """Values (..., s, s) of a frame in the padded square, as float32 of the stretched frame."""
    return _resampled(values, frame_size, padded=False)


def _resampled(values: Tensor, frame_size: tuple[int, int], *, padded: bool) -> Tensor:
    longer = max(frame_size)
    values = values.float()
    for axis, length in ((-2, frame_size[0]), (-1, frame_size[1])):
        if length == longer:
            continue
        step = longer / length if padded else length / longer
        weights = _linear(values.shape[axis], step, values.device)
        values = weights @ values if axis == -2 else values @ weights.T
    return values


@functools.lru_cache(maxsize=16)
def _linear(count: int, step: float, device: torch.device) -> Tensor:
    """(count, count): row i reads linearly where (i + 1/2) steps lie; the border goes on outside."""
    at = ((torch.arange(count, dtype=torch.float64) + 0.5) * step - 0.5).clamp(0, count - 1)
    low = at.floor().long().clamp(max=max(count - 2, 0))
    share = (at - low).float()
    weights = torch.zeros(count, count)
    rows = torch.arange(count)
    weights[rows, low] = 1 - share
    if count > 1:
        weights[rows, low + 1] = share
    return weights.to(device)
