"""Semantic networks of torchvision (DeepLabV3, Chen et al. 2017; FCN, Long et al. 2015): a region for each class.

All things of a class in an image are one object, with a coarse mask: a prompt for a mask model (HQ-SAM, table 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.dense_masks import tight_boxes
from detectors.hub_detector import check_limits
from detectors.torchvision_weights import fetched
from vis.devices import pick_device
from vis.errors import CheckpointError, WeightsError
from vis.structures import Detections
from vis.weights import sha256_of
from vis.weights.hub import require

__all__ = ["Semantic"]

SHORTER_SIDE = 520
"""Pixels, as torchvision measures these networks."""
LONGER_SIDE = 4 * SHORTER_SIDE
"""Pixels at most: of a banner the shorter side is less."""
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Of ImageNet's RGB in [0, 1]."""


class Semantic:
    """A segmentation network of torchvision's registry, by its name or told by the keys of a state dict."""

    def __init__(
        self, *, weights: str | Path = "deeplabv3_resnet101", score: float = 0.0, device: str = "auto"
    ) -> None:
        """``weights``: a network's name, whose published weights torchvision fetches and checks, or a ``.pth`` file.

        ``score``: least mean probability of a class in its region.
        """
        check_limits(score, 1)
        models = require("torchvision.models", "get_model")
        segmentation = require("torchvision.models.segmentation", "deeplabv3_resnet101")
        known = models.list_models(module=segmentation)
        named = str(weights) in known
        path = Path(weights).expanduser()
        if named:
            path = fetched(models.get_model_weights(str(weights)).DEFAULT, str(weights))
        elif not path.is_file():
            raise WeightsError(f"no file {path}; give a state dict, or one of {', '.join(known)}")
        state = _read(path)
        network = str(weights) if named else _recognised(models, known, state, path)
        self.network = network
        self._device = pick_device(device)
        self._score = score
        self._model = _loaded(models, network, state, path).to(self._device)
        names = models.get_model_weights(network).DEFAULT.meta["categories"]
        self.class_names: tuple[str, ...] = tuple(names[1:])  # the first is the background
        self.weights_sha256 = {path.name: sha256_of(path)}

    def describe(self) -> str:
        """Which network."""
        return self.network

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """A mask, its box and its mean probability for each class of each image, most probable first."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        import torch
        from torch.nn.functional import interpolate

        height, width = image.shape[:2]
        scale = min(SHORTER_SIDE / min(height, width), LONGER_SIDE / max(height, width))
        size = (max(1, round(height * scale)), max(1, round(width * scale)))
        pixels = torch.from_numpy(np.ascontiguousarray(image)).to(self._device)
        batch = pixels.permute(2, 0, 1)[None].float() / 255
        batch = interpolate(batch, size, mode="bilinear", antialias=True)
        mean, std = (torch.tensor(value, device=self._device).view(3, 1, 1) for value in (MEAN, STD))
        with torch.inference_mode():
            logits = self._model((batch - mean) / std)["out"]
            # A large image has no room for 21 classes: those that win nowhere in the small one are left out.
            winners = logits.argmax(dim=1).unique()
            chances = logits.softmax(dim=1)[:, winners]
            full, chances = (
                interpolate(value, (height, width), mode="bilinear", align_corners=False)[0]
                for value in (logits[:, winners], chances)
            )
            place = full.argmax(dim=0)
            masks = [place == row for row in range(len(winners))]
            scores = [
                float(chances[row][mask].mean()) if mask.any() else -1.0 for row, mask in enumerate(masks)
            ]
        rows = [row for row, number in enumerate(winners.tolist()) if number and scores[row] >= self._score]
        if not rows:
            return Detections.empty()
        rows.sort(key=lambda row: -scores[row])
        found = np.stack([masks[row].cpu().numpy() for row in rows])
        best = np.clip([scores[row] for row in rows], 0, 1)
        return Detections(tight_boxes(found), best, winners[rows].cpu().numpy() - 1, found)


def _read(path: Path) -> dict[str, Any]:
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # unpickling raises whatever it meets
        raise CheckpointError(f"{path} is no state dict: {error}") from error
    if not isinstance(state, dict) or not all(hasattr(value, "shape") for value in state.values()):
        raise CheckpointError(f"{path} is no state dict: expected names with tensors")
    return state


def _recognised(models: Any, known: Sequence[str], state: dict[str, Any], path: Path) -> str:
    """The network whose keys and shapes the state has."""
    import torch

    shapes = {name: tuple(value.shape) for name, value in state.items()}
    for network in known:
        with torch.device("meta"):
            empty = _build(models, network, state).state_dict()
        if {name: tuple(value.shape) for name, value in empty.items()} == shapes:
            return network
    raise CheckpointError(f"{path}: its keys are those of none of {', '.join(known)}, of 21 classes")


def _build(models: Any, network: str, state: dict[str, Any]) -> Any:
    """The network without weights; with the branch that only training uses where the state has it."""
    settings: dict[str, Any] = {}
    if any(name.startswith("aux_classifier.") for name in state) and not network.startswith("lraspp"):
        settings["aux_loss"] = True
    return models.get_model(network, weights=None, weights_backbone=None, num_classes=21, **settings)


def _loaded(models: Any, network: str, state: dict[str, Any], path: Path) -> Any:
    model = _build(models, network, state)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"{path} is no state dict of {network}: {error}") from error
    return model.eval()
