"""SAM and HQ-SAM: every official size, exact or fast, from weight files by their official names.

::

    model = load_model("hq-tiny")             # or a .pth / .safetensors file
    predictor = Predictor(model)
    embedding = predictor.embed(image)        # RGB uint8 (H, W, 3)
    out = predictor.decode(embedding, boxes=boxes)
    out.masks, out.scores, out.low_res_logits

``sizes`` holds the shapes, ``vit`` and ``tiny_vit`` the image encoders, ``prompt_encoder``,
``transformer`` and ``mask_decoder`` the rest of the network, ``checkpoints`` the loading. ``engine``
runs them as they are or rearranged; ``everything`` needs no prompts; ``zoom`` looks closer.
Knows no video, no tracker and no detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vis.hqsam.embedding_files import load_embedding, save_embedding
from vis.hqsam.network.checkpoints import build_model, load_model
from vis.hqsam.network.model import MODES, SamModel
from vis.hqsam.network.sizes import SIZES, Size, hq_parameter_names
from vis.hqsam.predictor import ImageEmbedding, MaskPrediction, Predictor

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "MODES",
    "SIZES",
    "ImageEmbedding",
    "MaskPrediction",
    "Predictor",
    "SamModel",
    "Size",
    "build_model",
    "hq_parameter_names",
    "load_embedding",
    "load_model",
    "load_predictor",
    "save_embedding",
]


def load_predictor(
    name: str | Path, *, device: str = "auto", mode: str = "fast", head: str | Path | None = None
) -> Predictor:
    """A predictor over :func:`load_model`, with its arguments and errors."""
    return Predictor(load_model(name, device=device, mode=mode, head=head))
