"""Mask models by name: which family a model is of decides what loads it.

::

    predictor = refiners.create("hq-tiny", device="cpu")    # a MaskPredictor: boxes, points, masks in, masks out
    refiner = refiners.load_refiner("hq-tiny")               # a Refiner over it, as vis.refine takes one

The tables of weights say the family of every model in them; a folder's ``config.json`` says its own. A distribution
adds a family by an entry point of the group ``vistubes.refiners`` whose name is then a model's name too: a class or
function that takes what it wants of ``name``, ``device`` and ``mode``, and gives a
:class:`vis.interfaces.MaskPredictor`. Knows no network.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from vis.errors import CheckpointError
from vis.interfaces import MaskPredictor
from vis.registry import Registry
from vis.weights.table import HUB_MODELS, MODELS, WEIGHTS

if TYPE_CHECKING:
    from vis.prompt_policies import HQSamRefiner

__all__ = ["REFINERS", "checksums", "create", "family_of", "is_ready", "load_refiner"]

REFINERS = {
    "hqsam": "vis.hqsam:load_predictor",
    "sam2": "vis.sam2:load_sam2",
    "edgetam": "vis.sam2:load_edgetam",
    "sam3": "vis.sam2:load_sam3",
}
"""Family -> "module:function"."""

DEFAULT = "hqsam"
"""The family of checkpoint files: they are told apart by their keys when they are loaded."""

_REGISTRY = Registry("refiner", REFINERS, "vistubes.refiners", MaskPredictor)


def family_of(name: str | Path) -> str:
    """The family of a model: a table's, that of an entry point of this name, a folder's, or else a checkpoint's.

    A folder as transformers saves models names it by the first word of its ``model_type``: ``sam2_video``. Raises
    :class:`CheckpointError` for a folder of anything else.
    """
    for table in (MODELS, HUB_MODELS):
        if str(name) in table:
            return table[str(name)].family
    if str(name) in _REGISTRY.names():
        return str(name)
    if not Path(name).is_dir():
        return DEFAULT
    from vis.weights.hub import model_type_of

    kind = model_type_of(Path(name))
    first, _, _ = kind.partition("_")
    if first not in _REGISTRY.names():
        *most, last = (family for family in _REGISTRY.names() if family != DEFAULT)
        raise CheckpointError(
            f"{name} holds no mask model: its config.json says {kind!r}; expected a model_type of "
            f"{', '.join(most)} or {last}"
        )
    return first


def is_ready(name: str) -> bool:
    """Whether the weights of a model of the tables lie here; False for any other name. Never asks the network."""
    from vis import weights
    from vis.weights.hub import is_cached

    if name in HUB_MODELS:
        return is_cached(HUB_MODELS[name].repository)
    return name in MODELS and weights.cached(WEIGHTS[MODELS[name].weights])


def checksums(name: str | Path) -> dict[str, str]:
    """File name -> sha256 of a model's weights: of the tables (and the HQ head, where it has one), a folder or a file.

    Empty for a model that another package adds by its name: it has no file that is known here.
    """
    from vis.weights.cache import sha256_of
    from vis.weights.hub import checkpoint_folder, weights_sha256

    entry, row, path = MODELS.get(str(name)), HUB_MODELS.get(str(name)), Path(name)
    if entry is not None:
        weight = WEIGHTS[entry.weights]
        found = {weight.filename: weight.sha256}
        if entry.head is not None and entry.head.is_file():
            found[entry.head.name] = sha256_of(entry.head)
        return found
    if row is not None:
        return weights_sha256(checkpoint_folder(row.repository))
    if path.is_dir():
        return weights_sha256(path)
    return {path.name: sha256_of(path)} if path.is_file() else {}


def create(
    name: str | Path = "hq-tiny", *, device: str = "auto", mode: str = "fast", **settings: Any
) -> MaskPredictor:
    """The mask model of that name, loaded.

    Args:
        name: of ``vis.weights.MODELS`` or ``HUB_MODELS`` (fetched on first use), of an entry point, a checkpoint
            file, or a folder of a family's checkpoint.
        device: "auto" (CUDA, else CPU), "cpu", "cuda", "cuda:1" or "mps".
        mode: "exact", "fast" or "fastest", for families that have modes.
        settings: what else the family's function takes, such as ``head`` or ``dtype``.

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
    :class:`vis.prompt_policies.HQSamRefiner`: ``policy``, ``gate``, ``multimask_selection``, ``zoom``, ``overlap``, ...
    """
    from vis.prompt_policies import HQSamRefiner  # OpenCV comes with it

    return HQSamRefiner(create(name, device=device, mode=mode), **settings)
