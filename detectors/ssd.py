"""SSD MobileNetV2 (Liu et al. 2016; Sandler et al. 2018) of Open Images, a TFLite file: boxes of 23 classes.

A small network of 300 x 300 pixels. A frame that is clearly longer than high is looked at whole, and in the two
squares at its ends, where distant objects are larger; what the views find is merged by non-maximum suppression
across classes, since Vehicle and Car, or Table and Desk, mean the same thing. Knows no masks.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator, Sequence
from functools import lru_cache
from math import ceil, sqrt
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.onnx_session import default_threads, weights_file
from vis import boxes as box_maths
from vis.errors import CheckpointError, DependencyError, UsageError
from vis.structures import Detections
from vis.weights import sha256_of

__all__ = ["CLASS_NAMES", "PARTS", "Ssd", "anchors", "decode_boxes", "views"]

CLASS_NAMES = (
    "Bicycle",
    "Boot",
    "Laptop",
    "Person",
    "Chair",
    "Cattle",
    "Desk",
    "Cat",
    "Computer mouse",
    "Computer monitor",
    "Box",
    "Mug",
    "Coffee cup",
    "Stationary bicycle",
    "Table",
    "Bottle",
    "High heels",
    "Vehicle",
    "Footwear",
    "Dog",
    "Book",
    "Camera",
    "Car",
)
"""The file's own label map, in its order, without the background row before it."""
PARTS = ("Boot", "High heels", "Footwear")
"""Classes that are parts of a person: reported only when they are asked for by name."""

_SIDE = 300  # the network's input
_STRIDES = (16, 32, 64, 128, 256, 512)
_SCALES = (0.2, 0.95)  # of the first and the last layer, linear in between
_CENTRE_SCALE, _SIZE_SCALE = 10.0, 5.0  # variances of the box encoding
_LONG = 1.2  # from this aspect ratio on, a frame is looked at in squares too
_NESTED = 0.8  # share of a box inside a better one of its class from which on it is a part of that
_WEAK, _WEAK_IOU = (
    0.3,
    0.3,
)  # below this score, a box that overlaps a better one by so much is a guess at the same
_CUT = (
    0.02  # of a square's side: a box that ends so near to where the square cuts the frame is cut off itself
)

Float32 = NDArray[np.float32]
Crop = tuple[int, int, int, int]


class Ssd:
    """SSD MobileNetV2 on the CPU, by Google's LiteRT."""

    class_names: tuple[str, ...] = CLASS_NAMES

    def __init__(
        self,
        *,
        weights: str | Path = "ssd-openimages",
        score: float = 0.35,
        nms_iou: float = 0.5,
        classes: Sequence[str] = (),
        squares: bool = True,
        max_detections: int = 100,
        threads: int | None = None,
    ) -> None:
        """``weights``: the ``.tflite`` file, or a name of the weights table.

        ``score``: least class probability. ``nms_iou``: of two boxes that overlap more, the better stays,
        whatever their classes. ``classes``: the names to look for; none given means all but :data:`PARTS`.
        ``squares``: look at a long frame's two end squares as well.

        Raises :class:`DependencyError` where LiteRT is not installed, :class:`WeightsError` where the file
        cannot be had, :class:`CheckpointError` where it is another network.
        """
        if not 0 <= score <= 1 or not 0 <= nms_iou <= 1:
            raise UsageError(f"score {score} and nms_iou {nms_iou}: give values in [0, 1]")
        unknown = sorted(set(classes) - set(CLASS_NAMES))
        if unknown:
            raise UsageError(f"ssd: no class {unknown[0]!r}; known: {', '.join(CLASS_NAMES)}")
        path = weights_file(weights)
        self._network = _open(path, threads or default_threads())
        self.weights_sha256 = {path.name: sha256_of(path)}
        # Every class but parts competes for a box, whatever is reported: what looks like cattle is no dog.
        self._columns = np.array(
            [i for i, name in enumerate(CLASS_NAMES) if name in classes or name not in PARTS]
        )
        wanted = classes or [CLASS_NAMES[column] for column in self._columns]
        self._wanted = np.array([CLASS_NAMES.index(name) for name in wanted])
        self._score, self._nms_iou, self._max_detections = score, nms_iou, max_detections
        self._squares = squares

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes with label and score of each image, best first."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        size = (image.shape[0], image.shape[1])
        found = [self._look(image, crop) for crop in views(size, squares=self._squares)]
        boxes = np.concatenate([one.boxes for one in found])
        scores = np.concatenate([one.scores for one in found])
        labels = np.concatenate([one.labels for one in found])
        kept = box_maths.nms(boxes, scores, self._nms_iou)
        kept = kept[_no_second_guess(boxes[kept], scores[kept], labels[kept])]
        kept = kept[np.isin(labels[kept], self._wanted)][: self._max_detections]
        return Detections(boxes[kept], scores[kept], labels[kept])

    def _look(self, image: NDArray[np.uint8], crop: Crop) -> Detections:
        """What one view shows, in pixels of the frame; boxes that the view cuts off are left out."""
        x0, y0, x1, y1 = crop
        encodings, probabilities = self._network(image[y0:y1, x0:x1])
        probabilities = probabilities[:, 1:][:, self._columns]  # row 0 is the background
        best = probabilities.argmax(axis=1)
        scores = probabilities[np.arange(len(best)), best]
        keep = np.flatnonzero(scores >= self._score)
        boxes = decode_boxes(encodings[keep], anchors()[keep]).clip(0, 1)
        whole = ~_cut_off(boxes, crop, (image.shape[0], image.shape[1])) & (box_maths.area(boxes) > 0)
        keep, boxes = keep[whole], boxes[whole]
        boxes = boxes * np.array([x1 - x0, y1 - y0] * 2) + np.array([x0, y0] * 2)
        labels = self._columns[best[keep]].astype(np.int64)
        return Detections(boxes.astype(np.float32), scores[keep].astype(np.float32), labels)


def views(size: tuple[int, int], *, squares: bool = True) -> list[Crop]:
    """What is looked at of a frame of ``size`` (height, width): crops x0, y0, x1, y1, the whole frame first."""
    height, width = size
    side = min(size)
    whole: Crop = (0, 0, width, height)
    if not squares or max(size) < _LONG * side:
        return [whole]
    return [whole, (0, 0, side, side), (width - side, height - side, width, height)]


def _no_second_guess(boxes: Float32, scores: Float32, labels: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which boxes (N, 4), best first, are not another guess at what a better one shows.

    A box inside a better one of its class is a part of the same thing; a weak one that overlaps a better one is not
    sure enough to be something else.
    """
    common = box_maths.intersection(boxes, boxes)
    guess = (common >= _NESTED * box_maths.area(boxes)[:, None]) & (labels[:, None] == labels)
    guess |= (box_maths.iou(boxes, boxes) >= _WEAK_IOU) & (scores[:, None] < _WEAK)
    kept = np.ones(len(boxes), bool)
    for row in range(1, len(boxes)):
        kept[row] = not (guess[row, :row] & kept[:row]).any()
    return kept


def _cut_off(boxes: Float32, crop: Crop, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Which boxes (N, 4), in shares of the crop's sides, end where the crop cuts the frame."""
    inner = np.array(crop) != (0, 0, size[1], size[0])
    ends = np.concatenate([boxes[:, :2] < _CUT, boxes[:, 2:] > 1 - _CUT], axis=1)
    cut: NDArray[np.bool_] = (ends & inner).any(axis=1)
    return cut


@lru_cache(maxsize=1)
def anchors() -> Float32:
    """(1917, 4): centre y, centre x, height, width in shares of the view, as the network was trained with.

    Six layers of ever coarser cells. Each cell has boxes of its layer's scale in five aspect ratios and a square
    of the scale between this layer and the next; the first layer has three, so that small boxes stay few.
    """
    scales = [*np.linspace(*_SCALES, len(_STRIDES)).tolist(), 1.0]
    layers = []
    for layer, stride in enumerate(_STRIDES):
        cells = ceil(_SIDE / stride)
        shapes = [(scales[layer], ratio) for ratio in (1, 2, 1 / 2, 3, 1 / 3)]
        shapes.append((sqrt(scales[layer] * scales[layer + 1]), 1))
        if layer == 0:
            shapes = [(0.1, 1), (scales[0], 2), (scales[0], 1 / 2)]
        sizes = np.array([(scale / sqrt(ratio), scale * sqrt(ratio)) for scale, ratio in shapes])
        middle = (np.arange(cells) + 0.5) / cells
        centres = np.stack(np.meshgrid(middle, middle, indexing="ij"), axis=-1).reshape(-1, 1, 2)
        grid = np.broadcast_to(centres, (cells**2, len(shapes), 2))
        layers.append(np.concatenate([grid, np.broadcast_to(sizes, grid.shape)], axis=-1).reshape(-1, 4))
    return np.concatenate(layers).astype(np.float32)


def decode_boxes(encodings: Float32, anchor: Float32) -> Float32:
    """Network rows (N, 4: y, x, height, width) and their anchors -> (N, 4) x0, y0, x1, y1 in the anchors' unit.

    Faster R-CNN's box encoding (Ren et al. 2015, equation 2), centres scaled by 10 and log sizes by 5.
    """
    centre = encodings[:, :2] / _CENTRE_SCALE * anchor[:, 2:] + anchor[:, :2]
    half = np.exp(encodings[:, 2:] / _SIZE_SCALE) * anchor[:, 2:] / 2
    corners = np.concatenate([centre - half, centre + half], axis=1)
    return np.asarray(corners[:, [1, 0, 3, 2]], np.float32)


class _Network:
    """A picture of any size in, (1917, 4) box encodings and (1917, 24) class probabilities out."""

    def __init__(self, interpreter: Any, boxes: int, classes: int) -> None:
        self._interpreter = interpreter
        self._input = interpreter.get_input_details()[0]["index"]
        self._boxes, self._classes = boxes, classes
        self._lock = threading.Lock()  # LiteRT's interpreter serves one thread at a time

    def __call__(self, picture: NDArray[np.uint8]) -> tuple[Float32, Float32]:
        import cv2

        shrinks = min(picture.shape[:2]) > _SIDE
        small = cv2.resize(
            picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        )
        with self._lock:
            self._interpreter.set_tensor(self._input, small.astype(np.float32)[None] / 127.5 - 1)
            self._interpreter.invoke()
            boxes, logits = (self._interpreter.get_tensor(index)[0] for index in (self._boxes, self._classes))
        return boxes, 1 / (1 + np.exp(-logits))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what native code prints from the terminal: LiteRT tells of its back end, and has no switch for it."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no standard error
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _open(path: Path, threads: int) -> _Network:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise DependencyError(
            f"detector ssd needs LiteRT, which this Python does not have ({error}): `pip install ai-edge-litert`. "
            "It has wheels for Python 3.10 to 3.13 on Linux (x86-64, arm), macOS (arm) and Windows; elsewhere choose "
            "another detector: --detector salient"
        ) from error
    try:
        with _quiet():
            interpreter = Interpreter(model_path=str(path), num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        raise CheckpointError(f"{path} is not a TFLite model that LiteRT can run: {error}") from error
    inputs = [tuple(one["shape"]) for one in interpreter.get_input_details()]
    outputs = {tuple(one["shape"]): one["index"] for one in interpreter.get_output_details()}
    boxes, classes = (1, len(anchors()), 4), (1, len(anchors()), 1 + len(CLASS_NAMES))
    if inputs != [(1, _SIDE, _SIDE, 3)] or boxes not in outputs or classes not in outputs:
        raise CheckpointError(
            f"{path}: expected an input (1, {_SIDE}, {_SIDE}, 3) and outputs {boxes} and {classes} like SSD "
            f"MobileNetV2's of Open Images, it has {inputs} and {sorted(outputs)}"
        )
    return _Network(interpreter, outputs[boxes], outputs[classes])
