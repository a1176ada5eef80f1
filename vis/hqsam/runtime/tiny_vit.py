"""TinyViT for inference: the same function as :mod:`vis.hqsam.network.tiny_vit`, arranged for speed.

What differs: batch normalisation is folded into the convolutions; 1x1 convolutions are matrix products; wide
maps are made some rows at a time, so that they stay in a CPU's cache; padded tokens are not projected (they are
all the same constant); and numbers are bfloat16 where that pays. Maps are (B, H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.blocks import from_windows, gelu, to_windows
from vis.hqsam.network.tiny_vit import Block, ConvBN, MBConv, Merge, Stage, TinyViT
from vis.hqsam.runtime.torch_ops import Neck, Norm, Weights, conv, conv_weight, linear_weights

__all__ = ["FastTinyViT"]

_STRIP = 16
"""Rows of the 256 x 256 stage at a time: 16 x 256 pixels x 256 channels are 4 MiB in float32."""
_TOKENS = 2048
"""Tokens of an attention block at a time, about."""
_STRIDE = 16
"""Pixels along a side of a cell of the embedding."""
_MARGIN = 4
"""Cells of padding beside the picture that are computed where the others are not."""


def _fold(layer: ConvBN, dtype: torch.dtype) -> Weights:
    """The convolution that also does the batch normalisation; a 1x1 convolution as a matrix (out, in)."""
    weight, bias = (tensor.detach() for tensor in layer.folded())
    if weight.shape[2:] == (1, 1):
        return Weights(weight[:, :, 0, 0].to(dtype).contiguous(), bias.to(dtype))
    return Weights(conv_weight(weight, dtype), bias.to(dtype))


def _parts(height: int, rows: int) -> Iterator[slice]:
    """The rows of a map, so many at a time; 0 is all of them."""
    step = rows or height
    yield from (slice(top, min(top + step, height)) for top in range(0, height, step))


class FastMBConv:
    """:class:`vis.hqsam.network.tiny_vit.MBConv`; a strip of rows needs one row above and below."""

    def __init__(self, block: MBConv, dtype: torch.dtype, in_strips: bool) -> None:
        self.strip = _STRIP if in_strips else 0
        self.widen, self.mix, self.narrow = (_fold(c, dtype) for c in (block.conv1, block.conv2, block.conv3))

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        height = x.shape[1]
        out = torch.empty_like(x)
        for rows in _parts(height, self.strip):
            low, high = max(0, rows.start - 1), min(rows.stop + 1, height)
            wide = gelu(F.linear(x[:, low:high], *self.widen))
            wide = gelu(conv(wide, *self.mix, groups=wide.shape[-1]))
            # Its own zero padding spoils the outermost row, which is the neighbour's, or the border's.
            inner = wide[:, rows.start - low : rows.stop - low]
            out[:, rows] = gelu(F.linear(inner, *self.narrow).add_(x[:, rows]))
        return out


class FastMerge:
    """:class:`vis.hqsam.network.tiny_vit.Merge`."""

    def __init__(self, merge: Merge, dtype: torch.dtype) -> None:
        self.widen, self.mix, self.out = (_fold(c, dtype) for c in (merge.conv1, merge.conv2, merge.conv3))
        self.stride = merge.conv2.c.stride[0]

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to (B, H / stride, W / stride, C')."""
        x = gelu(F.linear(x, *self.widen))
        x = gelu(conv(x, *self.mix, stride=self.stride, groups=x.shape[-1]))
        return F.linear(x, *self.out)


class FastBlock:
    """:class:`vis.hqsam.network.tiny_vit.Block`."""

    def __init__(self, block: Block, dtype: torch.dtype, in_strips: bool) -> None:
        attn = block.attn
        self.tokens = _TOKENS if in_strips else 0
        self.window, self.heads = block.window, attn.heads
        self.norm1, self.norm2 = Norm.of(attn.norm, dtype), Norm.of(block.mlp.norm, dtype)
        self.qkv, self.proj = linear_weights(attn.qkv, dtype), linear_weights(attn.proj, dtype)
        # A padded token is zero before the norm, hence the norm's bias after it.
        self.padding = attn.qkv(attn.norm.bias).detach().to(dtype)
        self.offset = attn.attention_biases.detach()[None, :, attn.index].to(dtype)
        self.local = _fold(block.local_conv, dtype)
        self.widen, self.narrow = linear_weights(block.mlp.fc1, dtype), linear_weights(block.mlp.fc2, dtype)

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        height, width = x.shape[1:3]
        band = self.tokens and self.window * max(1, self.tokens // (self.window * width))
        attended = torch.empty_like(x)
        for rows in _parts(height, band):
            seen = self._attend(F.linear(self.norm1(x[:, rows]), *self.qkv))
            attended[:, rows] = F.linear(seen, *self.proj).add_(x[:, rows])
        out = conv(attended, *self.local, groups=x.shape[-1])
        for rows in _parts(height, band):
            wide = gelu(F.linear(self.norm2(out[:, rows]), *self.widen))
            out[:, rows] += F.linear(wide, *self.narrow)
        return out

    def _attend(self, qkv: Tensor) -> Tensor:
        """(B, H, W, heads * 3 * d) to (B, H, W, heads * d)."""
        cells = to_windows(qkv, self.window, self.padding).flatten(1, 2)
        q, k, v = cells.view(*cells.shape[:2], self.heads, 3, -1).unbind(3)
        out = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), self.offset
        )
        return from_windows(out.transpose(1, 2).flatten(2), self.window, qkv.shape[1:3])


Part = Callable[[Tensor], Tensor]


class FastTinyViT:
    """Made from a :class:`TinyViT`; a copy of its weights in ``dtype``.

    ``in_strips`` takes some rows of a map at a time, which suits a CPU's caches and starves a GPU.
    """

    def __init__(self, encoder: TinyViT, dtype: torch.dtype, *, in_strips: bool) -> None:
        self.dtype, self._in_strips = dtype, in_strips
        first, _, second = encoder.patch_embed.seq
        assert isinstance(first, ConvBN)
        assert isinstance(second, ConvBN)
        self.embed = _fold(first, dtype), _fold(second, dtype)
        self.stages = [self._stage(stage) for stage in encoder.layers]
        self.neck = Neck(encoder.neck, dtype)
        self._padding: tuple[Tensor, Tensor] | None = None
        """What a frame of nothing but padding gives."""

    def _stage(self, stage: nn.Module) -> list[Part]:
        assert isinstance(stage, Stage)
        merge = [] if stage.downsample is None else [stage.downsample]
        return [self._part(module) for module in (*stage.blocks, *merge)]

    def _part(self, module: nn.Module) -> Part:
        if isinstance(module, MBConv):
            return FastMBConv(module, self.dtype, self._in_strips)
        if isinstance(module, Block):
            return FastBlock(module, self.dtype, self._in_strips)
        assert isinstance(module, Merge)
        return FastMerge(module, self.dtype)

    def __call__(self, x: Tensor, picture: tuple[int, int] | None = None) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised to embedding (B, g, g, 256) float32 and early feature (B, g, g, 160).

        ``picture``: (height, width) of the pixels that are no padding. Cells of the padding, but for those beside the
        picture, then hold what padding alone gives, which is computed once. It is an approximation: through windows
        and convolutions a little of the picture reaches them, and they it. None computes everything.
        """
        grid = x.shape[-1] // _STRIDE
        rows, columns = (
            min(grid, -(-side // _STRIDE) + _MARGIN) for side in (picture or (x.shape[-2], x.shape[-1]))
        )
        if rows == columns == grid:
            return self._encode(x)
        if self._padding is None:
            self._padding = self._encode(torch.zeros_like(x[:1]))
        embedding, early = (cells.repeat(len(x), 1, 1, 1) for cells in self._padding)
        near = self._encode(x[..., : _STRIDE * rows, : _STRIDE * columns])
        embedding[:, :rows, :columns], early[:, :rows, :columns] = near
        return embedding, early

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = x.permute(0, 2, 3, 1).to(self.dtype).contiguous()
        x = conv(gelu(conv(x, *self.embed[0], stride=2)), *self.embed[1], stride=2)
        early = x
        for i, stage in enumerate(self.stages):
            for part in stage:
                x = part(x)
            if i == 1:
                early = x
        return self.neck(x), early
