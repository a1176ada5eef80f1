"""The mask decoder for inference: the same function as :mod:`vis.hqsam.network.mask_decoder`, arranged for speed.

What differs from the plain modules is algebra and the number type:

- An image is 4096 positions, a prompt about eight tokens. Projecting every position for every prompt is
  what costs, so the projections are moved to the tokens' side: ``q . (W x) = (W' q) . x``, and
  ``sum_i a_i (W x_i) = W (sum_i a_i x_i)``.
- Only the hyper-networks whose masks are asked for run.
- ``hf . conv3x3(y)`` is one convolution with the kernel ``hf . weights``: 64 channels to 1, not to 32.
- The 2x2 transposed convolutions are matrix products; pixels are put in order once, at the end.
- A mask may be computed within a window around its object only.

Tokens stay float32; the maps' number types are chosen by the engine. Maps are (N, H, W, C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vis.hqsam.network.blocks import LayerNorm2d, gelu
from vis.hqsam.network.mask_decoder import MaskDecoder
from vis.hqsam.network.transformer import HEADS, Attention, Layer
from vis.hqsam.runtime.torch_ops import Norm, Weights, conv, conv_weight

__all__ = ["FastMaskDecoder"]

_NEAR = 4.0
"""SAM logits above minus this are within the window: the HQ branch may lift them over zero."""
_MARGIN, _SHARE = 2.0, 0.1
"""Around a box, in cells and as a share of its side."""


def _by_head(layer: nn.Linear) -> Tensor:
    """(heads * d, 256) to (heads, d, 256)."""
    return layer.weight.detach().view(HEADS, -1, layer.in_features)


def _split(x: Tensor) -> Tensor:
    """(N, T, heads * d) to (N, heads, T, d)."""
    return x.view(*x.shape[:2], HEADS, -1).transpose(1, 2)


def _products(tokens: Tensor, image: Tensor) -> Tensor:
    """(N, M, 256) with (N or 1, P, 256) to (N, M, P)."""
    if len(image) == 1:
        count, many, _ = tokens.shape
        return (tokens.flatten(0, 1) @ image[0].T).view(count, many, -1)
    return torch.bmm(tokens, image.transpose(1, 2))


class TokenToImageAttention:
    """Tokens attend to the image."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self.k, self.v = _by_head(attention.k_proj), _by_head(attention.v_proj)

    def __call__(self, tokens: Tensor, keys: Tensor, image: Tensor) -> Tensor:
        """Tokens (N, T, 256); image with and without position (N or 1, P, 256): (N, T, 256).

        The key bias adds the same to every position's logit, and a softmax does not see it.
        """
        q = _split(self.attention.q_proj(tokens))
        queries = (q @ self.k) * self.k.shape[1] ** -0.5
        weights = _products(queries.flatten(1, 2).to(image.dtype), keys).softmax(-1)
        seen = weights.flatten(0, 1) @ image[0] if len(image) == 1 else torch.bmm(weights, image)
        seen = seen.view(*queries.shape).float()
        values = (seen @ self.v.transpose(1, 2)).transpose(1, 2).flatten(2) + self.attention.v_proj.bias
        out: Tensor = self.attention.out_proj(values)
        return out


class ImageToTokenAttention:
    """The image attends to the tokens."""

    def __init__(self, attention: Attention) -> None:
        self.attention = attention
        self.q = _by_head(attention.q_proj)
        self.bias = attention.q_proj.bias.detach().view(HEADS, 1, -1)
        self.out = attention.out_proj.weight.detach().view(-1, HEADS, self.q.shape[1])

    def __call__(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Image with position (N or 1, P, 256), tokens (N, T, 256): what to add to the image (N, P, 256)."""
        k = _split(self.attention.k_proj(keys)) * self.q.shape[1] ** -0.5
        v = _split(self.attention.v_proj(values))
        folded, offset = k @ self.q, (k * self.bias).sum(-1)  # (N, heads, T, 256), (N, heads, T)
        logits = _products(folded.flatten(1, 2).to(queries.dtype), queries)
        logits = logits.view(len(k), HEADS, -1, logits.shape[-1]) + offset[..., None].to(queries.dtype)
        weights = logits.softmax(2).flatten(1, 2)
        given = (v @ self.out.permute(1, 2, 0)).flatten(1, 2).to(queries.dtype)
        # softmax weights add up to one per head, so the bias of out_proj may ride on one head's tokens
        given[:, : keys.shape[1]] += self.attention.out_proj.bias.to(queries.dtype)
        return torch.bmm(weights.transpose(1, 2), given)


class FastLayer:
    """:class:`vis.hqsam.network.transformer.Layer`."""

    def __init__(self, layer: Layer, dtype: torch.dtype) -> None:
        self.layer = layer
        self.token_to_image = TokenToImageAttention(layer.cross_attn_token_to_image)
        self.image_to_token = ImageToTokenAttention(layer.cross_attn_image_to_token)
        self.norm4 = Norm.of(layer.norm4, dtype)

    def __call__(
        self, tokens: Tensor, image: Tensor, origin: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As the plain layer."""
        layer = self.layer
        tokens = layer.among_tokens(tokens, origin)
        placed = image + position
        tokens = layer.norm2(tokens + self.token_to_image(tokens + origin, placed, image))
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        return tokens, self.norm4(self.image_to_token(placed, tokens + origin, tokens) + image)


@dataclass(frozen=True, slots=True)
class Upscale:
    """Two 2x2 transposed convolutions as matrix products, with what lies between them."""

    first: Weights
    norm: Norm
    second: Weights
    gelu: bool

    @classmethod
    def of(cls, layers: nn.Sequential, dtype: torch.dtype) -> Upscale:
        """From the module whose children 0, 1, 3 hold the weights."""

        def matrix(layer: nn.Module) -> Weights:
            assert isinstance(layer, nn.ConvTranspose2d)
            assert layer.bias is not None
            weight = layer.weight.detach().permute(2, 3, 1, 0).flatten(0, 2)  # (dy, dx, out) x in
            return Weights(weight.to(dtype).contiguous(), layer.bias.detach().repeat(4).to(dtype))

        first, norm, _, second = list(layers)[:4]
        assert isinstance(norm, LayerNorm2d)
        return cls(matrix(first), Norm.of(norm, dtype), matrix(second), len(layers) == 5)

    def sample(self, x: Tensor) -> Tensor:
        """(..., C) to (..., 32): of each cell's 4 x 4 pixels the one below and right of its centre."""
        hidden, out = len(self.first.bias) // 4, len(self.second.bias) // 4
        y = F.linear(x, self.first.weight[-hidden:], self.first.bias[-hidden:])
        y = F.linear(gelu(self.norm(y)), self.second.weight[:out], self.second.bias[:out])
        return gelu(y) if self.gelu else y

    def __call__(self, x: Tensor) -> Tensor:
        """(N, H, W, C) to (N, 4H, 4W, 32)."""
        count, height, width, _ = x.shape
        y = F.linear(x, *self.first).view(count, height, width, 2, 2, -1)
        y = F.linear(gelu(self.norm(y)), *self.second)
        y = (gelu(y) if self.gelu else y).view(count, height, width, 2, 2, 2, 2, 32)
        y = y.permute(0, 1, 3, 5, 2, 4, 6, 7)  # from y, x, dy, dx and the finer dy, dx
        return y.reshape(count, 4 * height, 4 * width, 32)


class FastMaskDecoder:
    """Made from a :class:`MaskDecoder`; shares its token-side weights, copies the others.

    Args:
        decoder: the modules.
        position: (1, 256, g, g) from ``PromptEncoder.dense_position``.
        compute_dtype: of the image in the transformer.
        low_precision_dtype: of the maps that masks are made of.
    """

    def __init__(
        self,
        decoder: MaskDecoder,
        position: Tensor,
        *,
        compute_dtype: torch.dtype,
        low_precision_dtype: torch.dtype,
    ) -> None:
        self.decoder = decoder
        self.compute_dtype, self.low_precision_dtype = compute_dtype, low_precision_dtype
        self.position = position.flatten(2).transpose(1, 2).to(compute_dtype)
        transformer, dtype = decoder.transformer, low_precision_dtype
        self.layers = [FastLayer(layer, compute_dtype) for layer in transformer.layers]  # type: ignore[arg-type]
        self.final_attention = TokenToImageAttention(transformer.final_attn_token_to_image)
        self.upscale = Upscale.of(decoder.output_upscaling, dtype)
        if decoder.has_hq:
            self.compress = Upscale.of(decoder.compress_vit_feat, dtype)
            self.encode = Upscale.of(decoder.embedding_encoder, dtype)
            first, norm, _, last = decoder.embedding_maskfeature
            assert isinstance(first, nn.Conv2d)
            assert isinstance(norm, LayerNorm2d)
            assert isinstance(last, nn.Conv2d)
            assert first.bias is not None
            self.mix = Weights(conv_weight(first.weight, dtype), first.bias.detach().to(dtype))
            self.mix_norm = Norm.of(norm, dtype)
            self.last = last

    def hq_features(self, embedding: Tensor, early: Tensor) -> Tensor:
        """Frames' (B, g, g, 256) and (B, g, g, E) to (B, 4g, 4g, 32)."""
        dtype = self.low_precision_dtype
        return self.encode(embedding.to(dtype)).add_(self.compress(early.to(dtype)))

    def transform(self, embedding: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Embedding (1, 256, g, g), prompts (N, T, 256) and (N, 256, g, g) or (1, 256, 1, 1).

        Returns tokens (N, t, 256) float32 and image (N, g * g, 256).
        """
        tokens = origin = self.decoder.own_tokens(sparse)
        image = (embedding.float() + dense).flatten(2).transpose(1, 2).to(self.compute_dtype)
        for layer in self.layers:
            tokens, image = layer(tokens, image, origin, self.position)
        seen = self.final_attention(tokens + origin, image + self.position, image)
        out: Tensor = self.decoder.transformer.norm_final_attn(tokens + seen)
        return out, image

    def predict_masks(
        self, image: Tensor, kernels: Tensor, hf: Tensor | None, hq: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Logits of N objects at once. A CPU's cache holds one; a GPU wants many.

        Args:
            image: (N, g * g, 256) from :meth:`transform`.
            kernels: (N, M, 32) of the SAM masks wanted.
            hf: (N, 32) the HQ kernels, or None for SAM's masks only.
            hq: (4g, 4g, 32) the frame's from :meth:`hq_features`, with ``hf``.

        Returns:
            SAM's logits (N, M, 4g, 4g) and the HQ logits (N, 4g, 4g) or None, float32.
        """
        g = math.isqrt(image.shape[1])
        return self._predict(image.view(len(image), g, g, -1), kernels, hf, hq)

    def _predict(
        self, image: Tensor, kernels: Tensor, hf: Tensor | None, hq: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """As :meth:`predict_masks`, for maps (N, h, w, 256) and (4h, 4w, 32) of any size."""
        up = self.upscale(image.to(self.low_precision_dtype))
        count, height, width, _ = up.shape
        sam = _products(kernels.to(up.dtype), up.flatten(1, 2)).view(count, -1, height, width).float()
        if hf is None or hq is None:
            return sam, None
        mixed = gelu(self.mix_norm(conv(up, *self.mix)))
        kernel = torch.einsum("no,ocyx->nyxc", hf, self.last.weight).flatten(1, 2)  # (N, 9, 64)
        taps = _products(kernel.to(mixed.dtype), mixed.flatten(1, 2)).view(count, 9, height, width)
        constant = (hf @ self.last.bias)[:, None, None] if self.last.bias is not None else 0.0
        frame = (hf.to(hq.dtype) @ hq.reshape(-1, hq.shape[-1]).T).view(count, height, width).float()
        return sam, _three_by_three(taps) + frame + constant

    def predict_in_window(
        self, image: Tensor, kernel: Tensor, hf: Tensor | None, hq: Tensor | None, box: Sequence[float]
    ) -> tuple[Tensor, Tensor | None]:
        """One object's single mask, computed only where it can be: around its box, and wherever SAM sees it.

        One pixel of each cell's 4 x 4 costs little. The rectangle around all cells where that one comes near to
        positive, and around the box with some margin, is computed as by :meth:`predict_masks`, with a cell more
        on each side for the 3x3 convolutions. Elsewhere SAM's logits are that one pixel's, well below zero, and
        the HQ logits nothing; so a mask differs only where the HQ branch alone sees what SAM is sure is not there.

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
        dtype = self.low_precision_dtype
        sample = (self.upscale.sample(cells.to(dtype)) @ kernel[0, 0].to(dtype)).float()
        near = sample > -_NEAR
        (y0, y1), (x0, x1) = (_reach(near.any(1 - axis), box[1 - axis], box[3 - axis]) for axis in (0, 1))
        rows, columns = _with_halo(y0, y1, g), _with_halo(x0, x1, g)
        fine = slice(4 * rows.start, 4 * rows.stop), slice(4 * columns.start, 4 * columns.stop)
        sam, hq_logits = self._predict(
            cells[None, rows, columns], kernel, hf, None if hq is None else hq[fine]
        )
        window = slice(4 * y0, 4 * y1), slice(4 * x0, 4 * x1)
        inner = (
            ...,
            slice(4 * (y0 - rows.start), 4 * (y1 - rows.start)),
            slice(4 * (x0 - columns.start), 4 * (x1 - columns.start)),
        )
        full = sample.repeat_interleave(4, 0).repeat_interleave(4, 1)
        full[window] = sam[inner][0, 0]
        if hq_logits is None:
            return full[None, None], None
        full_hq = torch.zeros_like(full)
        full_hq[window] = hq_logits[inner][0]
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
