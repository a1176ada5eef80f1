"""The fast engines compute the same functions: in float32 to rounding, in bfloat16 to mask IoU 0.99."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vis import weights
from vis.hqsam import SIZES, Predictor, SamModel, load_model
from vis.hqsam.runtime import engine, torch_ops
from vis.hqsam.runtime import mask_decoder as fast_decoder
from vis.hqsam.runtime.engine import FastEngine
from vis.hqsam.runtime.mask_decoder import _reach
from vis.prompt_policies import mask_prompt

BOXES = np.array([[20, 30, 150, 120], [80, 60, 290, 190], [5, 5, 60, 199]], np.float32)
PROMPTS: dict[str, dict[str, Any]] = {
    "boxes": {"boxes": BOXES},
    "points": {"points": BOXES.reshape(3, 2, 2), "point_labels": np.array([[1, 0], [1, 1], [0, -1]])},
    "masks": {"boxes": BOXES, "masks": np.random.default_rng(0).standard_normal((3, 64, 64))},
}


def relative(have: Any, want: Any) -> float:
    have, want = torch.as_tensor(have).float(), torch.as_tensor(want)
    return float((have - want).abs().max() / want.abs().max())


@pytest.fixture
def float32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "fast_dtype", lambda device: torch.float32)


@pytest.mark.usefixtures("float32_only")
@pytest.mark.parametrize("operators", ["fused", "plain"])
@pytest.mark.parametrize("hq", [True, False])
def test_plain_vit_in_float32(
    hq: bool,
    operators: str,
    make_model: Callable[..., SamModel],
    by_modules: Callable[[SamModel], Predictor],
    sizes: Any,
    photo: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if operators == "plain":
        monkeypatch.setattr(torch_ops, "fused", lambda dtype, device: False)
    exact = by_modules(make_model(sizes("vit_b"), hq=hq))
    fast = Predictor(make_model(sizes("vit_b"), hq=hq, mode="fast"))
    assert isinstance(fast._engine, FastEngine)
    want, have = exact.embed(photo), fast.embed(photo)
    assert relative(have.features, want.features) < 1e-4
    if hq:
        assert want.hq_features is not None
        assert relative(have.hq_features, want.hq_features) < 1e-4
    for kind, given in PROMPTS.items():
        count = len(next(iter(given.values())))
        led = {"best_of_three": True, "prior": np.roll(np.eye(count, 3), 1, axis=1) * 10}
        for options in ({}, {"multimask": True}, {"best_of_three": True}, led):
            one, other = (
                exact.decode(want, **given, **options),
                fast.decode(have, **given, **options, whole=True),
            )
            assert relative(other.low_res_logits, one.low_res_logits) < 1e-4, kind
            assert relative(other.scores, one.scores) < 1e-4, kind
            assert (one.masks != other.masks).mean() < 1e-5, kind


@pytest.mark.usefixtures("float32_only")
def test_tiny_vit_in_float32(make_model: Callable[..., SamModel]) -> None:
    model = make_model(SIZES["vit_tiny"], mode="fast")
    frame = torch.randn(2, 3, 256, 256, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        features, early = FastEngine(model).encoder(frame)
        want, want_early = model.image_encoder(frame)
    assert relative(features.permute(0, 3, 1, 2), want) < 1e-4
    assert relative(early.permute(0, 3, 1, 2), want_early) < 1e-4


@pytest.mark.usefixtures("float32_only")
@pytest.mark.parametrize("best_of_three", [False, True])
@pytest.mark.parametrize("hq", [True, False])
def test_drawn_around_the_box_and_sampled_elsewhere(
    hq: bool,
    best_of_three: bool,
    make_model: Callable[..., SamModel],
    by_modules: Callable[[SamModel], Predictor],
    sizes: Any,
    photo: np.ndarray,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With SAM's own logits left out of the choice, exactly the boxes and their margin are drawn."""
    model = make_model(sizes("vit_b"), hq=hq, mode="fast")
    exact, fast = by_modules(model), Predictor(model)
    monkeypatch.setattr(fast_decoder, "_NEAR", float("-inf"))
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
    fully = fast.decode(fast.embed(photo), boxes=boxes, best_of_three=best_of_three, whole=True)
    assert relative(fully.low_res_logits, want.low_res_logits) < 1e-4


def test_what_is_drawn_reaches_the_box_and_what_sam_sees() -> None:
    nothing = torch.zeros(64, dtype=torch.bool)
    assert _reach(nothing, 20.0, 30.0) == (17, 33)  # two cells, and a tenth of the side
    assert _reach(nothing, -5.0, 3.0) == (0, 6)
    assert _reach(nothing, 60.0, 90.0) == (55, 64)
    seen = nothing.clone()
    seen[[2, 40]] = True
    assert _reach(seen, 20.0, 30.0) == (1, 42)  # a cell more on each side
    seen[[0, 63]] = True
    assert _reach(seen, 20.0, 30.0) == (0, 64)


@pytest.fixture
def forget_choices() -> Iterator[None]:
    torch_ops.fast_dtype.cache_clear()
    torch_ops.fused.cache_clear()
    yield
    torch_ops.fast_dtype.cache_clear()
    torch_ops.fused.cache_clear()


@pytest.mark.usefixtures("forget_choices")
def test_bfloat16_wants_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert torch_ops.fast_dtype("mps") == torch.float32
    monkeypatch.setattr(torch_ops, "_multiplies_bfloat16", lambda: False)
    assert torch_ops.fast_dtype("cpu") == torch.float32
    torch_ops.fast_dtype.cache_clear()
    monkeypatch.setattr(torch_ops, "_multiplies_bfloat16", lambda: True)
    assert torch_ops.fast_dtype("cpu") == torch.bfloat16


@pytest.mark.usefixtures("forget_choices")
def test_bfloat16_wants_right_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_ops, "_multiplies_bfloat16", lambda: True)
    plain = torch.Tensor.bfloat16
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: plain(self * 1.1))  # hardware that errs
    assert torch_ops.fast_dtype("cpu") == torch.float32


@pytest.mark.usefixtures("forget_choices")
def test_fused_operators_that_err_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not torch_ops.fused(torch.float32, "cuda")
    real = torch.nn.functional.gelu
    monkeypatch.setattr(torch.nn.functional, "gelu", lambda x: real(x) + 0.1)  # disagreement, whoever errs
    assert not torch_ops.fused(torch.float32, "cpu")


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
