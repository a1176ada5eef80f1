"""Frozen features on disk, so that training a head on a processor is practical.

One file per view: the image embedding and the early feature, and for every object the frozen decoder's
results on a crop of the mask grid around it. Half precision: the head sees features with 11 bits, which
is finer than the noise that compression puts into a video. About 3.3 MB per view and 1-2 MB per object.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vis.files import whole_file
from vis.hqsam.predictor import network_size
from vis.training.frozen import FrozenSam
from vis.training.prompts import Prompt, sample_prompt
from vis.training.samples import HeadSample
from vis.training.views import View

__all__ = ["cache_view", "grid_crop", "load_view", "save_view"]


def grid_crop(box: NDArray[np.float32], cells: tuple[int, int], margin: float) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 in mask cells around a box in mask cells: multiples of 4, inside (height, width)."""
    pad = margin * max(box[2] - box[0], box[3] - box[1]) + 6
    limit = (-(-cells[1] // 4) * 4, -(-cells[0] // 4) * 4)
    x0 = max(0, int((box[0] - pad) // 4 * 4))
    y0 = max(0, int((box[1] - pad) // 4 * 4))
    x1 = min(limit[0], int(-(-(box[2] + pad) // 4) * 4))
    y1 = min(limit[1], int(-(-(box[3] + pad) // 4) * 4))
    return x0, y0, x1, y1


@torch.no_grad()
def cache_view(
    frozen: FrozenSam,
    view: View,
    rng: np.random.Generator,
    *,
    prompts: Sequence[Prompt] | None = None,
    margin: float = 0.3,
) -> dict[str, Any]:
    """Everything the head needs of a view. ``prompts``: one per target; drawn from ``rng`` when None."""
    import cv2

    embedded = frozen.embed(view.image)
    side = frozen.side
    height, width = network_size(embedded.frame_size, side)
    objects = []
    for i, (probability, trust) in enumerate(view.targets):
        mask = probability > 127
        prompt = prompts[i] if prompts else sample_prompt(mask, rng, mask_side=side // 4)
        out = frozen.decode(
            embedded,
            boxes=None if prompt.box is None else prompt.box[None],
            points=None if prompt.points is None else prompt.points[None],
            point_labels=None if prompt.labels is None else prompt.labels[None],
            masks=None if prompt.mask is None else prompt.mask[None],
        )
        truth = np.zeros((side, side), np.uint8)
        weight = np.zeros((side, side), np.uint8)
        shrinking = width < mask.shape[1]
        how = cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
        truth[:height, :width] = cv2.resize(probability, (width, height), interpolation=how)
        weight[:height, :width] = cv2.resize(trust, (width, height), interpolation=cv2.INTER_NEAREST)
        where = _extent(truth)
        x0, y0, x1, y1 = grid_crop(where, (-(-height // 4), -(-width // 4)), margin)
        objects.append(
            {
                "crop": (x0, y0, x1, y1),
                "upscaled": out.upscaled[0, :, y0:y1, x0:x1].half().clone(),
                "sam_logits": out.sam_logits[0, 0, y0:y1, x0:x1].half().clone(),
                "hf_token": out.hf_token[0].clone(),
                "probability": torch.from_numpy(truth[4 * y0 : 4 * y1, 4 * x0 : 4 * x1].copy()),
                "trust": torch.from_numpy(weight[4 * y0 : 4 * y1, 4 * x0 : 4 * x1].copy()),
                "kind": prompt.kind,
            }
        )
    return {"features": embedded.features[0].half(), "early": embedded.early[0].half(), "objects": objects}


def save_view(path: Path, view: dict[str, Any]) -> None:
    """Write one view's file whole."""
    with whole_file(path) as part:
        torch.save(view, part)


def load_view(path: Path) -> list[HeadSample]:
    """The objects of one view's file."""
    view = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    objects = []
    for item in view["objects"]:
        x0, y0, x1, y1 = (v // 4 for v in item["crop"])
        objects.append(
            HeadSample(
                view["features"][:, y0:y1, x0:x1],
                view["early"][:, y0:y1, x0:x1],
                item["upscaled"],
                item["sam_logits"],
                item["hf_token"],
                item["probability"],
                item["trust"],
                item["kind"],
            )
        )
    return objects


def _extent(truth: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Box of the true mask in mask cells; the whole grid when it is empty."""
    rows, cols = np.flatnonzero((truth > 127).any(1)), np.flatnonzero((truth > 127).any(0))
    if not len(rows):
        return np.array([0, 0, truth.shape[1] / 4, truth.shape[0] / 4], np.float32)
    return np.array([cols[0] / 4, rows[0] / 4, (cols[-1] + 1) / 4, (rows[-1] + 1) / 4], np.float32)
