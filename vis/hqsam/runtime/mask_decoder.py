"""The mask decoder for inference: the same function as :mod:`vis.hqsam.network.mask_decoder`, arranged for speed.

What differs from the plain modules is algebra and the number type:

- An image is 4096 positions, a prompt about eight tokens. Projecting every position for every prompt is
  what costs, so the projections are moved to the tokens' side: ``q . (W x) = (W' q) . x``, and
  ``sum_i a_i (W x_i) = W (sum_i a_i x_i)``.
- Only the hyper-networks whose masks are asked for run.
- ``hf . conv3x3(y)`` is one convolution with the kernel ``hf . weights``: 64 channels to 1, not to 32.
- The 2x2 transposed convolutions are matrix products; pixels are put in order once, at the end.
- Objects are drawn at 256 x 256 one at a time: the maps stay in cache and memory does not grow.

Tokens stay float32; the maps' number types are chosen by the engine. Maps are (N, H, W, C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.mask_decoder import MaskDecoder
from vis.hqsam.network.transformer import Attention, Layer
from vis.hqsam.runtime.tiny_vit import Norm
from vis.hqsam.runtime.torch_ops import conv, linear

__all__ = ["FastDecoder"]

_HEADS = 8
_NEAR = 4.0
"""SAM logits above minus this are drawn: the HQ branch may lift them over zero."""
_MARGIN, _SHARE = 2.0, 0.1
"""Around a box, in cells and as a share of its side."""


def _by_head(layer: nn.Linear) -> Tensor:
    """(heads * d, 256) to (heads, d, 256)."""
    return layer.weight.detach().view(_HEADS, -1, layer.in_features)


def _split(x: Tensor) -> Tensor:
    """(N, T, heads * d) to (N, heads, T, d)."""
    return x.unflatten(2, (_HEADS, -1)).transpose(1, 2)  # type: ignore[no-untyped-call, no-any-return]


def _products(tokens: Tensor, image: Tensor) -> Tensor:
    """(N, M, 256) with (N or 1, P, 256) to (N, M, P)."""
    if len(image) == 1:
        count, many, _ = tokens.shape
        return (tokens.flatten(0, 1) @ image[0].T).view(count, many, -1)
    return torch.bmm(tokens, image.transpose(1, 2))


class TokensLook:
    """Tokens attend to the image."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self.k, self.v = _by_head(attention.k_proj), _by_head(attention.v_proj)

    def __call__(self, tokens: Tensor, placed: Tensor, image: Tensor) -> Tensor:
        """Tokens (N, T, 256); image with and without position (N or 1, P, 256): (N, T, 256).

        The key bias adds the same to every position's logit, and a softmax does not see it.
        """
        q = _split(self.attention.q_proj(tokens))
        asked = (q @ self.k) * self.k.shape[1] ** -0.5
        logits = _products(asked.flatten(1, 2).to(image.dtype), placed)
        weights = logits.softmax(-1)
        seen = weights.flatten(0, 1) @ image[0] if len(image) == 1 else torch.bmm(weights, image)
        seen = seen.view(*asked.shape).float()
        values = (seen @ self.v.transpose(1, 2)).transpose(1, 2).flatten(2) + self.attention.v_proj.bias
        out: Tensor = self.attention.out_proj(values)
        return out


class ImageLooks:
    """The image attends to the tokens."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self.q = _by_head(attention.q_proj)
        self.bias = attention.q_proj.bias.detach().view(_HEADS, 1, -1)
        self.out = attention.out_proj.weight.detach().view(-1, _HEADS, self.q.shape[1])

    def __call__(self, placed: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Image with position (N or 1, P, 256), tokens (N, T, 256): what to add to the image (N, P, 256)."""
        asked, offset, given = self.folded(keys, values)
        logits = _products(asked.flatten(1, 2).to(placed.dtype), placed)
        count, _, positions = logits.shape
        logits = logits.view(count, _HEADS, -1, positions) + offset[..., None].to(placed.dtype)
        weights = logits.softmax(2).flatten(1, 2)
        given = given.flatten(1, 2).to(placed.dtype)
        # softmax weights add up to one per head, so the bias of out_proj may ride on one head's tokens
        tokens = keys.shape[1]
        given[:, :tokens] += self.attention.out_proj.bias.to(placed.dtype)
        return torch.bmm(weights.transpose(1, 2), given)

    def folded(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens (N, T, 256) as the image meets them, per head.

        (N, heads, T, 256) to be multiplied with its positions, (N, heads, T) to be added then, and
        (N, heads, T, 256) to be weighed by the softmax over T.
        """
        k = _split(self.attention.k_proj(keys)) * self.q.shape[1] ** -0.5
        v = _split(self.attention.v_proj(values))
        return k @ self.q, (k * self.bias).sum(-1), v @ self.out.permute(1, 2, 0)


class FastLayer:
    """:class:`vis.hqsam.network.transformer.Layer`."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        self.layer = layer
        self.tokens_look = TokensLook(layer.cross_attn_token_to_image)
        self.image_looks = ImageLooks(layer.cross_attn_image_to_token)
        self.norm4 = Norm.of(layer.norm4, dtype)

    def __call__(
        self, tokens: Tensor, image: Tensor, origin: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As the plain layer."""
        layer = self.layer
        tokens = layer.among_tokens(tokens, origin)
        placed = image + position
        tokens = layer.norm2(tokens + self.tokens_look(tokens + origin, placed, image))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        return tokens, self.norm4(self.image_looks(placed, tokens + origin, tokens) + image)


@dataclass(frozen=True, slots=True)
class Upscale:
    """Two 2x2 transposed convolutions as matrix products, with what lies between them."""

    first: tuple[Tensor, Tensor]
    norm: Norm
    second: tuple[Tensor, Tensor]
    gelu: bool

    @classmethod
    def of(cls, layers: nn.Sequential, dtype: torch.dtype) -> Upscale:
        """From the module whose children 0, 1, 3 hold the weights."""

        def matrix(layer: nn.ConvTranspose2d) -> tuple[Tensor, Tensor]:
            weight = layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)  # (dy, dx, out) x in
            assert layer.bias is not None
            return weight.to(dtype).contiguous(), layer.bias.detach().repeat(4).to(dtype)

        first, norm, _, second = list(layers)[:4]
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(second, nn.ConvTranspose2d)
        return cls(matrix(first), Norm.of(norm, dtype), matrix(second), len(layers) == 5)

    def sample(self, x: Tensor) -> Tensor:
        """(..., C) to (..., 32): of each cell's 4 x 4 pixels the one below and right of its centre."""
        hidden, out = self.first[1].numel() // 4, self.second[1].numel() // 4
        y = linear(x, self.first[0][-hidden:], self.first[1][-hidden:])
        return linear(F.gelu(self.norm(y)), self.second[0][:out], self.second[1][:out], gelu=self.gelu)

    def __call__(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to (N, 4H, 4W, 32)."""
        count, height, width, _ = x.shape
        y = linear(x, *self.first).view(count, height, width, 2, 2, -1)
        y = linear(F.gelu(self.norm(y)), *self.second, gelu=self.gelu)
        y = y.view(count, height, width, 2, 2, 2, 2, 32)  # y, x, dy, dx, then the finer dy, dx
        return y.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(count, 4 * height, 4 * width, 32)


@dataclass(frozen=True, slots=True)
class Mix:
    """The HQ branch's 3x3 convolution over the upscaled map, its norm and GELU."""

    weight: Tensor
    bias: Tensor
    norm: Norm

    def __call__(self, x: Tensor) -> Tensor:
        """(N, H, W, 32) to (N, H, W, 64)."""
        return F.gelu(self.norm(conv(x, self.weight, self.bias)))


class FastDecoder:
    """Made from a :class:`MaskDecoder`; shares its token-side weights, copies the others.

    ``transform`` and ``draw`` are the number types of the two steps of the same names.
    """

    def __init__(
        self, decoder: MaskDecoder, position: Tensor, *, transform: torch.dtype, draw: torch.dtype
    ) -> None:
        self.decoder = decoder
        self.types = transform, draw
        self.position = position.flatten(2).transpose(1, 2).to(transform)
        dtype = draw
        transformer = decoder.transformer
        self.layers = [FastLayer(layer, transform) for layer in transformer.layers]  # type: ignore[arg-type]
        self.last_look = TokensLook(transformer.final_attn_token_to_image)
        self.upscale = Upscale.of(decoder.output_upscaling, dtype)
        if decoder.has_hq:
            self.compress = Upscale.of(decoder.compress_vit_feat, dtype)
            self.encode = Upscale.of(decoder.embedding_encoder, dtype)
            first, norm, _, last = decoder.embedding_maskfeature
            assert isinstance(first, nn.Conv2d)
            assert isinstance(last, nn.Conv2d)
            assert first.bias is not None
            self.mix = Mix(
                first.weight.detach().to(dtype).contiguous(memory_format=torch.channels_last),
                first.bias.detach().to(dtype),
                Norm.of(norm, dtype),
            )
            self.last = last

    def hq_features(self, embedding: Tensor, early: Tensor) -> Tensor:
        """Frames' (B, g, g, 256) and (B, g, g, E) to (B, 4g, 4g, 32)."""
        dtype = self.types[1]
        return self.encode(embedding.to(dtype)).add_(self.compress(early.to(dtype)))

    def transform(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (1, 256, g, g), prompts (N, T, 256) and (N, 256, g, g) or (1, 256, 1, 1).

        Returns tokens (N, t, 256) float32 and image (N, g * g, 256).
        """
        tokens = self.decoder.own_tokens(sparse)
        image = (embedding.float() + dense).flatten(2).transpose(1, 2).to(self.types[0])
        origin = tokens
        for layer in self.layers:
            tokens, image = layer(tokens, image, origin, self.position)
        look = self.last_look(tokens + origin, image + self.position, image)
        out: Tensor = self.decoder.transformer.norm_final_attn(tokens + look)
        return out, image

    def draw(
        self, image: Tensor, kernels: Tensor, hf: Tensor | None, hq: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of N objects at once. A processor's cache holds one; a graphics processor wants many.

        Args:
            image: (N, g * g, 256) from :meth:`transform`.
            kernels: (N, M, 32) of the SAM masks wanted.
            hf: (N, 32) the HQ kernels, or None for SAM's masks only.
            hq: (4g, 4g, 32) the frame's from :meth:`hq_features`, with ``hf``.

        Returns:
            SAM's logits (N, M, 4g, 4g) and the HQ logits (N, 4g, 4g) or None, float32.
        """
        g = math.isqrt(image.shape[1])
        return self._draw(image.unflatten(1, (g, g)), kernels, hf, hq)  # type: ignore[no-untyped-call]

    def _draw(
        self, image: Tensor, kernels: Tensor, hf: Tensor | None, hq: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """As :meth:`draw`, for maps (N, h, w, 256) and (4h, 4w, 32) of any size."""
        up = self.upscale(image.to(self.types[1]))
        count, height, width, _ = up.shape
        sam = _products(kernels.to(up.dtype), up.flatten(1, 2)).view(count, -1, height, width).float()
        if hf is None or hq is None:
            return sam, None
        mixed = self.mix(up)
        kernel = torch.einsum("no,ocyx->nyxc", hf, self.last.weight).flatten(1, 2)  # (N, 9, 64)
        taps = _products(kernel.to(mixed.dtype), mixed.flatten(1, 2)).view(count, 9, height, width)
        constant = (hf @ self.last.bias)[:, None, None] if self.last.bias is not None else 0.0
        frame = (hf.to(hq.dtype) @ hq.reshape(-1, hq.shape[-1]).T).view(count, height, width).float()
        return sam, _three_by_three(taps) + frame + constant

    def draw_within(
        self, image: Tensor, kernel: Tensor, hf: Tensor | None, hq: Tensor | None, box: Sequence[float]
    ) -> tuple[Tensor, Tensor | None]:
        """One object's single mask, drawn only where it can be: around its box, and wherever SAM sees it.

        One pixel of each cell's 4 x 4 is cheap to draw. The rectangle around all cells where that one
        comes near to positive, and around the box with some margin, is drawn as :meth:`draw` does, with a
        cell more on each side for the 3x3 convolutions. Elsewhere SAM's logits are that one pixel's, well
        below zero, and the HQ logits nothing; so a mask differs only where the HQ branch alone draws what
        SAM is sure is not there.

        Args:
            image: (1, g * g, 256) from :meth:`transform`.
            kernel: (1, 1, 32) of the SAM mask.
            hf: (1, 32) or None.
            hq: (4g, 4g, 32) or None.
            box: x0, y0, x1, y1 in cells.

        Returns:
            SAM's logits (1, 1, 4g, 4g) and the HQ logits (1, 4g, 4g) or None, float32.
        """
        g = math.isqrt(image.shape[1])
        cells = image.view(g, g, -1)
        sample = (self.upscale.sample(cells.to(self.types[1])) @ kernel[0, 0].to(self.types[1])).float()
        near = sample > -_NEAR
        (y0, y1), (x0, x1) = (_reach(near.any(1 - axis), box[1 - axis], box[3 - axis]) for axis in (0, 1))
        rows, columns = _with_halo(y0, y1, g), _with_halo(x0, x1, g)
        fine = slice(4 * rows.start, 4 * rows.stop), slice(4 * columns.start, 4 * columns.stop)
        sam, drawn = self._draw(cells[None, rows, columns], kernel, hf, None if hq is None else hq[fine])
        inner = slice(4 * y0, 4 * y1), slice(4 * x0, 4 * x1)
        cut = (
            ...,
            slice(4 * (y0 - rows.start), 4 * (y1 - rows.start)),
            slice(4 * (x0 - columns.start), 4 * (x1 - columns.start)),
        )
        full = sample.repeat_interleave(4, 0).repeat_interleave(4, 1)
        full[inner] = sam[cut][0, 0]
        if drawn is None:
            return full[None, None], None
        full_hq = torch.zeros_like(full)
        full_hq[inner] = drawn[cut][0]
        return full[None, None], full_hq[None]


def _reach(near: Tensor, low: float, high: float) -> tuple[int, int]:
    """First and last cell, half-open, of those ``near`` (g,) and of the box's side ``low`` to ``high``."""
    margin = _MARGIN + _SHARE * (high - low)
    first, last = max(0, math.floor(low - margin)), min(len(near), math.ceil(high + margin))
    at = near.nonzero()
    if len(at):
        first, last = min(first, max(0, int(at[0]) - 1)), max(last, min(len(near), int(at[-1]) + 2))
    return min(first, len(near) - 1), max(last, 1)


def _with_halo(start: int, stop: int, length: int) -> slice:
    return slice(max(0, start - 1), min(length, stop + 1))


def _three_by_three(taps: Tensor) -> Tensor:
    """(N, 9, H, W) products with the nine taps of a 3x3 kernel to the convolution (N, H, W), zero outside."""
    count, _, height, width = taps.shape
    out = torch.zeros(count, height, width, device=taps.device)
    for tap in range(9):
        y, x = divmod(tap, 3)
        y, x = y - 1, x - 1
        ys, xs = slice(max(0, -y), height - max(0, y)), slice(max(0, -x), width - max(0, x))
        yt, xt = slice(max(0, y), height + min(0, y)), slice(max(0, x), width + min(0, x))
        out[:, ys, xs] += taps[:, tap, yt, xt]
    return out
