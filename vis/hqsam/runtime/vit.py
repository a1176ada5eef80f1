"""The plain ViT for inference: the same function as :mod:`vis.hqsam.network.vit`, arranged for speed.

What differs: matrix products take bfloat16 where that pays, while the residual stream and the norms stay float32;
padded tokens are not projected (after the norm they are zero, so they are the bias); and attention never holds
the position bias of a whole image.

On a CPU attention runs head by head over slices of queries, with the slice's bias beside it. A GPU's fused
attention takes no such bias, but the bias here is a product itself: for the query at any place, ``q . R_h`` holds one
number per row of keys and ``q . R_w`` one per column. So they are put behind the query, and behind each key stand
ones at its own row and column:

    [q * scale, q . R_h, q . R_w] . [k, onehot(row), onehot(column)]  =  scale * q . k + bias
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from vis.hqsam.network.blocks import from_windows, gelu, to_windows
from vis.hqsam.network.vit import Block, ViT, relative_table
from vis.hqsam.runtime.torch_ops import Neck, Norm, Weights, linear_weights

__all__ = ["FastViT"]

_QUERIES = 512
"""Queries of a head at a time on a CPU: with 4096 keys their bias is 8 MiB in float32."""
_TOKENS = 1024
"""Tokens of the feed-forward part at a time on a CPU."""


class BlockWeights(NamedTuple):
    """One block's tensors. They are arguments, so that one compiled block serves all blocks of a kind."""

    norm1: tuple[Tensor, Tensor]
    qkv: Weights
    rows: Tensor
    """(side, d, side): from the query's row, its head, to the key's row."""
    columns: Tensor
    places: Tensor
    """(side * side, more): ones at each key's row and column, then zeros up to a multiple of eight."""
    proj: Weights
    norm2: tuple[Tensor, Tensor]
    widen: Weights
    narrow: Weights


def _block_weights(block: Block, grid: int, dtype: torch.dtype) -> BlockWeights:
    attn = block.attn
    side = block.window or grid
    norm1, norm2 = Norm.of(block.norm1, torch.float32), Norm.of(block.norm2, torch.float32)

    def table(values: Tensor) -> Tensor:
        return relative_table(values.detach(), side).transpose(1, 2).to(dtype).contiguous()

    one = torch.eye(side, device=attn.rel_pos_h.device, dtype=dtype)
    places = torch.cat([one.repeat_interleave(side, 0), one.repeat(side, 1)], dim=1)
    size = attn.rel_pos_h.shape[1]
    return BlockWeights(
        (norm1.weight, norm1.bias),
        linear_weights(attn.qkv, dtype),
        table(attn.rel_pos_h),
        table(attn.rel_pos_w),
        F.pad(places, (0, -(size + 2 * side) % 8)),
        linear_weights(attn.proj, dtype),
        (norm2.weight, norm2.bias),
        linear_weights(block.mlp.lin1, dtype),
        linear_weights(block.mlp.lin2, dtype),
    )


def run_block(x: Tensor, w: BlockWeights, heads: int, window: int) -> Tensor:
    """(B, H, W, C) float32 to the same; ``window`` 0 attends over the whole map."""
    dtype, width = w.qkv.weight.dtype, x.shape[-1]
    qkv = F.linear(F.layer_norm(x, (width,), *w.norm1, 1e-6).to(dtype), *w.qkv)
    x = x + F.linear(_in_windows(qkv, w, heads, window) if window else _attend(qkv, w, heads), *w.proj)
    rows = x.view(-1, width)
    for part in torch.split(rows, _TOKENS) if x.device.type == "cpu" else (rows,):
        wide = gelu(F.linear(F.layer_norm(part, (width,), *w.norm2, 1e-6).to(dtype), *w.widen))
        part += F.linear(wide, *w.narrow)
    return x


def _in_windows(qkv: Tensor, w: BlockWeights, heads: int, window: int) -> Tensor:
    """A padded token is zero after the norm, hence the bias after the projection."""
    cells = to_windows(qkv, window, w.qkv.bias)
    return from_windows(_attend(cells, w, heads), window, qkv.shape[1:3])


def _attend(qkv: Tensor, w: BlockWeights, heads: int) -> Tensor:
    """(B, H, W, 3 * C) to (B, H, W, C)."""
    batch, height, width, _ = qkv.shape
    q, k, v = qkv.view(batch, height, width, 3, heads, -1).permute(3, 0, 4, 1, 2, 5).unbind(0)
    attend = _head_by_head if qkv.device.type == "cpu" else _fused
    return attend(q, k.flatten(2, 3), v.flatten(2, 3), w).reshape(batch, height, width, -1)


def _head_by_head(q: Tensor, k: Tensor, v: Tensor, w: BlockWeights) -> Tensor:
    """q (B, heads, H, W, d), k and v (B, heads, H * W, d): (B, H, W, heads, d)."""
    batch, heads, height, width, size = q.shape
    out = q.new_empty(batch, height, width, heads, size)
    step = max(1, _QUERIES // width)
    for head in range(heads):
        for top in range(0, height, step):
            rows = slice(top, top + step)
            part = q[:, head, rows]
            by_row = part @ w.rows[rows]
            by_column = (part.transpose(1, 2) @ w.columns).transpose(1, 2)
            bias = (by_row[..., :, None] + by_column[..., None, :]).flatten(1, 2).flatten(2)
            seen = F.scaled_dot_product_attention(
                part.flatten(1, 2)[:, None], k[:, head, None], v[:, head, None], bias[:, None]
            )
            out[:, rows, :, head] = seen.view(part.shape)
    return out


def _fused(q: Tensor, k: Tensor, v: Tensor, w: BlockWeights) -> Tensor:
    """As :func:`_head_by_head`, by one kernel that nothing of the size of the attention matrix leaves."""
    batch, heads = q.shape[:2]
    by_row = q @ w.rows
    by_column = (q.transpose(2, 3) @ w.columns).transpose(2, 3)
    size, more = q.shape[-1], w.places.shape[1]
    spare = q.new_zeros(()).expand(*q.shape[:-1], more - by_row.shape[-1] - by_column.shape[-1])
    queries = torch.cat([q * size**-0.5, by_row, by_column, spare], dim=-1).flatten(2, 3)
    keys = torch.cat([k, w.places.expand(batch, heads, -1, -1)], dim=-1)
    out = F.scaled_dot_product_attention(queries, keys, F.pad(v, (0, more)), scale=1.0)[..., :size]
    return out.transpose(1, 2)


class FastViT:
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
        self.blocks = [
            (_block_weights(block, grid, dtype), block.attn.heads, block.window) for block in blocks
        ]
        self.neck = Neck(encoder.neck, dtype)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised to embedding (B, g, g, 256) float32 and early feature (B, g, g, C)."""
        x = (F.conv2d(x, *self.patch, stride=16).permute(0, 2, 3, 1) + self.position).contiguous()
        early = x
        for i, block in enumerate(self.blocks):
            x = self.run(x, *block)
            if i == self.early_block:
                early = x
        return self.neck(x), early.to(self.dtype)
