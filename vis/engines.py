"""What carries objects through a video, by name.

::

    engine = engines.create("own", model="hq-tiny", device="cpu")
    stream = follow(frames, engine.propagator, prompts)

A distribution adds an engine by an entry point of the group ``vistubes.engines``: a class or function that takes what
it wants of ``model``, ``device`` and ``mode``, and gives a :class:`vis.follow.engine.Engine`. Knows no network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vis.registry import Registry

if TYPE_CHECKING:
    from vis.follow.engine import Engine

__all__ = ["DEFAULT", "ENGINES", "create", "model_of", "names"]

ENGINES = {
    "own": "vis.follow.engine:OwnEngine",
    "sam2": "vis.sam2.video:Sam2Engine",
    "edgetam": "vis.sam2.video:EdgeTamEngine",
    "sam3": "vis.sam2.video:Sam3Engine",
}
"""Name -> "module:class"."""

DEFAULT = "own"
_MODELS = {"own": "hq-tiny", "sam2": "sam2.1-t", "edgetam": "edgetam", "sam3": "sam3"}


def names() -> tuple[str, ...]:
    """All names that :func:`create` knows: those of ENGINES, then those that installed packages add."""
    return _registry().names()


def model_of(engine: str, model: str | None = None) -> str:
    """The model that an engine runs where none is named; an added engine's own name where it has none."""
    return model or _MODELS.get(engine, engine)


def create(
    name: str, *, model: str | None = None, device: str = "auto", mode: str = "fast", **settings: Any
) -> Engine:
    """The engine of that name, loaded.

    Args:
        name: one of :func:`names`.
        model: of the tables in ``vis.weights``, a checkpoint file or a folder; None takes the engine's own.
        device: "auto" (CUDA, else CPU), "cpu", "cuda", "cuda:1" or "mps".
        mode: "exact", "fast" or "fastest", for engines that have modes.
        settings: what else the engine takes, such as ``dtype``.

    Raises :class:`UsageError` for an unknown name or setting, and what :func:`vis.refiners.create` raises.
    """
    common = {"model": model_of(name, model), "device": device, "mode": mode}
    engine: Engine = _registry().create(name, settings, common=common)
    return engine


def _registry() -> Registry:
    from vis.follow.engine import Engine

    return Registry("engine", ENGINES, "vistubes.engines", Engine)
