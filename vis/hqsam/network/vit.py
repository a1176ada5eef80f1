"""The plain ViT image encoder of SAM: vit_b, vit_l, vit_h (arXiv 2304.02643, after ViTDet 2203.16527).

Tokens travel as (B, H, W, C). Every block adds a decomposed relative position to its attention logits
(MViTv2, arXiv 2112.01526): ``q.k * scale + q.R_h + q.R_w`` with the *unscaled* q in the last two terms.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.blocks import GELU, MLP, from_windows, neck, to_windows
from vis.hqsam.network.sizes import Size

__all__ = ["ViT"]

_BIAS_BYTES = 256 * 2**20
"""Largest attention bias held at once: heads are taken in groups that stay below it."""


def relative_table(table: Tensor, side: int) -> Tensor:
    """(2 * side - 1, d) rows by offset to (side, side, d) rows by (query, key)."""
    at = torch.arange(side, device=table.device)
    return table[at[:, None] - at + side - 1]


class Attention(nn.Module):
    """Multi-head self-attention over an (H, W) map with decomposed relative position."""

    def __init__(self, width: int, heads: int, side: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, width // heads))
        self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, width // heads))

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape; H = W = the side given at construction."""
        batch, height, width, channels = x.shape
        n = height * width
        qkv = self.qkv(x).view(batch, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        rows = relative_table(self.rel_pos_h, height).to(q.dtype)
        columns = relative_table(self.rel_pos_w, width).to(q.dtype)
        group = max(1, _BIAS_BYTES // (batch * n * n * q.element_size()))
        parts = []
        for at in range(0, self.heads, group):
            part = slice(at, at + group)
            bias = position_bias(q[:, part], rows, columns)
            parts.append(F.scaled_dot_product_attention(q[:, part], k[:, part], v[:, part], bias))
        out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
        y: Tensor = self.proj(out.transpose(1, 2).reshape(batch, height, width, channels))
        return y


def position_bias(q: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """q (B, heads, H*W, d) with the tables (H, H, d) and (W, W, d) to a bias (B, heads, H*W, H*W)."""
    batch, heads, n, d = q.shape
    height, width = len(rows), len(columns)
    grid = q.reshape(batch, heads, height, width, d)
    by_row = grid @ rows.transpose(1, 2)
    by_column = (grid.transpose(2, 3) @ columns.transpose(1, 2)).transpose(2, 3).contiguous()
    return (by_row[..., :, None] + by_column[..., None, :]).view(batch, heads, n, n)


class Block(nn.Module):
    """Attention, in windows unless ``window`` is 0, and feed-forward; both normalised before."""

    def __init__(self, width: int, heads: int, window: int, grid: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, window or grid)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = MLP(width, 4 * width, GELU())

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) to the same shape."""
        y = self.norm1(x)
        x = x + (self._in_windows(y) if self.window else self.attn(y))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out

    def _in_windows(self, x: Tensor) -> Tensor:
        """Attention in windows. Padding comes *after* the LayerNorm as zeros, and takes part."""
        return from_windows(self.attn(to_windows(x, self.window)), self.window, x.shape[1:3])


class PatchEmbed(nn.Module):
    """Patches of 16x16 pixels to tokens."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 16, 16)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, S/16, S/16, width)."""
        y: Tensor = self.proj(x)
        return y.permute(0, 2, 3, 1)


class ViT(nn.Module):
    """Image encoder: (B, 3, S, S) normalised to the embedding (B, 256, S/16, S/16) and the early feature."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        width, heads = size.widths[0], size.heads[0]
        self.early_block = size.global_blocks[0]
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, size.grid, size.grid, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, 0 if i in size.global_blocks else size.windows[0], size.grid)
            for i in range(size.depths[0])
        )
        self.neck = neck(width)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (B, 256, g, g) and early feature (B, width, g, g), g = S/16, both channels first."""
        x = self.patch_embed(x) + self.pos_embed
        early = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.early_block:
                early = x
        return self.neck(x.permute(0, 3, 1, 2)), early.permute(0, 3, 1, 2)
