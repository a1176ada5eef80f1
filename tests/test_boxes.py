"""Box maths: closed forms, laws, and torchvision as the reference."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vis import boxes as bx

coordinates = st.floats(-50, 50, width=32)


def box_arrays(max_boxes: int = 6):
    """Any four numbers: also boxes turned inside out, which count as empty."""
    return st.integers(0, max_boxes).flatmap(lambda n: arrays(np.float32, (n, 4), elements=coordinates))


def random_boxes(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    start = rng.uniform(0, 80, (n, 2))
    return np.concatenate([start, start + rng.uniform(1, 40, (n, 2))], axis=1).astype(np.float32)


def test_half_open_area_counts_pixels():
    canvas = np.zeros((10, 10), bool)
    canvas[3:7, 2:5] = True
    assert bx.area(np.array([[2, 3, 5, 7]], np.float32)).tolist() == [canvas.sum()]


def test_overlaps_against_painted_pixels():
    rng = np.random.default_rng(0)
    start = rng.integers(0, 15, (20, 2))
    boxes = np.concatenate([start, start + rng.integers(1, 10, (20, 2))], axis=1)
    canvases = np.zeros((20, 30, 30), bool)
    for canvas, (x0, y0, x1, y1) in zip(canvases, boxes, strict=True):
        canvas[y0:y1, x0:x1] = True
    common = (canvases[:, None] & canvases[None]).sum((2, 3))
    union = (canvases[:, None] | canvases[None]).sum((2, 3))
    np.testing.assert_array_equal(bx.intersection(boxes, boxes), common)
    np.testing.assert_allclose(bx.iou(boxes, boxes), common / union, rtol=1e-12)


def test_torchvision_agrees():
    ops = pytest.importorskip("torchvision.ops", exc_type=(ImportError, RuntimeError))
    torch = pytest.importorskip("torch")
    a, b = random_boxes(40, 1), random_boxes(30, 2)
    ta, tb = torch.from_numpy(a), torch.from_numpy(b)
    np.testing.assert_allclose(bx.iou(a, b), ops.box_iou(ta, tb).numpy(), atol=1e-6)
    crowd = random_boxes(300, 3)
    scores = np.random.default_rng(4).permutation(300).astype(np.float32) / 300
    labels = np.random.default_rng(5).integers(0, 3, 300)
    for threshold in (0.0, 0.3, 0.7):
        ours = bx.nms(crowd, scores, threshold)
        theirs = ops.nms(torch.from_numpy(crowd), torch.from_numpy(scores), threshold).numpy()
        np.testing.assert_array_equal(ours, theirs)
        ours = bx.nms(crowd, scores, threshold, labels)
        theirs = ops.batched_nms(
            torch.from_numpy(crowd), torch.from_numpy(scores), torch.from_numpy(labels), threshold
        ).numpy()
        np.testing.assert_array_equal(ours, theirs)


@settings(max_examples=60, deadline=None)
@given(box_arrays(), box_arrays())
def test_iou_laws(a, b):
    before = a.copy(), b.copy()
    overlap = bx.iou(a, b)
    assert overlap.shape == (len(a), len(b))
    assert ((overlap >= 0) & (overlap <= 1 + 1e-6)).all()
    np.testing.assert_array_equal(overlap, bx.iou(b, a).T)
    full = bx.area(a) > 0
    np.testing.assert_allclose(np.diag(bx.iou(a, a)), full.astype(float), atol=1e-5)
    np.testing.assert_array_equal(a, before[0])
    np.testing.assert_array_equal(b, before[1])


@settings(max_examples=60, deadline=None)
@given(box_arrays(), st.integers(1, 40), st.integers(1, 40))
def test_clip_keeps_inside_and_settles(boxes, height, width):
    inside = bx.clip(boxes, (height, width))
    assert inside.dtype == boxes.dtype
    assert (inside >= 0).all()
    assert (inside[:, 0::2] <= width).all()
    assert (inside[:, 1::2] <= height).all()
    np.testing.assert_array_equal(bx.clip(inside, (height, width)), inside)
    picture = np.array([[0, 0, width, height]], boxes.dtype)
    np.testing.assert_allclose(bx.area(inside), bx.intersection(boxes, picture)[:, 0], rtol=1e-5, atol=1e-4)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 30), st.integers(0, 1000), st.floats(0, 1))
def test_nms_law(n, seed, threshold):
    """Kept boxes do not overlap by more; every other one is covered by a better kept one."""
    boxes, scores = random_boxes(n, seed), np.random.default_rng(seed).random(n)
    kept = bx.nms(boxes, scores, threshold)
    assert (np.diff(scores[kept]) <= 0).all()
    overlap = bx.iou(boxes, boxes)
    among = overlap[np.ix_(kept, kept)]
    assert (among[~np.eye(len(kept), dtype=bool)] <= threshold).all()
    for gone in set(range(n)) - set(kept.tolist()):
        better = kept[scores[kept] >= scores[gone]]
        assert (overlap[gone, better] > threshold).any()


def test_equal_scores_keep_their_order():
    boxes = np.array([[0, 0, 9, 9], [20, 0, 29, 9], [1, 0, 9, 9]], np.float32)
    assert bx.nms(boxes, np.full(3, 0.5), 0.5).tolist() == [0, 1]
