"""Zoom refinement: small objects are decoded again from a crop at full resolution.

SAM sees a frame at 1024 pixels on its longer side and predicts masks at a quarter of that, so an object of 40
pixels in a 1080p frame is about five cells wide. A crop around it, embedded by itself, gives it the
network's whole resolution. This goes beyond the reference and costs one embedding per group of objects.

The crop's mask replaces the coarse one only where both speak of the same thing (IoU at least
``agreement``): without the rest of the frame the network sometimes takes a part for the whole.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.interfaces import MaskPredictor
from vis.renamed import renamed_arguments

__all__ = ["crop_around", "zoom_refine"]


@renamed_arguments(prior="iou_bias")
def zoom_refine(
    predictor: MaskPredictor,
    image: NDArray[np.uint8],
    boxes: Any,
    coarse_logits: NDArray[np.float32],
    *,
    largest: float = 0.25,
    margin: float = 0.5,
    agreement: float = 0.7,
    iou_bias: NDArray[np.float32] | None = None,
    **settings: Any,
) -> NDArray[np.bool_]:
    """Masks (N, H, W) of N objects, those of small ones decoded from crops.

    Args:
        predictor: a predictor; it embeds one crop per small object.
        image: the frame, RGB uint8 (H, W, 3).
        boxes: (N, 4) x0, y0, x1, y1 in frame pixels.
        coarse_logits: (N, s, s) ``low_res_logits`` of the same boxes on the whole frame.
        largest: objects whose longer side is above this share of the frame's longer side are left alone.
        margin: space around the box on each side, in box sides; context for the network.
        agreement: least IoU in [0, 1] between crop and coarse mask for the crop's to be taken.
        iou_bias: (N, 3), as in ``decode``.
        settings: for the predictor's ``decode``, such as ``best_of_three``.
    """
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    frame = (image.shape[0], image.shape[1])
    (masks,) = predictor.logits_to_masks(coarse_logits, frame)
    for row, box in enumerate(boxes):
        side = max(box[2] - box[0], box[3] - box[1])
        if side > largest * max(frame):
            continue
        x0, y0, x1, y1 = crop_around(box, frame, margin)
        embedding = predictor.embed(np.ascontiguousarray(image[y0:y1, x0:x1]))
        within = (box - np.array([x0, y0, x0, y0], np.float32))[None]
        finer = predictor.decode(
            embedding,
            boxes=within,
            iou_bias=None if iou_bias is None else iou_bias[row : row + 1],
            **settings,
        ).masks[0]
        # What the coarse mask has outside the crop cannot be seen from inside it, and stays.
        coarse = masks[row, y0:y1, x0:x1]
        union = int((finer | coarse).sum())
        if union and (finer & coarse).sum() >= agreement * union:
            masks[row, y0:y1, x0:x1] = finer
    return masks


def crop_around(box: NDArray[np.float32], frame: tuple[int, int], margin: float) -> tuple[int, int, int, int]:
    """x0, y0, x1, y1 of a square around ``box`` with ``margin`` sides of it all round, within the frame."""
    side = max(box[2] - box[0], box[3] - box[1]) * (1 + 2 * margin)
    span = []
    for low, high, length in ((box[0], box[2], frame[1]), (box[1], box[3], frame[0])):
        width = min(int(np.ceil(side)) + 1, length)
        start = int(np.floor((low + high - width) / 2))
        start = min(max(start, 0), length - width)
        span.append((start, start + width))
    (x0, x1), (y0, y1) = span
    return x0, y0, x1, y1
