"""The presets as choices that explain themselves: what each finds, what it needs, and its speed here."""

from __future__ import annotations

from dataclasses import dataclass

from apps.demo.estimating import Estimator
from apps.demo.labels import pace
from apps.plan import Plan
from apps.presets import PRESETS
from vis import refiners, weights
from vis.errors import DependencyError
from vis.weights.hub import is_cached

__all__ = ["preset_cards"]


@dataclass(frozen=True, slots=True)
class _Card:
    finds: str
    needs: str
    detector: tuple[str, ...]
    """Where the detector's weights are: keys of the weights table, or repositories of the hub."""


_CARDS = {
    "quick": _Card(
        "people, animals, vehicles, things", "small networks, for a CPU", ("ssd-openimages", "u2netp")
    ),
    "balanced": _Card(
        "80 everyday classes (COCO)",
        "Mask2Former, HQ-SAM B",
        ("facebook/mask2former-swin-small-coco-instance",),
    ),
    "best": _Card(
        "40 classes of YouTube-VIS", "VidEoMT-L, HQ-SAM L", ("tue-mps/videomt-dinov2-large-ytvis2021",)
    ),
    "concept": _Card("what the text prompt names", "SAM 3, HQ-SAM L", ("facebook/sam3",)),
    "paper": _Card(
        "the HQ-SAM paper's ten tubes",
        "Mask2Former-VIS, HQ-SAM L",
        ("shivi/video-mask2former-swin-large-youtubevis-2019-instance",),
    ),
}


def preset_cards(estimator: Estimator) -> list[tuple[str, str]]:
    """(text, name) of every preset; lines of the text: name and speed, what it finds, what it needs."""
    return [(_text(name, estimator), name) for name in PRESETS]


def _text(name: str, estimator: Estimator) -> str:
    card, estimate = _CARDS[name], estimator.estimate(Plan.of(name), 1)
    speed = "" if estimate.seconds is None else f" · {estimate.trust} {pace(estimate.seconds)}"
    needs = "Ready" if _is_here(name) else "To fetch first"
    return f"{name}{speed}\nFinds {card.finds}.\n{needs}: {card.needs}."


def _is_here(name: str) -> bool:
    """Whether the weights of model and detector lie in the caches; the network is not asked."""
    if not refiners.is_ready(PRESETS[name].model):
        return False
    try:
        return all(
            is_cached(place) if "/" in place else weights.cached(weights.WEIGHTS[place])
            for place in _CARDS[name].detector
        )
    except DependencyError:  # the hub's client is not installed, so nothing of it is used here
        return False
