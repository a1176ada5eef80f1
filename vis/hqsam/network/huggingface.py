"""Names of transformers' ``SamModel`` and ``SamHQModel`` to the official ones and back. Shapes agree."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from vis.errors import CheckpointError

__all__ = ["from_transformers", "is_transformers", "to_transformers"]

_MATRIX = "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"
_SHARED = (
    "shared_image_embedding.positional_embedding",
    "prompt_encoder.shared_embedding.positional_embedding",
)


def _name_table() -> dict[str, str]:
    """Parts of official names to transformers' names for them."""
    table = {
        "image_encoder.": "vision_encoder.",
        "image_encoder.patch_embed.proj.": "vision_encoder.patch_embed.projection.",
        "image_encoder.blocks.": "vision_encoder.layers.",
        "prompt_encoder.point_embeddings.": "prompt_encoder.point_embed.",
        "mask_decoder.hf_token.": "mask_decoder.hq_token.",
        ".norm_final_attn.": ".layer_norm_final_attn.",
    }
    table |= {f".norm{i}.": f".layer_norm{i}." for i in range(1, 5)}
    for i, part in enumerate(("conv1", "layer_norm1", "conv2", "layer_norm2")):
        table[f"image_encoder.neck.{i}."] = f"vision_encoder.neck.{part}."
    for i, part in zip(
        (0, 1, 3, 4, 6), ("conv1", "layer_norm1", "conv2", "layer_norm2", "conv3"), strict=True
    ):
        table[f"prompt_encoder.mask_downscaling.{i}."] = f"prompt_encoder.mask_embed.{part}."
    blocks = {
        "output_upscaling": ("upscale_conv1", "upscale_layer_norm", "upscale_conv2"),
        "compress_vit_feat": ("compress_vit_conv1", "compress_vit_norm", "compress_vit_conv2"),
        "embedding_encoder": ("encoder_conv1", "encoder_norm", "encoder_conv2"),
        "embedding_maskfeature": ("mask_conv1", "mask_norm", "mask_conv2"),
    }
    for block, parts in blocks.items():
        for i, part in zip((0, 1, 3), parts, strict=True):
            table[f"mask_decoder.{block}.{i}."] = f"mask_decoder.{part}."
    heads = {"hf_mlp": "hq_mask_mlp", "iou_prediction_head": "iou_prediction_head"}
    heads |= {f"output_hypernetworks_mlps.{i}": f"output_hypernetworks_mlps.{i}" for i in range(4)}
    for ours, theirs in heads.items():
        for i, part in enumerate(("proj_in", "layers.0", "proj_out")):
            table[f"mask_decoder.{ours}.layers.{i}."] = f"mask_decoder.{theirs}.{part}."
    return table


_TO = _name_table()
_FROM = {theirs: ours for ours, theirs in _TO.items()}


def is_transformers(state: Mapping[str, Tensor]) -> bool:
    """Whether the keys are those of ``SamModel`` or ``SamHQModel``."""
    return any(key.startswith("vision_encoder.") for key in state)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Official names of a vit_b, vit_l or vit_h to transformers' names; there is no tiny there."""
    if any(key.startswith("image_encoder.layers.") for key in state):
        raise CheckpointError("vit_tiny has no counterpart in transformers; use vit_b, vit_l or vit_h")
    named = {_rename(key, _TO): value for key, value in state.items() if key != _MATRIX}
    return named | dict.fromkeys(_SHARED, state[_MATRIX])


def from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Transformers' names to the official ones; the position matrix, held twice there, is taken once."""
    named = {_rename(key, _FROM): value for key, value in state.items() if key not in _SHARED}
    held = [state[key] for key in _SHARED if key in state]
    return named | {_MATRIX: held[0]} if held else named


def _rename(key: str, table: Mapping[str, str]) -> str:
    """Replace every part of ``key`` that the table knows, longest first, in one pass."""
    parts = sorted(table, key=len, reverse=True)
    return re.sub("|".join(map(re.escape, parts)), lambda found: table[found[0]], key)
