"""Embeddings on disk: safetensors in half precision, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

import torch

from vis.errors import InputError
from vis.files import whole_file
from vis.hqsam.predictor import ImageEmbedding

__all__ = ["load_embedding", "save_embedding"]

_FORMAT = "vis-tubes embedding 1"


def save_embedding(embedding: ImageEmbedding, path: str | Path) -> None:
    """Write ``embedding`` to ``path``: about 2 MB, and 4 MB more for the HQ features."""
    from safetensors.torch import save

    tensors = {"features": embedding.features.to("cpu", torch.float16).contiguous()}
    if embedding.hq_features is not None:
        tensors["hq_features"] = embedding.hq_features.to("cpu", torch.float16).contiguous()
    height, width = embedding.frame_size
    about = {"format": _FORMAT, "model": embedding.model, "height": str(height), "width": str(width)}
    with whole_file(Path(path)) as temporary:
        Path(temporary).write_bytes(save(tensors, about))


def load_embedding(path: str | Path, device: str = "cpu") -> ImageEmbedding:
    """Read what :func:`save_embedding` wrote, as float32; InputError for anything else."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(path), framework="pt", device=device) as file:
            about = file.metadata() or {}
            tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: cannot be read as an embedding ({error})") from error
    if about.get("format") != _FORMAT or "features" not in tensors:
        raise InputError(f"{path}: is no embedding; expected a file that save_embedding wrote")
    size = int(about["height"]), int(about["width"])
    return ImageEmbedding(size, tensors["features"], tensors.get("hq_features"), about["model"])
