"""TinyViT through the project's own kernels: the same function as :mod:`vis.hqsam.network.tiny_vit`, in float32.

As in :mod:`vis.hqsam.runtime.tiny_vit`, batch normalisation is folded into the convolutions and padded tokens are
not projected. A frame's numbers do not depend on the number of threads or on the frames beside it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from vis.hqsam.runtime.tiny_vit import FastBlock, FastMBConv, FastMerge, FastTinyViT, Weights
from vis.hqsam.simd.maps import Maps
from vis.hqsam.simd.neck import Neck, packed_norm

__all__ = ["SimdTinyViT"]


def _mix(weights: Weights) -> Weights:
    """Depthwise (C, 1, 3, 3) to (3, 3, C)."""
    return weights[0][:, 0].permute(1, 2, 0).contiguous(), weights[1].contiguous()


class Bottleneck:
    """:class:`vis.hqsam.network.tiny_vit.MBConv`."""

    def __init__(self, maps: Maps, block: FastMBConv) -> None:
        self.maps = maps
        self.widen, self.mix, self.narrow = maps.pack(*block.widen), _mix(block.mix), maps.pack(*block.narrow)

    def __call__(self, x: Tensor) -> Tensor:
        """(H, W, C) to the same shape."""
        return self.maps.bottleneck(x, self.widen, self.mix, self.narrow)


class Merge:
    """:class:`vis.hqsam.network.tiny_vit.Merge`."""

    def __init__(self, maps: Maps, merge: FastMerge) -> None:
        self.maps, self.stride = maps, merge.stride
        self.widen, self.mix, self.out = maps.pack(*merge.widen), _mix(merge.mix), maps.pack(*merge.out)

    def __call__(self, x: Tensor) -> Tensor:
        """(H, W, C) to (H / stride, W / stride, C')."""
        wide = self.maps.linear(x, self.widen, gelu=True, pitch=self.widen.outer + 16)
        return self.maps.linear(self.maps.depthwise(wide, self.mix, self.stride, gelu=True), self.out)


class Block:
    """:class:`vis.hqsam.network.tiny_vit.Block`."""

    def __init__(self, maps: Maps, block: FastBlock) -> None:
        self.maps, self.window = maps, block.window
        self.norm1, self.norm2 = packed_norm(block.norm1), packed_norm(block.norm2)
        self.qkv, self.proj, self.local = maps.pack(*block.qkv), maps.pack(*block.proj), _mix(block.local)
        self.widen, self.narrow = maps.pack(*block.widen), maps.pack(*block.narrow)
        self.padding, self.bias = block.padding.contiguous(), maps.bias_table(block.offset)

    def __call__(self, x: Tensor) -> Tensor:
        """(H, W, C) to the same shape."""
        maps = self.maps
        mixed = maps.attend(x, self.norm1, self.qkv, self.padding, self.bias, self.proj, self.window)
        mixed = maps.depthwise(mixed, self.local)
        return maps.feed_forward(mixed, self.norm2, self.widen, self.narrow)


class SimdTinyViT:
    """Made from a float32 :class:`FastTinyViT`, with weights packed anew."""

    def __init__(self, maps: Maps, fast: FastTinyViT) -> None:
        self.maps = maps
        self.embed = [maps.pack_3x3(*weights) for weights in fast.embed]
        makers: dict[type, Any] = {FastMBConv: Bottleneck, FastBlock: Block, FastMerge: Merge}
        self.stages = [[makers[type(part)](maps, part) for part in stage] for stage in fast.stages]
        self.neck = Neck(maps, fast.neck[0], fast.neck_norms[0], fast.neck[1], fast.neck_norms[1])

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, 3, S, S) normalised to embedding (B, g, g, 256) and early feature (B, g, g, 160)."""
        both = [self._one(frame) for frame in x]
        return torch.stack([one for one, _ in both]), torch.stack([early for _, early in both])

    def _one(self, frame: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.maps
        x = frame.new_zeros(frame.shape[1] + 2, frame.shape[2] + 2, 3)
        x[1:-1, 1:-1] = frame.permute(1, 2, 0)
        x = maps.convolution(x, self.embed[0], 2, gelu=True, border=True)
        x = maps.convolution(x, self.embed[1], 2)
        early = x
        for i, stage in enumerate(self.stages):
            for part in stage:
                x = part(x)
            if i == 1:
                early = x
        return self.neck(x), early
