"""Views, prompts and layouts, against drawings whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vis.errors import AnnotationError, InputError
from vis.masks import dense_iou
from vis.training import views
from vis.training.datasets import HQSEG44K_TRAIN, coco_instances, hqseg44k, image_folder
from vis.training.prompts import (
    MIX,
    coarse_mask,
    jitter_box,
    random_points,
    sample_prompt,
    tight_box,
)


def picture_of(mask):
    return np.repeat(np.where(mask, 230, 20).astype(np.uint8)[..., None], 3, 2)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_image_and_masks_of_a_view_stay_aligned(number, whole):
    rng = np.random.default_rng(number)
    mask = np.zeros((80, 120), np.bool_)
    y, x = rng.integers(5, 40), rng.integers(5, 70)
    mask[y : y + 30, x : x + 40] = True
    patch = pytest.MonkeyPatch()
    patch.setattr(views, "wear", lambda image, rng: image)
    try:
        view = views.random_view(picture_of(mask), [mask], rng, whole=whole)
    finally:
        patch.undo()
    for shown in view.masks:
        np.testing.assert_array_equal(shown, view.image[..., 0] > 127)
    if whole:
        assert len(view.masks) == 1


def test_wear_keeps_shape_and_is_drawn_from_the_generator():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    for seed in range(20):
        worn = views.wear(image, np.random.default_rng(seed))
        assert worn.shape == image.shape
        assert worn.dtype == np.uint8
        np.testing.assert_array_equal(worn, views.wear(image, np.random.default_rng(seed)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_prompts_belong_to_the_object(number):
    rng = np.random.default_rng(number)
    mask = np.zeros((60, 90), np.bool_)
    y, x = rng.integers(0, 40), rng.integers(0, 60)
    mask[y : y + rng.integers(8, 20), x : x + rng.integers(8, 30)] = True
    box = tight_box(mask)
    assert mask[int(box[1]) : int(box[3]), int(box[0]) : int(box[2])].all()
    moved = jitter_box(box, mask.shape, rng)
    assert (moved[2:] > moved[:2]).all()
    assert (moved >= 0).all()
    assert moved[2] <= 90
    assert moved[3] <= 60
    for px, py in random_points(mask, 10, rng):
        assert mask[int(py), int(px)]
    prompt = sample_prompt(mask, rng, mask_side=64)
    assert prompt.kind in MIX
    assert any(part is not None for part in (prompt.box, prompt.points, prompt.mask))


def test_coarse_mask_is_near_the_mask_but_not_it():
    mask = np.zeros((240, 320), np.bool_)
    mask[60:180, 80:260] = True
    logits = coarse_mask(mask, np.random.default_rng(0), side=256)
    drawn_mask = logits[:192, :256] > 0  # 320 pixels wide become 256 cells
    truth = mask[::5, ::5][:, :]
    coarse = drawn_mask[::4, ::4][:48, :64]
    assert 0.8 < dense_iou(coarse, truth) < 1
    assert (logits[192:] < 0).all()


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)


def test_folders_pair_images_with_masks_of_the_same_name(tmp_path, drawn):
    picture, mask = drawn(0)
    bits = mask.astype(np.uint8) * np.uint8(255)
    save(tmp_path / "two/images/a.jpg", picture)
    save(tmp_path / "two/masks/a.png", bits)
    save(tmp_path / "two/images/alone.jpg", picture)
    save(tmp_path / "side/b.jpg", picture)
    save(tmp_path / "side/b.png", bits)
    for folder, stem in (("two", "a"), ("side", "b")):
        (item,) = image_folder(tmp_path / folder)
        assert item.path.stem == stem
        assert item.image().shape == picture.shape
        np.testing.assert_array_equal(item.masks()[0], mask)
        assert len(item.masks()) == 1
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no mask files"):
        image_folder(tmp_path / "empty")


def test_masks_of_zero_and_one_are_refused(tmp_path, drawn):
    picture, mask = drawn(0)
    save(tmp_path / "images/a.png", picture)
    save(tmp_path / "masks/a.png", mask.astype(np.uint8))
    with pytest.raises(InputError, match="Multiply the masks by 255"):
        image_folder(tmp_path)[0].masks()


def test_hqseg44k_is_found_in_its_published_layout(tmp_path, drawn):
    picture, mask = drawn(0)
    bits = mask.astype(np.uint8) * np.uint8(255)
    for images, masks in HQSEG44K_TRAIN:
        save(tmp_path / images / "x.jpg", picture)
        save(tmp_path / masks / "x.png", bits)
    parts = hqseg44k(tmp_path)
    assert list(parts) == [images for images, _ in HQSEG44K_TRAIN]
    assert all(len(items) == 1 for items in parts.values())
    with pytest.raises(InputError, match="DIS5K"):
        hqseg44k(tmp_path / "elsewhere")


def coco_file(path, annotations):
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "height": 100, "width": 100}],
        "annotations": [
            {
                "image_id": 7,
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": crowd,
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
            }
            for (x0, y0, x1, y1), crowd in annotations
        ],
    }
    path.write_text(json.dumps(content))
    return path


def test_coco_leaves_out_crowds_and_small_objects(tmp_path):
    rows = [
        ((20, 10, 70, 60), 0),
        ((15, 40, 80, 90), 0),
        ((0, 0, 99, 99), 1),
        ((0, 0, 5, 5), 0),
    ]
    (item,) = coco_instances(coco_file(tmp_path / "c.json", rows), tmp_path)
    expected = np.zeros((2, 100, 100), np.bool_)
    expected[0, 10:60, 20:70] = True
    expected[1, 40:90, 15:80] = True
    np.testing.assert_array_equal(item.masks(), expected)


def test_broken_coco_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "c.json").write_text(
        '{"images": [{"id": 1}], "annotations": [{"image_id": 2, "area": 9999}]}'
    )
    with pytest.raises(AnnotationError, match=r"c\.json"):
        coco_instances(tmp_path / "c.json", tmp_path)
