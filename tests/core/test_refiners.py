"""Mask models by name: the table's family or an entry point decides what loads one, and nobody names HQ-SAM."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vis.masks
from apps.cli import main
from vis import refiners
from vis.errors import UsageError
from vis.formats import tubes
from vis.interfaces import MaskPredictor, Refiner
from vis.structures import Detections
from vis.weights.table import MODELS

PLUGIN = """
import numpy as np
from types import SimpleNamespace

class Inner:
    'Draws the box without its outermost pixels.'
    def __init__(self, name, *, device="auto", margin=2):
        self.name, self.device, self.margin = name, device, margin
    def embed(self, image):
        return image.shape[:2]
    def decode(self, embedding, *, boxes=None, points=None, point_labels=None, masks=None,
               best_of_three=False, hq_token_only=False, **others):
        drawn = np.zeros((len(boxes), *embedding), bool)
        for mask, (x0, y0, x1, y1) in zip(drawn, boxes.astype(int)):
            mask[y0 + self.margin : y1 - self.margin, x0 + self.margin : x1 - self.margin] = True
        three = np.zeros((len(boxes), 3), np.float32) if best_of_three else None
        logits = np.zeros((len(boxes), 8, 8), np.float32)
        return SimpleNamespace(masks=drawn, low_res_logits=logits, three_scores=three)
    def describe(self):
        return {"network": "inner", "size": self.name, "mode": "exact", "device": self.device}
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that adds the family ``inner``, on the path as pip leaves it."""
    info = tmp_path / "site" / "inner-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: inner\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text("[vistubes.refiners]\ninner = inner_module:Inner\n")
    (tmp_path / "site" / "inner_module.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))


def test_every_model_of_the_table_has_a_family() -> None:
    assert {refiners.family_of(name) for name in MODELS} == set(refiners.REFINERS)
    assert refiners.family_of("some/file.pth") == "hqsam"


def test_a_models_name_finds_its_family_and_settings_go_there(
    installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "inner-s", replace(MODELS["hq-tiny"], name="inner-s", family="inner"))
    for name in ("inner", "inner-s"):
        made: Any = refiners.create(name, device="cpu", mode="exact", margin=3)
        assert isinstance(made, MaskPredictor)
        assert (made.name, made.device, made.margin) == (name, "cpu", 3)
    with pytest.raises(UsageError, match=r"'inner' has no setting margins \(did you mean margin\?\)"):
        refiners.create("inner", margins=3)


def test_a_refiner_works_over_any_family(installed: None) -> None:
    refiner = refiners.load_refiner("inner", overlap="resolve", whole_or_part=True)
    assert isinstance(refiner, Refiner)
    boxes = np.array([[4, 4, 20, 20]], np.float32)
    found = Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int64), track_ids=np.ones(1, np.int64))
    masks = refiner.refine(np.zeros((30, 40, 3), np.uint8), found).masks
    assert masks is not None
    assert masks.sum() == 12 * 12
    with pytest.raises(UsageError, match="zoom is for SAM and HQ-SAM, this model is a Inner; leave zoom out"):
        refiners.load_refiner("inner", zoom=True).refine(np.zeros((30, 40, 3), np.uint8), found)


def test_the_command_takes_another_packages_model(
    installed: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "clip").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "clip" / "0.png")
    boxes = {"class_names": ["thing"], "frames": [[{"box": [4, 4, 20, 20]}]]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    words = ["run", tmp_path / "clip", "--detector", "precomputed", "--weights", tmp_path / "boxes.json"]
    words += ["--model", "inner", "--min-frames", "1", "--no-overlay", "--out", tmp_path / "run"]
    assert main([str(word) for word in words]) == 0, capsys.readouterr().err
    assert "inner inner (box, whole or part; exact; auto)" in capsys.readouterr().err
    (tube,) = tubes.read(tmp_path / "run" / "tubes.json").tubes
    assert tube.masks is not None
    assert vis.masks.area(tube.masks[0]) == 12 * 12
    assert json.loads((tmp_path / "run" / "run.json").read_text())["refiner"]["network"] == "inner"
