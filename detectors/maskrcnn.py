"""Mask R-CNN (He et al. 2017; improved by Li et al. 2021) of torchvision: COCO boxes and masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.hub_detector import check_limits
from detectors.torchvision_weights import fetched
from vis import boxes as box_maths
from vis.devices import pick_device
from vis.errors import CheckpointError, WeightsError
from vis.structures import Detections
from vis.weights import sha256_of
from vis.weights.hub import require

__all__ = ["MaskRcnn"]


class MaskRcnn:
    """``maskrcnn_resnet50_fpn_v2`` with its COCO weights, or with a state dict of your own."""

    def __init__(
        self,
        *,
        weights: str | Path = "COCO_V1",
        score: float = 0.5,
        max_detections: int = 100,
        device: str = "auto",
    ) -> None:
        """``weights``: ``COCO_V1`` (torchvision fetches and checks it), or a ``.pth`` state dict."""
        check_limits(score, max_detections)
        library = require("torchvision.models.detection", "maskrcnn_resnet50_fpn_v2")
        table = library.MaskRCNN_ResNet50_FPN_V2_Weights.COCO_V1
        path = Path(weights).expanduser() if str(weights) != "COCO_V1" else fetched(table, "Mask R-CNN")
        self._device = pick_device(device)
        self._model = _loaded(library, path, score, max_detections).to(self._device)
        # The 91 slots of COCO's ids hold 11 names that were never used.
        slots = table.meta["categories"]
        used = [slot for slot, name in enumerate(slots) if name not in ("__background__", "N/A")]
        self.class_names: tuple[str, ...] = tuple(slots[slot] for slot in used)
        self._label_of_slot = np.full(len(slots), -1, np.int64)
        self._label_of_slot[used] = np.arange(len(used))
        self.weights_sha256 = {path.name: sha256_of(path)}

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes, masks, labels and scores of each image, best first, as torchvision gives them."""
        import torch

        if not images:
            return []
        tensors = [
            torch.from_numpy(np.ascontiguousarray(image)).to(self._device).permute(2, 0, 1) / 255
            for image in images
        ]
        with torch.inference_mode():
            outputs = self._model(tensors)
        return [self._convert(output, image) for output, image in zip(outputs, images, strict=True)]

    def _convert(self, output: dict[str, Any], image: NDArray[np.uint8]) -> Detections:
        labels = self._label_of_slot[output["labels"].cpu().numpy()]
        boxes = box_maths.clip(output["boxes"].float().cpu().numpy(), image.shape[:2])
        masks = (output["masks"][:, 0] > 0.5).cpu().numpy()
        found = Detections(boxes, output["scores"].float().cpu().numpy(), labels, masks)
        return found.select(np.flatnonzero((labels >= 0) & (box_maths.area(boxes) > 0)))


def _loaded(library: Any, path: Path, score: float, max_detections: int) -> Any:
    import torch

    if not path.is_file():
        raise WeightsError(f"no file {path}; give a state dict of maskrcnn_resnet50_fpn_v2, or COCO_V1")
    model = library.maskrcnn_resnet50_fpn_v2(
        weights=None, weights_backbone=None, box_score_thresh=score, box_detections_per_img=max_detections
    )
    try:
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    except Exception as error:  # unpickling raises whatever it meets
        raise CheckpointError(f"{path} is no state dict of maskrcnn_resnet50_fpn_v2: {error}") from error
    return model.eval()
