"""Point-sampled mask losses: weighted BCE + dice at points that are mostly near the predicted contour.

As in PointRend (arXiv 1912.08193) and the HQ-SAM recipe: three times too many random points, of which the
least certain are kept, filled up with plain random ones. Knows tensors only.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

__all__ = ["mask_loss", "sample_points", "sample_values"]

_OVERSAMPLE = 3
_IMPORTANCE = 0.75
"""Share of the points that are the least certain ones of _OVERSAMPLE times as many."""


@torch.no_grad()
def sample_points(logits: Tensor, count: int, *, generator: torch.Generator) -> Tensor:
    """Where to look: (B, count, 2) x, y in [0, 1] on maps (B, 1, h, w) of logits."""
    batch, where = len(logits), generator.device
    many = torch.rand(batch, count * _OVERSAMPLE, 2, generator=generator, device=where).to(logits.device)
    uncertain = int(count * _IMPORTANCE)
    doubt = -sample_values(logits.float(), many).abs()
    chosen = doubt.topk(uncertain, dim=1).indices
    near = torch.gather(many, 1, chosen[..., None].expand(-1, -1, 2))
    anywhere = torch.rand(batch, count - uncertain, 2, generator=generator, device=where)
    anywhere = anywhere.to(logits.device)
    return torch.cat([near, anywhere], dim=1)


def sample_values(maps: Tensor, points: Tensor) -> Tensor:
    """Bilinear values (B, P) of maps (B, 1, h, w) at points (B, P, 2) x, y in [0, 1]."""
    grid = 2 * points[:, None] - 1
    values = F.grid_sample(maps, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return values[:, 0, 0]


def mask_loss(logits: Tensor, truth: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """(BCE, dice), each a mean over B, of logits (B, P) against truth (B, P) in [0, 1].

    ``weight`` (B, P) in [0, 1] says how much each point counts in both. The dice term is
    1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1), as in the MaskFormer family.
    """
    bce = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    bce = (bce * weight).sum(1) / weight.sum(1).clamp(min=1)
    p = logits.sigmoid() * weight
    t = truth * weight
    dice = 1 - (2 * (p * truth).sum(1) + 1) / (p.sum(1) + t.sum(1) + 1)
    return bce.mean(), dice.mean()
