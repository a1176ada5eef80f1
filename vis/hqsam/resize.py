"""Frames to the network's size, and its logits to masks at the frame's size.

SAM was trained on pictures that Pillow shrank. Pillow resizes along the width, rounds to uint8, then along
the height (very tall pictures the other way round); its weights are fixed-point numbers with 22 fractional
bits. :func:`resize` uses the same integers, so that a picture may be resized where the network runs, equal to
the last bit.

Low-resolution logits become masks as SAM does it: to 1024, crop, to the frame. Both steps are bilinear, hence
linear and separable: together they are one matrix per axis.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Upsampler", "network_size", "resize", "shrink", "upsampler"]

_BITS = 22
"""Of a fraction in Pillow's fixed-point weights."""
_BYTES = 2**30
"""Of frame-size logits held at once on a GPU."""


def network_size(frame_size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a frame once its longer side is ``side``."""
    scale = side / max(frame_size)
    # At least a pixel: the reference fails on pictures more than 2,048 times as long as wide.
    height, width = (max(1, int(side * scale + 0.5)) for side in frame_size)
    return height, width


def shrink(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) with its longer side ``side`` pixels, by Pillow itself: it antialiases, PyTorch does not."""
    from PIL import Image

    size = network_size((image.shape[0], image.shape[1]), side)
    return np.array(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))


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


def _axis(low: int, network: int, kept: int, frame: int) -> Tensor:
    """(frame, low): bilinear from ``low`` to ``network``, keep the first ``kept``, bilinear to ``frame``."""
    unit = torch.eye(low)[:, None]
    full = F.interpolate(unit, network, mode="linear", align_corners=False)[..., :kept]
    return F.interpolate(full, frame, mode="linear", align_corners=False)[:, 0].T.contiguous()


class Upsampler:
    """For one frame size (height, width), laid into a square network input as (kept height, kept width)."""

    def __init__(
        self, frame: tuple[int, int], kept: tuple[int, int], low: int, network: int, device: torch.device
    ) -> None:
        self.frame, self.kept, self.network = frame, kept, network
        self.rows = _axis(low, network, kept[0], frame[0]).to(device)
        self.columns = _axis(low, network, kept[1], frame[1]).to(device)

    def masks(self, logits: Tensor, *out: NDArray[np.bool_], levels: Sequence[float] = (0.0,)) -> None:
        """(n, 4g, 4g) float32 logits to masks, where they exceed each level, written to its ``out`` (n, H, W).

        ``out`` holds False before. From CUDA the copies are only begun: synchronise before reading.
        """
        targets = [torch.from_numpy(one) for one in out]
        if logits.device.type == "cpu":
            for row, one in enumerate(logits):
                self._write(one, [(level, mask[row]) for level, mask in zip(levels, targets, strict=True)])
            return
        per_object = 4 * (self.network**2 + self.network * self.kept[1] + 2 * self.frame[0] * self.frame[1])
        step = max(1, _BYTES // per_object)
        for at in range(0, len(logits), step):
            values = self._in_two_steps(logits[at : at + step])
            for level, mask in zip(levels, targets, strict=True):
                mask[at : at + step].copy_(values > level, non_blocking=True)

    def _write(self, logits: Tensor, masks: list[tuple[float, Tensor]]) -> None:
        """Fill each mask (H, W), which holds False, where the upsampled (4g, 4g) logits exceed its level.

        Bilinear values lie between their neighbours, so only the surroundings of logits above the lowest level are
        computed.
        """
        high = logits > min(level for level, _ in masks)
        y, x = _span(high.any(1)), _span(high.any(0))
        if y is None or x is None:
            return
        to_y, to_x = _span(self.rows[:, y].any(1)), _span(self.columns[:, x].any(1))
        if to_y is None or to_x is None:  # only the padding is high
            return
        # a little more on every side: the low neighbours that high ones are blended with
        y, x = _grown(y, len(logits)), _grown(x, len(logits))
        work = (to_y.stop - to_y.start) * (to_x.stop - to_x.start) * (x.stop - x.start)
        if work > 0.3 * self.frame[0] * self.frame[1] * len(logits):  # dense matrices lose to two plain steps
            to_y, to_x = slice(None), slice(None)
            values = self._in_two_steps(logits[None])[0]
        else:
            values = self.rows[to_y, y] @ logits[y, x] @ self.columns[to_x, x].T
        for level, mask in masks:
            torch.gt(values, level, out=mask[to_y, to_x])

    def _in_two_steps(self, logits: Tensor) -> Tensor:
        """(n, 4g, 4g) to (n, H, W)."""
        full = F.interpolate(logits[:, None], (self.network, self.network), mode="bilinear")
        full = full[..., : self.kept[0], : self.kept[1]]
        return F.interpolate(full, self.frame, mode="bilinear")[:, 0]


def _span(flags: Tensor) -> slice | None:
    """From the first to the last true one."""
    at = flags.nonzero()
    return slice(int(at[0]), int(at[-1]) + 1) if len(at) else None


def _grown(span: slice, length: int) -> slice:
    return slice(max(0, span.start - 2), min(length, span.stop + 2))


@functools.lru_cache(maxsize=8)
def upsampler(
    frame: tuple[int, int], kept: tuple[int, int], low: int, network: int, device: torch.device
) -> Upsampler:
    """The upsampler of a frame size, kept for the next frame."""
    return Upsampler(frame, kept, low, network, device)
