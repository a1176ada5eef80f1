"""Many objects at once: the engine for graphics processors, whose every step also runs without one."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vis.errors import FallbackWarning
from vis.follow.decoding import candidates
from vis.hqsam import SIZES, Predictor, SamModel
from vis.hqsam.automatic_masks import find_everything
from vis.hqsam.resize import resize
from vis.hqsam.runtime import batched, cuda_graphs, engine, torch_ops
from vis.hqsam.runtime.batched import BatchedEngine, error_of, objects_within, padded_count
from vis.hqsam.runtime.vit import FlashViT
from vis.hqsam.upsample import Upsampler

BOXES = np.array([[20, 30, 150, 120], [80, 60, 290, 190], [5, 5, 60, 199], [9, 9, 80, 90], [1, 2, 299, 199]])
PROMPTS: dict[str, dict[str, Any]] = {
    "boxes": {"boxes": BOXES},
    "points": {
        "points": BOXES.reshape(5, 2, 2),
        "point_labels": np.array([[1, 0], [1, 1], [0, -1]] + [[1, 1]] * 2),
    },
    "masks": {"masks": np.random.default_rng(0).standard_normal((5, 64, 64))},
}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def relative(have: Any, want: Any) -> float:
    have, want = torch.as_tensor(have).float(), torch.as_tensor(want)
    return float((have - want).abs().max() / want.abs().max())


def batched_predictor(model: SamModel, dtype: torch.dtype = torch.float32) -> Predictor:
    predictor = Predictor(model)
    with torch.inference_mode():
        predictor._engine = BatchedEngine(model, dtype)
    return predictor


@pytest.mark.parametrize("hq", [True, False])
def test_batches_draw_what_exact_draws_one_by_one(
    hq: bool, make_model: Callable[..., SamModel], by_modules: Any, sizes: Any, photo: np.ndarray
) -> None:
    exact = by_modules(make_model(sizes("vit_b"), hq=hq))
    fast = batched_predictor(make_model(sizes("vit_b"), hq=hq, mode="fast"))
    want, have = exact.embed(photo), fast.embed(photo)
    assert relative(have.features, want.features) < 1e-4
    for kind, prompts in PROMPTS.items():
        led = {"best_of_three": True, "prior": np.roll(np.eye(5, 3), 1, axis=1) * 10}
        for options in (
            {},
            {"multimask": True},
            {"best_of_three": True},
            led,
            *([{"hq_token_only": True}] if hq else []),
        ):
            one = exact.decode(want, **prompts, **options)
            for chunk in (None, 3):  # five at once, and three with two more, which are padded
                many = fast.decode(have, **prompts, **options, chunk=chunk)
                assert relative(many.low_res_logits, one.low_res_logits) < 1e-4, kind
                assert relative(many.scores, one.scores) < 1e-4, kind
                assert (one.masks != many.masks).mean() < 1e-5, kind
                if one.hq_masks is not None:
                    assert (one.hq_masks != many.hq_masks).mean() < 1e-5, kind


def test_all_four_masks_at_once_as_following_asks_for_them(
    make_model: Callable[..., SamModel], by_modules: Any, sizes: Any, photo: np.ndarray
) -> None:
    exact = by_modules(make_model(sizes("vit_b")))
    fast = batched_predictor(make_model(sizes("vit_b"), mode="fast"))
    want = candidates(exact, exact.embed(photo), boxes=BOXES)
    have = candidates(fast, fast.embed(photo), boxes=BOXES)
    assert want.logits.shape[:2] == (5, 4)
    assert relative(have.logits, want.logits) < 1e-4
    assert relative(have.scores, want.scores) < 1e-4


def test_rows_below_the_least_score_are_left_out(
    make_model: Callable[..., SamModel], by_modules: Any, sizes: Any, photo: np.ndarray
) -> None:
    exact = by_modules(make_model(sizes("vit_b")))
    fast = batched_predictor(make_model(sizes("vit_b"), mode="fast"))
    limits = {"points_per_side": 4, "predicted_iou": 0.0, "stability": 0.2}
    want, have = (find_everything(one, photo, **limits) for one in (exact, fast))  # type: ignore[arg-type]
    assert 0 < len(want) == len(have)
    for one, other in zip(want, have, strict=True):
        assert one.point == other.point
        assert one.predicted_iou == pytest.approx(other.predicted_iou, rel=1e-3)


@pytest.mark.parametrize("name", ["vit_b", "vit_h"])
def test_fused_attention_in_a_batch(name: str, make_model: Callable[..., SamModel], sizes: Any) -> None:
    """Windows with padding, a global block, and head sizes whose sum with the positions wants filling up."""
    model = make_model(sizes(name))
    frames = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want, want_early = model.image_encoder(frames)
        have, early = FlashViT(model.image_encoder, torch.float32)(frames)
        rounded, _ = FlashViT(model.image_encoder, torch.bfloat16)(frames)
    assert relative(have.permute(0, 3, 1, 2), want) < 1e-5
    assert relative(early.permute(0, 3, 1, 2), want_early) < 1e-5
    assert 1e-4 < relative(rounded.permute(0, 3, 1, 2), want) < 3e-2


def test_tiny_vit_without_strips(make_model: Callable[..., SamModel]) -> None:
    model = make_model(SIZES["vit_tiny"], mode="fast")
    frames = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        want, _ = model.image_encoder(frames)
        have, _ = BatchedEngine(model, torch.float32).encoder(frames)
    assert relative(have.permute(0, 3, 1, 2), want) < 1e-4


def test_objects_at_once_by_memory() -> None:
    gib = 2**30
    assert objects_within(80 * gib, 64) == 64
    assert objects_within(0, 64) == 1
    counts = [objects_within(free * gib // 4, 64) for free in range(60)]
    assert counts == sorted(counts)
    assert all(count == padded_count(count) for count in counts)
    # a quarter of what is free holds them all
    assert all(
        4 * count * 64 * 2**20 <= max(free, 1) * gib for free, count in zip((2, 8), (8, 32), strict=True)
    )
    assert (objects_within(2 * gib, 64), objects_within(8 * gib, 64)) == (8, 32)


@given(st.integers(1, 64))
def test_padding_is_small(count: int) -> None:
    assert count <= padded_count(count) <= max(count + 7, 4 * count // 3)
    assert padded_count(padded_count(count)) == padded_count(count)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(0, 99))
def test_resize_is_pillows_to_the_last_bit(h: int, w: int, to_h: int, to_w: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (h, w, 3)).astype(np.uint8)
    want = np.array(Image.fromarray(picture).resize((to_w, to_h), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(torch.from_numpy(picture), (to_h, to_w)).numpy(), want)


@pytest.mark.parametrize("shape", [(720, 1280), (1080, 1920), (900, 7), (480, 854)])
def test_resize_of_frames(shape: tuple[int, int]) -> None:
    from vis.hqsam.predictor import network_size

    picture = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    height, width = network_size(shape, 1024)
    want = np.array(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(torch.from_numpy(picture), (height, width)).numpy(), want)


def test_masks_of_a_batch_are_the_masks_one_by_one() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.nn.functional.avg_pool2d(torch.randn(3, 64, 64, generator=generator), 5, 1, 2) * 5
    up = Upsampler((90, 160), (144, 256), 64, 256, torch.device("cpu"))
    one_by_one = np.zeros((3, 90, 160), np.bool_)
    up.masks(logits, one_by_one)
    values = up._in_two_steps(logits)
    sure = values.abs() > 1e-4
    assert torch.equal((values > 0)[sure], torch.from_numpy(one_by_one)[sure])


def test_an_engine_that_errs_is_found_out(make_model: Callable[..., SamModel], sizes: Any) -> None:
    model = make_model(sizes("vit_b"), mode="fast")
    with torch.inference_mode():
        one = BatchedEngine(model, torch.float32)
        assert error_of(one, model) < 1e-5
        assert 1e-4 < error_of(BatchedEngine(model, torch.bfloat16), model) < BatchedEngine.tolerance
        plain = one._decode[0, 1, False]
        one._decode[0, 1, False] = lambda *given: tuple(1.2 * x for x in plain(*given))  # type: ignore[assignment]
        assert error_of(one, model) > BatchedEngine.tolerance
        one._decode[0, 1, False] = lambda *given: tuple(x / 0 for x in plain(*given))  # type: ignore[assignment]
        assert error_of(one, model) == float("inf")


class Elsewhere:
    """Stands for a model on CUDA where there is none."""

    def __init__(self, model: SamModel) -> None:
        self.mode, self.size = model.mode, model.size
        self.device = SimpleNamespace(type="cuda")
        self.prompt_encoder = model.prompt_encoder


def test_cuda_gets_what_has_proved_itself(
    make_model: Callable[..., SamModel], sizes: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Any = Elsewhere(make_model(sizes("vit_b"), mode="fast"))
    monkeypatch.setattr(engine, "fast_dtype", lambda device: torch.bfloat16)
    made = lambda model, dtype, compiled: SimpleNamespace(dtype=dtype)  # noqa: E731
    made.tolerance = 0.1  # type: ignore[attr-defined]
    monkeypatch.setattr(batched, "BatchedEngine", made)
    errors = {torch.bfloat16: 0.01, torch.float32: 0.0}
    monkeypatch.setattr(batched, "error_of", lambda engine, model: errors[engine.dtype])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert engine.make_engine(model).dtype == torch.bfloat16
    errors[torch.bfloat16] = float("inf")
    with pytest.warns(FallbackWarning, match=r"vit_b in bfloat16 on .* differs from exact by inf"):
        assert engine.make_engine(model).dtype == torch.float32

    def fails(engine: Any, model: Any) -> float:
        raise RuntimeError("no kernel image\nmore")

    monkeypatch.setattr(batched, "error_of", fails)
    with pytest.warns(FallbackWarning) as caught:
        assert isinstance(engine.make_engine(model), engine.ExactEngine)
    words = [str(one.message).split()[2] for one in caught]
    assert words == ["bfloat16", "float32"]
    assert all("failed (no kernel image); going on" in str(one.message) for one in caught)


def test_graphs_that_cannot_be_recorded_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any, tensors: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graphs.Recorded, "_record", fails)
    monkeypatch.setattr(torch.cuda, "device", lambda device: warnings.catch_warnings())
    double = cuda_graphs.Recorded(lambda x: (2 * x,), torch.device("cuda"))
    with pytest.warns(FallbackWarning, match=r"CUDA graphs do not work here \(operation not permitted"):
        assert double(torch.ones(2))[0].tolist() == [2, 2]
    assert not double.works
    assert double(torch.ones(1))[0].tolist() == [2]  # silent from now on


@pytest.mark.parametrize("newer", [False, True])
def test_tensor_float32_is_left_as_it_was(newer: bool) -> None:
    if newer:
        torch.backends.cuda.matmul.fp32_precision = "tf32"  # the older switch cannot be read any more
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    try:
        with torch_ops.float32_products("cuda", short=True):
            assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
            assert torch.backends.cuda.matmul.allow_tf32
            assert torch.backends.cudnn.allow_tf32
            with torch_ops.float32_products("cuda", short=False):
                assert [place.fp32_precision for place in places] == ["ieee", "ieee"]
            with torch_ops.float32_products("cpu", short=False):
                assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
        after = [place.fp32_precision.replace("none", "ieee") for place in places]
        assert after == [value.replace("none", "ieee") for value in before]
    finally:
        torch.set_float32_matmul_precision("highest")


@needs_cuda
@pytest.mark.parametrize("name", ["vit_b", "vit_h", "vit_tiny"])
def test_cuda_against_exact_on_the_processor(
    name: str, make_model: Callable[..., SamModel], by_modules: Any, sizes: Any, photo: np.ndarray
) -> None:
    exact = by_modules(make_model(sizes(name)))
    same = Predictor(make_model(sizes(name)).to("cuda"))
    fast = Predictor(make_model(sizes(name), mode="fast").to("cuda"))
    assert fast.describe()["engine"] == "batched"
    assert fast.describe()["cuda graphs"] == "yes"
    want, near, have = (one.embed(photo) for one in (exact, same, fast))
    assert relative(near.features.cpu(), want.features) < 1e-4
    for _ in range(2):  # recorded, then replayed
        one = exact.decode(want, boxes=BOXES)
        two = same.decode(near, boxes=BOXES)
        three = fast.decode(have, boxes=BOXES)
        assert relative(two.low_res_logits, one.low_res_logits) < 1e-3
        assert relative(three.low_res_logits, one.low_res_logits) < 0.1
        assert (one.masks != three.masks).mean() < 0.05
