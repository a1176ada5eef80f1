"""Layers as functions of maps (B, H, W, C), and their weights as plain tensors of a number type."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.blocks import LayerNorm2d

__all__ = ["Neck", "Norm", "Weights", "conv", "conv_weight", "linear_weights"]


class Weights(NamedTuple):
    """Of a linear layer or a convolution."""

    weight: Tensor
    bias: Tensor


@dataclass(frozen=True, slots=True)
class Norm:
    """A layer normalisation over the last axis."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, module: nn.LayerNorm | LayerNorm2d, dtype: torch.dtype) -> Norm:
        """The module's parameters in ``dtype``."""
        return cls(module.weight.detach().to(dtype), module.bias.detach().to(dtype), module.eps)

    def __call__(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def linear_weights(layer: nn.Linear, dtype: torch.dtype) -> Weights:
    """The layer's weight (out, in) and bias in ``dtype``."""
    return Weights(layer.weight.detach().to(dtype), layer.bias.detach().to(dtype))


def conv_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """A convolution's weight (out, in, h, w) in ``dtype``, laid out for :func:`conv`."""
    return weight.detach().to(dtype).contiguous(memory_format=torch.channels_last)


def conv(x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1, groups: int = 1) -> Tensor:
    """Convolution with zeros outside: (B, H, W, I) to (B, H / stride, W / stride, O)."""
    pad = weight.shape[-1] // 2
    y = F.conv2d(x.permute(0, 3, 1, 2), weight, bias, stride, pad, groups=groups)
    return y.permute(0, 2, 3, 1)


class Neck:
    """The end of either image encoder: 1x1 and 3x3 convolution, each with its norm. Norms are float32."""

    def __init__(self, layers: nn.Sequential, dtype: torch.dtype) -> None:
        narrow, norm1, mix, norm2 = layers
        assert isinstance(narrow, nn.Conv2d)
        assert isinstance(mix, nn.Conv2d)
        assert isinstance(norm1, LayerNorm2d)
        assert isinstance(norm2, LayerNorm2d)
        self.narrow = narrow.weight.detach()[:, :, 0, 0].to(dtype)
        self.mix = conv_weight(mix.weight, dtype)
        self.norms = Norm.of(norm1, torch.float32), Norm.of(norm2, torch.float32)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H, W, 256) float32."""
        dtype = self.narrow.dtype
        x = self.norms[0](F.linear(x.to(dtype), self.narrow).float())
        return self.norms[1](conv(x.to(dtype), self.mix, None).float())
