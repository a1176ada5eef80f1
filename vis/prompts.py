"""Checks of images and prompts at the border, so that nothing wrong reaches the network silently."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import InputError, PromptError

__all__ = ["Prompts", "check_bias", "check_image", "check_prompts"]


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts of N objects, checked, in frame pixels."""

    count: int
    boxes: NDArray[np.float32] | None
    points: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    masks: NDArray[np.float32] | None


def check_image(image: object) -> NDArray[np.uint8]:
    """The image as it came, if it is RGB uint8 (H, W, 3); else InputError that says what to do."""
    if not isinstance(image, np.ndarray):
        raise InputError(f"image: expected a numpy array uint8 (H, W, 3), got {type(image).__name__}")
    if image.ndim != 3 or image.shape[2] != 3:
        raise InputError(
            f"image: expected three channels (H, W, 3) in RGB order, got shape {image.shape}; "
            "repeat a grey image three times, or drop the alpha channel"
        )
    if image.dtype != np.uint8:
        raise InputError(
            f"image: expected uint8 with values 0-255, got {image.dtype}; "
            "multiply by 255 if it is scaled to [0, 1], then round and convert with .astype(numpy.uint8)"
        )
    if 0 in image.shape:
        raise InputError(f"image: is empty, shape {image.shape}")
    return image


def check_prompts(
    size: tuple[int, int],
    mask_side: int,
    *,
    boxes: Any = None,
    points: Any = None,
    point_labels: Any = None,
    masks: Any = None,
) -> Prompts:
    """Prompts for a frame of ``size`` (height, width) as float32 arrays; PromptError when they make none."""
    if boxes is None and points is None and masks is None:
        raise PromptError("no prompt: give boxes (N, 4), points (N, K, 2) with point_labels, or masks")
    counts = {}
    if boxes is not None:
        boxes = _check_boxes(boxes, size)
        counts["boxes"] = len(boxes)
    if points is not None:
        points, point_labels = _check_points(points, point_labels)
        counts["points"] = len(points)
    elif point_labels is not None:
        raise PromptError("point_labels were given without points")
    if masks is not None:
        masks = _check_masks(masks, mask_side)
        counts["masks"] = len(masks)
    if len(set(counts.values())) > 1:
        given = ", ".join(f"{n} {name}" for name, n in counts.items())
        raise PromptError(f"one prompt of each kind per object is expected, got {given}")
    return Prompts(next(iter(counts.values())), boxes, points, point_labels, masks)


def check_bias(iou_bias: Any, count: int, best_of_three: bool) -> NDArray[np.float32] | None:
    """What is added to the scores of three masks, as float32 (N, 3) or None; PromptError where it is neither."""
    if iou_bias is None:
        return None
    if not best_of_three:
        raise PromptError("iou_bias: it helps to choose among three masks; give best_of_three=True with it")
    try:
        checked = np.asarray(iou_bias, np.float32)
    except (TypeError, ValueError):
        checked = np.zeros(0, np.float32)
    if checked.shape != (count, 3) or not np.isfinite(checked).all():
        raise PromptError(
            f"iou_bias: expected finite numbers ({count}, 3), one for each of three masks of each object, got "
            f"{checked.shape if checked.size else type(iou_bias).__name__}"
        )
    return checked


def _as_float(name: str, value: Any, shape: str, ndim: int, last: int | None) -> NDArray[np.float32]:
    try:
        array = np.asarray(value, np.float32)
    except (TypeError, ValueError) as error:
        raise PromptError(
            f"{name}: expected numbers {shape}, got {type(value).__name__} ({error})"
        ) from error
    if array.size == 0 and ndim == 2 and array.ndim == 1:
        array = array.reshape(0, 4)  # an empty list of boxes is no objects, not an error
    if array.ndim != ndim or (last is not None and array.shape[-1] != last):
        raise PromptError(f"{name}: expected shape {shape}, got {array.shape}")
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1) if len(array) else np.zeros(0, bool)
    if bad.any():
        raise PromptError(
            f"{name}: row {int(bad.argmax())} is not finite: {array[bad.argmax()].tolist()!r:.80}"
        )
    return array


def _check_boxes(value: Any, size: tuple[int, int]) -> NDArray[np.float32]:
    boxes = _as_float("boxes", value, "(N, 4) x0, y0, x1, y1 in pixels", 2, 4)
    height, width = size
    x0, y0, x1, y1 = boxes.T
    flat = (x1 <= x0) | (y1 <= y0)
    if flat.any():
        row = int(flat.argmax())
        raise PromptError(
            f"boxes: row {row} {boxes[row].tolist()} has no area; expected x0 < x1 and y0 < y1 "
            "(corners, not x, y, width, height)"
        )
    outside = (x1 <= 0) | (y1 <= 0) | (x0 >= width) | (y0 >= height)
    if outside.any():
        row = int(outside.argmax())
        raise PromptError(
            f"boxes: row {row} {boxes[row].tolist()} lies outside the frame of {width}x{height} pixels; "
            "drop it, or check that boxes are in pixels of this frame"
        )
    return boxes


def _check_points(points: Any, labels: Any) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    xy = _as_float("points", points, "(N, K, 2) x, y in pixels", 3, 2)
    if labels is None:
        raise PromptError("points: point_labels (N, K) are missing; 1 is inside the object, 0 outside it")
    marks = np.asarray(labels)
    if marks.shape != xy.shape[:2]:
        raise PromptError(f"point_labels: expected shape {xy.shape[:2]} for these points, got {marks.shape}")
    if not np.isin(marks, (-1, 0, 1)).all():
        raise PromptError("point_labels: expected 1 (inside), 0 (outside) or -1 (no point, to fill rows up)")
    return xy, marks.astype(np.int64)


def _check_masks(value: Any, side: int) -> NDArray[np.float32]:
    masks = _as_float("masks", value, f"(N, {side}, {side}) logits", 3, side)
    if masks.shape[1] != side:
        raise PromptError(f"masks: expected low-resolution logits (N, {side}, {side}), got {masks.shape}")
    return masks
