"""Toy networks with random weights, and the reference package to hold them against."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from vis.hqsam import SIZES, Predictor, SamModel, Size


def random_state(state: dict[str, torch.Tensor], seed: int) -> dict[str, torch.Tensor]:
    """Weights that keep activations of order one, so that errors are not hidden by tiny numbers."""
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for key, value in state.items():
        noise = torch.randn(value.shape, generator=generator) if value.is_floating_point() else None
        if noise is None:
            out[key] = value.clone()
        elif key.endswith("running_var"):
            out[key] = noise.abs() + 0.5
        elif key.endswith(("running_mean", "bias")):
            out[key] = 0.1 * noise
        elif value.ndim == 1:
            out[key] = 1 + 0.1 * noise
        elif "rel_pos" in key or key.endswith(("attention_biases", "pos_embed")):
            out[key] = 0.3 * noise
        elif key.endswith(("token.weight", "tokens.weight", "gaussian_matrix")):
            out[key] = noise
        elif "upscaling" in key or "compress_vit" in key or "embedding_encoder" in key:
            out[key] = noise / value.shape[0] ** 0.5
        else:
            out[key] = noise / value[0].numel() ** 0.5
    return out


def toy_size(name: str) -> Size:
    """Two blocks and a 256-pixel input for a plain ViT; TinyViT whole, as the reference fixes its input."""
    if name == "vit_tiny":
        return SIZES[name]
    return replace(SIZES[name], depths=(2,), global_blocks=(1,), image_size=256)


@pytest.fixture(scope="session")
def make_model() -> Callable[..., SamModel]:
    def make(size: Size, *, hq: bool = True, mode: str = "exact", seed: int = 0) -> SamModel:
        model = SamModel(size, hq=hq, mode=mode)
        model.load_state_dict(random_state(model.state_dict(), seed))
        return model.eval()

    return make


@pytest.fixture(scope="session")
def reference() -> Any:
    """The reference package's parts, with a builder for any size of ours."""
    pytest.importorskip("timm", reason="the reference needs timm")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm.models

        sys.modules.setdefault("timm.models.registry", timm.models._registry)
        package = pytest.importorskip(
            "segment_anything_hq", reason="pip install --no-deps segment-anything-hq"
        )
        from segment_anything_hq import modeling

    def build(size: Size) -> Any:
        if size.tiny:
            return package.sam_model_registry["vit_tiny"]()
        encoder = modeling.ImageEncoderViT(
            depth=size.depths[0],
            embed_dim=size.widths[0],
            img_size=size.image_size,
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            num_heads=size.heads[0],
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=size.global_blocks,
            window_size=14,
            out_chans=256,
        )
        prompt = modeling.PromptEncoder(
            embed_dim=256,
            image_embedding_size=(size.grid, size.grid),
            input_image_size=(size.image_size, size.image_size),
            mask_in_chans=16,
        )
        transformer = modeling.TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        decoder = modeling.MaskDecoderHQ(
            transformer_dim=256, transformer=transformer, vit_dim=size.early_width
        )
        return modeling.Sam(encoder, prompt, decoder)

    def twin(model: SamModel) -> Any:
        """The reference network of the same size with the same weights."""
        sam = build(model.size)
        sam.load_state_dict(model.state_dict(), strict=True)
        sam.eval()  # twice: the TinyViT of the reference gathers its attention biases here
        sam.train()
        return sam.eval()

    return SimpleNamespace(package=package, build=build, twin=twin)


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A smooth picture with edges, 200 x 300, so that resizing has something to get wrong."""
    y, x = np.mgrid[:200, :300]
    picture = np.stack([128 + 100 * np.sin(x / 9), 128 + 100 * np.cos(y / 7), (x + y) % 256], axis=-1)
    picture[60:140, 80:200] = (220, 30, 90)
    return picture.astype(np.uint8)


@pytest.fixture(scope="session")
def toy_predictor(make_model: Callable[..., SamModel]) -> Predictor:
    return Predictor(make_model(toy_size("vit_b")))


@pytest.fixture(scope="session")
def sizes() -> Callable[[str], Size]:
    return toy_size
