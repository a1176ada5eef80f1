"""Image mask AP equals pycocotools; image boundary AP equals its definition."""

from __future__ import annotations

import contextlib
import io
import json

import cv2
import numpy as np
import pytest
from pycocotools import mask as rle_api
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from vis import masks
from vis.evaluation import evaluate_images


def perturbed(coco: COCO, seed: int) -> list[dict]:
    """Predictions from the truth: shifted, grown or shrunk, some lost, doubled or of another class."""
    rng = np.random.default_rng(seed)
    categories = coco.getCatIds()
    results = []
    for annotation in coco.anns.values():
        for _ in range(rng.choice([0, 1, 1, 1, 2])):
            mask = coco.annToMask(annotation)
            side = int(rng.integers(1, 9))
            change = (cv2.dilate, cv2.erode)[rng.integers(2)]
            mask = change(mask, np.ones((side, side), np.uint8))
            mask = np.roll(mask, rng.integers(-6, 7, 2), (0, 1))
            rle = rle_api.encode(np.asfortranarray(mask))
            category = annotation["category_id"] if rng.random() < 0.9 else int(rng.choice(categories))
            results.append(
                {
                    "image_id": annotation["image_id"],
                    "category_id": category,
                    "score": float(np.round(rng.random(), 2)),  # ties happen
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode()},
                }
            )
    return results


def reference(coco: COCO, results: list[dict], *, use_cats: bool) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(json.loads(json.dumps(results))), "segm")
        evaluation.params.useCats = int(use_cats)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


@pytest.mark.shared_data
@pytest.mark.parametrize(("name", "use_cats"), [("val", True), ("train", False)])
def test_mask_ap_equals_pycocotools(shared_data, name, use_cats):
    folder = shared_data / "coco" / "coco_mini"
    (path,) = [p for p in folder.rglob("*.json") if name in p.name or name in p.parent.name]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(path)
    results = perturbed(coco, seed=len(name))
    ours = evaluate_images(path, results, class_agnostic=not use_cats, kinds=("mask",))
    np.testing.assert_allclose(
        ours.stats["mask"], reference(coco, results, use_cats=use_cats), rtol=0, atol=1e-12
    )


def one_image(truth: list[np.ndarray], found: list[np.ndarray], crowd: tuple[int, ...] = ()):
    height, width = truth[0].shape
    gt = {
        "images": [{"id": 1, "height": height, "width": width, "file_name": "a.jpg"}],
        "categories": [{"id": 1, "name": "thing"}],
        "annotations": [
            {
                "id": i + 1,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": int(i in crowd),
                "area": int(mask.sum()),
                "segmentation": masks.to_coco(masks.encode(mask)),
            }
            for i, mask in enumerate(truth)
        ],
    }
    results = [
        {
            "image_id": 1,
            "category_id": 1,
            "score": 0.9 - 0.1 * i,
            "segmentation": masks.to_coco(masks.encode(mask)),
        }
        for i, mask in enumerate(found)
    ]
    return gt, results


def rectangle(x0, y0, x1, y1, size=(200, 300)):
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = True
    return mask


@pytest.mark.parametrize(("ratio", "width"), [(0.02, 7), (0.01, 4)])
def test_boundary_ap_of_a_shifted_square_has_a_closed_form(ratio, width):
    # A square of side s shifted by k: the bands are frames of width d.
    side, shift = 100, 5
    truth, found = rectangle(50, 40, 150, 140), rectangle(55, 40, 155, 140)
    gt, results = one_image([truth], [found])
    out = evaluate_images(gt, results, ratio=ratio)
    inner = side - 2 * width
    band = side * side - inner * inner
    common = (side - shift) * side - 2 * inner * (side - max(shift, width) - width) + inner * (inner - shift)
    boundary_iou = common / (2 * band - common)
    mask_iou = 95 / 105
    assert out.stats["mask"][0] == pytest.approx(np.mean(mask_iou >= np.linspace(0.5, 0.95, 10)))
    assert out.stats["boundary"][0] == pytest.approx(np.mean(boundary_iou >= np.linspace(0.5, 0.95, 10)))


def test_a_blurred_outline_loses_boundary_ap_only():
    truth = rectangle(20, 20, 180, 180)
    notched = truth.copy()
    for side in (slice(20, 22), slice(178, 180)):
        notched[20:180:8, side] = notched[side, 20:180:8] = False
    out = evaluate_images(*one_image([truth], [notched]))
    assert out.stats["mask"][0] > out.stats["boundary"][0] > 0


def test_crowds_take_many_detections_and_count_none():
    crowd, thing = rectangle(0, 0, 150, 200), rectangle(200, 50, 280, 150)
    inside = [rectangle(10 * i, 10, 10 * i + 60, 90) for i in range(4)]
    gt, results = one_image([crowd, thing], [*inside, thing], crowd=(0,))
    assert evaluate_images(gt, results).stats["mask"][0] == pytest.approx(1)
