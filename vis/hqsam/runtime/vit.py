"""The plain ViT for graphics processors: the same function as :mod:`vis.hqsam.network.vit`, for fused attention.

A fused attention kernel takes no position bias, but the bias here is a product itself: for the query at any
place, ``q . R_h`` holds one number per row of keys and ``q . R_w`` one per column. So they are put behind the
query, and behind each key stand ones at its own row and column:

    [q * scale, q . R_h, q . R_w] . [k, onehot(row), onehot(column)]  =  scale * q . k + bias

Nothing of the size of the attention matrix is ever held. The residual stream and the norms stay float32.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vis.hqsam.network.vit import Block, ViT, relative_table
from vis.hqsam.runtime.tiny_vit import Norm

__all__ = ["FlashViT"]


class BlockWeights(NamedTuple):
    """One block's tensors. They are arguments, so that one compiled block serves all blocks of a kind."""

    norm1: tuple[Tensor, Tensor]
    qkv: tuple[Tensor, Tensor]
    rows: Tensor
    """(side, d, side): from the query's row, its head, to the key's row."""
    columns: Tensor
    places: Tensor
    """(side * side, more): ones at each key's row and column, then zeros up to a multiple of eight."""
    proj: tuple[Tensor, Tensor]
    norm2: tuple[Tensor, Tensor]
    widen: tuple[Tensor, Tensor]
    narrow: tuple[Tensor, Tensor]


def _weights(block: Block, grid: int, dtype: torch.dtype) -> BlockWeights:
    attn = block.attn
    side = block.window or grid

    def pair(layer: torch.nn.Module, kind: torch.dtype) -> tuple[Tensor, Tensor]:
        return layer.weight.detach().to(kind), layer.bias.detach().to(kind)  # type: ignore[operator]

    def table(values: Tensor) -> Tensor:
        return relative_table(values.detach(), side).transpose(1, 2).to(dtype).contiguous()

    one = torch.eye(side, device=attn.rel_pos_h.device, dtype=dtype)
    places = torch.cat([one.repeat_interleave(side, 0), one.repeat(side, 1)], dim=1)
    size = attn.rel_pos_h.shape[1]
    return BlockWeights(
        pair(block.norm1, torch.float32),
        pair(attn.qkv, dtype),
        table(attn.rel_pos_h),
        table(attn.rel_pos_w),
        F.pad(places, (0, -(size + 2 * side) % 8)),
        pair(attn.proj, dtype),
        pair(block.norm2, torch.float32),
        pair(block.mlp.lin1, dtype),
        pair(block.mlp.lin2, dtype),
    )


def run_block(x: Tensor, w: BlockWeights, heads: int, window: int) -> Tensor:
    """(B, H, W, C) float32 to the same; ``window`` 0 attends over the whole map."""
    dtype, width = w.qkv[0].dtype, x.shape[-1]
    qkv = F.linear(F.layer_norm(x, (width,), *w.norm1, 1e-6).to(dtype), *w.qkv)
    x = x + F.linear(_in_windows(qkv, w, heads, window) if window else _attend(qkv, w, heads), *w.proj)
    y = F.layer_norm(x, (width,), *w.norm2, 1e-6).to(dtype)
    return x + F.linear(F.gelu(F.linear(y, *w.widen)), *w.narrow)


def _in_windows(qkv: Tensor, w: BlockWeights, heads: int, window: int) -> Tensor:
    """A padded token is zero after the norm, hence the bias after the projection."""
    batch, height, width, channels = qkv.shape
    down, across = -(-height // window), -(-width // window)
    if (down * window, across * window) != (height, width):
        padded = w.qkv[1].expand(batch, down * window, across * window, channels).contiguous()
        padded[:, :height, :width] = qkv
        qkv = padded
    cells = qkv.view(batch, down, window, across, window, channels).transpose(2, 3)
    out = _attend(cells.reshape(-1, window, window, channels), w, heads)
    out = out.view(batch, down, across, window, window, -1).transpose(2, 3)
    return out.reshape(batch, down * window, across * window, -1)[:, :height, :width]


def _attend(qkv: Tensor, w: BlockWeights, heads: int) -> Tensor:
    """(B, H, W, 3 * C) to (B, H, W, C)."""
    batch, height, width, _ = qkv.shape
    q, k, v = qkv.view(batch, height, width, 3, heads, -1).permute(3, 0, 4, 1, 2, 5).unbind(0)
    by_row = q @ w.rows
    by_column = (q.transpose(2, 3) @ w.columns).transpose(2, 3)
    size, more = q.shape[-1], w.places.shape[1]
    spare = q.new_zeros(()).expand(*q.shape[:-1], more - by_row.shape[-1] - by_column.shape[-1])
    asked = torch.cat([q * size**-0.5, by_row, by_column, spare], dim=-1).flatten(2, 3)
    places = w.places.expand(batch, heads, -1, -1)
    known = torch.cat([k.flatten(2, 3), places], dim=-1)
    told = F.pad(v.flatten(2, 3), (0, more))
    out = F.scaled_dot_product_attention(asked, known, told, scale=1.0)[..., :size]
    return out.transpose(1, 2).reshape(batch, height, width, -1)


class FlashViT:
    """Made from a :class:`ViT`; a copy of its weights in ``dtype``.

    ``compiled`` hands the blocks to PyTorch's compiler: some seconds for the first frame of each batch size.
    """

    def __init__(self, encoder: ViT, dtype: torch.dtype, *, compiled: bool = False) -> None:
        self.dtype = dtype
        grid = encoder.pos_embed.shape[1]
        self.early_block = encoder.early_block
        self.run: Callable[[Tensor, BlockWeights, int, int], Tensor] = run_block
        if compiled:
            # One compiled block per width, kind and batch size: more than the compiler's usual eight.
            torch._dynamo.config.recompile_limit = max(64, torch._dynamo.config.recompile_limit)
            self.run = torch.compile(run_block, dynamic=False)
        self.patch = encoder.patch_embed.proj.weight.detach(), encoder.patch_embed.proj.bias
        self.position = encoder.pos_embed.detach()
        blocks: list[Block] = list(encoder.blocks)  # type: ignore[arg-type]
        self.blocks = [(_weights(block, grid, dtype), block.attn.heads, block.window) for block in blocks]
        narrow, norm1, mix, norm2 = encoder.neck
        self.narrow: Tensor = narrow.weight.detach()[:, :, 0, 0].to(dtype)  # type: ignore[operator]
        self.mix: Tensor = mix.weight.detach().to(dtype, memory_format=torch.channels_last)  # type: ignore[operator]
        self.norms = Norm.of(norm1, torch.float32), Norm.of(norm2, torch.float32)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised to embedding (B, g, g, 256) float32 and early feature (B, g, g, C)."""
        x = F.conv2d(x, *self.patch, stride=16).permute(0, 2, 3, 1) + self.position
        early = x
        for i, block in enumerate(self.blocks):
            x = self.run(x, *block)
            if i == self.early_block:
                early = x
        x = self.norms[0](F.linear(x.to(self.dtype), self.narrow).float()).to(self.dtype)
        x = F.conv2d(x.permute(0, 3, 1, 2), self.mix, padding=1).permute(0, 2, 3, 1)
        return self.norms[1](x.float()), early.to(self.dtype)
