"""Folders of images and masks: which files belong together, and what a mask file says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from apps.verbs.evaluate_masks import evaluate_folder
from apps.verbs.evaluate_prompts import read_prompt
from vis.errors import InputError, UsageError
from vis.evaluation.image_masks import (
    ImagePair,
    iou_and_boundary_iou,
    pair_folders,
    read_mask,
    without_partner,
)


def touch(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"")
    return folder


def test_folders_are_paired_by_name(tmp_path):
    images = touch(tmp_path / "im", "a.jpg", "b.jpg", "only.jpg")
    masks = touch(tmp_path / "gt", "a.png", "b.png")
    assert [(p.name, p.image.name, p.mask.name) for p in pair_folders(images, masks)] == [
        ("a", "a.jpg", "a.png"),
        ("b", "b.jpg", "b.png"),
    ]
    assert [p.name for p in pair_folders(images, masks, stride=2)] == ["a"]
    assert without_partner(images, masks) == (["only"], [])
    assert without_partner(images, touch(tmp_path / "gt", "c.png", "d.png")) == (["only"], ["c", "d"])


def test_endings_tell_images_and_masks_of_one_folder_apart(tmp_path):
    big = touch(tmp_path / "big", "a_im.jpg", "a_gt.png", "b_im.jpg", "b_gt.png")
    assert [p.name for p in pair_folders(big, big)] == ["a", "b"]
    assert without_partner(touch(big, "c_gt.png", "d_im.jpg", "a_seg.png"), big) == (["d"], ["c"])
    images, masks = touch(tmp_path / "im", "a_im.jpg"), touch(tmp_path / "gt", "a_gt.png")
    assert [p.name for p in pair_folders(images, masks)] == ["a"]


def test_one_name_that_happens_to_end_so_hides_no_other(tmp_path):
    images = touch(tmp_path / "im", "a.jpg", "slim_im.jpg")
    masks = touch(tmp_path / "gt", "a.png", "slim_im.png")
    assert [p.name for p in pair_folders(images, masks)] == ["a", "slim_im"]


def test_two_files_of_one_name_are_told(tmp_path):
    images, masks = touch(tmp_path / "im", "a.jpg", "a.png"), touch(tmp_path / "gt", "a.png")
    with pytest.raises(InputError, match=r"a\.jpg and a\.png have one name"):
        pair_folders(images, masks)


@pytest.mark.parametrize("mode", ["L", "P", "1", "RGB", "RGBA", "LA"])
def test_a_mask_is_what_is_not_black_whatever_its_transparency(tmp_path, mode):
    wanted = np.zeros((6, 9), bool)
    wanted[1:4, 2:8] = True
    grey = Image.fromarray(wanted.astype(np.uint8) * 255)
    image = Image.fromarray(wanted.astype(np.uint8)) if mode == "P" else grey.convert(mode)
    image.save(tmp_path / "m.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), wanted)


def test_boundary_iou_of_shifted_squares_and_of_nothing():
    a, b, nothing = (np.zeros((100, 100), bool) for _ in range(3))
    a[20:60, 20:60] = b[20:60, 25:65] = True
    iou, boundary = iou_and_boundary_iou(a, b)
    assert iou == pytest.approx(35 / 45)
    assert 0 < boundary < iou
    assert iou_and_boundary_iou(nothing, nothing) == (1, 1)
    assert iou_and_boundary_iou(a, nothing) == (0, 0)
    with pytest.raises(ValueError, match="different sizes"):
        iou_and_boundary_iou(a, b[:50])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([], "expected an object"),
        ({"a": ["x"]}, "group of 'a': expected text or a whole number"),
        ({"c": "x"}, "names none of the evaluated images; they are named .* as 'a'"),
    ],
)
def test_groups_are_checked_before_the_model_is_loaded(tmp_path, groups, message):
    images, masks = touch(tmp_path / "im", "a.jpg"), touch(tmp_path / "gt", "a.png")
    (tmp_path / "g.json").write_text(json.dumps(groups))
    with pytest.raises(InputError, match=message):
        evaluate_folder(images, masks, model="no model", groups=tmp_path / "g.json")


def big(folder, colour_model, count=3):
    """BIG's layout, with coarse masks that are the object two pixels aside; the first one is empty."""
    for number in range(1, count + 1):
        image, things = colour_model.picture(number)
        colour_model.write_image(folder / f"b{number}_im.jpg", image)
        for ending, mask in (("gt", things[0][1]), ("seg", np.roll(things[0][1], 2, 1) & (number > 1))):
            colour_model.write_image(folder / f"b{number}_{ending}.png", mask.astype(np.uint8) * 255)


def test_coarse_masks_lie_beside_bigs_images_or_in_a_folder_like_theirs(tmp_path, colour_model):
    for name in ("big", "other"):
        big(tmp_path / name, colour_model)
    for coarse in ("big", "other"):
        pairs = pair_folders(tmp_path / "big", tmp_path / coarse, ending="_seg")
        assert [(pair.name, pair.mask.name) for pair in pairs] == [
            (f"b{n}", f"b{n}_seg.png") for n in (1, 2, 3)
        ]
    for image in (tmp_path / "other").glob("*_im.jpg"):
        image.unlink()
    assert [p.mask.name for p in pair_folders(tmp_path / "big", tmp_path / "other")] == [
        f"b{n}_gt.png" for n in (1, 2, 3)
    ]


def test_an_image_without_a_coarse_mask_counts_0_and_a_killed_run_goes_on(
    tmp_path, colour_model, monkeypatch
):
    folder = tmp_path / "big"
    big(folder, colour_model)
    ask = {"model": "colours", "prompt": "mask", "coarse": folder}
    whole_model, stopping, rest = (colour_model.ColourModel(stop) for stop in (None, 1, None))
    models = [whole_model, stopping, rest]
    monkeypatch.setattr("vis.refiners.create", lambda *_, **__: models.pop(0))
    whole, table = evaluate_folder(folder, folder, **ask, out=tmp_path / "whole")
    assert "1 without a coarse mask, counted as 0" in table
    assert whole["per_image"]["b1"] == {"iou": 0, "biou": 0}
    assert whole["miou"] == pytest.approx(2 / 3)
    with pytest.raises(KeyboardInterrupt):
        evaluate_folder(folder, folder, **ask, out=tmp_path / "part")
    again, _ = evaluate_folder(folder, folder, **ask, out=tmp_path / "part")
    assert again == whole
    assert (whole_model.embedded, rest.embedded) == (2, 1)
    assert json.loads((tmp_path / "part" / "results.json").read_text()) == whole
    with pytest.raises(UsageError, match="with another coarse and prompt; choose another"):
        evaluate_folder(folder, folder, model="colours", out=tmp_path / "part")


def test_a_detectors_masks_are_coarse_masks(tmp_path, colour_model, monkeypatch):
    folder = tmp_path / "big"
    big(folder, colour_model)
    monkeypatch.setattr("vis.refiners.create", lambda *_, **__: colour_model.ColourModel())
    asked = []
    monkeypatch.setattr(
        "detectors.create", lambda name, **given: asked.append((name, given)) or colour_model.ColourDetector()
    )
    ask = {
        "model": "colours",
        "prompt": "mask",
        "coarse_detector": "semantic",
        "coarse_weights": "fcn_resnet50",
    }
    answer, _ = evaluate_folder(folder, folder, **ask)
    assert asked == [("semantic", {"device": "auto", "weights": "fcn_resnet50"})]
    assert answer["miou"] == pytest.approx(1)
    for wrong, message in (
        ({"prompt": "box"}, "give the masks of --prompt mask"),
        ({"coarse": folder}, "choose one"),
        ({"coarse_detector": None}, "--coarse-weights are those of"),
        ({"prompt": "points:1,0"}, "points:K with K from 1 to 1000"),
        ({"prompt": "points:"}, "points:K with K from 1 to 1000"),
        ({"prompt": "box:1.5"}, "box:S with noise S between 0 and 1"),
        ({"prompt": "box:.0"}, "box:S with noise S between 0 and 1"),
        ({"prompt": "mask:0.2"}, "box:S with noise S between 0 and 1"),
    ):
        with pytest.raises(UsageError, match=message):
            evaluate_folder(folder, folder, **ask | wrong)


def test_noise_moves_and_resizes_a_box_within_its_bounds():
    mask = np.zeros((100, 200), bool)
    mask[40:60, 20:60] = True
    boxes = []
    for number in range(200):
        (given,) = read_prompt("box:0.4").of(ImagePair(str(number), Path("i"), Path("m")), mask, 64)
        boxes.append(given["boxes"][0])
    boxes = np.array(boxes)
    sides, centres = boxes[:, 2:] - boxes[:, :2], (boxes[:, 2:] + boxes[:, :2]) / 2
    for values, middle, most in ((sides, (40, 20), (16, 8)), (centres, (40, 50), (8, 4))):
        away = np.abs(values - middle)
        assert (away <= np.array(most) + 1e-4).all()
        assert (away.max(axis=0) > 0.9 * np.array(most)).all()
    (again,) = read_prompt("box:0.4").of(ImagePair("7", Path("i"), Path("m")), mask, 64)
    np.testing.assert_array_equal(again["boxes"][0], boxes[7])
    mask[:] = False
    mask[:, 150:] = True
    for number in range(20):
        (given,) = read_prompt("box:.9").of(ImagePair(str(number), Path("i"), Path("m")), mask, 64)
        assert (given["boxes"] >= 0).all()
        assert (given["boxes"] <= [200, 100, 200, 100]).all()
