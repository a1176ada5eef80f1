"""SAM and HQ-SAM: every official size, exact or fast, from weight files by their official names.

::

    model = load_model("hq-tiny")             # or a .pth / .safetensors file
    predictor = Predictor(model)
    embedding = predictor.embed(image)        # RGB uint8 (H, W, 3)
    out = predictor.decode(embedding, boxes=boxes)
    out.masks, out.scores, out.low_res_logits

``network`` holds the modules as the papers have them and the loading, ``runtime`` the same rearranged for
inference, on a CPU and on CUDA, and the engines, of which one runs a model. ``predictor`` takes frames and
prompts.
Knows no video, no tracker and no detector.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vis.hqsam.embedding_files import load_embedding, save_embedding
from vis.hqsam.network.checkpoints import build_model, load_model
from vis.hqsam.network.model import MODES, SamModel
from vis.hqsam.network.sizes import SIZES, Size, hq_parameter_names
from vis.hqsam.predictor import ImageEmbedding, Predictor
from vis.mask_prediction import MaskPrediction

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
