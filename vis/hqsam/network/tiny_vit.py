"""TinyViT, the image encoder of MobileSAM and of Light HQ-SAM (arXiv 2207.10666, 2306.14289).

Feature maps travel as (B, C, H, W) tensors in channels_last memory order, so that the convolutions and
the (B, H, W, C) view of the attention blocks share them without a copy.

Attention biases are gathered at run time: there is no cached table that ``eval()`` or
``load_state_dict`` could leave stale.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.blocks import GELU, from_windows, gelu, neck, to_windows
from vis.hqsam.network.sizes import Size

__all__ = ["TinyViT"]


class ConvBN(nn.Module):
    """A convolution without bias (``c``) and its batch normalisation (``bn``, eps 1e-5)."""

    def __init__(self, inp: int, out: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inp, out, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inp, H, W) to (B, out, H / stride, W / stride)."""
        if self.training:
            y: Tensor = self.bn(self.c(x))
            return y
        conv = self.c
        return F.conv2d(x, *self.folded(), conv.stride, conv.padding, groups=conv.groups)

    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight (out, inp / groups, kernel, kernel) and bias (out,) of the convolution that is both in evaluation."""
        bn = self.bn
        assert bn.running_mean is not None
        assert bn.running_var is not None
        scale = bn.weight / (bn.running_var + bn.eps).sqrt()
        return self.c.weight * scale[:, None, None, None], bn.bias - bn.running_mean * scale


class MBConv(nn.Module):
    """Inverted bottleneck: widen four times, depthwise 3x3, narrow, add the input, GELU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(width, 4 * width)
        self.conv2 = ConvBN(4 * width, 4 * width, 3, groups=4 * width)
        self.conv3 = ConvBN(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        y = gelu(self.conv1(x))
        y = gelu(self.conv2(y))
        return gelu(self.conv3(y) + x)


class Merge(nn.Module):
    """Downsampling between stages. The step to 320 channels keeps the resolution (stride 1)."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.conv1 = ConvBN(inp, out)
        self.conv2 = ConvBN(out, out, 3, stride=1 if out == 320 else 2, groups=out)
        self.conv3 = ConvBN(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inp, H, W) to (B, out, H / stride, W / stride)."""
        y: Tensor = self.conv3(gelu(self.conv2(gelu(self.conv1(x)))))
        return y


def bias_index(window: int) -> Tensor:
    """int64 (n, n) for n = window**2: the bias column of each token pair, ``|dy| * window + |dx|``."""
    y, x = torch.meshgrid(torch.arange(window), torch.arange(window), indexing="ij")
    y, x = y.flatten(), x.flatten()
    return (y[:, None] - y).abs() * window + (x[:, None] - x).abs()


class WindowAttention(nn.Module):
    """Self-attention within a window, with one learned bias per head and absolute offset."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))
        self.register_buffer("index", bias_index(window), persistent=False)
        self.index: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """(windows, n, C) to the same shape."""
        count, n, width = x.shape
        # The layout is per head: (heads, q k v, head size), unlike the plain ViT's (q k v, heads, ...).
        qkv = self.qkv(self.norm(x)).view(count, n, self.heads, -1).transpose(1, 2)
        q, k, v = qkv.chunk(3, dim=-1)
        out = F.scaled_dot_product_attention(q, k, v, self.attention_biases[:, self.index][None])
        y: Tensor = self.proj(out.transpose(1, 2).reshape(count, n, width))
        return y


class FeedForward(nn.Module):
    """LayerNorm, widen four times, GELU, narrow."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) to the same shape."""
        y: Tensor = self.fc2(gelu(self.fc1(self.norm(x))))
        return y


class Block(nn.Module):
    """Windowed attention with residual; depthwise 3x3 without; feed-forward with residual."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(width, heads, window)
        self.local_conv = ConvBN(width, width, 3, groups=width)
        self.mlp = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same shape."""
        rows = x.permute(0, 2, 3, 1)
        rows = rows + self._attend(rows)
        mixed: Tensor = self.local_conv(rows.permute(0, 3, 1, 2))
        rows = mixed.permute(0, 2, 3, 1)
        rows = rows + self.mlp(rows)
        out: Tensor = rows.permute(0, 3, 1, 2)
        return out

    def _attend(self, rows: Tensor) -> Tensor:
        """Attention in windows. Padding is zero *before* the LayerNorm, and takes part."""
        cells = to_windows(rows, self.window).flatten(1, 2)
        return from_windows(self.attn(cells), self.window, rows.shape[1:3])


class Stage(nn.Module):
    """Blocks of one resolution, and the step to the next one where there is one."""

    def __init__(self, blocks: list[nn.Module], downsample: Merge | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', H', W')."""
        for block in self.blocks:
            x = block(x)
        if self.downsample is not None:
            x = self.downsample(x)
        return x


class PatchEmbed(nn.Module):
    """Two strided 3x3 convolutions: a quarter of the resolution."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvBN(3, width // 2, 3, 2), GELU(), ConvBN(width // 2, width, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, width, H / 4, W / 4)."""
        y: Tensor = self.seq(x)
        return y


class TinyViT(nn.Module):
    """Image encoder: (B, 3, S, S) normalised to the embedding (B, 256, S/16, S/16) and the early feature.

    ``norm_head`` and ``head`` classify ImageNet; they are kept only because the checkpoints hold them.
    """

    def __init__(self, size: Size) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(size.widths[0])
        self.layers = nn.ModuleList()
        steps = zip(size.widths, size.depths, size.heads, size.windows, strict=True)
        for i, (width, depth, heads, window) in enumerate(steps):
            last = i == len(size.widths) - 1
            blocks: list[nn.Module] = [
                MBConv(width) if i == 0 else Block(width, heads, window) for _ in range(depth)
            ]
            self.layers.append(Stage(blocks, None if last else Merge(width, size.widths[i + 1])))
        self.norm_head = nn.LayerNorm(size.widths[-1])
        self.head = nn.Linear(size.widths[-1], 1000)
        self.neck = neck(size.widths[-1])

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, 256, g, g) and early feature (B, 160, g, g), g = S/16, both channels first."""
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        x = self.layers[0](x)
        early = x = self.layers[1](x)
        for stage in self.layers[2:]:
            x = stage(x)
        return self.neck(x), early
