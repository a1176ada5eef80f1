"""Mask models by name: the table's family or an entry point decides what loads one, and nobody names HQ-SAM."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vis.masks
from apps.cli import main
from apps.demo.command import Form
from apps.demo.handlers import Handlers
from apps.demo.model_cache import ModelCache
from apps.demo.session import Sessions
from vis import edits, refiners
from vis.errors import UsageError
from vis.formats import tubes
from vis.interfaces import MaskPredictor, Refiner
from vis.prompt_policies import HQSamRefiner
from vis.structures import Detections
from vis.video import VideoWriter
from vis.weights import sha256_of
from vis.weights.table import HUB_MODELS, MODELS, WEIGHTS

PLUGIN = """
import numpy as np
import torch
from torch.nn.functional import interpolate

from vis.mask_prediction import LowResMasks, MaskPrediction
from vis.prompts import check_prompts

class Inner:
    'The box without its outermost cells, a disk of one cell around a click, or the mask that prompts.'
    mask_side = 64
    def __init__(self, name, *, device="auto", margin=0):
        self.name, self.device, self.margin = name, device, margin
    def embed(self, image):
        return image.shape[:2]
    def predict_masks(self, embedding, prompts, masks, *, min_iou=0.0):
        scale = self.mask_side / max(embedding)
        for row in range(prompts.count):
            logits = torch.full((self.mask_side, self.mask_side), -8.0)
            if prompts.boxes is not None:
                x0, y0, x1, y1 = (prompts.boxes[row] * scale).round().astype(int)
                logits[y0 + self.margin : y1 - self.margin, x0 + self.margin : x1 - self.margin] = 8
            elif prompts.points is not None:
                x, y = (prompts.points[row, 0] * scale).astype(int)
                logits[y - 1 : y + 2, x - 1 : x + 2] = 8
            else:
                logits = torch.from_numpy(prompts.masks[row])
            four = logits.repeat(4, 1, 1)[masks]
            yield LowResMasks([row], four[None], self.residual(logits), torch.full((1, 4), 0.9))
    def residual(self, logits):
        return None
    def logits_to_masks(self, logits, frame_size, *, levels=(0.0,)):
        side = max(frame_size)
        large = interpolate(torch.as_tensor(logits)[None], (side, side))[0, :, : frame_size[0], : frame_size[1]]
        return tuple((large > level).numpy() for level in levels)
    def decode(self, embedding, *, multimask=False, best_of_three=False, iou_bias=None, **prompts):
        prompts = check_prompts(embedding, self.mask_side, **prompts)
        parts = list(self.predict_masks(embedding, prompts, slice(1, 4)))
        logits = np.concatenate([part.logits for part in parts])
        masks = np.stack([self.logits_to_masks(one, embedding)[0] for one in logits])
        scores = np.concatenate([part.scores for part in parts])[:, 1:]
        if multimask:
            return MaskPrediction(masks, scores, logits)
        three = scores if best_of_three else None
        return MaskPrediction(masks[:, 0], scores[:, 0], logits[:, 0], three_scores=three)
    def describe(self):
        return {"network": "inner", "size": self.name, "mode": "exact", "device": self.device}

class Sharpened(Inner):
    'Two masks in one, as HQ-SAM: the residual adds a frame of one cell.'
    def residual(self, logits):
        grown = torch.nn.functional.max_pool2d((logits > 0).float()[None], 3, 1, 1)
        return 20 * grown - 10
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution that adds the families ``inner`` and ``sharpened``, on the path as pip leaves it."""
    info = tmp_path / "site" / "inner-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: inner\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[vistubes.refiners]\ninner = inner_module:Inner\nsharpened = inner_module:Sharpened\n"
    )
    (tmp_path / "site" / "inner_module.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "inner_module", raising=False)


def test_every_model_of_the_table_has_a_family() -> None:
    assert {refiners.family_of(name) for name in (*MODELS, *HUB_MODELS)} == set(refiners.REFINERS)
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


def test_every_models_files_are_told() -> None:
    entry = MODELS["hq-tiny"]
    assert entry.head is not None
    known = {
        WEIGHTS[entry.weights].filename: WEIGHTS[entry.weights].sha256,
        entry.head.name: sha256_of(entry.head),
    }
    assert refiners.checksums("hq-tiny") == known
    assert refiners.checksums(entry.head) == {entry.head.name: sha256_of(entry.head)}
    assert refiners.checksums("of-another-package") == {}


def vistubes(*words: object) -> None:
    assert main([str(word) for word in words]) == 0


@pytest.mark.parametrize("zoom", [False, True])
def test_a_refiner_works_over_any_family(installed: None, zoom: bool) -> None:
    assert isinstance(refiners.load_refiner("inner", overlap="resolve"), Refiner)
    refiner = HQSamRefiner(refiners.create("inner", margin=1), multimask_selection="tube", zoom=zoom)
    boxes = np.array([[8, 8, 28, 28]], np.float32)
    found = Detections(boxes, np.ones(1, np.float32), np.zeros(1, np.int64), track_ids=np.ones(1, np.int64))
    masks = refiner.refine(np.zeros((96, 128, 3), np.uint8), found).masks
    assert masks is not None
    # A margin of one cell: two pixels of the frame, less than one of the crop.
    assert (masks.sum() > 17 * 17) if zoom else (masks.sum() == 16 * 16)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six frames of noise that stands still, with a square that walks two pixels a frame."""
    path = tmp_path_factory.mktemp("clips") / "square.mp4"
    ground = np.random.default_rng(0).integers(40, 90, (96, 128, 3)).astype(np.uint8)
    with VideoWriter(path, (96, 128), 10.0) as writer:
        for step in range(6):
            image = ground.copy()
            image[30:62, 10 + 2 * step : 42 + 2 * step] = (250, 240, 30)
            writer.write(image)
    return path


@pytest.fixture
def boxes_file(tmp_path: Path) -> Path:
    there = [{"box": [8, 8, 40, 40]}]
    boxes = {"class_names": ["thing"], "frames": [there, there, there, [], there, there]}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    return tmp_path / "boxes.json"


def areas(path: Path) -> list[int]:
    """Of the only tube's masks."""
    (tube,) = tubes.read(path).tubes
    assert tube.masks is not None
    return [vis.masks.area(mask) for mask in tube.masks]


def test_commands_take_another_packages_model(
    installed: None, clip: Path, boxes_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that has no model, no features and no residual."""
    found = ("--detector", "precomputed", "--weights", boxes_file, "--model", "inner", "--min-frames", 1)
    vistubes("run", clip, *found, "--no-link", "--tracker", "iou", "--no-overlay", "--out", tmp_path / "run")
    assert "inner inner (box, multimask tube; exact; auto)" in capsys.readouterr().err
    assert areas(tmp_path / "run" / "tubes.json") == [32 * 32] * 5
    assert json.loads((tmp_path / "run" / "run.json").read_text())["refiner"]["network"] == "inner"

    (tmp_path / "clips").mkdir()
    shutil.copy(clip, tmp_path / "clips")
    vistubes("batch", tmp_path / "clips", *found, "--no-overlay", "--out", tmp_path / "batch")
    (made,) = (tmp_path / "batch").rglob("tubes.json")
    assert areas(made) == [32 * 32] * 6  # its association fills the gap

    vistubes("fill", tmp_path / "run", clip, "--model", "inner", "--no-overlay", "--out", tmp_path / "filled")
    assert len(areas(tmp_path / "filled" / "tubes.json")) == 6

    for name, how in (("every", ()), ("keys", ("--speed", "balanced")), ("live", ("--live", "--json"))):
        out = ("--no-overlay", "--out", tmp_path / name)
        vistubes("follow", clip, "--box", "10,30,42,62", "--model", "inner", *how, *out)
        assert all(0.8 * 1024 < area < 1.3 * 1024 for area in areas(tmp_path / name / "tubes.json"))

    clicked = [edits.Correct(1, 2, points=((30.0, 30.0),), point_labels=(1,)), edits.Follow(1, 2, 2, 5)]
    edits.write(tmp_path / "edits.json", tubes.read(tmp_path / "run" / "tubes.json"), clicked, model="inner")
    vistubes("edit", tmp_path / "run", tmp_path / "edits.json", clip, "--out", tmp_path / "edited.json")
    assert areas(tmp_path / "edited.json")[2] == 6 * 6


@pytest.mark.parametrize("family", ["inner", "sharpened"])
def test_the_page_works_with_another_packages_model(
    installed: None, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    """Its presets' models are then of that family."""
    monkeypatch.setitem(MODELS, "hq-tiny", replace(MODELS["hq-tiny"], family=family))
    handlers = Handlers(Sessions(tmp_path / "page"), ModelCache(device="cpu"), cache=tmp_path / "cache")
    token, _, _ = handlers.start(None)
    form = Form(detector="none")
    handlers.upload(token, str(clip), form)
    list(handlers.run(token, form))
    drawn = handlers.act(token, {"name": "new", "box": [10, 30, 42, 62]})
    assert drawn.view is not None
    assert drawn.view["added"], drawn.view["message"]
    last = list(handlers.follow(token))[-1]
    assert "Followed object 1 over frames 0 to 5" in last.text
    named, numbers = handlers.compare(token, False, "inner")
    assert named["names"] == ["inner", "hq-tiny"]
    assert named["sam"] == named["hq"]  # both draw the box
    assert "area, hq-tiny − inner" in numbers
    named, _ = handlers.compare(token, False, "hq-tiny", "inner")  # neither has to be the run's on the right
    assert named["names"] == ["hq-tiny", "inner"]
    shown, text = handlers.compare(token, False, "inner", "inner")
    assert shown == {}
    assert "Both sides are inner; choose another model" in text
    shown, text = handlers.compare(token, False)
    if family == "sharpened":
        assert shown["sam"] != shown["hq"]
    else:
        assert "no HQ-SAM mask to compare with" in text
