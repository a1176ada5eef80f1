"""The plain ViT through the project's own kernels: the same function as :mod:`vis.hqsam.network.vit`, in float32.

As in :mod:`vis.hqsam.runtime.cpu_vit`, padded tokens are not projected (after the norm they are zero, so they are the
bias). A frame's numbers do not depend on the number of threads or on the frames beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vis.hqsam.network.vit import Block, ViT, relative_table
from vis.hqsam.simd.maps import Maps
from vis.hqsam.simd.neck import Neck, packed_norm

__all__ = ["SimdViT"]


class SimdBlock:
    """:class:`vis.hqsam.network.vit.Block`."""

    def __init__(self, maps: Maps, block: Block, grid: int) -> None:
        attn = block.attn
        self.maps, self.heads, self.window = maps, attn.heads, block.window or grid
        self.norm1, self.norm2 = packed_norm(block.norm1), packed_norm(block.norm2)
        weight, self.padding = attn.qkv.weight.detach().clone(), attn.qkv.bias.detach().clone()
        width = weight.shape[1]
        for part in (weight, self.padding):  # the logits' scale, put into the keys
            part[width : 2 * width] *= (width // attn.heads) ** -0.5
        self.qkv, self.proj = maps.pack(weight, self.padding), _packed(maps, attn.proj)
        self.widen, self.narrow = _packed(maps, block.mlp.lin1), _packed(maps, block.mlp.lin2)
        self.by_row = maps.position_table(relative_table(attn.rel_pos_h.detach(), self.window))
        self.by_column = maps.position_table(relative_table(attn.rel_pos_w.detach(), self.window))

    def __call__(self, x: Tensor) -> Tensor:
        """(H, W, C) to the same shape."""
        maps = self.maps
        qkv = maps.linear(x, self.qkv, norm=self.norm1)
        seen = maps.attend_by_position(
            qkv, self.padding, self.by_row, self.by_column, window=self.window, heads=self.heads
        )
        return maps.feed_forward(maps.linear(seen, self.proj, add=x), self.norm2, self.widen, self.narrow)


def _packed(maps: Maps, layer: Any) -> Any:
    return maps.pack(layer.weight.detach(), layer.bias.detach())


class SimdViT:
    """Made from a :class:`ViT`; a copy of its weights."""

    def __init__(self, maps: Maps, encoder: ViT) -> None:
        self.maps, self.early_block = maps, encoder.early_block
        patch = encoder.patch_embed.proj
        assert patch.bias is not None
        self.patch = maps.pack(patch.weight.detach().flatten(1), patch.bias.detach())
        self.position = encoder.pos_embed.detach()[0].contiguous()
        grid = len(self.position)
        self.blocks = [SimdBlock(maps, block, grid) for block in encoder.blocks]  # type: ignore[arg-type]
        narrow, norm1, mix, norm2 = encoder.neck
        weights = narrow.weight.detach()[:, :, 0, 0], mix.weight.detach()  # type: ignore[operator]
        self.neck = Neck(maps, weights[0], norm1, weights[1], norm2)

    @staticmethod
    def fits(maps: Maps, encoder: ViT) -> bool:
        """Whether widths and heads are whole panels."""
        first: Any = encoder.blocks[0]
        width = encoder.pos_embed.shape[-1]
        return maps.fits(width, width // first.attn.heads)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised to embedding (B, g, g, 256) and early feature (B, g, g, C)."""
        both = [self._one(frame) for frame in x]
        return torch.stack([one for one, _ in both]), torch.stack([early for _, early in both])

    def _one(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        grid = len(self.position)
        patches = frame.unflatten(2, (grid, 16)).unflatten(1, (grid, 16)).permute(1, 3, 0, 2, 4)  # type: ignore[no-untyped-call]
        x = self.maps.linear(patches.reshape(grid, grid, -1), self.patch, add=self.position)
        early = x
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i == self.early_block:
                early = x
        return self.neck(x), early
