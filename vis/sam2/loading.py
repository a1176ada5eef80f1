"""From a name or folder to a loaded model: which classes of transformers, which weights, strictly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vis.devices import pick_device
from vis.errors import CheckpointError, UsageError
from vis.sam2.predictor import StretchedPredictor
from vis.weights.hub import (
    checkpoint_folder,
    load_model,
    load_processor,
    require,
    weights_sha256,
)
from vis.weights.table import HUB_MODELS

__all__ = ["DTYPES", "EDGETAM", "SAM2", "SAM3", "Family", "Loaded", "load", "load_predictor"]

DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True)
class Family:
    """The classes of transformers that one family's checkpoints are read with."""

    title: str
    """What reports call it."""
    image_model: str
    """Class for one image."""
    video_model: str
    """Class for a video; the same checkpoint."""
    processor: str
    """Class that scales, stretches and normalises pictures."""


SAM2 = Family("SAM 2.1", "Sam2Model", "Sam2VideoModel", "Sam2ImageProcessor")
EDGETAM = Family("EdgeTAM", "EdgeTamModel", "EdgeTamVideoModel", "Sam2ImageProcessor")
SAM3 = Family("SAM 3", "Sam3TrackerModel", "Sam3TrackerVideoModel", "Sam3ImageProcessor")


class Loaded(NamedTuple):
    """A model, ready on its device."""

    model: Any
    processor: Any
    size: str
    """The model's name, or its folder's."""
    weights_sha256: dict[str, str]


def load(family: Family, class_name: str, name: str | Path, *, device: str, dtype: str | None) -> Loaded:
    """The checkpoint of a name of ``HUB_MODELS``, of a hub's repository or of a folder, as ``class_name``.

    ``dtype``: "float32", "bfloat16" or "float16"; None takes what the checkpoint is stored in. Raises
    :class:`UsageError`, :class:`DependencyError`, :class:`WeightsError` and :class:`CheckpointError`.
    """
    if dtype is not None and dtype not in DTYPES:
        raise UsageError(f"dtype {dtype!r} is unknown; choose one of {', '.join(DTYPES)}")
    library = require("transformers", class_name, family.processor)
    target = pick_device(device)
    row = HUB_MODELS.get(str(name))
    folder = checkpoint_folder(name if row is None else row.repository)
    options = {} if dtype is None else {"dtype": dtype}
    model = load_model(getattr(library, class_name), folder, **options).to(target)
    if model.mask_decoder.num_multimask_outputs != 3:
        raise CheckpointError(
            f"{folder}: the decoder has {model.mask_decoder.num_multimask_outputs} masks to choose among; expected 3"
        )
    processor = load_processor(getattr(library, family.processor), folder)
    return Loaded(model, processor, folder.name if row is None else row.name, weights_sha256(folder))


def load_predictor(
    family: Family, name: str | Path, *, device: str = "auto", dtype: str | None = None
) -> StretchedPredictor:
    """The family's model for images, with the arguments and errors of :func:`load`."""
    model, processor, size, sha256 = load(family, family.image_model, name, device=device, dtype=dtype)
    return StretchedPredictor(model, processor, network=family.title, size=size, weights_sha256=sha256)
