"""Small layers that several parts of the network share."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["GELU", "MLP", "Head", "LayerNorm2d", "gelu"]


def gelu(x: Tensor) -> Tensor:
    """GELU of a tensor that nobody else needs: in inference mode it is overwritten.

    On a CPU, touching a new map for the first time costs more than the function.
    """
    if not torch.is_inference_mode_enabled():
        return F.gelu(x)
    out: Tensor = torch.ops.aten.gelu_(x)
    return out


class GELU(nn.Module):
    """:func:`gelu` as a layer."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, to the same."""
        return gelu(x)


class LayerNorm2d(nn.Module):
    """Layer normalisation over the channels of an (N, C, H, W) map, eps 1e-6."""

    def __init__(self, channels: int, eps: float = 1e-6) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape. Free of copies when ``x`` is channels_last."""
        rows = x.permute(0, 2, 3, 1)
        return F.layer_norm(rows, self.weight.shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


class MLP(nn.Module):
    """Two linear layers with one activation between: the transformer blocks' feed-forward part."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = activation

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to the same shape."""
        y: Tensor = self.lin2(self.act(self.lin1(x)))
        return y


class Head(nn.Module):
    """Three linear layers with ReLU between: the hyper-networks and the IoU head."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(width, width), nn.Linear(width, width), nn.Linear(width, out)])

    def forward(self, x: Tensor) -> Tensor:
        """(..., width) to (..., out)."""
        first, second, last = self.layers
        y: Tensor = last(F.relu(second(F.relu(first(x)))))
        return y
