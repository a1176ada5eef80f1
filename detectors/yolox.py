"""YOLOX (Ge et al. 2021) from any of its ONNX exports: boxes of 80 COCO classes, or of your own.

Input size, strides and whether the grid is already decoded are read from the model. Knows no masks.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.coco import COCO_NAMES
from detectors.onnx_session import open_session, weights_file
from vis import boxes as box_maths
from vis.errors import CheckpointError, UsageError
from vis.structures import Detections
from vis.weights import sha256_of

__all__ = ["Yolox", "decode_grid", "letterbox"]

PAD = 114  # the grey that YOLOX was trained to see around a picture
_STRIDES = ((8, 16, 32), (8, 16, 32, 64))


class Yolox:
    """A YOLOX ONNX export on the CPU."""

    def __init__(
        self,
        *,
        weights: str | Path = "yolox-nano",
        score: float = 0.25,
        nms_iou: float = 0.45,
        class_aware: bool = True,
        class_names: Sequence[str] | None = None,
        max_detections: int = 300,
        threads: int | None = None,
    ) -> None:
        """``weights``: an ``.onnx`` file, or a name of the weights table.

        ``score``: least objectness times class probability. ``nms_iou``: of two boxes that overlap
        more, the better stays; with ``class_aware`` only within a class. ``class_names``: for
        exports of other classes than COCO's.
        """
        if not 0 <= score <= 1 or not 0 <= nms_iou <= 1:
            raise UsageError(f"score {score} and nms_iou {nms_iou}: give values in [0, 1]")
        path = weights_file(weights)
        self._session = open_session(path, threads=threads)
        self._input = self._session.get_inputs()[0]
        self.input_size = _input_size(self._input.shape, path)
        self.weights_sha256 = {path.name: sha256_of(path)}
        self._names = None if class_names is None else tuple(class_names)
        self._score, self._nms_iou, self._class_aware = score, nms_iou, class_aware
        self._max_detections = max_detections
        classes = self._session.get_outputs()[0].shape[-1]
        self._check_names(classes - 5 if isinstance(classes, int) else len(COCO_NAMES), path)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        assert self._names is not None
        return self._names

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes with label and score of each image, best first."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        blob, scale = letterbox(image, self.input_size)
        output = self._session.run(None, {self._input.name: blob})[0]
        rows = decode_grid(np.asarray(output, np.float32)[0], self.input_size)
        scores = rows[:, 5:] * rows[:, 4:5]
        labels = scores.argmax(axis=1)
        best = scores[np.arange(len(scores)), labels].clip(0, 1)
        keep = np.flatnonzero(best >= self._score)
        boxes = _corners(rows[keep, :4]) / scale
        labels, best = labels[keep].astype(np.int64), best[keep]
        kept = box_maths.nms(boxes, best, self._nms_iou, labels if self._class_aware else None)
        kept = kept[: self._max_detections]
        boxes = box_maths.clip(boxes[kept], image.shape[:2]).astype(np.float32)
        found = Detections(boxes, best[kept].astype(np.float32), labels[kept])
        return found.select(box_maths.area(boxes) > 0)

    def _check_names(self, count: int, path: Path) -> None:
        if self._names is None:
            self._names = (
                COCO_NAMES if count == len(COCO_NAMES) else tuple(f"class {i}" for i in range(count))
            )
        if len(self._names) != count:
            raise UsageError(f"{path} tells {count} classes apart, but class_names has {len(self._names)}")


def letterbox(image: NDArray[np.uint8], size: tuple[int, int]) -> tuple[NDArray[np.float32], float]:
    """The picture scaled into the upper left of a grey canvas: float32 (1, 3, h, w), BGR 0-255.

    Also gives the scale: pixels of the canvas per pixel of the picture.
    """
    import cv2

    height, width = image.shape[:2]
    scale = min(size[0] / height, size[1] / width)
    inner = (max(1, int(width * scale)), max(1, int(height * scale)))
    canvas = np.full((*size, 3), PAD, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(image, inner, interpolation=cv2.INTER_LINEAR)
    blob = canvas[:, :, ::-1].transpose(2, 0, 1)[None]
    return np.ascontiguousarray(blob, np.float32), scale


def decode_grid(output: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Network rows (A, 5 + C) -> the same with centre x, centre y, width, height in input pixels.

    A cell of stride s at column i, row j predicts (dx, dy, log w, log h): centre (i + dx, j + dy) s,
    size (w, h) s. Exports made with ``--decode_in_inference`` hold pixels already: their widths and
    heights are all positive, while among thousands of logarithms some are negative.
    """
    for strides in _STRIDES:
        grids = [(size[0] // s, size[1] // s, s) for s in strides]
        if sum(rows * columns for rows, columns, _ in grids) == len(output):
            break
    else:
        raise CheckpointError(
            f"{len(output)} rows of output do not fit an input of {size[0]}x{size[1]} with strides 8, 16, 32 "
            "(and 64): not a plain YOLOX export"
        )
    if (output[:, 2:4] > 0).all():
        return output
    columns = np.concatenate([np.tile(np.arange(w), h) for h, w, _ in grids])
    rows = np.concatenate([np.repeat(np.arange(h), w) for h, w, _ in grids])
    stride = np.concatenate([np.full(h * w, s) for h, w, s in grids])[:, None].astype(np.float32)
    decoded = output.copy()
    decoded[:, :2] = (output[:, :2] + np.stack([columns, rows], axis=1)) * stride
    decoded[:, 2:4] = np.exp(output[:, 2:4]) * stride
    return decoded


def _corners(centred: NDArray[np.float32]) -> NDArray[np.float32]:
    half = centred[:, 2:] / 2
    return np.concatenate([centred[:, :2] - half, centred[:, :2] + half], axis=1)


def _input_size(shape: Sequence[Any], path: Path) -> tuple[int, int]:
    """(height, width) of the model's input; 640 where the export left it open."""
    if len(shape) != 4 or shape[1] not in (3, "3"):
        raise CheckpointError(f"{path}: expected one input of shape [1, 3, h, w], it has {list(shape)}")
    height, width = (side if isinstance(side, int) else 640 for side in shape[2:])
    return height, width
