"""The mask decoder of SAM with HQ-SAM's branch (arXiv 2306.01567, section 3.2).

The steps are methods of their own, so that frame-only work is done once per frame, and so that the
HQ branch can be trained while everything else is frozen: see :class:`DecoderOutput`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vis.hqsam.network.blocks import GELU, Head, LayerNorm2d
from vis.hqsam.network.sizes import DECODER_WIDTH
from vis.hqsam.network.transformer import TwoWayTransformer

__all__ = ["DecoderOutput", "MaskDecoder"]

_MASK_TOKENS = 4


@dataclass(frozen=True, slots=True, eq=False)
class DecoderOutput:
    """What the decoder knows about N prompts before it makes masks."""

    iou_token: Tensor
    """(N, 256)"""
    mask_tokens: Tensor
    """(N, 4, 256): the single mask's token, then those of sub-part, part and whole."""
    hf_token: Tensor | None
    """(N, 256): HQ-SAM's token, None in a plain SAM."""
    upscaled: Tensor
    """(N, 32, 4g, 4g): SAM's upscaled features."""


def _upscale(inp: int, hidden: int, last: nn.Module | None = None) -> nn.Sequential:
    """Two 2x2 transposed convolutions, 4x in all; keys 0, 1 and 3 hold weights."""
    layers: list[nn.Module] = [
        nn.ConvTranspose2d(inp, hidden, 2, 2),
        LayerNorm2d(hidden),
        GELU(),
        nn.ConvTranspose2d(hidden, 32, 2, 2),
    ]
    return nn.Sequential(*layers, *([last] if last else []))


class MaskDecoder(nn.Module):
    """Image embedding and prompts to mask logits. ``hq`` adds the 25 tensors of HQ-SAM."""

    def __init__(self, early_width: int, hq: bool) -> None:
        super().__init__()
        self.has_hq = hq
        self.transformer = TwoWayTransformer()
        self.iou_token = nn.Embedding(1, DECODER_WIDTH)
        self.mask_tokens = nn.Embedding(_MASK_TOKENS, DECODER_WIDTH)
        self.output_upscaling = _upscale(DECODER_WIDTH, 64, GELU())
        self.output_hypernetworks_mlps = nn.ModuleList(Head(DECODER_WIDTH, 32) for _ in range(_MASK_TOKENS))
        self.iou_prediction_head = Head(DECODER_WIDTH, _MASK_TOKENS)
        if hq:
            self.hf_token = nn.Embedding(1, DECODER_WIDTH)
            self.hf_mlp = Head(DECODER_WIDTH, 32)
            self.compress_vit_feat = _upscale(early_width, DECODER_WIDTH)
            self.embedding_encoder = _upscale(DECODER_WIDTH, 64)
            self.embedding_maskfeature = nn.Sequential(
                nn.Conv2d(32, 64, 3, 1, 1), LayerNorm2d(64), GELU(), nn.Conv2d(64, 32, 3, 1, 1)
            )

    def hq_features(self, embedding: Tensor, early: Tensor) -> Tensor:
        """Frame-only part of the HQ branch: (B, 256, g, g) and (B, E, g, g) to (B, 32, 4g, 4g)."""
        y: Tensor = self.embedding_encoder(embedding) + self.compress_vit_feat(early)
        return y

    def decode(self, embedding: Tensor, position: Tensor, sparse: Tensor, dense: Tensor) -> DecoderOutput:
        """Run the transformer and SAM's upscaling for N prompts.

        Args:
            embedding: (1, 256, g, g), one frame for all prompts, or (N, 256, g, g), one for each.
            position: (1, 256, g, g) from ``PromptEncoder.dense_position``.
            sparse: (N, T, 256) prompt tokens.
            dense: (1, 256, 1, 1) or (N, 256, g, g) from the prompt encoder.
        """
        out, image = self.transform(embedding, position, sparse, dense)
        return self.upscale(out, image)

    def own_tokens(self, sparse: Tensor) -> Tensor:
        """The decoder's own tokens before those of the prompts (N, T, 256): (N, 5 or 6 + T, 256)."""
        own = [self.iou_token.weight, self.mask_tokens.weight]
        if self.has_hq:
            own.append(self.hf_token.weight)
        return torch.cat([torch.cat(own).expand(sparse.shape[0], -1, -1), sparse], dim=1)

    def transform(
        self, embedding: Tensor, position: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Tokens (N, t, 256) and image (N, g*g, 256) after the transformer; arguments as in :meth:`decode`."""
        tokens: Tensor
        tokens, image = self.transformer(_rows(embedding + dense), _rows(position), self.own_tokens(sparse))
        return tokens, image

    def upscale(self, tokens: Tensor, image: Tensor) -> DecoderOutput:
        """What :meth:`transform` returned, upscaled; may be called for some of the N objects at a time."""
        g = math.isqrt(image.shape[1])
        upscaled = self.output_upscaling(image.transpose(1, 2).view(image.shape[0], -1, g, g))
        hf = tokens[:, 1 + _MASK_TOKENS] if self.has_hq else None
        return DecoderOutput(tokens[:, 0], tokens[:, 1 : 1 + _MASK_TOKENS], hf, upscaled)

    def iou(self, iou_token: Tensor) -> Tensor:
        """(N, 256) to (N, 4): predicted IoU of the four SAM masks, not clipped to [0, 1]. The HQ mask has none."""
        y: Tensor = self.iou_prediction_head(iou_token)
        return y

    def sam_masks(self, output: DecoderOutput, which: slice) -> Tensor:
        """Logits (N, M, 4g, 4g) of SAM's masks ``which`` (0 the single mask, 1-3 the three)."""
        return _dot(self.kernels(output.mask_tokens, which), output.upscaled)

    def kernels(self, mask_tokens: Tensor, which: slice) -> Tensor:
        """(N, M, 32): the hyper-networks' outputs for SAM's masks ``which``."""
        heads = list(self.output_hypernetworks_mlps)[which]
        picked = mask_tokens[:, which].unbind(1)
        return torch.stack([head(token) for head, token in zip(heads, picked, strict=True)], dim=1)

    def hq_mask(self, output: DecoderOutput, hq_features: Tensor) -> Tensor:
        """HQ logits (N, 1, 4g, 4g); ``hq_features`` (1 or N, 32, 4g, 4g) from :meth:`hq_features`."""
        if output.hf_token is None:
            raise ValueError("this mask decoder has no HQ branch: check has_hq before asking for HQ masks")
        features = self.embedding_maskfeature(output.upscaled) + hq_features
        return _dot(self.hf_mlp(output.hf_token)[:, None], features)


def _rows(x: Tensor) -> Tensor:
    """(N, C, H, W) to (N, H*W, C)."""
    return x.flatten(2).transpose(1, 2)


def _dot(kernels: Tensor, features: Tensor) -> Tensor:
    """(N, M, C) . (N, C, H, W) to (N, M, H, W)."""
    return (kernels @ features.flatten(2)).view(kernels.shape[0], -1, *features.shape[2:])
