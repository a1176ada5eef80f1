"""What both encoders end with, and how norms are handed to the kernels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vis.hqsam.simd.maps import Maps

__all__ = ["Neck", "packed_norm"]


def packed_norm(norm: Any) -> Tensor:
    """Weight, bias and epsilon of a LayerNorm, one behind the other."""
    return torch.cat([norm.weight.detach(), norm.bias.detach(), torch.tensor([norm.eps])])


class Neck:
    """Narrow to 256 channels, norm, 3x3, norm."""

    def __init__(self, maps: Maps, narrow: Tensor, norm1: Any, mix: Tensor, norm2: Any) -> None:
        self.maps = maps
        self.narrow, self.mix = maps.pack(narrow, None), maps.pack_3x3(mix, None)
        self.norm1, self.norm2 = packed_norm(norm1), packed_norm(norm2)

    def __call__(self, x: Tensor) -> Tensor:
        """(H, W, C) to (H, W, 256)."""
        x = self.maps.linear(x, self.narrow)
        bordered = torch.zeros(x.shape[0] + 2, x.shape[1] + 2, x.shape[2])
        self.maps.norm(x, self.norm1, bordered[1:-1, 1:-1])
        x = self.maps.convolution(bordered, self.mix)
        return self.maps.norm(x, self.norm2, torch.empty_like(x))
