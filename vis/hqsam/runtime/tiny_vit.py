"""TinyViT for inference: the same function as :mod:`vis.hqsam.network.tiny_vit`, arranged for speed.

What differs: batch normalisation is folded into the convolutions; 1x1 convolutions are matrix products
fused with their GELU; the first stage runs in strips that stay in cache; padded tokens are not projected
(they are all the same constant); and numbers are bfloat16 where that pays. Maps are (B, H, W, C).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from vis.hqsam.network.tiny_vit import Block, ConvBN, MBConv, Merge, TinyViT
from vis.hqsam.runtime.torch_ops import conv, depthwise, linear, linear_add

__all__ = ["FastTinyViT", "Norm"]

_STRIP = 32
"""Rows of the 256 x 256 stage at a time: 32 x 256 pixels x 256 channels are 4 MiB in bfloat16."""
_BAND = 2048
"""Tokens of an attention block at a time, about: what they widen to stays in cache."""
_WHOLE = 2**31


@dataclass(frozen=True, slots=True)
class Norm:
    """A LayerNorm's parameters."""

    weight: Tensor
    bias: Tensor
    eps: float

    @classmethod
    def of(cls, module: Any, dtype: torch.dtype) -> Norm:
        """From ``nn.LayerNorm`` or ``LayerNorm2d``."""
        return cls(module.weight.detach().to(dtype), module.bias.detach().to(dtype), module.eps)

    def __call__(self, x: Tensor) -> Tensor:
        """Over the last axis."""
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


Weights = tuple[Tensor, Tensor]


def fold(layer: ConvBN, dtype: torch.dtype) -> Weights:
    """Weight and bias of the convolution that does both; a 1x1 convolution as a matrix."""
    bn = layer.bn
    assert bn.running_var is not None
    assert bn.running_mean is not None
    scale = bn.weight / (bn.running_var + bn.eps).sqrt()
    weight = (layer.c.weight * scale[:, None, None, None]).detach()
    bias = (bn.bias - bn.running_mean * scale).detach().to(dtype)
    if weight.shape[2:] == (1, 1):
        return weight[:, :, 0, 0].to(dtype).contiguous(), bias
    return weight.to(dtype).contiguous(memory_format=torch.channels_last), bias


def plain(layer: Any, dtype: torch.dtype) -> Weights:
    """Weight and bias of ``nn.Linear``."""
    return layer.weight.detach().to(dtype), layer.bias.detach().to(dtype)


class FastMBConv:
    """:class:`vis.hqsam.network.tiny_vit.MBConv` in strips of rows; each needs one row above and below."""

    def __init__(self, block: MBConv, dtype: torch.dtype, strips: bool) -> None:
        self.strip = _STRIP if strips else _WHOLE
        self.widen, self.mix, self.narrow = (fold(c, dtype) for c in (block.conv1, block.conv2, block.conv3))

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        height = x.shape[1]
        out = torch.empty_like(x)
        for top in range(0, height, self.strip):
            bottom = min(top + self.strip, height)
            low, high = max(0, top - 1), min(bottom + 1, height)
            wide = linear(x[:, low:high], *self.widen, gelu=True)
            # Its own zero padding spoils the outermost row, which is the neighbour's, or the border's.
            wide = depthwise(wide, *self.mix, gelu=True)[:, top - low : bottom - low]
            out[:, top:bottom] = F.gelu(linear_add(wide, *self.narrow, x[:, top:bottom]))
        return out


class FastMerge:
    """:class:`vis.hqsam.network.tiny_vit.Merge`."""

    def __init__(self, merge: Merge, dtype: torch.dtype, strips: bool) -> None:
        del strips  # at most a quarter of the first stage's pixels
        self.widen, self.mix, self.out = (fold(c, dtype) for c in (merge.conv1, merge.conv2, merge.conv3))
        self.stride = merge.conv2.c.stride[0]

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H / stride, W / stride, C')."""
        x = linear(x, *self.widen, gelu=True)
        return linear(depthwise(x, *self.mix, self.stride, gelu=True), *self.out)


class FastBlock:
    """:class:`vis.hqsam.network.tiny_vit.Block`."""

    def __init__(self, block: Block, dtype: torch.dtype, strips: bool) -> None:
        self.band = _BAND if strips else _WHOLE
        attn, heads = block.attn, block.attn.heads
        self.window, self.heads = block.window, heads
        self.norm1, self.norm2 = Norm.of(attn.norm, dtype), Norm.of(block.mlp.norm, dtype)
        weight, bias = plain(attn.qkv, torch.float32)
        size = weight.shape[1] // heads
        scale = torch.ones(heads, 3, size)
        scale[:, 0] = size**-0.5  # the attention's scale, put into the queries
        scale = scale.flatten().to(weight.device)
        self.qkv = (weight * scale[:, None]).to(dtype), (bias * scale).to(dtype)
        # A padded token is zero before the norm, hence the norm's bias after it.
        self.padding = F.linear(attn.norm.bias.detach(), weight, bias).mul(scale).to(dtype)
        self.offset = attn.attention_biases.detach()[:, attn.index].to(dtype)
        self.proj = plain(attn.proj, dtype)
        self.local = fold(block.local_conv, dtype)
        self.widen, self.narrow = plain(block.mlp.fc1, dtype), plain(block.mlp.fc2, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        height = x.shape[1]
        mixed = torch.empty_like(x)
        rows = self.window * max(1, self.band // (self.window * x.shape[2]))
        for top in range(0, height, rows):
            band = slice(top, min(top + rows, height))
            attended = self._attend(linear(self.norm1(x[:, band]), *self.qkv))
            mixed[:, band] = linear_add(attended, *self.proj, x[:, band])
        x = depthwise(mixed, *self.local)
        for top in range(0, height, rows):
            band = slice(top, min(top + rows, height))
            wide = linear(self.norm2(x[:, band]), *self.widen, gelu=True)
            mixed[:, band] = linear_add(wide, *self.narrow, x[:, band])
        return mixed

    def _attend(self, qkv: Tensor) -> Tensor:
        """(B, H, W, heads * 3 * d) to (B, H, W, heads * d)."""
        batch, height, width, _ = qkv.shape
        w, heads = self.window, self.heads
        down, across = -(-height // w), -(-width // w)
        if (down * w, across * w) != (height, width):
            padded = self.padding.expand(batch, down * w, across * w, -1).contiguous()
            padded[:, :height, :width] = qkv
            qkv = padded
        cells = qkv.view(batch, down, w, across, w, heads, 3, -1).permute(6, 0, 1, 3, 5, 2, 4, 7)
        q, k, v = cells.reshape(3, batch * down * across * heads, w * w, -1).unbind(0)
        logits = torch.bmm(q, k.transpose(1, 2)).view(-1, heads, w * w, w * w).add_(self.offset)
        out = torch.bmm(logits.softmax(-1).view(-1, w * w, w * w), v)
        out = out.view(batch, down, across, heads, w, w, -1).permute(0, 1, 4, 2, 5, 3, 6)
        return out.reshape(batch, down * w, across * w, -1)[:, :height, :width]


class FastTinyViT:
    """Made from a :class:`TinyViT`; a copy of its weights in ``dtype``.

    ``strips`` takes some rows of a map at a time: for processors with caches, not for graphics processors.
    """

    def __init__(self, encoder: TinyViT, dtype: torch.dtype, *, strips: bool = True) -> None:
        self.dtype = dtype
        first, _, second = encoder.patch_embed.seq
        self.embed = fold(first, dtype), fold(second, dtype)  # type: ignore[arg-type]
        self.stages: list[list[Any]] = []
        makers: dict[type, Any] = {MBConv: FastMBConv, Block: FastBlock, Merge: FastMerge}
        for stage in encoder.layers:
            parts = [*stage.blocks, *([stage.downsample] if stage.downsample else [])]  # type: ignore[misc]
            self.stages.append([makers[type(part)](part, dtype, strips) for part in parts])
        narrow, norm1, mix, norm2 = encoder.neck
        self.neck = narrow.weight.detach()[:, :, 0, 0].to(dtype), mix.weight.detach().to(dtype)  # type: ignore[operator]
        self.neck_norms = Norm.of(norm1, dtype), Norm.of(norm2, dtype)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised to embedding (B, g, g, 256) and early feature (B, g, g, 160)."""
        x = x.permute(0, 2, 3, 1).to(self.dtype).contiguous()
        x = conv(conv(x, *self.embed[0], stride=2, gelu=True), *self.embed[1], stride=2)
        early = x
        for i, stage in enumerate(self.stages):
            for part in stage:
                x = part(x)
            if i == 1:
                early = x
        x = self.neck_norms[0](linear(x, self.neck[0], None))
        return self.neck_norms[1](conv(x, self.neck[1], None)), early
