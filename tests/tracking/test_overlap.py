"""Mask IoU on crops against the full canvas."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from trackers.overlap import MaskCrops, mask_iou


def blobs(n: int, seed: int, height: int = 40, width: int = 50) -> np.ndarray:
    """Rectangles with holes, some of them empty, some that touch the border."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((n, height, width), bool)
    for mask in masks:
        if rng.random() < 0.2:
            continue
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, 25), x : x + rng.integers(1, 25)] = True
        mask &= rng.random(mask.shape) < 0.8
    return masks


def dense(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    common = (a[:, None] & b[None]).sum((2, 3))
    return common / np.maximum((a[:, None] | b[None]).sum((2, 3)), 1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 1000), st.integers(1, 4))
def test_crops_equal_the_canvas(n, m, seed, step):
    a, b = blobs(n, seed), blobs(m, seed + 1)
    got = mask_iou(MaskCrops.cut(a, step), MaskCrops.cut(b, step))
    np.testing.assert_allclose(got, dense(a[:, ::step, ::step], b[:, ::step, ::step]))


def test_moved_crops_may_leave_the_picture():
    a = np.zeros((1, 20, 20), bool)
    a[0, 5:15, 5:15] = True
    b = np.zeros_like(a)
    b[0, 0:10, 0:10] = True
    crops = MaskCrops.cut(a)
    crops.boxes = crops.boxes - 8  # now from -3 to 7
    assert mask_iou(crops, MaskCrops.cut(b))[0, 0] == 49 / (200 - 49)
