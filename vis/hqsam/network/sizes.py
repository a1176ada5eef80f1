"""The four network sizes as one table. Knows shapes only: no weights, no torch.

Source of the numbers: "Segment Anything" (arXiv 2304.02643), "Faster Segment Anything" (MobileSAM,
arXiv 2306.14289) and "Segment Anything in High Quality" (arXiv 2306.01567), as their code builds them.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DECODER_WIDTH", "SIZES", "Size", "hq_parameter_names"]

DECODER_WIDTH = 256
"""Channels of image embedding, prompt tokens and mask decoder; the same for every size."""

_HQ_MLP = [f"mask_decoder.hf_mlp.layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]
_HQ_CONV = [
    f"mask_decoder.{block}.{i}.{kind}"
    for block in ("compress_vit_feat", "embedding_encoder", "embedding_maskfeature")
    for i in (0, 1, 3)
    for kind in ("weight", "bias")
]
_HQ_NAMES = ("mask_decoder.hf_token.weight", *_HQ_MLP, *_HQ_CONV)


@dataclass(frozen=True, slots=True)
class Size:
    """What distinguishes one size from another. ``dataclasses.replace`` makes toy variants of it."""

    name: str
    """Official name: vit_b, vit_l, vit_h or vit_tiny."""
    widths: tuple[int, ...]
    """Channels: one number for a plain ViT, one per stage for TinyViT."""
    depths: tuple[int, ...]
    """Blocks: one number for a plain ViT, one per stage for TinyViT."""
    heads: tuple[int, ...]
    """Attention heads, likewise."""
    windows: tuple[int, ...]
    """Attention window side in tokens, likewise."""
    early_width: int
    """Channels of the early feature that feeds the HQ branch."""
    global_blocks: tuple[int, ...] = ()
    """Plain ViT: blocks that attend over the whole image; the first of them gives the early feature."""
    image_size: int = 1024
    """Side of the square network input in pixels; a multiple of 16."""

    @property
    def tiny(self) -> bool:
        """Whether the encoder is TinyViT rather than a plain ViT."""
        return len(self.widths) > 1

    @property
    def grid(self) -> int:
        """Side of the image embedding: one cell per 16 input pixels."""
        return self.image_size // 16


SIZES = {
    "vit_tiny": Size("vit_tiny", (64, 128, 160, 320), (2, 2, 6, 2), (2, 4, 5, 10), (7, 7, 14, 7), 160),
    "vit_b": Size("vit_b", (768,), (12,), (12,), (14,), 768, (2, 5, 8, 11)),
    "vit_l": Size("vit_l", (1024,), (24,), (16,), (14,), 1024, (5, 11, 17, 23)),
    "vit_h": Size("vit_h", (1280,), (32,), (16,), (14,), 1280, (7, 15, 23, 31)),
}


def hq_parameter_names(size: str) -> tuple[str, ...]:
    """The 25 tensors that HQ-SAM adds to SAM, by their official names; the same for every size."""
    if size not in SIZES:
        raise KeyError(f"unknown size {size!r}; expected one of {', '.join(SIZES)}")
    return _HQ_NAMES
