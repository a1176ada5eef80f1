"""YOLOX: the grid, the letterbox and the suppression in closed form; the real export on real pictures."""

from __future__ import annotations

import json

import numpy as np
import pytest

import detectors
from detectors.coco import COCO_NAMES
from detectors.yolox import decode_grid, letterbox
from vis import boxes as box_maths
from vis.errors import CheckpointError, UsageError

SIZE = (64, 96)  # 8 x 12, 4 x 6 and 2 x 3 cells: 126 rows
CELLS = {8: (0, 12), 16: (96, 6), 32: (120, 3)}  # stride -> first row, cells per line


def row_of(stride: int, column: int, line: int) -> int:
    first, width = CELLS[stride]
    return first + line * width + column


def raw_rows(*objects, classes: int = 80) -> np.ndarray:
    """Rows that say nothing, but for objects (stride, column, line, dx, dy, w, h, label, score)."""
    rows = np.zeros((126, 5 + classes), np.float32)
    rows[:, 2:4] = -3
    for stride, column, line, dx, dy, w, h, label, score in objects:
        row = rows[row_of(stride, column, line)]
        row[:4] = dx, dy, np.log(w / stride), np.log(h / stride)
        row[4], row[5 + label] = 1, score
    return rows


@pytest.mark.parametrize("stride", [8, 16, 32])
def test_a_cell_decodes_to_its_place(stride):
    rows = decode_grid(raw_rows((stride, 2, 1, 0.25, 0.5, 20, 30, 0, 1)), SIZE)
    expected = [(2 + 0.25) * stride, (1 + 0.5) * stride, 20, 30]
    np.testing.assert_allclose(rows[row_of(stride, 2, 1), :4], expected, rtol=1e-5)


def test_exports_that_hold_pixels_already_pass_through():
    rows = np.abs(np.random.default_rng(0).normal(30, 5, (126, 85))).astype(np.float32)
    np.testing.assert_array_equal(decode_grid(rows, SIZE), rows)


def test_a_fourth_stride_is_recognised():
    size = (128, 128)
    count = sum((128 // s) ** 2 for s in (8, 16, 32, 64))
    rows = np.zeros((count, 6), np.float32)
    rows[:, 2:4] = -1
    decoded = decode_grid(rows, size)
    assert decoded[-1, :2].tolist() == [64, 64]
    np.testing.assert_allclose(decoded[-1, 2:4], 64 * np.exp(-1), rtol=1e-5)


def test_other_outputs_are_refused():
    with pytest.raises(CheckpointError, match="100 rows of output do not fit an input of 64x96"):
        decode_grid(np.zeros((100, 85), np.float32), SIZE)


def test_letterbox_keeps_the_shape_and_pads_with_grey_below_and_right():
    image = np.full((50, 50, 3), (10, 20, 30), np.uint8)
    blob, scale = letterbox(image, SIZE)
    assert blob.shape == (1, 3, 64, 96)
    assert blob.dtype == np.float32
    assert scale == 64 / 50
    assert blob[0, :, 0, 0].tolist() == [30, 20, 10], "BGR, 0 to 255"
    assert (blob[0, :, :, 64:] == 114).all()


def test_objects_come_in_pixels_of_the_picture_best_first(constant_yolox):
    path = constant_yolox(
        raw_rows((8, 3, 2, 0.5, 0.5, 16, 8, 2, 0.6), (16, 4, 2, 0, 0, 30, 20, 16, 0.9)), SIZE
    )
    image = np.zeros((128, 192, 3), np.uint8)  # twice the input
    found = detectors.create("yolox", weights=path).detect([image])[0]
    np.testing.assert_allclose(found.boxes, [[98, 44, 158, 84], [40, 32, 72, 48]], atol=1e-3)
    np.testing.assert_allclose(found.scores, [0.9, 0.6])
    assert [COCO_NAMES[label] for label in found.labels] == ["dog", "car"]
    assert found.masks is None


def test_score_is_objectness_times_class_and_weak_ones_go(constant_yolox):
    rows = raw_rows((8, 3, 2, 0.5, 0.5, 16, 8, 2, 0.8), (8, 8, 5, 0.5, 0.5, 16, 8, 2, 0.8))
    rows[row_of(8, 8, 5), 4] = 0.25
    path = constant_yolox(rows, SIZE)
    image = np.zeros((*SIZE, 3), np.uint8)
    assert detectors.create("yolox", weights=path).detect([image])[0].scores.tolist() == [np.float32(0.8)]
    assert len(detectors.create("yolox", weights=path, score=0.1).detect([image])[0]) == 2


def test_suppression_acts_within_a_class(constant_yolox):
    twins = raw_rows((8, 5, 4, 0.5, 0.5, 30, 30, 0, 0.9), (8, 6, 4, 0, 0.5, 30, 30, 1, 0.8))
    image = np.zeros((*SIZE, 3), np.uint8)
    path = constant_yolox(twins, SIZE)
    assert len(detectors.create("yolox", weights=path).detect([image])[0]) == 2
    assert len(detectors.create("yolox", weights=path, class_aware=False).detect([image])[0]) == 1
    same = constant_yolox(
        raw_rows((8, 5, 4, 0.5, 0.5, 30, 30, 0, 0.9), (8, 6, 4, 0, 0.5, 30, 30, 0, 0.8)), SIZE
    )
    assert detectors.create("yolox", weights=same).detect([image])[0].scores.tolist() == [np.float32(0.9)]


def test_boxes_end_at_the_border(constant_yolox):
    path = constant_yolox(raw_rows((32, 0, 0, 0, 0, 60, 60, 0, 0.9)), SIZE)
    found = detectors.create("yolox", weights=path).detect([np.zeros((*SIZE, 3), np.uint8)])[0]
    np.testing.assert_allclose(found.boxes, [[0, 0, 30, 30]], atol=1e-4)


def test_other_class_counts_have_their_own_names(constant_yolox):
    path = constant_yolox(raw_rows(classes=3), SIZE)
    assert detectors.create("yolox", weights=path).class_names == ("class 0", "class 1", "class 2")
    named = detectors.create("yolox", weights=path, class_names=["a", "b", "c"])
    assert named.class_names == ("a", "b", "c")
    with pytest.raises(UsageError, match="tells 3 classes apart, but class_names has 2"):
        detectors.create("yolox", weights=path, class_names=["a", "b"])


@pytest.mark.shared_data
def test_the_real_export_finds_large_things_in_coco_pictures(shared_data):
    """Against the annotations: most large objects have a box of their class with IoU 0.5 or more."""
    import cv2

    root = shared_data / "coco" / "coco128"
    truth = json.loads(next(root.glob("**/*.json")).read_text())
    names = {item["id"]: item["name"] for item in truth["categories"]}
    chosen = sorted(truth["images"], key=lambda item: item["id"])[:16]
    detector = detectors.create("yolox", weights=shared_data / "weights" / "yolox_nano.onnx")
    hits = total = 0
    for item in chosen:
        image = cv2.imread(str(next(root.glob(f"**/{item['file_name']}"))))[:, :, ::-1]
        found = detector.detect([image])[0]
        for annotation in truth["annotations"]:
            if annotation["image_id"] != item["id"] or annotation["iscrowd"] or annotation["area"] < 96**2:
                continue
            x, y, width, height = annotation["bbox"]
            box = np.array([[x, y, x + width, y + height]], np.float32)
            label = COCO_NAMES.index(names[annotation["category_id"]])
            overlap = box_maths.iou(box, found.boxes)[0]
            hits += bool(((overlap >= 0.5) & (found.labels == label)).any())
            total += 1
    assert total > 15
    assert hits / total > 0.6
