"""SAM and HQ-SAM as one module with the official parameter names. Knows no file and no frame.

``SamModel`` is the tensor layer: ``image_encoder``, ``prompt_encoder`` and ``mask_decoder`` are plain,
differentiable modules. Frames, boxes in pixels and masks are the predictor's business.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from vis.hqsam.network.mask_decoder import MaskDecoder
from vis.hqsam.network.prompt_encoder import PromptEncoder
from vis.hqsam.network.sizes import Size
from vis.hqsam.network.tiny_vit import TinyViT
from vis.hqsam.network.vit import ViT

__all__ = ["MODES", "PIXEL_MEAN", "PIXEL_STD", "SamModel"]

MODES = ("exact", "fast", "fastest")
PIXEL_MEAN = (123.675, 116.28, 103.53)
"""Of red, green and blue, on the 0-255 scale."""
PIXEL_STD = (58.395, 57.12, 57.375)


class SamModel(nn.Module):
    """A SAM of one size; with ``hq`` it is an HQ-SAM.

    ``mode`` says how a predictor runs it: ``exact`` is float32 with every pixel drawn, equal to the modules to
    rounding, ``fast`` also uses bfloat16 where a self-test finds it sound and masks bear it, and draws only
    where an object can be, ``fastest`` uses bfloat16 wherever it can. The modules always compute exactly.
    """

    def __init__(self, size: Size, *, hq: bool, mode: str = "fast") -> None:
        super().__init__()
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is unknown; expected one of {', '.join(MODES)}")
        self.size = size
        self.mode = mode
        self.sources: tuple[str, ...] = ()
        self.image_encoder = TinyViT(size) if size.tiny else ViT(size)
        self.prompt_encoder = PromptEncoder(size.image_size)
        self.mask_decoder = MaskDecoder(size.early_width, hq)
        self.register_buffer("pixel_mean", torch.tensor(PIXEL_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", torch.tensor(PIXEL_STD).view(1, 3, 1, 1), persistent=False)
        self.pixel_mean: Tensor
        self.pixel_std: Tensor

    @property
    def has_hq(self) -> bool:
        """Whether there is an HQ branch; without one, masks are plain SAM's."""
        return self.mask_decoder.has_hq

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return self.pixel_mean.device

    def normalise(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) with values 0-255, longer side = image_size, to (B, 3, S, S), padded right and below.

        The padding is zero *after* normalisation, as SAM was trained.
        """
        side = self.size.image_size
        out = images.new_zeros(len(images), 3, side, side, dtype=torch.float32)
        out[..., : images.shape[2], : images.shape[3]] = (images.float() - self.pixel_mean) / self.pixel_std
        return out

    def describe(self) -> dict[str, Any]:
        """What this model is, as plain JSON values: for reports and for ``VideoResult.made_with``."""
        return {
            "network": "HQ-SAM" if self.has_hq else "SAM",
            "size": self.size.name,
            "mode": self.mode,
            "device": str(self.device),
            "files": list(self.sources),
        }
