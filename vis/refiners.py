"""Mask models by name: which family a model is of decides what loads it.

::

    predictor = refiners.create("hq-tiny", device="cpu")    # a MaskPredictor: boxes, points, masks in, masks out
    refiner = refiners.load_refiner("hq-tiny")               # a Refiner over it, as vis.refine takes one

The table of weights says the family of every model in it. A distribution adds a family by an entry point of the group
``vistubes.refiners`` whose name is then a model's name too: a class or function that takes what it wants of ``name``,
``device`` and ``mode``, and gives a :class:`vis.interfaces.MaskPredictor`. Knows no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vis.interfaces import MaskPredictor
from vis.registry import Registry
from vis.weights.table import MODELS

if TYPE_CHECKING:
    from vis.prompt_policies import HQSamRefiner

__all__ = ["REFINERS", "create", "family_of", "load_refiner"]

REFINERS = {"hqsam": "vis.hqsam:load_predictor"}
"""Family -> "module:function"."""

DEFAULT = "hqsam"
"""The family of checkpoint files: they are told apart by their keys when they are loaded."""

_REGISTRY = Registry("refiner", REFINERS, "vistubes.refiners", MaskPredictor)


def family_of(name: str | Path) -> str:
    """The family of a model: the table's, that of an entry point of this name, or else a checkpoint's."""
    name = str(name)
    if name in MODELS:
        return MODELS[name].family
    return name if name in _REGISTRY.names() else DEFAULT


def create(
    name: str | Path = "hq-tiny", *, device: str = "auto", mode: str = "fast", **settings: Any
) -> MaskPredictor:
    """The mask model of that name, loaded.

    Args:
        name: of ``vis.weights.MODELS`` (fetched on first use), of an entry point, or a checkpoint file.
        device: "auto" (CUDA, else CPU), "cpu", "cuda", "cuda:1" or "mps".
        mode: "exact", "fast" or "fastest", for families that have modes.
        settings: what else the family's function takes, such as ``head``.

    Raises :class:`UsageError` for an unknown name, mode, device or setting, :class:`WeightsError` where weights
    cannot be had, :class:`CheckpointError` for a file that is no such model, and :class:`DependencyError` for another
    package's entry point that cannot be used.
    """
    common = {"name": str(name), "device": device, "mode": mode}
    predictor: MaskPredictor = _REGISTRY.create(family_of(name), settings, common=common)
    return predictor


def load_refiner(
    name: str | Path = "hq-tiny", *, device: str = "auto", mode: str = "fast", **settings: Any
) -> HQSamRefiner:
    """The refiner of that name, ready for :func:`vis.pipeline.refine`.

    ``name``, ``device`` and ``mode`` as for :func:`create`, which tells the errors too; ``settings`` are those of
    :class:`vis.prompt_policies.HQSamRefiner`: ``policy``, ``gate``, ``whole_or_part``, ``zoom``, ``overlap``, ...
    """
    from vis.prompt_policies import HQSamRefiner  # OpenCV comes with it

    return HQSamRefiner(create(name, device=device, mode=mode), **settings)
