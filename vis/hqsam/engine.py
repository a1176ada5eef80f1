"""How a model is run: exactly as its modules say, or fast. The predictor does not see the difference.

Both engines take prompts in chunks through the transformer and draw one object at a time, so that memory
does not grow with the number of objects.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from vis.hqsam.fast_decoder import FastDecoder
from vis.hqsam.fast_tiny_vit import FastTinyViT
from vis.hqsam.fast_vit import FastViT
from vis.hqsam.kernels import fast_dtype
from vis.hqsam.model import SamModel
from vis.hqsam.tiny_vit import TinyViT

__all__ = ["Drawn", "Engine", "ExactEngine", "FastEngine", "make_engine"]

Drawn = tuple[int, Tensor, Tensor | None, Tensor]
"""One object: its row, SAM logits (M, 4g, 4g), HQ logits (4g, 4g) or None, predicted IoUs (4,)."""


class Engine(Protocol):
    """Runs image encoder and mask decoder; tensors only."""

    dtype: torch.dtype

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised (B, 3, S, S) to features (B, 256, g, g) and HQ features (B, 32, 4g, 4g) or None."""

    def decode(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, which: slice, least: float
    ) -> Iterator[Drawn]:
        """Objects in order: one frame's features with prompts (N, T, 256) and their dense map.

        An object none of whose masks ``which`` is predicted an IoU above ``least`` is not drawn.
        """


class ExactEngine:
    """float32, through the modules themselves."""

    dtype = torch.float32

    def __init__(self, model: SamModel) -> None:
        self.model = model
        self.position = model.prompt_encoder.dense_position()

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Engine`."""
        features, early = self.model.image_encoder(frames)
        hq = self.model.mask_decoder.hq_features(features, early) if self.model.has_hq else None
        return features, hq

    def decode(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, which: slice, least: float
    ) -> Iterator[Drawn]:
        """See :class:`Engine`."""
        decoder = self.model.mask_decoder
        tokens, image = decoder.transform(features, self.position, sparse, dense)
        scores = decoder.iou(tokens[:, 0])
        for i in _rows(scores, which, least):
            pieces = decoder.upscale(tokens[i : i + 1], image[i : i + 1])
            drawn = None if hq is None else decoder.hq_mask(pieces, hq)[0, 0]
            yield i, decoder.sam_masks(pieces, which)[0], drawn, scores[i]


class FastEngine:
    """The same functions rearranged, with bfloat16 where this machine gains by it and masks bear it.

    ``fast`` keeps TinyViT's encoder and the decoder's transformer in float32: TinyViT has layers without
    a residual path, and bfloat16 costs it a mask IoU of 0.975 on the hardest of twenty frames. ``fastest``
    takes bfloat16 everywhere.
    """

    def __init__(self, model: SamModel) -> None:
        self.model = model
        small = fast_dtype(model.device.type)
        careful = torch.float32 if model.mode == "fast" else small
        self.encoder: FastTinyViT | FastViT
        if isinstance(model.image_encoder, TinyViT):
            self.encoder = FastTinyViT(model.image_encoder, careful)
        else:
            self.encoder = FastViT(model.image_encoder, small)
        position = model.prompt_encoder.dense_position()
        self.decoder = FastDecoder(model.mask_decoder, position, transform=careful, draw=small)
        self.dtype = small

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Engine`."""
        features, early = self.encoder(frames)
        hq = None
        if self.model.has_hq:
            parts = [self.decoder.hq_features(a, b) for a, b in zip(features, early, strict=True)]
            hq = torch.stack(parts).permute(0, 3, 1, 2)
        return features.permute(0, 3, 1, 2), hq

    def decode(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, which: slice, least: float
    ) -> Iterator[Drawn]:
        """See :class:`Engine`."""
        plain = self.model.mask_decoder
        tokens, image = self.decoder.transform(features, sparse, dense)
        kernels = plain.kernels(tokens[:, 1:5], which)
        scores = plain.iou(tokens[:, 0])
        hf = plain.hf_mlp(tokens[:, 5]) if plain.has_hq else None
        rows = None if hq is None else hq[0].permute(1, 2, 0).to(self.dtype)
        for i in _rows(scores, which, least):
            sam, drawn = self.decoder.draw(image[i], kernels[i], None if hf is None else hf[i], rows)
            yield i, sam, drawn, scores[i]


def _rows(scores: Tensor, which: slice, least: float) -> list[int]:
    """Rows whose best score among ``which`` is above ``least``; all of them for minus infinity."""
    if least == float("-inf"):
        return list(range(len(scores)))
    kept: list[int] = (scores[:, which].amax(1) > least).nonzero()[:, 0].tolist()
    return kept


def make_engine(model: SamModel) -> Engine:
    """The engine that ``model.mode`` asks for."""
    return ExactEngine(model) if model.mode == "exact" else FastEngine(model)
