"""Three pictures, two clips and their annotations, laid out as docs/papers.md lays out the papers' data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat
from scipy.ndimage import binary_erosion

from vis import masks
from vis.formats import ytvis_set
from vis.structures import Tube, VideoInfo, VideoResult


def write_all(data: Path, colour_model: Any) -> None:
    """Every set of the page, of the pictures of ``colour_model``."""
    _pairs(colour_model, data / "DIS5K" / "DIS-VD", "im", "gt")
    thin = data / "thin_object_detection"
    _pairs(colour_model, thin / "COIFT", "images", "masks")
    _pairs(colour_model, thin / "HRSOD", "images", "masks_max255")
    _pairs(colour_model, thin / "ThinObject5K", "images_test", "masks_test")
    for folder in ("wheels", "animals"):
        _pairs(colour_model, data / "suite", f"images/{folder}", f"masks/{folder}")
    _pairs(colour_model, data / "MIAP", "images", "masks")
    groups = {f"{number:05d}": ("feminine", "masculine")[number % 2] for number in (1, 2, 3)}
    (data / "MIAP" / "groups.json").write_text(json.dumps(groups))
    for number in (1, 2, 3):
        image, things = colour_model.picture(number)
        place = data / "BIG" / "test" / f"big{number}"
        colour_model.write_image(place.with_name(place.name + "_im.jpg"), image)
        colour_model.write_image(place.with_name(place.name + "_gt.png"), _grey(things[0][1]))
        coarse = np.roll(things[0][1], 2, axis=1)
        colour_model.write_image(data / "BIG" / "pspnet" / f"big{number}_seg.png", _grey(coarse))
    coco = data / "coco"
    colour_model.write_set(coco / "annotations" / "instances_val2017.json", coco / "val2017")
    colour_model.write_set(data / "lvis" / "lvis_v1_val.json", coco / "train2017", lvis=True)
    colour_model.write_set(
        data / "UVO" / "FrameSet" / "UVO_frame_val.json",
        data / "UVO" / "uvo_videos_sparse_frames",
        pooled=True,
    )
    elephants = data / "seginw" / "Elephants" / "valid"
    colour_model.write_set(elephants / "_annotations_min1cat.coco.json", elephants)
    for place in (data / "lvis" / "vitdet_h.json", data / "UVO" / "boxes.json"):
        place.write_text(json.dumps(_boxes(colour_model)))
    colour_model.write_image(data / "photo" / "street.png", colour_model.picture(1)[0])
    for number in (1, 2, 3):
        image, things = colour_model.picture(number)
        colour_model.write_image(data / "BSDS500" / "images" / "test" / f"{number}.jpg", image)
        truth = data / "BSDS500" / "groundTruth" / "test" / f"{number}.mat"
        truth.parent.mkdir(parents=True, exist_ok=True)
        cell = np.array([[{"Boundaries": _outline(things[0][1])}]], object)
        savemat(truth, {"groundTruth": cell}, do_compression=True)
    _videos(colour_model, data)


def _pairs(colour_model: Any, root: Path, images: str, masks: str) -> None:
    for number in (1, 2, 3):
        image, things = colour_model.picture(number)
        colour_model.write_image(root / images / f"{number:05d}.jpg", image)
        colour_model.write_image(root / masks / f"{number:05d}.png", _grey(things[0][1]))


def _grey(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def _outline(mask: np.ndarray) -> np.ndarray:
    return (mask & ~binary_erosion(mask)).astype(np.uint8)


def _boxes(colour_model: Any) -> list[dict[str, Any]]:
    rows = []
    for number in (1, 2, 3):
        (found,) = colour_model.ColourDetector().detect([colour_model.picture(number)[0]])
        for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True):
            bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            rows.append({"image_id": number, "category_id": 3, "bbox": bbox, "score": score})
    return rows


def _videos(colour_model: Any, data: Path) -> None:
    """HQ-YTVIS and YouTube-VIS with two clips of three frames, DAVIS with one."""
    results = []
    for number, name in enumerate(("aaa", "bbb"), 1):
        image, things = colour_model.picture(number)
        for frames in (data / "HQ-YTVIS" / "train_all_frames", data / "YTVIS19" / "valid"):
            for index in range(3):
                colour_model.write_image(frames / "JPEGImages" / name / f"{index:05d}.jpg", image)
        files = tuple(f"{name}/{index:05d}.jpg" for index in range(3))
        tubes = []
        for row, (_, mask) in enumerate(things[:2]):
            box = masks.bounding_box(masks.encode(mask))
            same = (masks.encode(mask),) * 3
            boxes = np.tile(box, (3, 1)).astype(np.float32)
            tubes.append(Tube(row + 1, row, 1.0, np.arange(3), boxes, np.ones(3, np.float32), same))
        info = VideoInfo(name, *image.shape[:2], num_frames=3, file_names=files)
        results.append(VideoResult(info, ("person", "dog"), tuple(tubes), np.arange(3), np.arange(3.0)))
    ytvis_set.write_truth(data / "HQ-YTVIS" / "ytvis_hq-test.json", results)
    ytvis_set.write_truth(data / "YTVIS19" / "valid.json", results)
    whole = json.loads((data / "YTVIS19" / "valid.json").read_text())
    del whole["annotations"]
    (data / "YTVIS19" / "valid.json").write_text(json.dumps(whole))
    image, things = colour_model.picture(1)
    labels = Image.fromarray(things[0][1].astype(np.uint8))
    labels.putpalette([0, 0, 0, 128, 0, 0])
    for root in (data / "DAVIS" / "Annotations" / "480p", data / "XMem"):
        (root / "dogs-jump").mkdir(parents=True)
        for index in range(4):
            labels.save(root / "dogs-jump" / f"{index:05d}.png")
            frame = data / "DAVIS" / "JPEGImages" / "480p" / "dogs-jump" / f"{index:05d}.jpg"
            colour_model.write_image(frame, image)
