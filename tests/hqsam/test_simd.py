"""The project's own kernels against float64 and plain PyTorch, at sizes that fit nowhere, for every kind of tile."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from vis.hqsam import SIZES, SamModel, simd
from vis.hqsam.network.mask_decoder import _upscale
from vis.hqsam.network.transformer import Attention
from vis.hqsam.runtime import engine
from vis.hqsam.runtime.engine import ExactEngine, FastEngine
from vis.hqsam.runtime.mask_decoder import ImageLooks, Mix, Upscale
from vis.hqsam.runtime.tiny_vit import FastTinyViT, Norm
from vis.hqsam.simd import Maps, error_of, own_kernels
from vis.hqsam.simd.decoder import SimdLook, SimdMix, SimdUpscale
from vis.hqsam.simd.library import Library, shape_for
from vis.hqsam.simd.tiny_vit import SimdTinyViT
from vis.hqsam.simd.vit import SimdViT

pytestmark = pytest.mark.skipif(
    Library.for_this_processor() is None, reason="needs an x86 processor with AVX2 and FMA"
)
TILES = [(8, 6), (16, 8), (4, 3)]
"""AVX2's, AVX-512's (which LLVM takes apart where the processor is narrower), and an odd one."""
SOME = settings(max_examples=20, deadline=None)


@functools.cache
def maps_of(width: int, rows: int) -> Maps:
    return Maps(Library(width, rows))


@pytest.fixture(scope="module", params=TILES, ids=str)
def maps(request: pytest.FixtureRequest) -> Maps:
    return maps_of(*request.param)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def relative(have: Tensor, want: Tensor) -> float:
    assert have.shape == want.shape
    return float((have.double() - want.double()).abs().max() / want.double().abs().max())


def test_the_self_test_passes(maps: Maps) -> None:
    assert error_of(maps) < 2e-6


@SOME
@given(
    tile=st.sampled_from(TILES),
    rows=st.integers(1, 40),
    inner=st.integers(1, 70),
    panels=st.integers(1, 3),
    gelu=st.booleans(),
    add=st.booleans(),
)
def test_products(tile: tuple[int, int], rows: int, inner: int, panels: int, gelu: bool, add: bool) -> None:
    maps = maps_of(*tile)
    outer = panels * maps.columns
    x, weight, bias, more = noise(rows, inner), noise(outer, inner, seed=1), noise(outer), noise(rows, outer)
    want = F.linear(x.double(), weight.double(), bias.double()) + (more.double() if add else 0)
    want = F.gelu(want) if gelu else want
    have = maps.linear(x, maps.pack(weight, bias), gelu=gelu, add=more if add else None)
    assert relative(have, want) < 2e-6


@SOME
@given(
    tile=st.sampled_from(TILES),
    height=st.integers(1, 6),
    width=st.sampled_from([1, 2, 5, 63, 64, 65, 66, 129]),
    channels=st.sampled_from([32, 64]),
)
def test_inverted_bottleneck(tile: tuple[int, int], height: int, width: int, channels: int) -> None:
    """Widths around the tile of 64 columns, where neighbours lie in another one."""
    maps = maps_of(*tile)
    x, hidden = noise(height, width, channels), 2 * channels
    widen, narrow = noise(hidden, channels) / channels**0.5, noise(channels, hidden, seed=2) / hidden**0.5
    mix, bias, back = noise(hidden, 1, 3, 3, seed=3) / 3, noise(hidden, seed=4), noise(channels, seed=5)
    y = F.gelu(F.linear(x, widen, bias)).permute(2, 0, 1)
    y = F.gelu(F.conv2d(y, mix, bias, padding=1, groups=hidden)).permute(1, 2, 0)
    want = F.gelu(x + F.linear(y, narrow, back))
    packed = mix[:, 0].permute(1, 2, 0).contiguous(), bias
    have = maps.bottleneck(x, maps.pack(widen, bias), packed, maps.pack(narrow, back))
    assert relative(have, want) < 3e-6


@SOME
@given(
    tile=st.sampled_from(TILES),
    height=st.integers(1, 5),
    width=st.integers(1, 7),
    stride=st.sampled_from([1, 2]),
    gelu=st.booleans(),
)
def test_convolutions(tile: tuple[int, int], height: int, width: int, stride: int, gelu: bool) -> None:
    maps = maps_of(*tile)
    x = noise(height * stride, width * stride, 32)
    flat = x.permute(2, 0, 1)
    kernel, bias = noise(32, 1, 3, 3), noise(32, seed=1)
    want = F.conv2d(flat, kernel, bias, stride, 1, groups=32).permute(1, 2, 0)
    mix = kernel[:, 0].permute(1, 2, 0).contiguous(), bias
    if gelu or stride == 1:
        have = maps.depthwise(x, mix, stride, gelu=gelu)
        assert relative(have, F.gelu(want) if gelu else want) < 2e-6
    deep = noise(64, 32, 3, 3, seed=2) / 17
    want = F.conv2d(flat, deep, None, stride, 1).permute(1, 2, 0)
    have = maps.convolution(
        F.pad(x, (0, 0, 1, 1, 1, 1)), maps.pack_3x3(deep, None), stride, gelu=gelu, border=True
    )
    assert relative(have[1:-1, 1:-1], F.gelu(want) if gelu else want) < 2e-6
    assert not torch.cat([have[0], have[-1], have[:, 0], have[:, -1]]).any()


@SOME
@given(
    tile=st.sampled_from(TILES),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    window=st.integers(1, 7),
    heads=st.integers(1, 2),
    spread=st.sampled_from([1.0, 30.0]),
)
def test_attention_in_windows(
    tile: tuple[int, int], height: int, width: int, window: int, heads: int, spread: float
) -> None:
    """Against the module itself, which pads before its norm; ``spread`` makes near one-hot attention, too."""
    from vis.hqsam.network.tiny_vit import Block
    from vis.hqsam.runtime.tiny_vit import FastBlock
    from vis.hqsam.simd.tiny_vit import Block as OwnBlock

    module = Block(32 * heads, heads, window).eval()
    with torch.no_grad():
        for i, parameter in enumerate(module.parameters()):
            scale = (
                spread
                if parameter is module.attn.attention_biases
                else 1 / max(1, parameter[0].numel()) ** 0.5
            )
            parameter.copy_(scale * noise(*parameter.shape, seed=i))
        x = noise(1, 32 * heads, height, width)
        want = module(x)[0].permute(1, 2, 0)
        own = OwnBlock(maps_of(*tile), FastBlock(module, torch.float32, strips=True))
        assert relative(own(x[0].permute(1, 2, 0).contiguous()), want) < 1e-5


@SOME
@given(
    tile=st.sampled_from(TILES),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    window=st.integers(1, 7),
    heads=st.integers(1, 2),
    spread=st.sampled_from([1.0, 30.0]),
)
def test_attention_by_position_in_windows(
    tile: tuple[int, int], height: int, width: int, window: int, heads: int, spread: float
) -> None:
    check_plain_block(tile, (height, width), window, heads, spread)


@pytest.mark.parametrize("side", [1, 2, 5, 11, 13, 20, 37])
@pytest.mark.parametrize("tile", TILES, ids=str)
def test_attention_by_position_over_a_whole_map(tile: tuple[int, int], side: int) -> None:
    """Sides whose queries and keys come in one part, in several, and in several with a rest."""
    check_plain_block(tile, (side, side), 0, 1, 3.0)


def check_plain_block(
    tile: tuple[int, int], shape: tuple[int, int], window: int, heads: int, spread: float
) -> None:
    from vis.hqsam.network.vit import Block
    from vis.hqsam.simd.vit import SimdBlock

    module = Block(32 * heads, heads, window, shape[0]).eval()
    with torch.no_grad():
        for i, (name, parameter) in enumerate(module.named_parameters()):
            scale = spread / 6 if "rel_pos" in name else 1 / max(1, parameter[0].numel()) ** 0.5
            parameter.copy_(scale * noise(*parameter.shape, seed=i))
        x = noise(1, *shape, 32 * heads)
        have = SimdBlock(maps_of(*tile), module, shape[0])(x[0])
        assert relative(have, module(x)[0]) < 1e-5


@SOME
@given(
    tile=st.sampled_from(TILES),
    positions=st.sampled_from([1, 7, 96, 97, 150]),
    tokens=st.integers(1, 20),
    count=st.integers(1, 2),
    shared=st.booleans(),
)
def test_the_image_looks_at_tokens(
    tile: tuple[int, int], positions: int, tokens: int, count: int, shared: bool
) -> None:
    """Any number of tokens per head: whole vectors, several, and parts of one."""
    module, norm = Attention(128), torch.nn.LayerNorm(256)
    with torch.no_grad():
        for i, parameter in enumerate([*module.parameters(), *norm.parameters()]):
            parameter.copy_(noise(*parameter.shape, seed=i) / (8 if parameter.ndim == 2 else 1))
        look, stored = ImageLooks(module), Norm.of(norm, torch.float32)
        image, position = noise(1 if shared else count, positions, 256), noise(1, positions, 256, seed=1)
        keys, values = noise(count, tokens, 256, seed=2), noise(count, tokens, 256, seed=3)
        want = norm(image + module(image + position, keys, values))
        have = SimdLook(maps_of(*tile), look, stored)(image, position, keys, values)
        assert relative(have, want) < 1e-5


@pytest.mark.parametrize(("inner", "hidden", "gelu"), [(256, 64, True), (160, 256, False)])
def test_upscaling(maps: Maps, inner: int, hidden: int, gelu: bool) -> None:
    module = _upscale(inner, hidden, torch.nn.GELU() if gelu else None)
    with torch.no_grad():
        fast = Upscale.of(module, torch.float32)
        own = SimdUpscale(maps, fast)
        x = noise(2, 3, 5, inner)
        want = module(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        assert relative(own(x), want) < 5e-6
        assert relative(own.sample(x[:, 1:]), want[:, 6::4, 2::4]) < 5e-6
        mix = Mix(
            noise(64, 32, 3, 3) / 17,
            noise(64),
            fast.norm if hidden == 64 else Norm(noise(64), noise(64), 1e-6),
        )
        assert relative(SimdMix(maps, mix)(want.contiguous()), mix(want)) < 5e-6


def gelu_of(maps: Maps, x: Tensor) -> Tensor:
    """By way of a product with the unit matrix, which changes nothing."""
    eye = maps.pack(torch.eye(maps.columns), None)
    return maps.linear(x.view(-1, maps.columns), eye, gelu=True).flatten()


def test_gelu_over_its_whole_range(maps: Maps) -> None:
    x = torch.cat(
        [torch.linspace(-9, 9, 2**18), torch.logspace(-38, 4, 2**14), -torch.logspace(-38, 4, 2**14)]
    )
    y = x.double()
    want = 0.5 * y * torch.special.erfc(-y / 2**0.5)
    have = gelu_of(maps, x).double()
    assert ((have - want).abs() <= 2e-7 * y.abs() + 1e-44).all()
    right = y > 0
    assert ((have - want).abs() / want)[right].max() < 3e-7
    far = torch.full((maps.columns,), 6.0)
    assert torch.equal(gelu_of(maps, far), far)
    assert not gelu_of(maps, -1e4 * far).any()
    assert gelu_of(maps, far * torch.nan).isnan().all()


def test_exponential_over_its_whole_range() -> None:
    from vis.hqsam.simd.code import Code

    code = Code(8, 6)
    with code.function("exponential", "x out", "count") as (x, out, count), code.loop(0, count, 8) as loop:
        code.store(code.exponential(code.load(code.at(x, loop.index))), code.at(out, loop.index))
    x = torch.cat(
        [torch.linspace(-87, 0, 2**18), -torch.logspace(-38, 1, 2**14), torch.tensor([-90.0, -1e30])]
    )
    x = F.pad(x, (0, -len(x) % 8))
    have = torch.empty_like(x)
    Library(8, 6, code).exponential(x.data_ptr(), have.data_ptr(), len(x))
    want = x.double().clamp(min=-87).exp()
    assert ((have.double() - want) / want).abs().max() < 2e-7
    assert (have[x == 0] == 1).all()


def layers(maps: Maps) -> dict[str, Callable[[Tensor], Tensor]]:
    """Layers that keep rows apart, as functions of a map (H, 20, 32)."""
    widen, narrow = maps.pack(noise(64, 32) / 6, noise(64)), maps.pack(noise(32, 64) / 8, noise(32))
    norm = torch.cat([1 + noise(32) / 9, noise(32), torch.tensor([1e-5])])
    return {
        "product": lambda x: maps.linear(x, widen, gelu=True),
        "normed product": lambda x: maps.linear(x, widen, norm=norm),
        "feed-forward": lambda x: maps.feed_forward(x.clone(), norm, widen, narrow),
    }


@pytest.mark.parametrize("name", ["product", "normed product", "feed-forward"])
def test_a_row_depends_on_no_other(name: str, maps: Maps) -> None:
    layer, x = layers(maps)[name], noise(13, 20, 32)
    whole = layer(x)
    for part in (slice(0, 1), slice(3, 8), slice(12, 13)):
        assert torch.equal(layer(x[part].contiguous()), whole[part])
    assert torch.equal(layer(x[:, 7:8].contiguous()), whole[:, 7:8])


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def encoders() -> dict[str, Any]:
    """TinyViT with random weights, by its modules, by PyTorch's operators and by the own kernels."""
    generator = torch.Generator().manual_seed(0)
    module = SamModel(SIZES["vit_tiny"], hq=False).image_encoder.eval()
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif name.endswith("attention_biases"):
                value.normal_(generator=generator)
    fast = FastTinyViT(module, torch.float32)
    return {"module": module, "PyTorch": fast, "own": SimdTinyViT(maps_of(8, 6), fast)}


@pytest.mark.parametrize("which", ["PyTorch", "own"])
def test_tiny_vit(which: str, encoders: dict[str, Any]) -> None:
    frames = noise(2, 3, 288, 352)  # stages of 72 x 88 pixels and less: windows stick out on both sides
    with torch.inference_mode():
        want, want_early = encoders["module"](frames)
        have, early = encoders[which](frames)
    assert relative(have.permute(0, 3, 1, 2), want) < 2e-5
    assert relative(early.permute(0, 3, 1, 2), want_early) < 2e-5


def test_tiny_vit_on_any_number_of_threads_and_in_any_batch(
    encoders: dict[str, Any], threads: Callable[[int], None]
) -> None:
    frames = noise(2, 3, 160, 128)
    with torch.inference_mode():
        threads(1)
        want, want_early = encoders["own"](frames)
        for count in (2, 3, 16):
            threads(count)
            have, early = encoders["own"](frames)
            assert torch.equal(have, want)
            assert torch.equal(early, want_early)
            assert torch.equal(encoders["own"](frames[1:])[0], want[1:])


def test_plain_vit_on_any_number_of_threads_and_in_any_batch(
    make_model: Callable[..., SamModel], sizes: Callable[[str], Any], threads: Callable[[int], None]
) -> None:
    encoder = SimdViT(maps_of(8, 6), make_model(sizes("vit_b")).image_encoder)
    frames = noise(2, 3, 256, 256)
    with torch.inference_mode():
        threads(1)
        want, want_early = encoder(frames)
        for count in (2, 5):
            threads(count)
            have, early = encoder(frames[1:])
            assert torch.equal(have, want[1:])
            assert torch.equal(early, want_early[1:])


def test_which_processors_have_kernels() -> None:
    able = {"avx2": True, "fma": True, "avx512f": False, "avx512vl": False}
    assert shape_for("x86_64", able) == (8, 6)
    assert shape_for("AMD64", able | {"avx512f": True, "avx512vl": True}) == (16, 8)
    assert shape_for("x86_64", able | {"fma": False}) is None
    assert shape_for("x86_64", {}) is None
    assert shape_for("arm64", able) is None


@pytest.fixture
def forget_choice() -> Iterator[None]:
    own_kernels.cache_clear()
    yield
    own_kernels.cache_clear()


@pytest.mark.usefixtures("forget_choice")
def test_kernels_that_err_are_not_used(
    monkeypatch: pytest.MonkeyPatch, make_model: Callable[..., SamModel]
) -> None:
    assert own_kernels() is not None
    own_kernels.cache_clear()
    real = F.layer_norm
    monkeypatch.setattr(
        simd.F, "layer_norm", lambda *given: real(*given) + 1e-3
    )  # disagreement, whoever errs
    assert own_kernels() is None
    monkeypatch.setattr(engine, "fast_dtype", lambda device: torch.float32)
    fast = FastEngine(make_model(SIZES["vit_tiny"], mode="fast"))
    assert isinstance(fast.encoder, FastTinyViT)
    assert fast.describe()["kernels"] == "PyTorch's"


@pytest.mark.usefixtures("forget_choice")
def test_without_llvmlite_pytorch_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llvmlite.binding", None)
    assert own_kernels() is None


def test_heads_that_fill_no_panel_stay_with_pytorch(
    monkeypatch: pytest.MonkeyPatch, make_model: Callable[..., SamModel], sizes: Callable[[str], Any]
) -> None:
    """vit_h's heads are 80 wide: five panels of 16, but not whole ones of 32."""
    monkeypatch.setattr(engine, "own_kernels", lambda: maps_of(16, 8))
    model = make_model(sizes("vit_h"))
    assert isinstance(engine.make_engine(model), ExactEngine)
    monkeypatch.setattr(engine, "own_kernels", lambda: maps_of(8, 6))
    exact = engine.make_engine(model)
    assert isinstance(exact, FastEngine)
    assert isinstance(exact.encoder, SimdViT)


def test_the_engine_says_what_runs(
    monkeypatch: pytest.MonkeyPatch, make_model: Callable[..., SamModel]
) -> None:
    monkeypatch.setattr(engine, "fast_dtype", lambda device: torch.float32)
    fast = FastEngine(make_model(SIZES["vit_tiny"], mode="fast"))
    assert isinstance(fast.encoder, SimdTinyViT)
    assert fast.describe()["kernels"] in ("own, 8 floats a vector", "own, 16 floats a vector")


def test_tensors_with_gaps_are_refused(maps: Maps) -> None:
    packed = maps.pack(noise(32, 8), None)
    with pytest.raises(
        ValueError, match=r"float32 without gaps, got torch.float32 \(4, 8\), strides \(16, 1\)"
    ):
        maps.linear(noise(4, 16)[:, :8], packed)
    with pytest.raises(ValueError, match="float64"):
        maps.linear(noise(4, 8).double(), packed)


def test_large_space_is_aligned() -> None:
    from vis.hqsam.simd.maps import empty

    for shape in ((3, 5), (2**20,), (1025, 1025)):
        space = empty(*shape)
        assert space.shape == shape
        assert space.is_contiguous()
        assert space.data_ptr() % 64 == 0
        space.fill_(1.0)
        assert np.isfinite(space.numpy()).all()
