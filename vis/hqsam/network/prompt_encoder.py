"""Points, boxes and coarse masks as tokens and maps that the mask decoder understands.

Coordinates here are pixels of the network input (the frame resized to 1024), not of the frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vis.hqsam.network.blocks import GELU, LayerNorm2d
from vis.hqsam.network.sizes import DECODER_WIDTH

__all__ = ["PromptEncoder"]


class PositionEncoding(nn.Module):
    """Random Fourier features (arXiv 2006.10739): the frequencies are stored with the weights."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("positional_encoding_gaussian_matrix", torch.randn(2, width // 2))
        self.positional_encoding_gaussian_matrix: Tensor

    def forward(self, xy: Tensor) -> Tensor:
        """(..., 2) x, y in [0, 1] to (..., width)."""
        angles = 2 * math.pi * ((2 * xy - 1) @ self.positional_encoding_gaussian_matrix)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Prompts of N objects to sparse tokens (N, T, 256) and a dense map (N or 1, 256, g, g)."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size
        self.grid = image_size // 16
        self.pe_layer = PositionEncoding(DECODER_WIDTH)
        # 0 negative point, 1 positive point, 2 box top left, 3 box bottom right
        self.point_embeddings = nn.ModuleList(nn.Embedding(1, DECODER_WIDTH) for _ in range(4))
        self.not_a_point_embed = nn.Embedding(1, DECODER_WIDTH)
        self.mask_downscaling = nn.Sequential(
            nn.Conv2d(1, 4, 2, 2),
            LayerNorm2d(4),
            GELU(),
            nn.Conv2d(4, 16, 2, 2),
            LayerNorm2d(16),
            GELU(),
            nn.Conv2d(16, DECODER_WIDTH, 1),
        )
        self.no_mask_embed = nn.Embedding(1, DECODER_WIDTH)

    def dense_position(self) -> Tensor:
        """Position encoding of the embedding's cell centres: (1, 256, g, g)."""
        weight = self.no_mask_embed.weight
        centres = (torch.arange(self.grid, device=weight.device, dtype=weight.dtype) + 0.5) / self.grid
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        encoded: Tensor = self.pe_layer(torch.stack([x, y], dim=-1))
        return encoded.permute(2, 0, 1)[None]

    def forward(
        self, points: Tensor | None, labels: Tensor | None, boxes: Tensor | None, masks: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Encode the prompts of N objects.

        Args:
            points: (N, K, 2) x, y in network pixels, or None.
            labels: (N, K) 1 inside the object, 0 outside it, -1 no point (padding); with ``points``.
            boxes: (N, 4) x0, y0, x1, y1 in network pixels, or None.
            masks: (N, 1, 4g, 4g) logits, or None.

        Returns:
            Sparse tokens (N, T, 256): points, a "not a point" token when there are points but no box,
            then the box corners. Dense map (N, 256, g, g) from the masks; (1, 256, 1, 1) without.
        """
        tokens = []
        if points is not None and labels is not None:
            tokens.append(self._encode_points(points, labels, pad=boxes is None))
        if boxes is not None:
            corners = self._encode(boxes.reshape(-1, 2, 2))
            kinds = torch.cat([self._kind(2), self._kind(3)])
            tokens.append(corners + kinds)
        if tokens:
            sparse = torch.cat(tokens, dim=1)
        else:
            count = 1 if masks is None else len(masks)
            sparse = self.no_mask_embed.weight.new_zeros(count, 0, DECODER_WIDTH)
        if masks is None:
            dense: Tensor = self.no_mask_embed.weight.view(1, -1, 1, 1)
        else:
            dense = self.mask_downscaling(masks)
        return sparse, dense

    def encode_labelled(self, points: Tensor, labels: Tensor) -> Tensor:
        """Points (N, K, 2) with labels (N, K) that also know box corners (2, 3) to tokens (N, K, 256).

        Without branches on the values, for graphs that are traced.
        """
        label = labels[..., None]
        tokens = self._encode(points)
        for i in range(4):
            tokens = tokens + (label == i) * self._kind(i)
        return torch.where(label == -1, self.not_a_point_embed.weight, tokens)

    def _kind(self, i: int) -> Tensor:
        weight: Tensor = self.point_embeddings[i].weight  # type: ignore[assignment]
        return weight

    def _encode(self, xy: Tensor) -> Tensor:
        encoded: Tensor = self.pe_layer((xy + 0.5) / self.image_size)
        return encoded

    def _encode_points(self, points: Tensor, labels: Tensor, pad: bool) -> Tensor:
        if pad:
            points = torch.cat([points, points.new_zeros(len(points), 1, 2)], dim=1)
            labels = torch.cat([labels, labels.new_full((len(labels), 1), -1)], dim=1)
        label = labels[..., None]
        encoded = self._encode(points) + torch.where(label == 1, self._kind(1), self._kind(0))
        return torch.where(label == -1, self.not_a_point_embed.weight, encoded)
