"""Folders of images and masks: which files belong together, and what a mask file says."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from apps.verbs.evaluate_masks import evaluate_folder
from vis.errors import InputError
from vis.evaluation.image_masks import iou_and_boundary_iou, pair_folders, read_mask


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


def test_endings_tell_images_and_masks_of_one_folder_apart(tmp_path):
    big = touch(tmp_path / "big", "a_im.jpg", "a_gt.png", "b_im.jpg", "b_gt.png")
    assert [p.name for p in pair_folders(big, big)] == ["a", "b"]
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
