"""Low-resolution logits to masks at the frame's size, as SAM does it: to 1024, crop, to the frame.

Both steps are bilinear, hence linear and separable: together they are one matrix per axis.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

__all__ = ["Upsampler", "upsampler"]

_BYTES = 2**30
"""Of frame-size logits held at once on a graphics processor."""


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

    def masks(self, logits: Tensor, out: NDArray[np.bool_]) -> None:
        """(n, 4g, 4g) float32 logits to masks, written to ``out`` (n, H, W), which holds False.

        From CUDA the copies are only begun: synchronise before reading.
        """
        target = torch.from_numpy(out)
        if logits.device.type == "cpu":
            for one, mask in zip(logits, target, strict=True):
                self._write(one, [(0.0, mask)])
            return
        per_object = 4 * (self.network**2 + self.network * self.kept[1] + 2 * self.frame[0] * self.frame[1])
        step = max(1, _BYTES // per_object)
        for part, masks in zip(torch.split(logits, step), torch.split(target, step), strict=True):
            masks.copy_(self._in_two_steps(part) > 0, non_blocking=True)

    def above(self, logits: Tensor, levels: tuple[float, ...]) -> list[Tensor]:
        """(4g, 4g) float32 logits to one bool (H, W) per level: where the upsampled logits exceed it.

        Bilinear values lie between their neighbours, so only the surroundings of logits above the
        lowest level are computed.
        """
        out = [torch.zeros(self.frame, dtype=torch.bool, device=logits.device) for _ in levels]
        self._write(logits, list(zip(levels, out, strict=True)))
        return out

    def _write(self, logits: Tensor, masks: list[tuple[float, Tensor]]) -> None:
        """Fill each mask, which holds False, where the upsampled logits exceed its level."""
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
