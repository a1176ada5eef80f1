"""Small layers that several parts of the network share."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.sizes import DECODER_WIDTH

__all__ = ["GELU", "MLP", "Head", "LayerNorm2d", "from_windows", "gelu", "neck", "to_windows"]


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


def neck(width: int) -> nn.Sequential:
    """The end of either image encoder: (N, width, H, W) to the embedding (N, 256, H, W)."""
    return nn.Sequential(
        nn.Conv2d(width, DECODER_WIDTH, 1, bias=False),
        LayerNorm2d(DECODER_WIDTH),
        nn.Conv2d(DECODER_WIDTH, DECODER_WIDTH, 3, padding=1, bias=False),
        LayerNorm2d(DECODER_WIDTH),
    )


def to_windows(x: Tensor, window: int, padding: Tensor | None = None) -> Tensor:
    """Maps (B, H, W, C) cut into (B * down * across, window, window, C).

    What the last windows lack is filled with ``padding`` (C,), or else zeros, and takes part like the rest.
    """
    batch, height, width, channels = x.shape
    # Rounded up by adding: an exported network rounds quotients towards zero.
    down, across = (height + window - 1) // window, (width + window - 1) // window
    if padding is None:
        x = F.pad(x, (0, 0, 0, across * window - width, 0, down * window - height))
    elif (down * window, across * window) != (height, width):
        filled = padding.expand(batch, down * window, across * window, channels).contiguous()
        filled[:, :height, :width] = x
        x = filled
    cells = x.view(batch, down, window, across, window, channels).transpose(2, 3)
    return cells.reshape(-1, window, window, channels)


def from_windows(cells: Tensor, window: int, size: Sequence[int]) -> Tensor:
    """The maps (B, H, W, C) of ``size`` (H, W) that :func:`to_windows` cut, whatever their channels are now."""
    height, width = size
    down, across = (height + window - 1) // window, (width + window - 1) // window
    rows = cells.view(-1, down, across, window, window, cells.shape[-1]).transpose(2, 3)
    return rows.reshape(-1, down * window, across * window, cells.shape[-1])[:, :height, :width]


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
