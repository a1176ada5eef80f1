"""J and F: closed forms, the definition with a disk, statistics over time, objects and void."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vis.errors import EvaluationWarning, InputError
from vis.evaluation.davis import (
    contour,
    contour_f,
    evaluate_clip,
    evaluate_folders,
    region_j,
    statistics,
)


def square(x0, y0, side, size=(120, 160)):
    mask = np.zeros(size, bool)
    mask[y0 : y0 + side, x0 : x0 + side] = True
    return mask


def test_region_of_shifted_squares():
    assert region_j(square(10, 10, 40), square(20, 10, 40)) == pytest.approx(30 / 50)
    empty = np.zeros((5, 5), bool)
    assert region_j(empty, empty) == 1
    assert region_j(empty, ~empty) == 0


def test_contour_of_a_square():
    # Pixels that differ from the right, lower or lower right one: a ring of side + 1 on a side.
    assert contour(square(10, 10, 40)).sum() == 4 * 40
    assert not contour(np.ones((9, 9), bool)).any()


def test_contours_within_tolerance_match():
    # The diagonal is 200: the tolerance is ceil(1.6) = 2 pixels.
    truth = square(40, 40, 40)
    assert contour_f(truth, truth) == 1
    assert contour_f(square(42, 40, 40), truth) == 1
    assert contour_f(square(60, 60, 40), truth) < 0.2
    assert contour_f(np.zeros_like(truth), truth) == 0
    assert contour_f(np.zeros_like(truth), np.zeros_like(truth)) == 1


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32))
def test_tolerance_is_a_disk(seed):
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(20, 400)), int(rng.integers(20, 400))
    masks = []
    for _ in range(2):
        canvas = np.zeros(shape, np.uint8)
        centre = tuple(int(v) for v in rng.integers(0, 300, 2))
        cv2.circle(canvas, centre, int(rng.integers(1, 150)), 1, -1)
        masks.append((canvas > 0) ^ (rng.random(shape) < 0.001))
    radius = int(np.ceil(0.008 * np.hypot(*shape)))
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    disk = (x * x + y * y <= radius * radius).astype(np.uint8)
    a, b = (contour(mask) for mask in masks)
    wide_a, wide_b = (cv2.dilate(c.view(np.uint8), disk).astype(bool) for c in (a, b))
    if a.any() and b.any():
        precision, recall = (a & wide_b).sum() / a.sum(), (b & wide_a).sum() / b.sum()
        expected = 2 * precision * recall / (precision + recall) if precision + recall else 0
        assert contour_f(*masks) == pytest.approx(expected, abs=1e-15)


def test_statistics_over_time():
    values = [1.0] * 10 + [0.6] * 10 + [0.4] * 20
    out = statistics(values)
    assert out.mean == pytest.approx((10 + 6 + 8) / 40)
    assert out.recall == 0.5
    # Quarters share their border frames: [0..10] and [30..39] here.
    assert out.decay == pytest.approx((10 * 1.0 + 0.6) / 11 - 0.4)
    assert statistics([0.7] * 3).decay == 0


def labels(*frames):
    return [np.array(frame, np.uint8) for frame in frames]


def test_objects_are_scored_apart_and_border_frames_are_not_judged():
    good, bad = np.zeros((40, 60), np.uint8), np.zeros((40, 60), np.uint8)
    good[5:20, 5:20], good[5:20, 30:50] = 1, 2
    bad[5:20, 5:20] = 1
    nothing = np.zeros_like(good)
    out = evaluate_clip([good] * 4, [nothing, bad, bad, nothing])
    assert (out.objects[1][0].mean, out.objects[1][1].mean) == (1, 1)
    assert (out.objects[2][0].mean, out.objects[2][1].mean) == (0, 0)
    with pytest.raises(InputError, match="3 are needed"):
        evaluate_clip([good] * 2, [good] * 2)
    with pytest.raises(InputError, match="holds no object"):
        evaluate_clip([nothing] * 3, [nothing] * 3)


def test_void_pixels_are_not_judged():
    truth = np.zeros((40, 60), np.uint8)
    truth[5:20, 5:20] = 1
    result = truth.copy()
    result[5:20, 20:30] = 1
    assert evaluate_clip([truth] * 3, [result] * 3).objects[1][0].mean == pytest.approx(0.6)
    truth[5:20, 20:30] = 255
    out = evaluate_clip([truth] * 3, [result] * 3)
    assert (out.objects[1][0].mean, out.objects[1][1].mean) == (1, 1)
    assert out.void_pixels == 150


def test_unsupervised_assigns_permuted_ids_and_judges_all_frames():
    truth = np.zeros((40, 60), np.uint8)
    truth[5:20, 5:20], truth[5:20, 30:50], truth[25:35, 5:50] = 1, 2, 3
    permuted = np.array([0, 3, 1, 2], np.uint8)[truth]
    out = evaluate_clip([truth] * 3, [permuted] * 3, unsupervised=True)
    for j, f in out.objects.values():
        assert (j.mean, j.decay, f.mean) == (1, 0, 1)
    fewer = np.where(truth == 3, 7, 0).astype(np.uint8)
    out = evaluate_clip([truth] * 3, [fewer] * 3, unsupervised=True)
    assert [out.objects[i][0].mean for i in (1, 2, 3)] == [0, 0, 1]
    many = (np.arange(40 * 60).reshape(40, 60) % 30).astype(np.uint8)
    with pytest.raises(InputError, match="allows 20"):
        evaluate_clip([truth] * 3, [many] * 3, unsupervised=True)


# ---------------------------------------------------------------- folders


def write_clips(folder, **clips):
    for name, frames in clips.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for t, frame in enumerate(frames):
            Image.fromarray(frame).save(folder / name / f"{t:05d}.png")
    return folder


@pytest.fixture
def frame():
    values = np.zeros((40, 60), np.uint8)
    values[5:20, 5:20] = 1
    return values


def test_errors_name_the_clip(tmp_path, frame):
    nothing = np.zeros_like(frame)
    truth = write_clips(tmp_path / "gt", good=[frame] * 3, short=[frame] * 2)
    found = write_clips(tmp_path / "r", good=[frame] * 3, short=[frame] * 2)
    with pytest.raises(InputError, match=r"gt/short: 2 frames: .*3 are needed"):
        evaluate_folders(truth, found)
    write_clips(truth, short=[nothing] * 3)
    write_clips(found, short=[nothing] * 3)
    with pytest.raises(InputError, match=r"gt/short: the truth of this clip holds no object"):
        evaluate_folders(truth, found)
    write_clips(truth, short=[frame] * 3)
    write_clips(found, short=[nothing, frame[:20], nothing])
    with pytest.raises(InputError, match=r"r/short/00001\.png: size \(20, 60\), expected \(40, 60\)"):
        evaluate_folders(truth, found)


def test_clips_that_the_truth_lacks_are_told(tmp_path, frame):
    truth = write_clips(tmp_path / "gt", a=[frame] * 3)
    found = write_clips(tmp_path / "r", a=[frame] * 3, b=[frame] * 3, c=[frame] * 3)
    with pytest.warns(EvaluationWarning, match=r"r/b: no clip of the truth \(2 such\)"):
        scores = evaluate_folders(truth, found)
    assert list(scores) == ["a"]
    assert scores["a"].objects[1][0].mean == 1


def test_a_damaged_image_is_named(tmp_path, frame):
    truth, found = (write_clips(tmp_path / side, a=[frame] * 3) for side in ("gt", "r"))
    path = found / "a" / "00001.png"
    data = bytearray(path.read_bytes())
    at = data.index(b"IDAT")
    data[at : at + 4] = b"\x02\x01U\xfe"  # no name of a chunk: PIL's own error for it is a SyntaxError
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"r/a/00001\.png: not an image that can be read"):
        evaluate_folders(truth, found)
