"""Teacher, views, composites, prompts and layouts, against drawings whose truth is known."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vis.errors import AnnotationError, InputError
from vis.training import composites, procedural, views
from vis.training.datasets import HQSEG44K_TRAIN, coco_instances, hqseg44k, image_folder
from vis.training.frozen import DecodedPrompt, EmbeddedImage
from vis.training.measure import mask_iou
from vis.training.prepare import merged_masks
from vis.training.prompts import (
    MIX,
    coarse_mask,
    jitter_box,
    random_points,
    sample_prompt,
    tight_box,
)
from vis.training.teacher import as_target, crop_square, load_targets, save_targets, teach


class Brightness:
    """Stands in for the network: its logits are the picture's brightness, its prompts are kept."""

    side = 256

    def __init__(self):
        self.prompts = []

    def embed(self, image):
        self.picture = image
        return EmbeddedImage(None, None, image.shape[:2])

    def decode(self, embedded, prompt):
        self.prompts.append((prompt, self.picture))
        grey = torch.from_numpy(self.picture[..., 0].astype(np.float32))[None, None]
        scale = 256 / max(grey.shape[2:])
        size = [round(n * scale) // 4 for n in grey.shape[2:]]
        grid = torch.full((1, 1, 64, 64), -9.0)
        small = torch.nn.functional.interpolate(grey, size, mode="bilinear", antialias=True)
        grid[..., : size[0], : size[1]] = (small - 127) / 20
        return DecodedPrompt(None, grid[0, 0], None)


def picture_of(mask):
    return np.repeat(np.where(mask, 230, 20).astype(np.uint8)[..., None], 3, 2)


def test_teacher_brings_every_view_back_to_its_place(drawn):
    for number in range(5):
        _, mask = drawn(number)
        network = Brightness()
        taught = teach(network, picture_of(mask), tight_box(mask))
        assert mask_iou(taught.probability > 0.5, mask) > 0.96
        assert taught.agreement > 0.96
        assert taught.trust.mean() > 0.99


def test_teacher_sees_the_object_large_and_its_prompts_move_along(drawn):
    _, mask = drawn(1)
    network = Brightness()
    teach(network, picture_of(mask), tight_box(mask), mask)
    for prompt, picture in network.prompts:
        assert max(picture.shape[:2]) == network.side
        bright = picture[..., 0] > 127
        np.testing.assert_allclose(prompt.box, tight_box(bright), atol=5)
        if prompt.points is not None:
            x, y = prompt.points.astype(int).T
            assert bright[y, x].all()
    assert {prompt.mask is None for prompt, _ in network.prompts} == {True, False}


def test_polygon_overrules_the_teacher_far_from_its_border_only(drawn):
    _, mask = drawn(2)
    wide = np.zeros_like(mask)
    wide[8:90, 10:120] = True  # the network leaks over nearly everything
    taught = teach(Brightness(), picture_of(wide), tight_box(mask), mask)
    decided = taught.trust > 0
    leaked = (wide & ~mask) & decided
    assert (taught.probability[leaked] < 0.5).mean() > 0.8
    assert np.isin(np.unique(taught.trust), [0, 0.5, 1]).all()
    assert (taught.trust[(wide & ~mask)] == 0.5).mean() > 0.5


@given(
    st.tuples(*[st.floats(0, 90)] * 2),
    st.tuples(*[st.floats(1, 60)] * 2),
    st.floats(1, 3),
    st.tuples(*[st.floats(-1, 1)] * 2),
)
def test_crop_holds_the_box_and_lies_in_the_image(corner, sides, factor, shift):
    box = np.array([*corner, corner[0] + sides[0], corner[1] + sides[1]], np.float32).clip(0, 100)
    x0, y0, x1, y1 = crop_square(box, (100, 100), factor, shift)
    assert 0 <= x0 < x1 <= 100
    assert 0 <= y0 < y1 <= 100
    assert x0 <= box[0] + 1e-3
    assert y0 <= box[1] + 1e-3
    assert x1 >= box[2] - 1e-3
    assert y1 >= box[3] - 1e-3


def test_targets_survive_the_disk(tmp_path, drawn):
    _, mask = drawn(3)
    target = as_target(teach(Brightness(), picture_of(mask), tight_box(mask)))
    save_targets(tmp_path / "t.npz", [target, target])
    again = load_targets(tmp_path / "t.npz")
    assert len(again) == 2
    assert again[1].origin == target.origin
    np.testing.assert_array_equal(again[1].probability, target.probability)
    whole, trust = again[0].cut((0, 0, mask.shape[1], mask.shape[0]))
    assert mask_iou(whole > 127, mask) > 0.96
    assert trust.shape == mask.shape
    (tmp_path / "t.npz").write_bytes(b"PK broken")
    with pytest.raises(InputError, match="make it again"):
        load_targets(tmp_path / "t.npz")


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_view_and_target_stay_aligned(number, whole):
    rng = np.random.default_rng(number)
    mask = np.zeros((80, 120), np.bool_)
    y, x = rng.integers(5, 40), rng.integers(5, 70)
    mask[y : y + 30, x : x + 40] = True
    target = views.Target(
        (int(y), int(x)), np.full((30, 40), 255, np.uint8), np.full((30, 40), 255, np.uint8)
    )
    patch = pytest.MonkeyPatch()
    patch.setattr(views, "wear", lambda image, rng: image)
    try:
        view = views.random_view(picture_of(mask), [target], rng, whole=whole)
    finally:
        patch.undo()
    for probability, trust in view.targets:
        np.testing.assert_array_equal(probability > 127, view.image[..., 0] > 127)
        assert trust.shape == probability.shape
    if whole:
        assert len(view.targets) == 1


def test_wear_keeps_shape_and_is_drawn_from_the_generator():
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3)).astype(np.uint8)
    for seed in range(20):
        worn = views.wear(image, np.random.default_rng(seed))
        assert worn.shape == image.shape
        assert worn.dtype == np.uint8
        np.testing.assert_array_equal(worn, views.wear(image, np.random.default_rng(seed)))


def test_composite_masks_are_what_is_visible(monkeypatch):
    monkeypatch.setattr(composites, "_light", lambda cutout, rng: cutout)
    white = np.full((64, 64, 4), 255, np.float32)
    white[..., 3] = 1
    seen = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        picture, targets = composites.compose(np.zeros((120, 160, 3), np.uint8), [white, white], rng)
        total = sum(target.cut((0, 0, 160, 120))[0].astype(int) for target in targets)
        assert total.max() <= 256  # a pixel belongs to one object, up to rounding
        seen += len(targets)
        if targets:
            covered = picture[..., 0] > 0
            assert covered[total > 200].all()
    assert seen >= 12


@pytest.mark.parametrize("kind", sorted(procedural.SHAPES))
def test_shapes_are_drawn_inside_and_softly(kind):
    for seed in range(3):
        alpha = procedural.draw_shape(kind, 96, np.random.default_rng(seed))
        assert alpha.shape == (96, 96)
        assert 0 <= alpha.min() <= alpha.max() <= 1
        assert 0.005 < alpha.mean() < 0.9
        assert ((alpha > 0) & (alpha < 1)).any()


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
    assert 0.8 < mask_iou(coarse, truth) < 1
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
        assert len(item.targets()) == 1
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
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "horse"}, {"id": 3, "name": "cat"}],
        "annotations": [
            {
                "image_id": 7,
                "category_id": category,
                "area": (x1 - x0) * (y1 - y0),
                "iscrowd": crowd,
                "segmentation": [[x0, y0, x1, y0, x1, y1, x0, y1]],
            }
            for category, (x0, y0, x1, y1), crowd in annotations
        ],
    }
    path.write_text(json.dumps(content))
    return path


def test_coco_leaves_out_crowds_and_small_objects_and_merges_riders(tmp_path):
    rows = [
        (1, (20, 10, 70, 60), 0),
        (2, (15, 40, 80, 90), 0),
        (3, (20, 10, 70, 90), 0),  # a cat is no companion
        (1, (0, 0, 99, 99), 1),
        (1, (0, 0, 5, 5), 0),
    ]
    (item,) = coco_instances(coco_file(tmp_path / "c.json", rows), tmp_path)
    assert item.labels == ("person", "horse", "cat")
    (merged,) = merged_masks(item)
    expected = np.zeros((100, 100), np.bool_)
    expected[10:60, 20:70] = True
    expected[40:90, 15:80] = True
    np.testing.assert_array_equal(merged, expected)


def test_broken_coco_is_an_error_that_names_the_file(tmp_path):
    (tmp_path / "c.json").write_text(
        '{"images": [{"id": 1}], "annotations": [{"image_id": 2, "area": 9999}]}'
    )
    with pytest.raises(AnnotationError, match=r"c\.json"):
        coco_instances(tmp_path / "c.json", tmp_path)
