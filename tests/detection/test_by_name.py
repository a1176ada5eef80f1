"""The table of names, and what every detector keeps to."""

from __future__ import annotations

import importlib
import inspect
import json
import subprocess
import sys

import numpy as np
import pytest

import detectors
from vis.errors import UsageError
from vis.interfaces import Detector
from vis.structures import Detections


@pytest.fixture(params=["salient", "yolox", "motion", "precomputed"])
def any_detector(request, red_saliency, constant_yolox, tmp_path):
    name = request.param
    settings = {}
    if name == "salient":
        settings["weights"] = red_saliency
    if name == "yolox":
        rows = np.full((126, 85), 0.5, np.float32)
        rows[:, 2:4] = -1
        settings["weights"] = constant_yolox(rows)
    if name == "precomputed":
        settings["weights"] = tmp_path / "boxes.json"
        settings["weights"].write_text(json.dumps({"frames": [[{"box": [0, 0, 5, 5]}]] * 2}))
    return detectors.create(name, **settings)


def test_every_detector_keeps_the_contract(any_detector, picture):
    assert isinstance(any_detector, Detector)
    images = [picture((20, 20, 90, 90), size=(120, 160)), np.zeros((120, 160, 3), np.uint8)]
    before = [image.copy() for image in images]
    found = any_detector.detect(images)
    assert len(found) == 2
    assert any_detector.detect([]) == []
    for image, same, objects in zip(images, before, found, strict=True):
        np.testing.assert_array_equal(image, same)
        assert isinstance(objects, Detections)
        assert (objects.labels < len(any_detector.class_names)).all()
        assert (objects.boxes >= 0).all()
        assert (objects.boxes[:, [2, 3]] <= [160, 120]).all()
        assert (objects.boxes[:, 2:] > objects.boxes[:, :2]).all()
        assert objects.masks is None or objects.masks.shape[1:] == (120, 160)
    any_detector.reset() if hasattr(any_detector, "reset") else None


@pytest.mark.parametrize("name", detectors.DETECTORS)
def test_every_name_leads_to_a_class_with_keyword_settings(name):
    module, _, attribute = detectors.DETECTORS[name].partition(":")
    maker = getattr(importlib.import_module(module), attribute)
    assert hasattr(maker, "detect")
    kinds = {parameter.kind.name for parameter in inspect.signature(maker).parameters.values()}
    assert kinds <= {"KEYWORD_ONLY", "VAR_KEYWORD"}


def test_names_and_settings_that_do_not_exist_are_explained():
    with pytest.raises(UsageError, match="no detector named 'yolo'; did you mean 'yolox'"):
        detectors.create("yolo")
    with pytest.raises(UsageError, match="'motion' has no setting treshold; its settings are min_area"):
        detectors.create("motion", treshold=1)
    with pytest.raises(UsageError, match="'precomputed' needs weights; its settings are weights"):
        detectors.create("precomputed")


def test_a_detector_with_settings_of_any_name_needs_none_of_them():
    predictor = object()
    assert detectors.create("everything", device="cpu", predictor=predictor).predictor is predictor
    assert detectors.create("everything", predictor=predictor, crop_layers=1).settings["crop_layers"] == 1


def test_device_and_score_go_where_they_are_known(constant_yolox):
    assert detectors.create("motion", device="cpu", score=0.5)
    rows = np.full((126, 85), 0.5, np.float32)
    rows[:, 2:4] = -1
    image = np.zeros((64, 96, 3), np.uint8)
    path = constant_yolox(rows)
    assert len(detectors.create("yolox", weights=path, device="cpu").detect([image])[0]) > 0
    assert len(detectors.create("yolox", weights=path, score=0.9).detect([image])[0]) == 0


def test_importing_the_table_is_light():
    heavy = ("torch", "onnxruntime", "transformers", "cv2")
    code = f"import sys, detectors; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_class_names_are_told_where_no_weights_are_needed_for_them():
    assert "Dog" in detectors.class_names("ssd")
    assert detectors.class_names("none") == ("object",)
    assert detectors.class_names("yolox") is None
    with pytest.raises(UsageError, match="no detector named"):
        detectors.class_names("absent")
