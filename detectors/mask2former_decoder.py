"""Mask2Former's transformer decoder, over one frame or over a whole clip jointly.

Runs the blocks of ``transformers``' Mask2Former with a loop of our own, for three reasons:

* the video model (Cheng et al. 2021, "Mask2Former for Video Instance Segmentation") lets a query
  attend to all frames of a clip at once, which the library cannot do. It has the very same
  parameters; only the position encoding gains time and the keys are those of all frames;
* between the layers a mask is needed only at the resolution of the next layer's keys. The product
  of queries and pixels commutes with resizing, so the pixels are resized once, before;
* the last masks, at full resolution, are made for the queries that are kept: :func:`mask_logits`.

With one frame the result is the image model's. The time part of the position encoding is then the
same for every key, and a constant added to all keys does not change a softmax.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

__all__ = ["DecodedQueries", "decode", "mask_logits", "pixel_features"]


@dataclass(frozen=True, slots=True)
class DecodedQueries:
    """What the decoder makes of clips of T frames; B clips, Q queries."""

    embeddings: Any
    """Tensor (B, Q, D): the normalised query embeddings that class and mask heads read."""
    class_logits: Any
    """Tensor (B, Q, K + 1): the last class is "no object"."""
    pixels: Any
    """Tensor (B, T, C, h, w): per-pixel embeddings at a quarter of the input's resolution."""


def pixel_features(model: Any, pixel_values: Any) -> tuple[tuple[Any, ...], Any]:
    """Backbone and pixel decoder: (N, 3, H, W) -> three levels (N, C, h_i, w_i), and pixels (N, C, H/4, W/4)."""
    output = model.model.pixel_level_module(pixel_values)
    return output.decoder_hidden_states, output.decoder_last_hidden_state


def decode(model: Any, levels: tuple[Any, ...], pixels: Any, *, frames: int = 1) -> DecodedQueries:
    """Decode ``N / frames`` clips of ``frames`` consecutive rows each, jointly within a clip."""
    module = model.model.transformer_module
    clips = pixels.shape[0] // frames
    keys, positions, small_pixels = [], [], []
    for index, level in enumerate(levels):
        embedded = module.input_projections[index](level).flatten(2)
        keys.append(_join_frames(embedded + module.level_embed.weight[index][None, :, None], frames))
        positions.append(_join_frames(_positions(module, level, frames), frames))
        small_pixels.append(_resized(pixels, level.shape[-2:]).unflatten(0, (clips, frames)))

    queries = module.queries_features.weight.unsqueeze(1).repeat(1, clips, 1)
    query_positions = module.queries_embedder.weight.unsqueeze(1).repeat(1, clips, 1)
    decoder = module.decoder
    for index, layer in enumerate(decoder.layers):
        level = index % len(levels)
        blocked = _blocked(decoder, decoder.layernorm(queries), small_pixels[level])
        queries = layer(
            queries, level, None, positions, query_positions, keys, encoder_attention_mask=blocked
        )[0]
    embeddings = decoder.layernorm(queries).transpose(0, 1)
    return DecodedQueries(embeddings, model.class_predictor(embeddings), pixels.unflatten(0, (clips, frames)))


def mask_logits(model: Any, embeddings: Any, pixels: Any) -> Any:
    """Masks of the given queries only: (n, D) and (T, C, h, w) -> logits (n, T, h, w)."""
    import torch

    heads = model.model.transformer_module.decoder.mask_predictor.mask_embedder(embeddings)
    return torch.einsum("nc,tchw->nthw", heads, pixels)


def _join_frames(values: Any, frames: int) -> Any:
    """(B T, C, P) -> (T P, B, C): all frames of a clip in one sequence."""
    rows, channels, pixels = values.shape
    joined = values.view(rows // frames, frames, channels, pixels)
    return joined.permute(1, 3, 0, 2).reshape(frames * pixels, rows // frames, channels)


def _positions(module: Any, level: Any, frames: int) -> Any:
    """Sine position encodings (N, C, P) in the plane, plus one per frame when there are several."""
    flat = module.position_embedder(level.shape, level.device, level.dtype, None).flatten(2)
    if frames == 1:
        return flat
    time = _time_encoding(frames, flat.shape[1], like=flat)
    return flat + time.repeat(flat.shape[0] // frames, 1)[:, :, None]


def _time_encoding(frames: int, channels: int, *, like: Any) -> Any:
    """The third axis of the video model's sine encoding: (T, C).

    Frame t of T stands at 2 pi (t + 1) / T; channels alternate sine and cosine of it over
    wavelengths 10000^(2 floor(c / 2) / C), as in the plane, but over all C channels.
    """
    import torch

    place = torch.arange(1, frames + 1, dtype=like.dtype, device=like.device)
    place = place / (frames + 1e-6) * 2 * math.pi
    channel = torch.arange(channels, device=like.device)
    wavelength = 10000 ** (2 * torch.div(channel, 2, rounding_mode="floor").to(like.dtype) / channels)
    angle = place[:, None] / wavelength
    return torch.stack([angle[:, 0::2].sin(), angle[:, 1::2].cos()], dim=2).flatten(1)


def _resized(pixels: Any, size: tuple[int, int]) -> Any:
    import torch

    return torch.nn.functional.interpolate(pixels, size=size, mode="bilinear", align_corners=False)


def _blocked(decoder: Any, queries: Any, pixels: Any) -> Any:
    """Keys that each query may not attend to, bool (B heads, Q, T P): those outside its mask so far.

    A query whose mask is empty may attend to all.
    """
    import torch

    predictor = decoder.mask_predictor
    heads = predictor.mask_embedder(queries.transpose(0, 1))
    masks = torch.einsum("bqc,btchw->bqthw", heads, pixels).flatten(2)
    blocked = masks.sigmoid() < 0.5
    blocked &= ~blocked.all(dim=-1, keepdim=True)
    return blocked.repeat_interleave(predictor.num_heads, dim=0)
