"""Run-length masks: parity with pycocotools, boundary parity with OpenCV, laws, and the gate."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as rle_api

from vis import masks
from vis.errors import AnnotationError
from vis.structures import MaskRLE


def coco(mask: np.ndarray) -> dict:
    return rle_api.encode(np.asfortranarray(mask.astype(np.uint8)))


@st.composite
def dense_masks(draw, size: tuple[int, int] | None = None):
    """Noise of any density, inside a random box, of a random or given size."""
    height, width = size or (draw(st.integers(1, 40)), draw(st.integers(1, 40)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    mask = rng.random((height, width)) < draw(st.sampled_from([0, 0.02, 0.4, 0.9, 0.99, 1]))
    mask[: draw(st.integers(0, height))] = False
    mask[:, draw(st.integers(0, width)) :] = False
    return mask


@st.composite
def mask_pairs(draw):
    size = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    return draw(dense_masks(size)), draw(dense_masks(size))


@given(dense_masks())
def test_bytes_area_and_box_equal_pycocotools(mask):
    ours, theirs = masks.encode(mask), coco(mask)
    assert ours.counts == theirs["counts"]
    assert masks.area(ours) == int(rle_api.area(theirs))
    x, y, w, h = rle_api.toBbox(theirs)
    assert masks.bounding_box(ours).tolist() == [x, y, x + w, y + h]
    np.testing.assert_array_equal(masks.decode(ours), mask)


@given(dense_masks())
def test_a_crop_holds_the_mask_in_its_box(mask):
    x, y, crop = masks.decode_crop(masks.encode(mask))
    assert crop.flags.c_contiguous
    again = np.zeros_like(mask)
    again[y : y + crop.shape[0], x : x + crop.shape[1]] = crop
    np.testing.assert_array_equal(again, mask)
    x0, y0, x1, y1 = masks.bounding_box(masks.encode(mask))
    assert (x, y, *crop.shape) == ((x0, y0, y1 - y0, x1 - x0) if mask.any() else (0, 0, 0, 0))


@given(mask_pairs())
def test_overlap_and_union_equal_pycocotools(pair):
    a, b = map(masks.encode, pair)
    rles = [masks.to_coco(a), masks.to_coco(b)]
    assert masks.intersection(a, b) == int((pair[0] & pair[1]).sum())
    assert masks.union([a, b]).counts == rle_api.merge(rles)["counts"]
    if pair[0].any() or pair[1].any():
        assert masks.iou(a, b) == rle_api.iou(rles[:1], rles[1:], [0])[0, 0]
    else:
        assert masks.iou(a, b) == 0.0
    assert masks.iou(a, b) == masks.iou(b, a)


@given(dense_masks(), st.integers(1, 8))
def test_boundary_equals_padded_erosion(mask, width):
    padded = np.pad(mask.astype(np.uint8), 1)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1].astype(bool)
    np.testing.assert_array_equal(masks.erode(mask, width), eroded)
    np.testing.assert_array_equal(masks.boundary(mask, width), mask & ~eroded)


@pytest.mark.parametrize(("h", "w", "d"), [(100, 60, 5), (20, 60, 29), (59, 59, 29), (60, 70, 29)])
def test_boundary_of_a_rectangle_has_a_closed_form(h, w, d):
    mask = np.zeros((300, 400), bool)
    mask[90 : 90 + h, 120 : 120 + w] = True
    assert masks.boundary(mask, d).sum() == w * h - max(0, w - 2 * d) * max(0, h - 2 * d)


def test_boundary_width_of_common_sizes():
    assert masks.boundary_width((720, 1280)) == 29
    assert masks.boundary_width((360, 640)) == 15
    assert masks.boundary_width((3, 3)) == 1
    assert masks.boundary_width((720, 1280), ratio=0.01) == 15


def test_many_round_trip_and_sizes_are_checked():
    stack = np.random.default_rng(0).random((3, 8, 9)) < 0.5
    np.testing.assert_array_equal(masks.decode_many(masks.encode_many(stack), (8, 9)), stack)
    with pytest.raises(ValueError, match="size"):
        masks.decode_many(masks.encode_many(stack), (9, 8))
    with pytest.raises(ValueError, match="different sizes"):
        masks.iou(masks.encode(stack[0]), masks.encode(stack[0].T))


@pytest.mark.parametrize("value", [np.ones((2, 2)), np.ones((2, 2, 2), bool), np.ones((0, 2), bool)])
def test_encode_takes_bool_masks_only(value):
    with pytest.raises(ValueError, match="expected bool"):
        masks.encode(value)


@given(st.lists(st.integers(0, 5), min_size=1, max_size=30))
def test_empty_inner_runs_mean_the_same_mask(lengths):
    total = sum(lengths)
    if total == 0:
        return
    flat = np.repeat(np.arange(len(lengths)) % 2 == 1, lengths)
    ours = masks.from_coco({"size": [total, 1], "counts": lengths})
    assert ours == masks.encode(flat.reshape(total, 1)) == masks.from_runs(np.array(lengths), (total, 1))


# ---------------------------------------------------------------- the gate


@given(dense_masks())
def test_gate_accepts_text_bytes_and_lists_alike(mask):
    size = list(mask.shape)
    ours = masks.encode(mask)
    for counts in (ours.counts, ours.counts.decode(), masks.runs(ours).tolist()):
        assert masks.from_coco({"size": size, "counts": counts}, size=mask.shape) == ours


@given(st.lists(st.floats(-30, 70), min_size=6, max_size=20).filter(lambda xs: len(xs) % 2 == 0))
def test_polygons_are_rasterised_as_pycocotools_does(points):
    # The gate clamps to [-w, 2w] and [-h, 2h]; these points stay within.
    expected = rle_api.decode(rle_api.frPyObjects([points], 35, 40))[:, :, 0]
    np.testing.assert_array_equal(masks.decode(masks.from_coco([points], size=(35, 40))), expected)


def test_polygons_are_united_and_none_is_an_empty_mask():
    squares = [[0, 0, 4, 0, 4, 4, 0, 4], [6, 6, 9, 6, 9, 9, 6, 9]]
    assert masks.area(masks.from_coco(squares, size=(10, 10))) == 16 + 9
    assert masks.area(masks.from_coco([], size=(10, 10))) == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "expected run lengths"),
        ("1234", "expected run lengths"),
        ({}, "size: expected"),
        ({"size": [4, 4]}, "counts: expected text"),
        ({"size": [4], "counts": "`0"}, "size: expected"),
        ({"size": [4.0, 4], "counts": "`0"}, "size: expected"),
        ({"size": [True, 16], "counts": [16]}, "size: expected"),
        ({"size": [0, 4], "counts": ""}, "size: expected"),
        ({"size": [100_000, 2], "counts": [200_000]}, "size: expected"),
        ({"size": [40_000, 40_000], "counts": [1_600_000_000]}, "over the limit"),
        ({"size": [4, 4], "counts": ""}, "0 characters"),
        ({"size": [4, 4], "counts": "0" * 1000}, "1000 characters"),
        ({"size": [4, 4], "counts": "`é"}, "not ASCII at character 1"),
        ({"size": [4, 4], "counts": b"\xff0"}, "character 0 is outside"),
        ({"size": [4, 4], "counts": "0\n"}, "character 1 is outside"),
        ({"size": [4, 4], "counts": "`"}, "cut off"),
        ({"size": [4, 4], "counts": "oooooooo0"}, "more than 7 characters"),
        ({"size": [4, 4], "counts": "O"}, "negative or longer"),
        ({"size": [4, 4], "counts": [15]}, "runs sum to 15"),
        ({"size": [4, 4], "counts": [16, 16]}, "runs sum to 32"),
        ({"size": [4, 4], "counts": [20, -4]}, "negative or longer"),
        ({"size": [4, 4], "counts": [2**40]}, "negative or longer"),
        ({"size": [4, 4], "counts": [2**70]}, "list of ints"),
        ({"size": [4, 4], "counts": [16.0]}, "list of ints"),
        ({"size": [4, 4], "counts": [True] * 16}, "list of ints"),
        ({"size": [4, 4], "counts": [[16]]}, "list of ints"),
        ({"size": [4, 4], "counts": []}, "list of ints"),
        ([[0, 0, 1, 1]], "at least 3 points"),
        ([[0, 0, 1, 1, 2]], "at least 3 points"),
        ([[0, 0, 1, 1, 2, float("nan")]], "finite"),
        ([[0, 0, 1, 1, 2, float("inf")]], "finite"),
        ([[0, 0, 1, 1, 2, "x"]], "finite"),
        ([3], "at least 3 points"),
        ({"size": [5, 4], "counts": [20]}, r"size \[5, 4\], expected \[4, 4\]"),
    ],
)
def test_gate_names_what_is_wrong_and_where(value, message):
    with pytest.raises(AnnotationError, match=rf"^video 3: .*{message}"):
        masks.from_coco(
            value,
            size=(4, 4) if not isinstance(value, dict) or value.get("size") == [5, 4] else None,
            where="video 3",
        )


def test_far_away_polygons_are_clamped_not_allocated():
    mask = masks.from_coco([[-1e9, -1e9, 1e9, -1e9, 1e9, 1e9, -1e9, 1e9]], size=(50, 60))
    assert masks.area(mask) == 50 * 60


@settings(max_examples=300)
@given(st.binary(min_size=1, max_size=12), st.integers(1, 9), st.integers(1, 9))
def test_random_text_is_refused_or_a_whole_mask(text, h, w):
    text = bytes(48 + b % 64 for b in text)
    try:
        mask = masks.from_coco({"size": [h, w], "counts": text})
    except AnnotationError:
        return
    assert masks.runs(mask).sum() == h * w
    assert masks.encode(masks.decode(mask)) == mask


def test_structure_prints_short():
    assert repr(MaskRLE((2, 2), b"4")) == "MaskRLE(size=(2, 2), counts=<1 bytes>)"
