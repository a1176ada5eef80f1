"""What the head is trained on: one object on a crop of the mask grid, and the head's pass over it.

A sample holds the frozen network's results, so that a training step touches the head's own layers only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vis.hqsam.mask_decoder import MaskDecoder

__all__ = ["HeadSample", "hq_logits", "random_window", "to_device"]


@dataclass(frozen=True, slots=True, eq=False)
class HeadSample:
    """One object as the head needs it; all on the same crop of h x w mask cells."""

    features: Tensor
    """(256, h / 4, w / 4): image embedding."""
    early: Tensor
    """(E, h / 4, w / 4)"""
    upscaled: Tensor
    """(32, h, w): SAM's upscaled features."""
    sam_logits: Tensor
    """(h, w): SAM's single mask."""
    hf_token: Tensor
    """(256,): the HQ token after the transformer."""
    probability: Tensor
    """uint8 (4h, 4w): the truth, 255 is certainly the object."""
    trust: Tensor
    """uint8 (4h, 4w): weight in the loss; 0 on the network's padding."""
    kind: str
    """Kind of prompt."""


def hq_logits(decoder: MaskDecoder, sample: HeadSample) -> Tensor:
    """HQ logits (h, w) of a sample, in float32."""
    frame = decoder.hq_features(sample.features[None].float(), sample.early[None].float())
    features = decoder.embedding_maskfeature(sample.upscaled[None].float()) + frame
    kernel = decoder.hf_mlp(sample.hf_token[None].float())
    logits: Tensor = (kernel @ features.flatten(2)).reshape(features.shape[2:])
    return logits.float()


def random_window(sample: HeadSample, rng: np.random.Generator, size: int) -> HeadSample:
    """A part of at most ``size`` x ``size`` cells (a multiple of 4) that holds something to learn.

    A step's cost is its area, and most of an object is easy: 45 % of the windows hold a pixel where SAM
    errs, 45 % a pixel of the true contour, the rest any pixel. Where the window cuts through the crop,
    its outer two cells lose their weight: the convolutions saw zeros there instead of neighbours.
    """
    h, w = sample.sam_logits.shape
    high, wide = min(size, h), min(size, w)
    if (high, wide) == (h, w):
        return sample
    ys, xs = np.nonzero(_interesting(sample, rng.random()))
    if not len(ys):
        ys, xs = np.nonzero(np.ones((h, w), np.bool_))
    pick = int(rng.integers(len(ys)))
    y = min(max(0, int(ys[pick]) - int(rng.integers(high))), h - high) // 4 * 4
    x = min(max(0, int(xs[pick]) - int(rng.integers(wide))), w - wide) // 4 * 4
    cells = (slice(y, y + high), slice(x, x + wide))
    pixels = (slice(4 * y, 4 * (y + high)), slice(4 * x, 4 * (x + wide)))
    grid = (slice(y // 4, (y + high) // 4), slice(x // 4, (x + wide) // 4))
    trust = sample.trust[pixels].clone()
    trust[: 8 * (y > 0)] = 0
    trust[:, : 8 * (x > 0)] = 0
    if y + high < h:
        trust[-8:] = 0
    if x + wide < w:
        trust[:, -8:] = 0
    return HeadSample(
        sample.features[:, grid[0], grid[1]],
        sample.early[:, grid[0], grid[1]],
        sample.upscaled[:, cells[0], cells[1]],
        sample.sam_logits[cells],
        sample.hf_token,
        sample.probability[pixels],
        trust,
        sample.kind,
    )


def to_device(sample: HeadSample, device: torch.device) -> HeadSample:
    """The same sample on a device."""
    return HeadSample(
        sample.features.to(device),
        sample.early.to(device),
        sample.upscaled.to(device),
        sample.sam_logits.to(device),
        sample.hf_token.to(device),
        sample.probability.to(device),
        sample.trust.to(device),
        sample.kind,
    )


def _interesting(sample: HeadSample, draw: float) -> NDArray[np.bool_]:
    """The cells that a window may be drawn around, (h, w)."""
    truth = (sample.probability[::4, ::4] > 127).cpu().numpy()
    if draw < 0.45:
        sam = (sample.sam_logits > 0).detach().cpu().numpy()
        believed = (sample.trust[::4, ::4] > 0).cpu().numpy()
        return np.asarray((truth != sam) & believed)
    if draw < 0.9:
        edge = np.zeros_like(truth)
        edge[1:] |= truth[1:] != truth[:-1]
        edge[:, 1:] |= truth[:, 1:] != truth[:, :-1]
        return edge
    return np.ones_like(truth)
