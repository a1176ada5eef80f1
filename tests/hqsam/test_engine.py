"""The fast engine, one object at a time and batched, against the modules; and what is chosen to run."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vis import weights
from vis.automatic_masks import find_everything
from vis.errors import FallbackWarning
from vis.follow.decoding import candidates
from vis.hqsam import Predictor, SamModel, load_model
from vis.hqsam.runtime import cuda_graphs, engine
from vis.hqsam.runtime import mask_decoder as fast_decoder
from vis.hqsam.runtime.engine import ExactEngine, FastEngine, error_of, objects_within, padded_count
from vis.hqsam.runtime.mask_decoder import _reach
from vis.hqsam.runtime.tiny_vit import FastTinyViT
from vis.prompt_policies import mask_prompt
from vis.prompts import check_prompts

BOXES = np.array([[20, 30, 150, 120], [80, 60, 290, 190], [5, 5, 60, 199], [9, 9, 80, 90], [1, 2, 299, 199]])
PROMPTS: dict[str, dict[str, Any]] = {
    "boxes": {"boxes": BOXES},
    "points": {
        "points": BOXES.reshape(5, 2, 2),
        "point_labels": np.array([[1, 0], [1, 1], [0, -1]] + [[1, 1]] * 2),
    },
    "masks": {"boxes": BOXES, "masks": np.random.default_rng(0).standard_normal((5, 64, 64))},
    "masks alone": {"masks": np.random.default_rng(1).standard_normal((5, 64, 64))},
}
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")


def relative(have: Any, want: Any) -> float:
    have, want = torch.as_tensor(have).float(), torch.as_tensor(want)
    return float((have - want).abs().max() / want.abs().max())


def fast_predictor(model: SamModel, *, batched: bool = False) -> Predictor:
    """In float32, whatever this machine would take."""
    predictor = Predictor(model)
    with torch.inference_mode():
        predictor._engine = FastEngine(model, torch.float32, batched=batched)
    return predictor


@pytest.mark.parametrize("batched", [False, True], ids=["one at a time", "batched"])
@pytest.mark.parametrize("hq", [True, False], ids=["HQ-SAM", "SAM"])
def test_the_fast_engine_is_the_modules(
    hq: bool, batched: bool, make_model: Callable[..., SamModel], sizes: Any, photo: np.ndarray
) -> None:
    exact = Predictor(make_model(sizes("vit_b"), hq=hq))
    fast = fast_predictor(make_model(sizes("vit_b"), hq=hq, mode="fast"), batched=batched)
    want, have = exact.embed(photo), fast.embed(photo)
    assert relative(have.features, want.features) < 1e-4
    if hq:
        assert relative(have.hq_features, want.hq_features) < 1e-4
    led = {"best_of_three": True, "iou_bias": np.roll(np.eye(5, 3), 1, axis=1) * 10}
    choices = [{}, {"multimask": True}, {"best_of_three": True}, led]
    for kind, prompts in PROMPTS.items():
        for options in (*choices, *([{"hq_token_only": True}] if hq else [])):
            one = exact.decode(want, **prompts, **options)
            for chunk in (None, 3):  # batched: five at once, and three with two more, which are padded
                many = fast.decode(have, **prompts, **options, full_frame=True, chunk=chunk)
                assert relative(many.low_res_logits, one.low_res_logits) < 1e-4, kind
                assert relative(many.scores, one.scores) < 1e-4, kind
                assert (one.masks != many.masks).mean() < 1e-5, kind
                if one.hq_masks is not None:
                    assert (one.hq_masks != many.hq_masks).mean() < 1e-5, kind


def test_a_frame_depends_on_no_other_frame(
    make_model: Callable[..., SamModel], sizes: Any, photo: np.ndarray
) -> None:
    predictor = fast_predictor(make_model(sizes("vit_b"), mode="fast"))
    alone = predictor.embed(photo)
    _, beside = predictor.embed_batch([photo[::-1].copy(), photo])
    assert torch.equal(beside.features, alone.features)
    assert beside.hq_features is not None
    assert torch.equal(beside.hq_features, alone.hq_features)


@pytest.mark.parametrize("best_of_three", [False, True])
@pytest.mark.parametrize("hq", [True, False])
def test_computed_around_the_box_and_sampled_elsewhere(
    hq: bool, best_of_three: bool, make_model: Callable[..., SamModel], photo: np.ndarray, request: Any
) -> None:
    """With SAM's own logits left out of the choice, exactly the boxes and their margin are computed."""
    size = request.getfixturevalue("sizes")("vit_b")
    exact = Predictor(make_model(size, hq=hq))
    fast = fast_predictor(make_model(size, hq=hq, mode="fast"))
    request.getfixturevalue("monkeypatch").setattr(fast_decoder, "_NEAR", float("-inf"))
    boxes = np.array([[100, 60, 160, 100], [0, 0, 30, 40], [250, 150, 300, 200]], np.float32)
    want = exact.decode(exact.embed(photo), boxes=boxes, best_of_three=best_of_three)
    have = fast.decode(fast.embed(photo), boxes=boxes, best_of_three=best_of_three)
    scale = 256 / 300 / 16  # frame pixels to cells
    for row, (x0, y0, x1, y1) in enumerate(boxes * scale):
        inside = np.zeros((64, 64), bool)
        (top, bottom), (left, right) = ((_reach(torch.zeros(16), a, b)) for a, b in ((y0, y1), (x0, x1)))
        inside[4 * top : 4 * bottom, 4 * left : 4 * right] = True
        assert 0 < inside.mean() < 0.7
        error = np.abs(have.low_res_logits[row] - want.low_res_logits[row])
        assert error[inside].max() < 1e-4 * np.abs(want.low_res_logits[row]).max()
        cells = have.low_res_logits[row].reshape(16, 4, 16, 4)
        outside = ~inside[::4, ::4]
        assert (cells == cells[:, 2:3, :, 2:3]).all((1, 3))[outside].all()
    if not hq:  # a sample is SAM's logit of one pixel of sixteen
        assert (
            np.abs(have.low_res_logits - want.low_res_logits)[:, 2::4, 2::4].max()
            < 1e-4 * np.abs(want.low_res_logits).max()
        )
    fully = fast.decode(fast.embed(photo), boxes=boxes, best_of_three=best_of_three, full_frame=True)
    assert relative(fully.low_res_logits, want.low_res_logits) < 1e-4


@pytest.mark.parametrize("batched", [False, True], ids=["one at a time", "batched"])
def test_all_four_masks_at_once_as_following_asks_for_them(
    batched: bool, make_model: Callable[..., SamModel], sizes: Any, photo: np.ndarray
) -> None:
    exact = Predictor(make_model(sizes("vit_b")))
    fast = fast_predictor(make_model(sizes("vit_b"), mode="fast"), batched=batched)
    prompts = check_prompts(photo.shape[:2], exact.mask_side, boxes=BOXES)
    want = candidates(exact, exact.embed(photo), prompts)
    have = candidates(fast, fast.embed(photo), prompts)
    assert want.logits.shape[:2] == (5, 4)
    assert relative(have.logits, want.logits) < 1e-4
    assert relative(have.scores, want.scores) < 1e-4


@pytest.mark.parametrize("batched", [False, True], ids=["one at a time", "batched"])
def test_rows_below_the_least_score_are_left_out(
    batched: bool, make_model: Callable[..., SamModel], sizes: Any, photo: np.ndarray
) -> None:
    exact = Predictor(make_model(sizes("vit_b")))
    fast = fast_predictor(make_model(sizes("vit_b"), mode="fast"), batched=batched)
    limits = {"points_per_side": 4, "predicted_iou": 0.0, "stability": 0.2}
    want, have = (find_everything(one, photo, **limits) for one in (exact, fast))  # type: ignore[arg-type]
    assert 0 < len(want) == len(have)
    for one, other in zip(want, have, strict=True):
        assert one.point == other.point
        assert one.predicted_iou == pytest.approx(other.predicted_iou, rel=1e-3)


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


def test_an_engine_that_errs_is_found_out(make_model: Callable[..., SamModel], sizes: Any) -> None:
    model = make_model(sizes("vit_b"), mode="fast")
    with torch.inference_mode():
        one = FastEngine(model, torch.float32, batched=True)
        assert error_of(one, model) < 1e-5
        rounded = FastEngine(model, torch.bfloat16, batched=True)
        assert 1e-4 < error_of(rounded, model) < engine._TOLERANCE
        plain = one._decode[0, 1, False]
        one._decode[0, 1, False] = lambda *given: tuple(1.2 * x for x in plain(*given))  # type: ignore[assignment]
        assert error_of(one, model) > engine._TOLERANCE
        one._decode[0, 1, False] = lambda *given: tuple(x / 0 for x in plain(*given))  # type: ignore[assignment]
        assert error_of(one, model) == float("inf")


@pytest.mark.parametrize("low", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["vit_b", "vit_tiny"])
def test_what_runs_on_a_cpu_and_says_so(
    name: str,
    low: torch.dtype,
    make_model: Callable[..., SamModel],
    sizes: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "low_precision_dtype", lambda device: low)
    said = str(low).removeprefix("torch.")
    ran = {mode: Predictor(make_model(sizes(name), mode=mode)) for mode in ("exact", "fast", "fastest")}
    assert isinstance(ran["exact"]._engine, ExactEngine)
    assert ran["exact"].describe() | {"engine": "modules", "numbers": "float32"} == ran["exact"].describe()
    for mode, careful in (("fast", "float32"), ("fastest", said)):
        made = ran[mode]._engine
        assert isinstance(made, FastEngine)
        about = ran[mode].describe()
        assert about["engine"] == "one object at a time"
        assert about["encoder numbers"] == (careful if name == "vit_tiny" else said)
        assert about["transformer numbers"] == careful
        assert about["mask numbers"] == said
        assert str(made.encoder.dtype) == f"torch.{about['encoder numbers']}"
        assert str(made.decoder.compute_dtype) == f"torch.{careful}"
        assert made.decoder.low_precision_dtype == low


def test_padding_that_is_not_computed_is_what_padding_alone_gives(
    make_model: Callable[..., SamModel], sizes: Any
) -> None:
    model = make_model(sizes("vit_tiny"), mode="fastest")
    assert Predictor(model).describe()["padding"] == "not computed"
    with torch.inference_mode():
        encoder = FastTinyViT(model.image_encoder, torch.float32, in_strips=True)
        x = torch.randn(1, 3, 512, 512, generator=torch.Generator().manual_seed(0))
        x[:, :, 380:] = 0
        whole, given = encoder(x), encoder(x, (380, 512))
        nothing = encoder(torch.zeros_like(x))
    for have, want, empty in zip(given, whole, nothing, strict=True):
        assert have.shape == want.shape == (1, 32, 32, want.shape[-1])
        np.testing.assert_array_equal(have[:, 28:], empty[:, 28:])  # 24 rows of the picture, 4 beside it
        far, near = (relative(have[:, rows], want[:, rows]) for rows in (slice(8), slice(16, 24)))
        assert far < 0.02  # of random weights, which let much through
        assert near < 0.3
        np.testing.assert_array_equal(encoder(x, (512, 512))[0], whole[0])


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
    monkeypatch.setattr(engine, "low_precision_dtype", lambda device: torch.bfloat16)
    monkeypatch.setattr(
        engine, "FastEngine", lambda model, dtype, batched, compiled: SimpleNamespace(dtype=dtype)
    )
    errors = {torch.bfloat16: 0.01, torch.float32: 0.0}
    monkeypatch.setattr(engine, "error_of", lambda engine, model: errors[engine.dtype])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert engine.make_engine(model).dtype == torch.bfloat16  # type: ignore[attr-defined]
    errors[torch.bfloat16] = float("inf")
    with pytest.warns(FallbackWarning, match=r"vit_b in bfloat16 on .* differs from exact by inf"):
        assert engine.make_engine(model).dtype == torch.float32  # type: ignore[attr-defined]

    def fails(engine: Any, model: Any) -> float:
        raise RuntimeError("no kernel image\nmore")

    monkeypatch.setattr(engine, "error_of", fails)
    with pytest.warns(FallbackWarning) as caught:
        assert isinstance(engine.make_engine(model), ExactEngine)
    words = [str(one.message).split()[2] for one in caught]
    assert words == ["bfloat16", "float32"]
    assert all("failed (no kernel image); going on" in str(one.message) for one in caught)


def test_graphs_that_cannot_be_recorded_are_done_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(self: Any, tensors: Any) -> Any:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(cuda_graphs.CudaGraphRunner, "_record", fails)
    monkeypatch.setattr(torch.cuda, "device", lambda device: warnings.catch_warnings())
    double = cuda_graphs.CudaGraphRunner(lambda x: (2 * x,), torch.device("cuda"))
    with pytest.warns(FallbackWarning, match=r"CUDA graphs do not work here \(operation not permitted"):
        assert double(torch.ones(2))[0].tolist() == [2, 2]
    assert not double.works
    assert double(torch.ones(1))[0].tolist() == [2]  # silent from now on


@needs_cuda
@pytest.mark.parametrize("name", ["vit_b", "vit_h", "vit_tiny"])
def test_cuda_against_exact_on_a_cpu(
    name: str, make_model: Callable[..., SamModel], sizes: Any, photo: np.ndarray
) -> None:
    exact = Predictor(make_model(sizes(name)))
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


@pytest.mark.slow
@pytest.mark.shared_data
def test_fast_masks_on_real_frames(shared_data: Path) -> None:
    """MobileSAM's weights, real frames, boxes around the true objects: IoU with exact masks at least 0.99."""
    from PIL import Image

    entry = weights.WEIGHTS["mobile-sam"]
    if not weights.cached(entry):
        pytest.skip("mobile-sam is not in the cache; run `vistubes models fetch mobile-sam`")
    path = weights.file_path(entry)
    exact = Predictor(load_model(path, device="cpu", mode="exact"))
    fast = Predictor(load_model(path, device="cpu", mode="fast"))
    for clip in ("dog", "camel", "bmx-trees"):
        image = np.array(Image.open(shared_data / "davis16" / "JPEGImages" / "480p" / clip / "00020.jpg"))
        truth = (
            np.array(Image.open(shared_data / "davis16" / "Annotations" / "480p" / clip / "00020.png")) > 0
        )
        ys, xs = np.nonzero(truth)
        box = np.array([[xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]], np.float32)
        want = exact.decode(exact.embed(image), boxes=box).masks
        embedding = fast.embed(image)
        have = fast.decode(embedding, boxes=box).masks
        assert (want & have).sum() / (want | have).sum() >= 0.99, clip
        # A mask and nothing else says enough, if it is loud: the quiet one of a box's companion does not.
        alone = fast.decode(embedding, masks=mask_prompt(truth[None], alone=True)).masks[0]
        quiet = fast.decode(embedding, masks=mask_prompt(truth[None])).masks[0]
        iou = [(mask & truth).sum() / (mask | truth).sum() for mask in (alone, quiet)]
        if clip != "bmx-trees":  # two objects behind branches
            assert iou[0] > 0.85, clip
        assert iou[0] > iou[1] - 0.03, clip
