"""The tiny end-to-end run: it learns, leaves SAM alone, resumes exactly, and its head is used."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vis.errors import CheckpointError, UsageError, VisError
from vis.hqsam import SIZES, Predictor, SamModel
from vis.training.export import read_head, save_head
from vis.training.frozen import frozen_fingerprint, initial_head
from vis.training.loop import HeadTrainer, Recipe, fit
from vis.training.sources import CachedSource

# Random SAM masks overlap the truth by chance only: every object must be accepted here.
RECIPE = Recipe(steps=12, batch=6, chunk=6, warmup=2, lr=3e-3, mlp_lr=1.0)


@pytest.fixture
def source(cache):
    return CachedSource({cache: 1.0}, window=16, least_iou=0.0)


def loss(report):
    return report.sum_bce + report.sum_dice


def test_loss_falls_and_no_frozen_byte_changes(small_model, source):
    before = {name: tensor.clone() for name, tensor in small_model.state_dict().items()}
    trainer = HeadTrainer(small_model, replace(RECIPE, steps=40))
    reports = [trainer.train_step(source) for _ in range(40)]
    first = np.mean([loss(r) for r in reports[:5]])
    last = np.mean([loss(r) for r in reports[-5:]])
    assert last < 0.8 * first
    changed = {k for k, v in small_model.state_dict().items() if not torch.equal(v, before[k])}
    assert changed == set(trainer.head) - {"mask_decoder.hf_token.weight"}


def test_resume_gives_the_weights_of_an_uninterrupted_run(sam_state, source, tmp_path):
    def fresh():
        model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=True)
        model.load_state_dict({**sam_state, **initial_head(sam_state)})
        return HeadTrainer(model, RECIPE)

    whole = fresh()
    fit(whole, source)
    stopped = fresh()
    for _ in range(5):
        stopped.train_step(source)
    stopped.save(tmp_path / "state.pt")
    resumed = fresh()
    resumed.resume(tmp_path / "state.pt")
    fit(resumed, source)
    assert resumed.step == whole.step == RECIPE.steps
    for name, tensor in whole.head.items():
        assert torch.equal(tensor, resumed.head[name]), name
        assert torch.equal(whole.average[name], resumed.average[name]), name


def test_resume_refuses_another_recipe_other_weights_and_no_state(small_model, source, tmp_path):
    trainer = HeadTrainer(small_model, RECIPE)
    trainer.save(tmp_path / "state.pt")
    with pytest.raises(UsageError, match="another lr"):
        HeadTrainer(small_model, replace(RECIPE, lr=1.0)).resume(tmp_path / "state.pt")
    with pytest.raises(CheckpointError, match="no run to go on from"):
        trainer.resume(tmp_path / "missing.pt")
    (tmp_path / "broken.pt").write_bytes(b"PK\x03\x04 but not really")
    with pytest.raises(CheckpointError, match="truncated"):
        trainer.resume(tmp_path / "broken.pt")
    with torch.no_grad():
        small_model.mask_decoder.iou_token.weight += 1
    with pytest.raises(CheckpointError, match="other SAM weights"):
        HeadTrainer(small_model, RECIPE).resume(tmp_path / "state.pt")
    with pytest.raises(VisError, match="frozen weights have changed"):
        trainer.save(tmp_path / "never.pt")


def test_exported_head_loads_in_the_predictor_and_changes_the_masks(
    small_model, sam_state, source, drawn, tmp_path
):
    trainer = HeadTrainer(small_model, replace(RECIPE, lr=1e-2))
    head = fit(trainer, source)
    digest = save_head(tmp_path / "head.safetensors", head)
    assert digest == save_head(tmp_path / "again.safetensors", head)
    picture, mask = drawn(0)
    rows, cols = np.nonzero(mask)
    box = np.array([[cols.min(), rows.min(), cols.max() + 1, rows.max() + 1]], np.float32)
    logits = []
    for tensors in (initial_head(sam_state), read_head(tmp_path / "head.safetensors")):
        model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=True, mode="exact")
        model.load_state_dict({**sam_state, **tensors})
        predictor = Predictor(model)
        logits.append(predictor.decode(predictor.embed(picture), boxes=box).low_res_logits)
    assert np.abs(logits[0] - logits[1]).max() > 0.05 * np.abs(logits[0]).max()
    assert frozen_fingerprint(model) == trainer.fingerprint


def test_accumulated_chunks_are_one_batch(sam_state, source):
    steps = []
    for chunk in (6, 2):
        model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=True)
        model.load_state_dict({**sam_state, **initial_head(sam_state)})
        trainer = HeadTrainer(model, replace(RECIPE, chunk=chunk))
        report = trainer.train_step(source)
        steps.append((report, {name: p.grad.clone() for name, p in trainer._trained.items()}))
    assert loss(steps[0][0]) == pytest.approx(loss(steps[1][0]), rel=1e-5)
    for name, gradient in steps[0][1].items():
        # The BCE of a chunk is a mean over its samples, each over its own weights: sums agree exactly.
        torch.testing.assert_close(gradient, steps[1][1][name], rtol=1e-3, atol=1e-6)


def test_points_near_the_contour_are_compared_when_asked(small_model, source):
    before = {name: p.detach().clone() for name, p in small_model.named_parameters()}
    trainer = HeadTrainer(small_model, replace(RECIPE, points=64))
    first = trainer.train_step(source)
    small_model.load_state_dict(before, strict=False)
    again = HeadTrainer(small_model, replace(RECIPE, points=64)).train_step(source)
    small_model.load_state_dict(before, strict=False)
    dense = HeadTrainer(small_model, RECIPE).train_step(source)
    assert loss(first) == loss(again) != loss(dense)


def test_the_best_head_by_evaluation_is_returned_and_kept(small_model, source, tmp_path):
    seen = []

    def judge(head):
        seen.append({name: tensor.clone() for name, tensor in head.items()})
        return [0.2, 0.9, 0.5][len(seen) - 1]

    trainer = HeadTrainer(small_model, replace(RECIPE, steps=3))
    scores = []
    best = fit(
        trainer,
        source,
        folder=tmp_path,
        evaluate_every=1,
        evaluate=judge,
        on_score=lambda step, score, is_best: scores.append((step, score, is_best)),
    )
    assert scores == [(1, 0.2, True), (2, 0.9, True), (3, 0.5, False)]
    kept = read_head(tmp_path / "best.safetensors")
    for name, tensor in seen[1].items():
        assert torch.equal(best[name], tensor), name
        assert torch.equal(kept[name], tensor), name


def test_a_model_without_a_branch_is_refused(sam_state):
    model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=False)
    with pytest.raises(UsageError, match="no HQ branch"):
        HeadTrainer(model, RECIPE)
