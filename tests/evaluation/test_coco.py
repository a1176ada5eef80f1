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
from vis.errors import AnnotationError, EvaluationWarning
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


# ---------------------------------------------------------------- boxes beside masks


def boxed(seed: int = 0) -> tuple[dict, list[dict]]:
    """Objects of all sizes; results with boxes that have little to do with their masks."""
    rng = np.random.default_rng(seed)
    truth, found = [], []
    for _ in range(40):
        x, y, side = int(rng.integers(0, 200)), int(rng.integers(0, 100)), int(rng.integers(10, 120))
        truth.append(rectangle(x, y, x + side, y + side))
        for _ in range(int(rng.integers(0, 3))):
            dx, dy = rng.integers(-4, 5, 2)
            found.append(rectangle(max(x + dx, 0), max(y + dy, 0), x + side + dx, y + side + dy))
    gt, results = one_image(truth, found)
    for result in results:
        width, height = rng.integers(0, 130, 2).tolist()
        result["bbox"] = [0, 0, width + 0.5, height] if rng.random() < 0.5 else [0, 0, width, height]
        result["score"] = float(np.round(rng.random(), 2))
    return gt, results


def pycocotools_stats(gt: dict, results: list[dict]) -> np.ndarray:
    coco = COCO()
    coco.dataset = json.loads(json.dumps({"info": {}} | gt))
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return reference(coco, results, use_cats=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda results: None,
        lambda results: results[0].pop("bbox"),  # the first result decides for all
        lambda results: results[0].update(bbox=[]),
        lambda results: [result.pop("bbox") for result in results],
    ],
    ids=["boxes", "none in the first", "empty in the first", "no boxes"],
)
def test_sizes_come_from_boxes_when_pycocotools_takes_them_from_there(change):
    gt, results = boxed()
    change(results)
    ours = evaluate_images(gt, results, kinds=("mask",)).stats["mask"]
    np.testing.assert_allclose(ours, pycocotools_stats(gt, results), rtol=0, atol=1e-12)


def test_boxes_change_the_sizes_of_results_and_strict_mode_measures_them():
    gt, results = boxed()
    measured = evaluate_images(gt, [{k: v for k, v in r.items() if k != "bbox"} for r in results]).stats
    assert evaluate_images(gt, results).stats["mask"][3:6] != measured["mask"][3:6]
    strict, plain = (
        evaluate_images(gt, r, mode="strict").stats
        for r in (results, [{k: v for k, v in r.items() if k != "bbox"} for r in results])
    )
    assert strict == plain


def test_results_without_a_box_among_others_are_measured_and_told():
    gt, results = boxed()
    del results[3]["bbox"]
    with pytest.warns(EvaluationWarning, match="1 results have no bbox, though the first one has"):
        evaluate_images(gt, results)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"bbox": [1, 1, -5, 5]},
            r"result 1, image 1: bbox: the box .* \[1, 1, -5, 5\] has a negative width or height",
        ),
        ({"bbox": [1, 1, 5]}, r"result 1, image 1: bbox: expected a box \[x, y, width, height\]"),
        ({"bbox": [1, 1, 5, "5"]}, r"result 1, image 1: bbox: expected"),
        ({"bbox": [1, 1, 5, 10**400]}, r"result 1, image 1: bbox: expected"),
        ({"bbox": 7}, r"result 1, image 1: bbox: expected"),
        ({"image_id": 1.5}, r"result 1: expected a whole number as image_id, got 1.5"),
        ({"image_id": 9}, r"result 1: image 9 is not in the truth"),
        ({"segmentation": 5}, r"result 1, image 1: expected run lengths"),
    ],
)
def test_fields_of_results_are_checked(changes, message):
    gt, results = boxed()
    results[1].update(changes)
    with pytest.raises(AnnotationError, match=message):
        evaluate_images(gt, results)


def test_boxes_alone_are_no_masks():
    gt, results = boxed()
    for result in results:
        del result["segmentation"]
    with pytest.raises(
        AnnotationError,
        match=r"result 0, image 1: segmentation is missing; it has only bbox.*COCOeval\(.*'bbox'",
    ):
        evaluate_images(gt, results)


def test_a_set_of_videos_is_told_apart(Scene):
    scene = Scene().add_truth((20, 20, 80, 80)).add_result((20, 20, 80, 80))
    gt, _ = boxed()
    with pytest.raises(
        AnnotationError, match=r"images is missing; it lists videos, which 'vistubes eval tubes'"
    ):
        evaluate_images(scene.truth, scene.results)
    with pytest.raises(AnnotationError, match=r"image_id is missing; it has video_id: 'vistubes eval tubes'"):
        evaluate_images(gt, scene.results)


def test_areas_of_truths_are_numbers_from_0():
    gt, results = boxed()
    gt["annotations"][2]["area"] = [25]
    with pytest.raises(
        AnnotationError, match=r"annotation 2 \(id 3\), image 1: expected a finite number from 0 as area"
    ):
        evaluate_images(gt, results)
