"""What the head is trained on: one object on a crop of the mask grid, and the head's pass over it.

A sample holds the frozen network's results, so that a training step touches the head's own layers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vis.hqsam.network.mask_decoder import MaskDecoder

__all__ = [
    "HeadSample",
    "cropped",
    "hq_logits",
    "joined",
    "random_window",
    "sam_iou",
    "stack",
    "to_device",
    "unstack",
]


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
    pixel_weight: Tensor
    """uint8 (4h, 4w): weight in the loss; 0 on the network's padding."""
    kind: str
    """Kind of prompt."""


_MAPS = ("features", "early", "upscaled", "sam_logits", "hf_token", "probability", "pixel_weight")


def stack(samples: Sequence[HeadSample]) -> HeadSample:
    """Samples of one size as one, every field with a leading axis B."""
    first = samples[0]
    if any(sample.sam_logits.shape != first.sam_logits.shape for sample in samples):
        raise ValueError("samples of different sizes cannot be stacked; use one window size")
    maps = {name: torch.stack([getattr(sample, name) for sample in samples]) for name in _MAPS}
    return HeadSample(**maps, kind=first.kind)


def joined(stacks: Sequence[HeadSample]) -> HeadSample:
    """Stacked samples of one size, one stack after the other."""
    if len(stacks) == 1:
        return stacks[0]
    maps = {name: torch.cat([getattr(part, name) for part in stacks]) for name in _MAPS}
    return HeadSample(**maps, kind=stacks[0].kind)


def unstack(samples: HeadSample) -> list[HeadSample]:
    """The single samples of a stack."""
    return [
        HeadSample(**{name: getattr(samples, name)[i] for name in _MAPS}, kind=samples.kind)
        for i in range(len(samples.sam_logits))
    ]


def hq_logits(decoder: MaskDecoder, samples: HeadSample) -> Tensor:
    """HQ logits (B, h, w) of stacked samples, in float32."""
    frame = decoder.hq_features(samples.features.float(), samples.early.float())
    features = decoder.embedding_maskfeature(samples.upscaled.float()) + frame
    kernels = decoder.hf_mlp(samples.hf_token.float())
    logits: Tensor = (kernels[:, None] @ features.flatten(2)).reshape(samples.sam_logits.shape)
    return logits.float()


def sam_iou(sample: HeadSample) -> float:
    """IoU of SAM's own mask with the truth, on the sample's crop."""
    truth = sample.probability[2::4, 2::4] > 127
    sam = sample.sam_logits.detach() > 0
    union = int((truth | sam).sum())
    return int((truth & sam).sum()) / union if union else 1.0


def cropped(sample: HeadSample, x0: int, y0: int, x1: int, y1: int) -> HeadSample:
    """The part of a sample within these mask cells, multiples of 4."""

    def part(values: Tensor, numerator: int, denominator: int) -> Tensor:
        top, bottom, left, right = (at * numerator // denominator for at in (y0, y1, x0, x1))
        return values[..., top:bottom, left:right]

    return replace(
        sample,
        features=part(sample.features, 1, 4),
        early=part(sample.early, 1, 4),
        upscaled=part(sample.upscaled, 1, 1),
        sam_logits=part(sample.sam_logits, 1, 1),
        probability=part(sample.probability, 4, 1),
        pixel_weight=part(sample.pixel_weight, 4, 1),
    )


def random_window(sample: HeadSample, rng: np.random.Generator, size: int) -> HeadSample:
    """A part of ``size`` x ``size`` cells (a multiple of 4) that holds something to learn.

    A step's cost is its area, and most of an object is easy. So windows are small, and five of six hold a
    pixel of the true contour or of SAM's away from their border; the rest lie anywhere. (Windows drawn
    around SAM's errors would teach the head that SAM is mostly wrong.) The outer two cells lose their
    weight: there the convolutions see zeros instead of neighbours.

    The sample must be at least as large as the window.
    """
    h, w = sample.sam_logits.shape
    y, x = _corner(sample, rng, size)
    y, x = min(max(0, y), h - size) // 4 * 4, min(max(0, x), w - size) // 4 * 4
    window = cropped(sample, x, y, x + size, y + size)
    pixel_weight = torch.zeros_like(window.pixel_weight)
    pixel_weight[8:-8, 8:-8] = window.pixel_weight[8:-8, 8:-8]
    return replace(window, pixel_weight=pixel_weight)


def to_device(sample: HeadSample, device: torch.device) -> HeadSample:
    """The same sample on a device."""
    maps = {name: getattr(sample, name).to(device) for name in _MAPS}
    return HeadSample(**maps, kind=sample.kind)


def _corner(sample: HeadSample, rng: np.random.Generator, size: int) -> tuple[int, int]:
    """y, x of a window's first cell; it may lie outside the sample."""
    h, w = sample.sam_logits.shape
    truth = (sample.probability[2::4, 2::4] > 127).cpu().numpy()
    sam = (sample.sam_logits > 0).detach().cpu().numpy()
    ys, xs = np.nonzero(_contour(truth) | _contour(sam))
    if not len(ys) or rng.random() < 1 / 6:
        return int(rng.integers(h - size + 1)), int(rng.integers(w - size + 1))
    pick = int(rng.integers(len(ys)))
    inner = rng.integers(size // 4, size - size // 4, 2)
    return int(ys[pick] - inner[0]), int(xs[pick] - inner[1])


def _contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Cells whose left or upper neighbour differs."""
    edge = np.zeros_like(mask)
    edge[1:] |= mask[1:] != mask[:-1]
    edge[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    return edge
