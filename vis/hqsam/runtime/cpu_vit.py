"""The plain ViT for inference: the same function as :mod:`vis.hqsam.network.vit`, arranged for speed.

What differs: matrix products take bfloat16 where that pays, while the residual stream and the norms stay
float32; GELU and bias are fused into the products; padded tokens are not projected (after the norm they are
zero, so they are the bias); and attention runs over slices of queries, so that the position bias is
never held for a whole image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vis.hqsam.network.vit import Block, ViT, relative_table
from vis.hqsam.runtime.tiny_vit import Norm, plain
from vis.hqsam.runtime.torch_ops import conv, linear

__all__ = ["FastViT"]

_QUERIES = 256
"""Queries of a global block at a time; the logits of 12 heads are then 12 x 256 x 4096 numbers."""


class FastViTBlock:
    """:class:`vis.hqsam.network.vit.Block`."""

    def __init__(self, block: Block, grid: int, dtype: torch.dtype) -> None:
        attn = block.attn
        self.window, self.heads, self.dtype = block.window, attn.heads, dtype
        self.norm1, self.norm2 = Norm.of(block.norm1, torch.float32), Norm.of(block.norm2, torch.float32)
        self.qkv, self.proj = plain(attn.qkv, dtype), plain(attn.proj, dtype)
        self.widen, self.narrow = plain(block.mlp.lin1, dtype), plain(block.mlp.lin2, dtype)
        side = block.window or grid
        self.rows = relative_table(attn.rel_pos_h.detach(), side).transpose(1, 2).to(dtype).contiguous()
        self.columns = relative_table(attn.rel_pos_w.detach(), side).transpose(1, 2).to(dtype).contiguous()

    def __call__(self, x: Tensor) -> Tensor:
        """(B, H, W, C) float32 to the same; changes ``x`` in place."""
        qkv = linear(self.norm1(x).to(self.dtype), *self.qkv)
        x += linear(self._in_windows(qkv) if self.window else self._attend(qkv), *self.proj)
        for part in torch.split(x.view(-1, x.shape[-1]), 1024):
            part += linear(linear(self.norm2(part).to(self.dtype), *self.widen, gelu=True), *self.narrow)
        return x

    def _in_windows(self, qkv: Tensor) -> Tensor:
        batch, height, width, channels = qkv.shape
        w = self.window
        down, across = -(-height // w), -(-width // w)
        padded = self.qkv[1].expand(batch, down * w, across * w, channels).contiguous()
        padded[:, :height, :width] = qkv
        cells = padded.view(batch, down, w, across, w, channels).transpose(2, 3)
        out = self._attend(cells.reshape(-1, w, w, channels))
        out = out.view(batch, down, across, w, w, -1).transpose(2, 3)
        return out.reshape(batch, down * w, across * w, -1)[:, :height, :width]

    def _attend(self, qkv: Tensor) -> Tensor:
        """(B, H, W, 3 * C) to (B, H, W, C): rows of queries at a time against all keys."""
        batch, height, width, _ = qkv.shape
        parts = qkv.view(batch, height, width, 3, self.heads, -1).permute(3, 0, 4, 1, 2, 5)
        q, k, v = parts.unbind(0)
        k, v = k.flatten(2, 3), v.flatten(2, 3)
        step = max(1, _QUERIES // width)
        out = [self._attend_rows(q[:, :, top : top + step], k, v, top) for top in range(0, height, step)]
        rows = out[0] if len(out) == 1 else torch.cat(out, dim=2)
        return rows.transpose(1, 2).reshape(batch, height, width, -1)

    def _attend_rows(self, q: Tensor, k: Tensor, v: Tensor, top: int) -> Tensor:
        """q (B, heads, h, W, d), rows ``top`` and below; k and v (B, heads, H*W, d): (B, heads, h*W, d)."""
        batch, heads, height, width, _ = q.shape
        by_row = q @ self.rows[top : top + height]
        by_column = (q.transpose(2, 3) @ self.columns).transpose(2, 3)
        logits = torch.matmul(q.flatten(2, 3) * q.shape[-1] ** -0.5, k.transpose(2, 3))
        grid = logits.view(batch, heads, height, width, self.columns.shape[2], -1)
        grid += by_row[..., :, None]
        grid += by_column[..., None, :]
        return logits.softmax(-1) @ v


class FastViT:
    """Made from a :class:`ViT`; a copy of its weights in ``dtype``."""

    def __init__(self, encoder: ViT, dtype: torch.dtype) -> None:
        self.dtype = dtype
        self.encoder = encoder
        grid = encoder.pos_embed.shape[1]
        self.blocks = [FastViTBlock(block, grid, dtype) for block in encoder.blocks]  # type: ignore[arg-type]
        narrow, norm1, mix, norm2 = encoder.neck
        self.neck = narrow.weight.detach()[:, :, 0, 0].to(dtype), mix.weight.detach().to(dtype)  # type: ignore[operator]
        self.neck_norms = Norm.of(norm1, dtype), Norm.of(norm2, dtype)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised to embedding (B, g, g, 256) and early feature (B, g, g, C)."""
        x = (self.encoder.patch_embed(x) + self.encoder.pos_embed).contiguous()
        early = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.encoder.early_block:
                early = x.to(self.dtype, copy=True)
        x = self.neck_norms[0](linear(x.to(self.dtype), self.neck[0], None))
        return self.neck_norms[1](conv(x, self.neck[1], None)), early
