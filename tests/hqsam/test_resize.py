"""Frames to the network's size as Pillow does it, and logits to masks of the frame as SAM does it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional as F

from vis.hqsam.resize import Upsampler, network_size, resize


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(1, 90), st.integers(0, 99))
def test_resize_is_pillows_to_the_last_bit(h: int, w: int, to_h: int, to_w: int, seed: int) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (h, w, 3)).astype(np.uint8)
    want = np.array(Image.fromarray(picture).resize((to_w, to_h), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(resize(torch.from_numpy(picture), (to_h, to_w)).numpy(), want)


@pytest.mark.parametrize("shape", [(720, 1280), (1080, 1920), (900, 7), (480, 854)])
def test_resize_of_frames(shape: tuple[int, int]) -> None:
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


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 400), st.integers(20, 400), st.integers(0, 2**32 - 1), st.floats(-3, 3), st.booleans())
def test_upsampling_is_the_two_bilinear_steps(
    height: int, width: int, seed: int, shift: float, small: bool
) -> None:
    """Wherever the logits are high, in all of the map or in a corner of it, for any frame."""
    generator = torch.Generator().manual_seed(seed)
    logits = F.avg_pool2d(torch.randn(1, 64, 64, generator=generator), 5, 1, 2)[0] * 5 + shift
    if small:
        logits[12:] = -5
    kept = network_size((height, width), 256)
    masks = np.zeros((3, 1, height, width), np.bool_)
    levels = (0.0, 1.0, -1.0)
    Upsampler((height, width), kept, 64, 256, torch.device("cpu")).masks(logits[None], *masks, levels=levels)
    full = F.interpolate(logits[None, None], (256, 256), mode="bilinear")[..., : kept[0], : kept[1]]
    want = F.interpolate(full, (height, width), mode="bilinear")[0, 0]
    for (mask,), level in zip(torch.from_numpy(masks), levels, strict=True):
        sure = (want - level).abs() > 1e-4
        assert torch.equal(mask[sure], (want > level)[sure])


@pytest.mark.parametrize(
    ("frame", "want"), [((9000, 3), (1024, 1)), ((3, 9000), (1, 1024)), ((720, 1280), (576, 1024))]
)
def test_a_frame_keeps_a_pixel_in_either_direction(frame: tuple[int, int], want: tuple[int, int]) -> None:
    assert network_size(frame, 1024) == want
