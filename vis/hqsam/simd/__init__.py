"""The project's own kernels for x86 processors: float32, compiled on the spot by llvmlite.

PyTorch's products leave half of a processor idle at the sizes of TinyViT: they are thin, and every step reads and
writes maps larger than the caches; attention with relative positions writes all of its logits to memory. Here a
layer's steps are joined while their numbers are in cache::

    code        a thin layer over LLVM: loops, vectors, GELU, exponential
    products    matrix products with bias, GELU and residual
    layers      norm, depthwise 3x3, inverted bottleneck, feed-forward, 3x3 convolution
    attention   attention within windows
    position_attention  that of plain ViTs, with relative positions
    library     all of it as machine code
    maps        the same on tensors, on several threads
    tiny_vit, vit, neck  the image encoders made of them; decoder: the mask decoder's maps

Sums are taken in a fixed order, row by row: a result depends on the processor, and on nothing else: not on
the number of threads, nor on what is computed beside it.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from vis.hqsam.simd.library import Library
from vis.hqsam.simd.maps import Maps

__all__ = ["Maps", "own_kernels"]


@functools.cache
def own_kernels() -> Maps | None:
    """The kernels, compiled on the first call; None where they cannot be had or do not compute right."""
    library = Library.for_this_processor()
    if library is None:
        return None
    maps = Maps(library)
    return maps if error_of(maps) <= 1e-5 else None


def error_of(maps: Maps) -> float:
    """Largest relative error of any layer against plain PyTorch, on noise of sizes that fit nowhere."""
    generator = torch.Generator().manual_seed(0)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    x, wide = noise(9, 10, 32), noise(9, 10, 64)
    weight, bias, back, back_bias = noise(64, 32) / 6, noise(64), noise(32, 64) / 8, noise(32)
    kernel, kernel_bias, deep = noise(64, 1, 3, 3), noise(64), noise(64, 32, 3, 3) / 17
    qkv, table = noise(96, 32) / 6, noise(1, 25, 25)
    norm, epsilon = (1 + noise(32) / 9, noise(32)), 1e-5
    stored = torch.cat([*norm, torch.tensor([epsilon])])
    mix = kernel[:, 0].permute(1, 2, 0).contiguous(), kernel_bias
    widen, narrow = maps.pack(weight, bias), maps.pack(back, back_bias)

    def normed(y: Tensor) -> Tensor:
        return F.layer_norm(y, (32,), *norm, epsilon)

    def convolved(y: Tensor, w: Tensor, b: Tensor | None, stride: int, groups: int) -> Tensor:
        return F.conv2d(y.permute(2, 0, 1), w, b, stride, 1, groups=groups).permute(1, 2, 0)

    def attended() -> Tensor:
        cells = F.pad(F.linear(normed(x), qkv), (0, 0, 0, 0, 0, 1)).view(2, 5, 2, 5, 96).transpose(1, 2)
        q, k, v = cells.reshape(4, 25, 3, 32).unbind(2)
        seen = F.scaled_dot_product_attention(q, k, v, table, scale=1.0)
        rows = seen.view(2, 2, 5, 5, 32).transpose(1, 2).reshape(10, 10, 32)[:9]
        return x + F.linear(rows, back[:, :32], back_bias)

    def attended_by_position() -> Tensor:
        q, k, v = wide_qkv.view(25, 3, 32).unbind(1)
        by_row = torch.einsum("yxc,ykc->yxk", q.view(5, 5, 32), by[0])
        by_column = torch.einsum("yxc,xkc->yxk", q.view(5, 5, 32), by[1])
        logits = (q @ k.T).view(5, 5, 5, 5) + by_row[..., None] + by_column[:, :, None]
        return (logits.view(25, 25).softmax(-1) @ v).view(5, 5, 32)

    by, wide_qkv = noise(2, 5, 5, 32) / 4, noise(5, 5, 96)
    tables = [maps.position_table(table) for table in by]
    few = noise(2, 4, 3, 32) / 6
    looked = torch.empty(90, 32)
    maps.attend_to_few(
        *(
            x.view(90, 32),
            wide[..., :32].reshape(90, 32).contiguous(),
            few[0],
            few[1, ..., 0],
            few[1],
            back_bias,
            stored,
            looked,
        )
    )
    shares = ((x + wide[..., :32]).view(90, 32) @ few[0].flatten(0, 1).T).view(90, 4, 3) + few[1, ..., 0]
    inverted = F.gelu(convolved(F.gelu(F.linear(x, weight, bias)), kernel, kernel_bias, 1, 64))
    pairs = (
        (maps.linear(x, widen, gelu=True, norm=None), F.gelu(F.linear(x, weight, bias))),
        (maps.linear(x, widen, add=wide), F.linear(x, weight, bias) + wide),
        (maps.linear(x, widen, norm=stored), F.linear(normed(x), weight, bias)),
        (
            maps.feed_forward(x.clone(), stored, widen, narrow),
            x + F.linear(F.gelu(F.linear(normed(x), weight, bias)), back, back_bias),
        ),
        (maps.norm_gelu(x, stored), F.gelu(normed(x))),
        (maps.bottleneck(x, widen, mix, narrow), F.gelu(x + F.linear(inverted, back, back_bias))),
        (maps.depthwise(wide, mix), convolved(wide, kernel, kernel_bias, 1, 64)),
        (
            maps.depthwise(wide[:8], mix, 2, gelu=True),
            F.gelu(convolved(wide[:8], kernel, kernel_bias, 2, 64)),
        ),
        (
            maps.convolution(F.pad(x, (0, 0, 1, 1, 1, 1)), maps.pack_3x3(deep, bias)),
            convolved(x, deep, bias, 1, 1),
        ),
        (
            maps.attend(
                x,
                stored,
                maps.pack(qkv, None),
                torch.zeros(96),
                maps.bias_table(table),
                maps.pack(back[:, :32], back_bias),
                5,
            )[..., :32],
            attended(),
        ),
        (
            looked,
            normed(x.view(90, 32) + back_bias + shares.softmax(-1).flatten(1) @ few[1].flatten(0, 1)),
        ),
        (
            maps.attend_by_position(wide_qkv, torch.zeros(96), *tables, window=5, heads=1),
            attended_by_position(),
        ),
    )
    return max(float((have - want).abs().max() / want.abs().max()) for have, want in pairs)
