"""Every runtime network against its module: in float32 to rounding, in bfloat16 near enough."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vis.hqsam import SIZES, SamModel
from vis.hqsam.network import tiny_vit as plain_tiny
from vis.hqsam.network import vit as plain_vit
from vis.hqsam.network.mask_decoder import MaskDecoder
from vis.hqsam.network.transformer import Attention, Layer
from vis.hqsam.runtime import precision, tiny_vit, vit
from vis.hqsam.runtime.mask_decoder import (
    FastLayer,
    FastMaskDecoder,
    ImageToTokenAttention,
    TokenToImageAttention,
    Upscale,
    _reach,
)

SOME = settings(max_examples=20, deadline=None)
Pairs = list[tuple[Tensor, Tensor]]
"""What the runtime gives, and what the module gives."""


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative(have: Tensor, want: Tensor) -> float:
    assert have.shape == want.shape
    return float((have.float() - want).abs().max() / want.abs().max())


def random_module(module: nn.Module, *, spread: float = 1.0) -> Any:
    """With weights of order one; ``spread`` of relative positions: a large one makes attention near one-hot."""
    with torch.no_grad():
        for i, (name, value) in enumerate(module.state_dict().items()):
            if name.endswith("running_var"):
                value.copy_(noise(*value.shape, seed=i).abs() + 0.5)
            elif "rel_pos" in name or name.endswith("attention_biases"):
                value.copy_(spread * noise(*value.shape, seed=i))
            elif name.endswith(("bias", "running_mean")):
                value.copy_(0.1 * noise(*value.shape, seed=i))
            elif value.ndim == 1:
                value.copy_(1 + 0.1 * noise(*value.shape, seed=i))
            elif value.is_floating_point():
                fan = 1 if name.endswith(("token.weight", "tokens.weight")) else value[0].numel()
                value.copy_(noise(*value.shape, seed=i) / fan**0.5)
    return module.eval()


def rows(x: Tensor) -> Tensor:
    """(B, C, H, W) to (B, H, W, C) and back again by :func:`maps`."""
    return x.permute(0, 2, 3, 1)


def maps(x: Tensor) -> Tensor:
    return x.permute(0, 3, 1, 2)


def run_tiny_vit(dtype: torch.dtype, *, in_strips: bool) -> Pairs:
    module = random_module(SamModel(SIZES["vit_tiny"], hq=False).image_encoder)
    # Stages of 72 x 88 pixels and less: windows stick out on both sides. A CPU without bfloat16 is slow at it.
    frames = noise(2, 3, 288, 352) if dtype == torch.float32 else noise(1, 3, 96, 160)
    have, early = tiny_vit.FastTinyViT(module, dtype, in_strips=in_strips)(frames)
    want, want_early = module(frames)
    return [(maps(have), want), (maps(early), want_early)]


def run_vit(dtype: torch.dtype, name: str) -> Pairs:
    """Windows with padding, a global block, and head sizes whose sum with the positions wants filling up."""
    side = 256 if dtype == torch.float32 else 64
    size = replace(SIZES[name], depths=(2,), global_blocks=(1,), image_size=side)
    module = random_module(SamModel(size, hq=False).image_encoder, spread=0.3)
    frames = noise(2, 3, side, side)
    have, early = vit.FastViT(module, dtype)(frames)
    want, want_early = module(frames)
    return [(maps(have), want), (maps(early), want_early)]


def run_attention(dtype: torch.dtype, kind: str, images: int) -> Pairs:
    module = random_module(Attention(128))
    tokens, values = noise(2, 7, 256), noise(2, 7, 256, seed=1)
    image, position = noise(images, 30, 256, seed=2), noise(1, 30, 256, seed=3)
    if kind == "tokens":
        have = TokenToImageAttention(module)(tokens, (image + position).to(dtype), image.to(dtype))
        return [(have, module(tokens, image + position, image))]
    have = ImageToTokenAttention(module)((image + position).to(dtype), tokens, values)
    return [(have, module(image + position, tokens, values))]


def run_layer(dtype: torch.dtype, *, first: bool) -> Pairs:
    module = random_module(Layer(first))
    given = noise(2, 7, 256), noise(1 if first else 2, 30, 256, seed=1)
    origin, position = noise(2, 7, 256, seed=2), noise(1, 30, 256, seed=3)
    tokens, image = FastLayer(module, dtype)(given[0], given[1].to(dtype), origin, position.to(dtype))
    want, want_image = module(*given, origin, position)
    return [(tokens, want), (image, want_image)]


def run_upscale(dtype: torch.dtype, part: str) -> Pairs:
    module = random_module(getattr(MaskDecoder(160, hq=True), part))
    x = noise(2, 160 if part == "compress_vit_feat" else 256, 3, 5)
    fast = Upscale.of(module, dtype)
    want = module(x)
    sample = fast.sample(rows(x).to(dtype))
    return [(maps(fast(rows(x).to(dtype))), want), (maps(sample), want[:, :, 2::4, 2::4])]


def run_decoder(dtype: torch.dtype, *, hq: bool) -> Pairs:
    """The steps from the embedding to logits, of three objects, for all of SAM's masks."""
    module = random_module(MaskDecoder(160, hq))
    embedding, early, position = noise(1, 256, 6, 6), noise(1, 160, 6, 6, seed=1), noise(1, 256, 6, 6, seed=2)
    sparse, dense = noise(3, 2, 256, seed=3), noise(3, 256, 6, 6, seed=4)
    fast = FastMaskDecoder(module, position, compute_dtype=dtype, low_precision_dtype=dtype)
    output = module.decode(embedding, position, sparse, dense)
    tokens, image = fast.transform(embedding, sparse, dense)
    kernels = module.kernels(tokens[:, 1:5], slice(0, 4))
    want = module.sam_masks(output, slice(0, 4))
    if not hq:
        return [(fast.predict_masks(image, kernels, None, None)[0], want)]
    frame, want_frame = fast.hq_features(rows(embedding), rows(early)), module.hq_features(embedding, early)
    sam, hq_logits = fast.predict_masks(image, kernels, module.hf_mlp(tokens[:, 5]), frame[0])
    assert hq_logits is not None
    return [(maps(frame), want_frame), (sam, want), (hq_logits, module.hq_mask(output, want_frame)[:, 0])]


NETWORKS: dict[str, Callable[[torch.dtype], Pairs]] = {
    "TinyViT in strips": lambda dtype: run_tiny_vit(dtype, in_strips=True),
    "TinyViT whole": lambda dtype: run_tiny_vit(dtype, in_strips=False),
    "ViT-B": lambda dtype: run_vit(dtype, "vit_b"),
    "ViT-H": lambda dtype: run_vit(dtype, "vit_h"),
    "tokens to one image": lambda dtype: run_attention(dtype, "tokens", 1),
    "tokens to images": lambda dtype: run_attention(dtype, "tokens", 2),
    "one image to tokens": lambda dtype: run_attention(dtype, "image", 1),
    "images to tokens": lambda dtype: run_attention(dtype, "image", 2),
    "first layer": lambda dtype: run_layer(dtype, first=True),
    "second layer": lambda dtype: run_layer(dtype, first=False),
    "SAM's upscaling": lambda dtype: run_upscale(dtype, "output_upscaling"),
    "early features": lambda dtype: run_upscale(dtype, "compress_vit_feat"),
    "mask decoder": lambda dtype: run_decoder(dtype, hq=True),
    "mask decoder of a plain SAM": lambda dtype: run_decoder(dtype, hq=False),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("name", list(NETWORKS))
def test_a_runtime_network_is_its_module(name: str, dtype: torch.dtype) -> None:
    with torch.inference_mode():
        errors = [relative(*pair) for pair in NETWORKS[name](dtype)]
    if dtype == torch.float32:
        assert max(errors) < 1e-5
    else:
        assert 1e-3 < max(errors) < 3e-2


@pytest.mark.parametrize("name", ["vit_b", "vit_h"])
def test_a_gpus_attention(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The positions behind queries and keys give what a bias gives."""
    monkeypatch.setattr(vit, "_head_by_head", vit._fused)
    with torch.inference_mode():
        assert max(relative(*pair) for pair in run_vit(torch.float32, name)) < 1e-5


@SOME
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    window=st.integers(1, 7),
    heads=st.integers(1, 2),
    spread=st.sampled_from([1.0, 30.0]),
)
def test_a_tiny_vit_block_on_any_map(height: int, width: int, window: int, heads: int, spread: float) -> None:
    module = random_module(plain_tiny.Block(32 * heads, heads, window), spread=spread)
    x = noise(2, height, width, 32 * heads)
    with torch.inference_mode():
        have = tiny_vit.FastBlock(module, torch.float32, in_strips=True)(x)
        assert relative(maps(have), module(maps(x))) < 1e-5


@SOME
@given(
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    window=st.integers(0, 7),
    heads=st.integers(1, 2),
    spread=st.sampled_from([0.2, 5.0]),
    fused=st.booleans(),
)
def test_a_plain_vit_block_on_any_map(
    *, height: int, width: int, window: int, heads: int, spread: float, fused: bool
) -> None:
    """``window`` 0 attends over a square map, in slices of queries: here of one row, with a rest of none."""
    width = width if window else height
    module = random_module(plain_vit.Block(32 * heads, heads, window, height), spread=spread)
    x = noise(2, height, width, 32 * heads)
    with torch.inference_mode(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(vit, "_QUERIES", 3 * width - 1)
        if fused:
            patch.setattr(vit, "_head_by_head", vit._fused)
        have = vit.run_block(x, vit._block_weights(module, height, torch.float32), heads, window)
        assert relative(have, module(x)) < 1e-5


@SOME
@given(height=st.integers(1, 40), width=st.integers(1, 9))
def test_strips_of_a_map_are_the_whole_map(height: int, width: int) -> None:
    module = random_module(plain_tiny.MBConv(16))
    x = noise(2, height, width, 16)
    with torch.inference_mode():
        have = tiny_vit.FastMBConv(module, torch.float32, in_strips=True)(x)
        assert relative(maps(have), module(maps(x))) < 1e-5


def test_a_window_reaches_the_box_and_what_sam_sees() -> None:
    nothing = torch.zeros(64, dtype=torch.bool)
    assert _reach(nothing, 20.0, 30.0) == (17, 33)  # two cells, and a tenth of the side
    assert _reach(nothing, -5.0, 3.0) == (0, 6)
    assert _reach(nothing, 60.0, 90.0) == (55, 64)
    seen = nothing.clone()
    seen[[2, 40]] = True
    assert _reach(seen, 20.0, 30.0) == (1, 42)  # a cell more on each side
    seen[[0, 63]] = True
    assert _reach(seen, 20.0, 30.0) == (0, 64)


@pytest.mark.parametrize("training", [False, True])
def test_gelu_overwrites_in_inference_only(training: bool) -> None:
    from vis.hqsam.network.blocks import gelu

    x = noise(9)
    want = nn.functional.gelu(x)
    with torch.inference_mode(not training), torch.no_grad():
        given = x.clone()
        assert torch.equal(gelu(given), want)
        assert torch.equal(given, x) == training


def test_batch_norm_folds_into_its_convolution() -> None:
    module = random_module(plain_tiny.ConvBN(8, 6, 3, 2))
    x = noise(2, 8, 9, 11)
    with torch.no_grad():
        assert relative(module(x), module.bn(module.c(x))) < 1e-6
    before = module.bn.running_mean.clone()
    module.train()(x)
    assert not torch.equal(module.bn.running_mean, before), "training takes the batch's own statistics"


@pytest.fixture
def forget_choice() -> Iterator[None]:
    precision.low_precision_dtype.cache_clear()
    yield
    precision.low_precision_dtype.cache_clear()


@pytest.mark.usefixtures("forget_choice")
def test_bfloat16_wants_the_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    assert precision.low_precision_dtype("mps") == torch.float32
    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda: False)
    assert precision.low_precision_dtype("cpu") == torch.float32
    precision.low_precision_dtype.cache_clear()
    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda: True)
    assert precision.low_precision_dtype("cpu") == torch.bfloat16


@pytest.mark.usefixtures("forget_choice")
def test_bfloat16_wants_right_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "_multiplies_bfloat16", lambda: True)
    plain = torch.Tensor.bfloat16
    monkeypatch.setattr(torch.Tensor, "bfloat16", lambda self: plain(self * 1.1))  # hardware that errs
    assert precision.low_precision_dtype("cpu") == torch.float32


@pytest.mark.parametrize("newer", [False, True])
def test_tensor_float32_is_left_as_it_was(newer: bool) -> None:
    if newer:
        torch.backends.cuda.matmul.fp32_precision = "tf32"  # the older switch cannot be read any more
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [place.fp32_precision for place in places]
    try:
        with precision.float32_products("cuda", allow_tf32=True):
            assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
            assert torch.backends.cuda.matmul.allow_tf32
            assert torch.backends.cudnn.allow_tf32
            with precision.float32_products("cuda", allow_tf32=False):
                assert [place.fp32_precision for place in places] == ["ieee", "ieee"]
            with precision.float32_products("cpu", allow_tf32=False):
                assert [place.fp32_precision for place in places] == ["tf32", "tf32"]
        after = [place.fp32_precision.replace("none", "ieee") for place in places]
        assert after == [value.replace("none", "ieee") for value in before]
    finally:
        torch.set_float32_matmul_precision("highest")
