"""Views by number and the pool they go through: repeatable, resumable, the same as decoding one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vis.errors import InputError, UsageError
from vis.training.datasets import image_folder
from vis.training.frozen import FrozenSam
from vis.training.loop import HeadTrainer, Recipe, fit
from vis.training.prompts import Prompt
from vis.training.stream import PooledSource, prepare_view
from vis.training.views import ViewSource

RECIPE = Recipe(steps=4, batch=4, chunk=4, warmup=1, train_token=True, points=64)


@pytest.fixture
def folder(tmp_path, drawn):
    for name in ("images", "masks"):
        (tmp_path / name).mkdir()
    for number in range(3):
        picture, mask = drawn(number)
        Image.fromarray(picture).save(tmp_path / "images" / f"{number}.png")
        Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(tmp_path / "masks" / f"{number}.png")
    return tmp_path


@pytest.fixture
def views(folder):
    return ViewSource(image_folder(folder), seed=3)


def pooled(views, model, **changed):
    options = {"pool": 4, "reuse": 2.0, "encode": 2, "mix": {"box": 0.6, "points": 0.4}, **changed}
    return PooledSource(views, FrozenSam(model), **options)


def same(a, b):
    return all(torch.equal(getattr(a, n), getattr(b, n)) for n in ("features", "sam_logits", "probability"))


def test_a_number_always_gives_the_same_view_and_prompts(views):
    first, again, other = (prepare_view(views, number, 128) for number in (5, 5, 6))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.probability, again.probability)
    assert [p.kind for p in first.prompts[0]] == [p.kind for p in again.prompts[0]]
    assert first.image.shape != other.image.shape or not torch.equal(first.image, other.image)


def test_images_that_never_show_an_object_are_an_error(folder):
    for mask in (folder / "masks").iterdir():
        Image.fromarray(np.zeros_like(np.asarray(Image.open(mask)))).save(mask)
    with pytest.raises(InputError, match="200 draws of a training view in a row showed no object"):
        ViewSource(image_folder(folder)).view(0)
    with pytest.raises(InputError, match="at least one image"):
        ViewSource([])


def test_samples_do_not_depend_on_workers_or_on_where_one_begins(views, small_model):
    numbers = list(range(12, 16))
    straight = pooled(views, small_model)
    for at in range(0, 12, 4):
        straight.samples(range(at, at + 4))
    expected = straight.samples(numbers)
    assert same(pooled(views, small_model).samples(numbers), expected)
    assert same(pooled(views, small_model, workers=1).samples(numbers), expected)
    assert not same(pooled(views, small_model).samples(range(4)), expected)


def test_batches_of_prompts_decode_as_one_at_a_time(small_model, drawn):
    frozen = FrozenSam(small_model)
    pictures = [drawn(number)[0] for number in range(3)]
    embedded = [frozen.embed(picture) for picture in pictures]
    boxes = [np.array([20 + i, 10, 90, 70 + i], np.float32) for i in range(3)]
    prompts = [Prompt("box", box=box) for box in boxes]
    features = torch.cat([item.features for item in embedded])
    with torch.no_grad():
        together = frozen.decode_batch(features, [item.frame_size for item in embedded], prompts)
        for i, (item, prompt) in enumerate(zip(embedded, prompts, strict=True)):
            alone = frozen.decode(item, prompt)
            torch.testing.assert_close(together.sam_logits[i], alone.sam_logits, rtol=1e-4, atol=1e-4)
            torch.testing.assert_close(together.hf_token[i], alone.hf_token, rtol=1e-4, atol=1e-4)


def test_training_moves_the_token_and_resumes_to_the_same_bytes(views, small_model, tmp_path):
    start = {name: tensor.clone() for name, tensor in small_model.state_dict().items()}

    def fresh():
        small_model.load_state_dict(start)
        return HeadTrainer(small_model, RECIPE), pooled(views, small_model, window=16)

    trainer, source = fresh()
    whole = fit(trainer, source)
    assert not torch.equal(whole["mask_decoder.hf_token.weight"], start["mask_decoder.hf_token.weight"])
    trainer, source = fresh()
    for _ in range(2):
        trainer.train_step(source)
    trainer.save(tmp_path / "state.pt")
    trainer, source = fresh()
    trainer.resume(tmp_path / "state.pt")
    resumed = fit(trainer, source)
    for name, tensor in whole.items():
        assert torch.equal(tensor, resumed[name]), name


def test_each_process_draws_its_own_samples(views, small_model):
    alone = pooled(views, small_model).samples([0, 2])
    halves = [pooled(views, small_model, rank=rank, processes=2) for rank in (0, 1)]
    a, b = halves[0].samples([0, 2]), halves[1].samples([1, 3])
    assert not same(a, b)
    assert a.sam_logits.shape == alone.sam_logits.shape


def test_a_window_is_a_part_of_the_whole_sample(views, small_model):
    sample = pooled(views, small_model, window=16, mix={"box": 1.0}).samples([0, 1])
    assert sample.sam_logits.shape == (2, 16, 16)
    assert sample.probability.shape == (2, 64, 64)


def test_pool_options_are_checked(views, small_model):
    with pytest.raises(UsageError, match="above 0"):
        pooled(views, small_model, reuse=0.0)


def test_whole_grid_and_window_agree_on_the_recipe(views, small_model):
    report = HeadTrainer(small_model, replace(RECIPE, points=0)).train_step(pooled(views, small_model))
    assert np.isfinite([report.sum_bce, report.hq_dice, report.gradient]).all()
