"""Losses and scores in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from vis.errors import InputError, UsageError
from vis.masks import dense_boundary_iou, dense_iou
from vis.training.datasets import MaskedImage
from vis.training.evaluate import evaluate, fixed_prompt
from vis.training.losses import mask_loss, sample_points, sample_values


def test_loss_of_undecided_logits_is_known():
    truth = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    bce, dice = mask_loss(torch.zeros(1, 4), truth, torch.ones(1, 4))
    assert bce.item() == pytest.approx(math.log(2))
    assert dice.item() == pytest.approx(1 - (2 * 1 + 1) / (2 + 2 + 1))


def test_loss_of_certain_and_right_logits_is_nothing_and_weight_0_hides_errors():
    truth = torch.tensor([[1.0, 0.0, 1.0, 0.0]])
    logits = torch.tensor([[50.0, -50.0, -50.0, 50.0]])
    weight = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    bce, dice = mask_loss(logits, truth, weight)
    assert bce.item() < 1e-6
    assert dice.item() < 1e-6


def test_points_crowd_where_the_logits_are_undecided():
    logits = torch.linspace(-10, 10, 64).expand(1, 1, 64, 64)
    points = sample_points(logits, 400, generator=torch.Generator().manual_seed(0))
    assert points.shape == (1, 400, 2)
    near = ((points[..., 0] - 0.5).abs() < 0.17).float().mean()
    assert near > 0.75
    again = sample_points(logits, 400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(points, again)


def test_values_at_cell_centres_are_the_cells():
    maps = torch.arange(12.0).view(1, 1, 3, 4)
    centres = torch.tensor([[[0.5 / 4, 0.5 / 3], [3.5 / 4, 2.5 / 3], [1.0 / 4, 0.5 / 3]]])
    torch.testing.assert_close(sample_values(maps, centres), torch.tensor([[0.0, 11.0, 0.5]]))


def test_boundary_iou_of_a_hole_and_a_shift():
    a = np.zeros((100, 100), np.bool_)
    a[20:80, 20:80] = True
    holed = a.copy()
    holed[45:55, 45:55] = False
    assert dense_boundary_iou(a, a) == 1
    width = round(0.02 * math.hypot(100, 100))
    ring = 60 * 60 - (60 - 2 * width) ** 2
    hole = (10 + 2 * width) ** 2 - 10 * 10
    assert dense_boundary_iou(a, holed) == pytest.approx(ring / (ring + hole), abs=0.01)
    assert dense_iou(np.zeros_like(a), np.zeros_like(a)) == 1


def test_more_points_hold_the_fewer():
    mask = np.zeros((40, 40), np.bool_)
    mask[10:30, 5:35] = True
    ten, three = fixed_prompt("points10", mask, 4), fixed_prompt("points3", mask, 4)
    np.testing.assert_array_equal(ten.points[:3], three.points)
    for kind in ("scribble", "points", "points0", "points-1"):
        with pytest.raises(UsageError, match="points with a number"):
            fixed_prompt(kind, mask, 0)


def test_evaluation_agrees_with_the_predictor(small_model, sam_state, drawn, tmp_path):
    from dataclasses import replace

    from PIL import Image

    from vis.hqsam import SIZES, Predictor, SamModel

    picture, mask = drawn(0)
    Image.fromarray(picture).save(tmp_path / "a.png")
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(tmp_path / "m.png")
    plain = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=False, mode="exact").eval()
    plain.load_state_dict(sam_state)
    small_model.mode = "exact"
    items = [MaskedImage(tmp_path / "a.png", tmp_path / "m.png")]
    kinds = ("box", "detected")
    scores = evaluate(
        small_model, items, plain=plain, kinds=kinds, detect=lambda image: None, best_of_three=True
    )
    box = fixed_prompt("box", mask, 0).box[None]
    for name, model, options in (
        ("sum", small_model, {}),
        ("hq", small_model, {"hq_token_only": True}),
        ("plain", plain, {}),
        ("best", small_model, {"best_of_three": True}),
        ("plain_best", plain, {"best_of_three": True}),
    ):
        predictor = Predictor(model)
        out = predictor.decode(predictor.embed(picture), boxes=box, **options)
        assert scores["box"][name].iou == pytest.approx(dense_iou(out.masks[0], mask), abs=2e-3)
        assert scores["detected"][name].iou == 0
    assert scores["box"]["sum"].objects == 1
    Image.fromarray(np.zeros(mask.shape, np.uint8)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="no image has a mask"):
        evaluate(small_model, items)
