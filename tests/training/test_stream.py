"""Views by number and the pool they go through: repeatable, resumable, the same as decoding one at a time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from vis.errors import InputError, UsageError
from vis.training.composites import compose, join
from vis.training.datasets import image_folder
from vis.training.frozen import FrozenSam
from vis.training.loop import HeadTrainer, Recipe, fit
from vis.training.makers import CompositeViews, MaskedViews, Part, TaughtViews, ViewSource
from vis.training.prompts import Prompt
from vis.training.stream import PooledSource, prepare_view
from vis.training.teacher import save_targets

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
    return ViewSource([Part("images", 1.0, MaskedViews(image_folder(folder)))], seed=3)


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


def test_parts_are_drawn_by_their_shares(folder):
    seen = []

    class Noted:
        def __init__(self, name):
            self.name = name

        def __call__(self, rng):
            seen.append(self.name)
            return MaskedViews(image_folder(folder))(rng)

    source = ViewSource([Part("a", 3.0, Noted("a")), Part("b", 1.0, Noted("b"))])
    for number in range(60):
        source.view(number)
    assert 0.6 < seen.count("a") / len(seen) < 0.9


def test_a_part_that_never_shows_an_object_is_an_error(folder):
    source = ViewSource([Part("broken", 1.0, lambda rng: None)])
    with pytest.raises(InputError, match="'broken'"):
        source.view(0)
    with pytest.raises(InputError, match="share above 0"):
        ViewSource([Part("none", 0.0, lambda rng: None)])


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


def solid(side, colour):
    piece = np.zeros((side, side, 4), np.float32)
    piece[8:-8, 8:-8] = (*colour, 1.0)
    return piece


def test_what_stands_in_front_is_cut_out_of_the_mask_and_is_no_object():
    background = np.full((200, 260, 3), 120, np.uint8)
    objects = [solid(120, (250, 20, 20)), solid(120, (20, 250, 20))]
    hidden = []
    for seed in range(6):
        _, bare = compose(background, objects, np.random.default_rng(seed))
        _, targets = compose(
            background, objects, np.random.default_rng(seed), occluders=[solid(300, (20, 20, 250))]
        )
        assert len(targets) <= len(bare)
        shared = sum(target.cut((0, 0, 260, 200))[0].astype(int) for target in bare)
        assert shared.max() <= 256  # objects of one picture share each pixel among them, up to rounding
        seen = [sum(int(t.probability.sum()) for t in some) for some in (bare, targets)]
        hidden.append(seen[0] - seen[1])
    assert min(hidden) >= 0
    assert max(hidden) > 0  # the bar does not meet an object in every draw


def test_joined_cut_outs_are_one_object_larger_than_each():
    red, green = solid(100, (250, 0, 0)), solid(100, (0, 250, 0))
    both = join(red, green, np.random.default_rng(0))
    coloured = both[..., 3] > 0.9
    assert (both[coloured][:, 0] > 200).any()
    assert (both[coloured][:, 1] > 200).any()
    assert np.ptp(np.flatnonzero(coloured.any(1))) > np.ptp(np.flatnonzero((red[..., 3] > 0.9).any(1)))


def test_taught_objects_and_cut_outs_of_photographs_make_views(folder, target_of, drawn):
    pairs = []
    for item in image_folder(folder):
        number = int(item.path.stem)
        path = folder / f"targets{number}.npz"
        save_targets(path, [target_of(drawn(number)[1])])
        pairs.append((item.path, path))
    rng = np.random.default_rng(0)
    view = TaughtViews(pairs)(rng)
    assert view is not None
    assert view.targets
    art = folder / "art.png"
    Image.fromarray(solid(90, (200, 40, 10)).astype(np.uint8) * np.array([1, 1, 1, 255], np.uint8)).save(art)
    maker = CompositeViews([p for p, _ in pairs], [art], pairs, shares=(0.0, 1.0, 0.0), occluded=0.0)
    made = [maker(rng) for _ in range(4)]
    assert any(view is not None and view.targets for view in made)


def test_whole_grid_and_window_agree_on_the_recipe(views, small_model):
    report = HeadTrainer(small_model, replace(RECIPE, points=0)).train_step(pooled(views, small_model))
    assert np.isfinite([report.sum_bce, report.hq_dice, report.gradient]).all()
