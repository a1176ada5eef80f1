"""A mask model that knows flat colours, a detector of coloured things, and pictures for both: no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from vis.mask_prediction import LowResMasks, MaskPrediction
from vis.prompts import check_prompts
from vis.structures import Detections

SIZE = (96, 128)
COLOURS = {"person": (230, 40, 40), "dog": (40, 60, 230)}
SIDE = 64


class ColourModel:
    """The pixels of the prompted colour (within the box); guesses at a click are that region, shrunk or grown."""

    mask_side = SIDE

    def __init__(self, stop_after: int | None = None) -> None:
        self.embedded = 0
        self.stop_after = stop_after
        """Ctrl-C comes on the image after this many."""

    def describe(self) -> dict[str, Any]:
        return {"network": "colours", "size": "none", "mode": "exact", "device": "cpu"}

    def embed(self, image: np.ndarray) -> np.ndarray:
        if self.embedded == self.stop_after:
            raise KeyboardInterrupt
        self.embedded += 1
        return image

    def _masks(self, image: np.ndarray, prompts: Any) -> np.ndarray:
        """bool (N, 4, H, W)."""
        out = []
        for row in range(prompts.count):
            inside = np.zeros(image.shape[:2], bool)
            if prompts.boxes is not None:
                x0, y0, x1, y1 = (round(float(v)) for v in prompts.boxes[row])
                inside[max(y0, 0) : y1, max(x0, 0) : x1] = True
                seed = (min((y0 + y1) // 2, SIZE[0] - 1), min((x0 + x1) // 2, SIZE[1] - 1))
            elif prompts.points is not None:
                inside[:] = True
                x, y = (int(v) for v in prompts.points[row][0])
                seed = (min(y, image.shape[0] - 1), min(x, image.shape[1] - 1))
            else:
                inside[:] = True
                rows, columns = np.nonzero(prompts.masks[row] > 0)
                scale = max(image.shape[:2]) / SIDE
                seed = int(np.median(rows) * scale), int(np.median(columns) * scale)
            alike = (image == image[seed]).all(axis=2) & inside
            _, regions = cv2.connectedComponents(alike.astype(np.uint8))
            mask = (regions == regions[seed]) & alike
            kernel = np.ones((3, 3), np.uint8)
            less, more = (change(mask.astype(np.uint8), kernel) > 0 for change in (cv2.erode, cv2.dilate))
            most = cv2.dilate(mask.astype(np.uint8), kernel, iterations=3) > 0
            out.append(np.stack([mask, less, more, most]))
        return np.array(out).reshape(-1, 4, *image.shape[:2])

    def decode(self, embedding: np.ndarray, **given: Any) -> MaskPrediction:
        asked = {name: given.pop(name, False) for name in ("multimask", "best_of_three")}
        given.pop("iou_bias", None)
        masks = self._masks(embedding, check_prompts(embedding.shape[:2], SIDE, **given))
        scores = np.tile(np.array([0.9, 0.5, 0.8, 0.7], np.float32), (len(masks), 1))
        chosen: Any = slice(1, 4) if asked["multimask"] else 0
        logits = np.zeros((len(masks), SIDE, SIDE), np.float32)
        return MaskPrediction(masks[:, chosen], scores[:, chosen], logits)

    def predict_masks(self, embedding: np.ndarray, prompts: Any, masks: slice, **_: Any) -> Any:
        found = self._masks(embedding, prompts)[:, masks]
        scale = SIDE / max(embedding.shape[:2])
        inner = round(embedding.shape[1] * scale), round(embedding.shape[0] * scale)
        for row, some in enumerate(found):
            logits = np.full((len(some), SIDE, SIDE), -9, np.float32)
            for target, mask in zip(logits, some, strict=True):
                small = cv2.resize(mask.astype(np.float32), inner, interpolation=cv2.INTER_LINEAR)
                target[: inner[1], : inner[0]] = 18 * small - 9
            scores = torch.tensor([[0.9, 0.5 + row % 7 / 50, 0.8, 0.7]])
            yield LowResMasks([row], torch.from_numpy(logits)[None], None, scores)

    def logits_to_masks(self, logits: Any, frame_size: tuple[int, int], *, levels: Any = (0.0,)) -> Any:
        scale = SIDE / max(frame_size)
        inner = round(frame_size[0] * scale), round(frame_size[1] * scale)
        full = [
            cv2.resize(np.asarray(one)[: inner[0], : inner[1]], frame_size[::-1])
            for one in np.asarray(logits)
        ]
        return tuple(np.stack(full) > level for level in levels)


class ColourDetector:
    """Boxes of the things that have a known colour, a pixel too large."""

    class_names = tuple(COLOURS)

    def __init__(self, **_: Any) -> None:
        pass

    def detect(self, images: Any) -> list[Detections]:
        return [self._detect(image) for image in images]

    def _detect(self, image: np.ndarray) -> Detections:
        boxes, labels, masks = [], [], []
        for label, colour in enumerate(COLOURS.values()):
            count, regions, stats, _ = cv2.connectedComponentsWithStats(
                (image == colour).all(axis=2).astype(np.uint8)
            )
            for k in range(1, count):
                x, y, w, h = stats[k, :4].tolist()
                boxes.append([max(x - 1, 0), max(y - 1, 0), x + w + 1, y + h + 1])
                labels.append(label)
                masks.append(regions == k)
        if not boxes:
            return Detections.empty()
        scores = 0.9 - 0.05 * np.arange(len(boxes))
        embeddings = np.eye(4, dtype=np.float32)[: len(boxes)]
        return Detections(boxes, scores.tolist(), labels, np.stack(masks), embeddings=embeddings)


def picture(seed: int) -> tuple[np.ndarray, list[tuple[str, np.ndarray]]]:
    """RGB (96, 128, 3) with a person and one or two dogs that do not touch, and their names and masks."""
    rng = np.random.default_rng(seed)
    image = np.full((*SIZE, 3), 128, np.uint8)
    things = []
    for column, name in enumerate(["person", "dog", "dog"][: 2 + seed % 2]):
        x, y = column * 42 + int(rng.integers(1, 6)), int(rng.integers(2, 20))
        w, h = int(rng.integers(12, 34)), int(rng.integers(12, 70))
        mask = np.zeros(SIZE, bool)
        mask[y : y + h, x : x + w] = True
        if seed % 3 == 0:
            mask[y : y + 3, x : x + 3] = False
        image[mask] = COLOURS[name]
        things.append((name, mask))
    return image, things


def write_image(path: Path, image: np.ndarray) -> None:
    """As PNG whatever the name says, so that colours stay flat."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        Image.fromarray(image).save(file, format="PNG")


def write_set(truth: Path, images: Path, count: int = 3, *, lvis: bool = False, pooled: bool = False) -> None:
    """Annotations and images in COCO's layout, in LVIS' (``lvis``), or of one class (``pooled``)."""
    import json

    from vis import masks

    names = ["object"] if pooled else list(COLOURS)
    data: dict[str, Any] = {"images": [], "annotations": []}
    data["categories"] = [{"id": 3 + 2 * k, "name": name} for k, name in enumerate(names)]
    if lvis:
        for category, frequency in zip(data["categories"], "fr", strict=True):
            category["frequency"] = frequency
    for number in range(1, count + 1):
        image, things = picture(number)
        name = f"{number:012d}.jpg"
        write_image(images / name, image)
        row: dict[str, Any] = {"id": number, "height": SIZE[0], "width": SIZE[1]}
        if lvis:
            row["coco_url"] = f"http://images.cocodataset.org/{images.name}/{name}"
            row |= {"neg_category_ids": [], "not_exhaustive_category_ids": []}
        else:
            row["file_name"] = name
        data["images"].append(row)
        for thing, mask in things:
            data["annotations"].append(
                {
                    "id": len(data["annotations"]) + 1,
                    "image_id": number,
                    "category_id": 3 if pooled else 3 + 2 * names.index(thing),
                    "area": int(mask.sum()),
                    "bbox": _bbox(mask),
                    "segmentation": masks.to_coco(masks.encode(mask)),
                    **({} if lvis else {"iscrowd": 0}),
                }
            )
    truth.parent.mkdir(parents=True, exist_ok=True)
    truth.write_text(json.dumps(data))


def _bbox(mask: np.ndarray) -> list[int]:
    rows, columns = np.nonzero(mask)
    x, y = int(columns.min()), int(rows.min())
    return [x, y, int(columns.max()) + 1 - x, int(rows.max()) + 1 - y]
