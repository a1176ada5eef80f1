"""Frozen features on disk, so that training a head on a CPU is practical.

One file per view: the image embedding and the early feature, and for every object the frozen decoder's
results on a crop of the mask grid around it. Half precision: the head sees features with 11 bits, which
is finer than the noise that compression puts into a video. About 3.3 MB per view and 1-2 MB per object.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vis.files import whole_file
from vis.hqsam.resize import network_size
from vis.masks import extent
from vis.training.frozen import EmbeddedImage, FrozenSam
from vis.training.prompts import Prompt, sample_prompt
from vis.training.samples import HeadSample, cropped
from vis.training.views import View

__all__ = ["cache_view", "cropped_sample", "grid_crop", "load_view", "on_network", "save_view"]

_MARGIN = 0.3
"""Around an object's box, as a share of its longer side."""


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
def cache_view(frozen: FrozenSam, view: View, rng: np.random.Generator) -> dict[str, Any]:
    """Everything the head needs of a view, as :func:`save_view` writes it."""
    embedded = frozen.embed(view.image)
    objects = []
    for mask in view.masks:
        prompt = sample_prompt(mask, rng, mask_side=frozen.side // 4)
        crop, sample = cropped_sample(frozen, embedded, mask, prompt)
        objects.append(
            {
                "crop": crop,
                "upscaled": sample.upscaled.half().clone(),
                "sam_logits": sample.sam_logits.half().clone(),
                "hf_token": sample.hf_token.clone(),
                "probability": sample.probability.clone(),
                "pixel_weight": sample.pixel_weight.clone(),
                "kind": sample.kind,
            }
        )
    return {"features": embedded.features[0].half(), "early": embedded.early[0].half(), "objects": objects}


def cropped_sample(
    frozen: FrozenSam, embedded: EmbeddedImage, mask: NDArray[np.bool_], prompt: Prompt
) -> tuple[tuple[int, int, int, int], HeadSample]:
    """The crop in mask cells, and one prompted object on it."""
    out = frozen.decode(embedded, prompt)
    truth, weight = on_network(mask, frozen.side)
    height, width = network_size(embedded.frame_size, frozen.side)
    crop = grid_crop(_extent(truth), (-(-height // 4), -(-width // 4)), _MARGIN)
    whole = HeadSample(
        embedded.features[0],
        embedded.early[0],
        out.upscaled,
        out.sam_logits,
        out.hf_token,
        torch.from_numpy(truth),
        torch.from_numpy(weight),
        prompt.kind,
    )
    return crop, cropped(whole, *crop)


def on_network(mask: NDArray[np.bool_], side: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Truth (255 is the object) and weight (side, side) at the network's input size; the padding has weight 0."""
    import cv2

    size = (mask.shape[0], mask.shape[1])
    height, width = network_size(size, side)
    truth, weight = np.zeros((side, side), np.uint8), np.zeros((side, side), np.uint8)
    how = cv2.INTER_AREA if width < size[1] else cv2.INTER_LINEAR
    truth[:height, :width] = cv2.resize(
        mask.astype(np.uint8) * np.uint8(255), (width, height), interpolation=how
    )
    weight[:height, :width] = 255
    return truth, weight


def save_view(path: Path, view: dict[str, Any]) -> None:
    """Write one view's file whole."""
    with whole_file(path) as part:
        torch.save(view, part)


def load_view(path: Path) -> list[HeadSample]:
    """The objects of one view's file."""
    view = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    objects = []
    for item in view["objects"]:
        x0, y0, x1, y1 = (v // 4 for v in item.pop("crop"))
        maps = {name: view[name][:, y0:y1, x0:x1] for name in ("features", "early")}
        if "trust" in item:  # its name until version 0.1
            item["pixel_weight"] = item.pop("trust")
        objects.append(HeadSample(**maps, **item))
    return objects


def _extent(truth: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Box of the true mask in mask cells; the whole grid when it is empty."""
    return np.array(extent(truth > 127) or (0, 0, truth.shape[1], truth.shape[0]), np.float32) / np.float32(4)
