"""The mask decoder's maps through the project's own kernels: the image's look at the tokens, upscaling, and the
HQ branch's first convolution.

Stand-ins for what :mod:`vis.hqsam.runtime.mask_decoder` does with PyTorch's operators, in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from vis.hqsam.simd.maps import Maps, empty
from vis.hqsam.simd.neck import packed_norm

if TYPE_CHECKING:
    from vis.hqsam.runtime.mask_decoder import ImageLooks, Mix, Upscale
    from vis.hqsam.runtime.tiny_vit import Norm

__all__ = ["SimdLook", "SimdMix", "SimdUpscale"]


class SimdUpscale:
    """Two 2x2 transposed convolutions as matrix products, with norm and GELU between them."""

    def __init__(self, maps: Maps, fast: Upscale) -> None:
        self.maps, self.gelu, self.norm = maps, fast.gelu, packed_norm(fast.norm)
        self.first, self.second = maps.pack(*fast.first), maps.pack(*fast.second)
        hidden, out = self.first.outer // 4, self.second.outer // 4
        self.last_quarter = maps.pack(*(x[-hidden:] for x in fast.first))
        self.first_quarter = maps.pack(*(x[:out] for x in fast.second))

    def sample(self, x: Tensor) -> Tensor:
        """(..., C) to (..., 32): of each cell's 4 x 4 pixels the one below and right of its centre."""
        y = self.maps.linear(x.contiguous(), self.last_quarter)
        return self.maps.linear(self.maps.norm_gelu(y, self.norm), self.first_quarter, gelu=self.gelu)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to (N, 4H, 4W, 32)."""
        count, height, width, _ = x.shape
        y = self.maps.linear(x.contiguous(), self.first).view(count, height, width, 2, 2, -1)
        y = self.maps.linear(self.maps.norm_gelu(y, self.norm), self.second, gelu=self.gelu)
        y = y.view(count, height, width, 2, 2, 2, 2, -1)  # y, x, dy, dx, then the finer dy, dx
        out = empty(count, height, 2, 2, width, 2, 2, y.shape[-1])
        out.copy_(y.permute(0, 1, 3, 5, 2, 4, 6, 7))
        return out.view(count, 4 * height, 4 * width, -1)


class SimdLook:
    """What the image learns of the tokens, added to it and normalised: the end of a transformer's layer."""

    def __init__(self, maps: Maps, look: ImageLooks, norm: Norm) -> None:
        self.maps, self.look, self.norm = maps, look, packed_norm(norm)

    def __call__(self, image: Tensor, position: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Image (N or 1, P, 256), its position (1, P, 256), tokens (N, T, 256): the image (N, P, 256)."""
        asked, offset, given = self.look.folded(keys, values)
        out = empty(len(keys), *image.shape[1:])
        for i in range(len(keys)):
            self.maps.attend_to_few(
                image[min(i, len(image) - 1)],
                position[0],
                asked[i],
                offset[i],
                given[i],
                self.look.attention.out_proj.bias.detach(),
                self.norm,
                out[i],
            )
        return out


class SimdMix:
    """3x3 convolution, norm, GELU."""

    def __init__(self, maps: Maps, fast: Mix) -> None:
        self.maps, self.norm = maps, packed_norm(fast.norm)
        self.weights = maps.pack_3x3(fast.weight, fast.bias)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, H, W, 32) to (N, H, W, 64)."""
        _, height, width, channels = x.shape
        bordered = empty(height + 2, width + 2, channels)
        for side in (bordered[0], bordered[-1], bordered[:, 0], bordered[:, -1]):
            side.zero_()
        out = []
        for one in x:
            bordered[1:-1, 1:-1] = one
            out.append(self.maps.norm_gelu(self.maps.convolution(bordered, self.weights), self.norm))
        return out[0][None] if len(out) == 1 else torch.stack(out)
