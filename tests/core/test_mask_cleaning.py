"""Specks, pin-holes and pixels that several masks claim, on drawn masks."""

from __future__ import annotations

import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from vis.mask_cleaning import SPECK, cleaned, cleaned_logits, resolve_overlaps, resolved_logits

SIZE = (120, 160)


def square() -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    mask[20:80, 30:90] = True  # 3600 pixels: a speck has less than 11
    return mask


def test_specks_and_pin_holes_go() -> None:
    spotted = square()
    spotted[100:103, 100:103] = True
    spotted[0, 0] = spotted[-1, -1] = True
    spotted[40:45, 40:42] = False
    before = spotted.copy()
    np.testing.assert_array_equal(cleaned(spotted), square())
    np.testing.assert_array_equal(spotted, before)


def test_what_is_large_enough_or_hangs_together_stays() -> None:
    real = square()
    real[100:103, 100:104] = True  # a hand behind a pole
    real[50:53, 50:54] = False  # a handle
    real[19, 90:150] = True  # a thin tail that touches by a corner
    real[20:70, 60] = False  # a bay: a slit that is open to the outside
    np.testing.assert_array_equal(cleaned(real), real)


def test_a_hole_at_the_picture_s_border_is_no_hole() -> None:
    mask = np.zeros(SIZE, np.bool_)
    mask[:60, :60] = True
    mask[0, 10:14] = False
    np.testing.assert_array_equal(cleaned(mask), mask)


def test_masks_without_pixels_or_of_one_pixel_are_left() -> None:
    for pixels in (0, 1):
        mask = np.zeros(SIZE, np.bool_)
        mask[5, :pixels] = True
        np.testing.assert_array_equal(cleaned(mask), mask)


def logits(*levels: float) -> dict[int, np.ndarray]:
    return {row: np.full((64, 64), level, np.float32) for row, level in enumerate(levels)}


def test_the_surer_mask_has_a_pixel_that_two_claim() -> None:
    masks = np.zeros((3, *SIZE), np.bool_)
    masks[0, :50, :50] = masks[1, 30:90, 30:90] = masks[2, 100:, 100:] = True
    before = masks.copy()
    resolve_overlaps(masks, logits(1, 5, 3), np.arange(3))
    assert masks.sum(axis=0).max() == 1
    np.testing.assert_array_equal(masks.any(axis=0), before.any(axis=0))
    np.testing.assert_array_equal(masks[1:], before[1:])
    np.testing.assert_array_equal(masks[0], before[0] & ~before[1])


def test_each_pixel_is_judged_by_the_logits_at_its_place() -> None:
    masks = np.zeros((2, *SIZE), np.bool_)
    masks[0, :, 40:] = masks[1, :, :120] = True
    ramp = np.tile(np.linspace(-1, 1, 64, dtype=np.float32), (64, 1))
    resolve_overlaps(masks, {0: ramp, 1: -ramp}, np.arange(2))
    # The frame is 160 wide and fills the square: the ramp crosses zero at column 80.
    np.testing.assert_array_equal(masks[1], np.broadcast_to(np.arange(160) < 80, SIZE))
    np.testing.assert_array_equal(masks[0], ~masks[1])


def test_a_row_without_logits_keeps_what_nobody_else_claims() -> None:
    masks = np.zeros((2, *SIZE), np.bool_)
    masks[0, :50] = masks[1, 40:90] = True
    resolve_overlaps(masks, {1: np.full((64, 64), 0.1, np.float32)}, np.arange(2))
    assert masks[0, :40].all()
    assert not masks[0, 40:].any()
    assert masks[1, 40:90].all()


def test_of_two_masks_of_one_thing_the_older_stays_whole() -> None:
    """Whatever the logits: pixel by pixel, each would be full of holes."""
    noise = np.random.default_rng(0).normal(size=(2, 64, 64)).astype(np.float32)
    masks = np.stack([np.roll(square(), 5, axis=1), square(), np.roll(square(), 55, axis=1)])
    before = masks.copy()
    resolve_overlaps(masks, {0: noise[0], 1: noise[1]}, np.array([7, 3, 9]))
    assert not masks[0].any()
    np.testing.assert_array_equal(masks[1], before[1])
    np.testing.assert_array_equal(masks[2], before[2] & ~before[1])


def test_specks_and_pin_holes_go_from_logits_as_from_masks() -> None:
    spotted = square()
    spotted[100:103, 100:103] = spotted[0, 0] = True
    spotted[40:45, 40:42] = False
    given = np.where(spotted, 2.0, -0.5).astype(np.float32)
    np.testing.assert_array_equal(cleaned_logits(given) > 0, square())
    same = cleaned(spotted) == spotted
    np.testing.assert_array_equal(cleaned_logits(given)[same], given[same])


@given(st.integers(0, 2**32 - 1), st.integers(2, 5), st.booleans())
def test_no_pixel_of_enlarged_logits_is_claimed_twice(seed: int, count: int, hard: bool) -> None:
    """Wherever a pixel lies between cells: each mean of four cells is above 0 for one object at most."""
    chance = np.random.default_rng(seed)
    logits = cv2.GaussianBlur(chance.normal(size=(24, 32, count)).astype(np.float32), (0, 0), 2.0) * 30
    logits = np.ascontiguousarray(logits.transpose(2, 0, 1))
    if hard:  # as of masks: many are equal
        logits = np.where(logits > 0, 8, -8).astype(np.float32)
    out = resolved_logits(logits, chance.permutation(count))
    large = np.stack([cv2.resize(one, (137, 101), interpolation=cv2.INTER_LINEAR) for one in out])
    assert ((large > 0).sum(axis=0) <= 1).all()
    kept = (out > 0).any(axis=(1, 2))
    claimed, alone = (logits > 0)[kept], (logits[kept] > 0).sum(axis=0) == 1
    np.testing.assert_array_equal((out[kept] > 0)[:, alone], claimed[:, alone])  # what nobody disputes stays
    if hard or count == 2:
        np.testing.assert_array_equal(
            (out[kept] > 0).any(axis=0), claimed.any(axis=0)
        )  # and all has an owner


def test_logits_of_masks_that_touch_stay_as_they_are() -> None:
    one = np.full((20, 20), -8, np.float32)
    one[:, :10] = 8
    np.testing.assert_allclose(resolved_logits(np.stack([one, -one]), np.arange(2)), [one, -one], atol=0.001)


def test_of_two_logits_of_one_thing_the_older_stays() -> None:
    shapes = np.stack([np.roll(square(), 5, axis=1), square(), np.roll(square(), 55, axis=1)])
    given = np.where(shapes, np.array([9.0, 1.0, 0.5])[:, None, None], -8).astype(np.float32)
    out = resolved_logits(given, np.array([7, 3, 9]))
    assert not (out[0] > 0).any()
    np.testing.assert_array_equal(out[1] > 0, shapes[1])
    np.testing.assert_array_equal(out[2] > 0, shapes[2] & ~shapes[1])


@given(st.integers(0, 2**32 - 1))
def test_pieces_and_holes_are_those_of_scipy(seed: int) -> None:
    """8-connected pieces, 4-connected holes, by the areas that SPECK asks for."""
    chance = np.random.default_rng(seed)
    soft = cv2.GaussianBlur(chance.random((40, 50)).astype(np.float32), (0, 0), float(chance.uniform(0.3, 3)))
    mask = soft > np.quantile(soft, chance.uniform(0.1, 0.95))
    pieces, _ = ndimage.label(mask, np.ones((3, 3)))
    areas = np.bincount(pieces.ravel())
    least = SPECK * areas[1:].max()
    expected = (areas >= least)[pieces] & mask
    holes, _ = ndimage.label(np.pad(~expected, 1, constant_values=True))
    small = np.bincount(holes.ravel()) < least
    small[[0, holes[0, 0]]] = False
    np.testing.assert_array_equal(cleaned(mask), expected | small[holes][1:-1, 1:-1])
