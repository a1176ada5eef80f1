"""Laws of tube AP by property test; agreement with the slow evaluator and with the plain implementation."""

from __future__ import annotations

import json
import warnings
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vis import masks
from vis.errors import EvaluationWarning
from vis.evaluation import evaluate_tubes, intervals
from vis.evaluation.iou import boundary_ious, mask_ious
from vis.evaluation.tube_masks import TubeMasks, pack


def random_set(rng: np.random.Generator) -> tuple[dict, list[dict]]:
    """A small truth and results that are partly right: rectangles with noise, nulls, crowds, ties."""
    truth = {"videos": [], "categories": [{"id": 1, "name": "a"}, {"id": 5, "name": "b"}], "annotations": []}
    results = []
    for video in range(1, int(rng.integers(2, 4))):
        size = int(rng.integers(20, 60)), int(rng.integers(20, 60))
        frames = int(rng.integers(1, 5))
        truth["videos"].append({"id": video, "height": size[0], "width": size[1], "length": frames})

        def tube(base):
            out = []
            for mask in base:
                mask = np.roll(mask, rng.integers(-2, 3, 2), (0, 1)) ^ (rng.random(mask.shape) < 0.02)
                out.append(None if rng.random() < 0.2 else masks.to_coco(masks.encode(mask)))
            return out

        for _ in range(int(rng.integers(0, 4))):
            base = np.zeros((frames, *size), bool)
            y, x = rng.integers(0, size[0] - 8), rng.integers(0, size[1] - 8)
            base[:, y : y + rng.integers(5, 30), x : x + rng.integers(5, 30)] = True
            segmentations = tube(base)
            areas = [None if m is None else masks.area(masks.from_coco(m)) for m in segmentations]
            truth["annotations"].append(
                {
                    "id": len(truth["annotations"]) + 1,
                    "video_id": video,
                    "category_id": int(rng.choice([1, 5])),
                    "iscrowd": int(rng.random() < 0.15),
                    "segmentations": segmentations,
                    "areas": areas,
                }
            )
            for _ in range(int(rng.integers(0, 3))):
                results.append(
                    {
                        "video_id": video,
                        "category_id": int(rng.choice([1, 5])),
                        "score": float(rng.integers(1, 30)) / 30,
                        "segmentations": tube(base),
                    }
                )
    return truth, results


sets = st.integers(0, 2**32).map(lambda seed: random_set(np.random.default_rng(seed)))


def stats(truth, results, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        return evaluate_tubes(truth, results, threads=1, **options).stats


def assert_same(a, b):
    for kind in a:
        np.testing.assert_allclose(a[kind], b[kind], rtol=0, atol=1e-12)


# ---------------------------------------------------------------- a second opinion


@settings(max_examples=60, deadline=None)
@given(sets, st.booleans())
def test_the_slow_evaluator_agrees(recipe, reference, data, pooled):
    truth, results = data
    truths, found = recipe.prepare(truth, results, boundary=True)
    for compute in (intervals, reference):
        ours = stats(truth, results, class_agnostic=pooled, compute=compute)
        for kind in ours:
            theirs = recipe.statistics(truths, found, [1, 5], boundary=kind == "boundary", pooled=pooled)
            np.testing.assert_allclose(ours[kind], theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_synthetic_sets_equal_the_slow_evaluator(recipe, reference, synthetic, tmp_path, seed):
    truth, results = synthetic.make_set(seed, 7, [(160, 96), (64, 200), (320, 180)], (3, 9))
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "pred.json").write_text(json.dumps(results))
    for pooled in (False, True):
        theirs = recipe.run(tmp_path / "gt.json", tmp_path / "pred.json", boundary=True, pooled=pooled)
        for compute in (intervals, reference):
            ours = stats(tmp_path / "gt.json", tmp_path / "pred.json", class_agnostic=pooled, compute=compute)
            assert_same(ours, theirs)
    for kind in ours:
        assert 0.05 < ours[kind][0] < 0.95  # the set tells results apart


# ---------------------------------------------------------------- laws


@settings(max_examples=30, deadline=None)
@given(sets)
def test_truth_as_its_own_result_scores_1(data):
    truth, _ = data
    results = [
        {k: a[k] for k in ("video_id", "category_id", "segmentations")} | {"score": 1 - a["id"] / 100}
        for a in truth["annotations"]
        if any(m is not None and masks.area(masks.from_coco(m)) for m in a["segmentations"])
    ]
    truth["annotations"] = [a for a in truth["annotations"] if any(a["areas"])]
    for values in stats(truth, results).values():
        # AR1 and AR10 may be cut by the limit of detections.
        for i in (0, 1, 2, 3, 4, 5, 8, 9, 10, 11):
            assert values[i] == -1 or values[i] == pytest.approx(1)


@settings(max_examples=30, deadline=None)
@given(sets)
def test_boundary_ap_is_never_above_mask_ap(data):
    values = stats(*data)
    assert values["boundary"][0] <= values["mask"][0] + 1e-12


@settings(max_examples=30, deadline=None)
@given(sets)
def test_lazy_equals_eager(data):
    assert_same(stats(*data), stats(*data, floor=0.0))


@settings(max_examples=30, deadline=None)
@given(sets, st.randoms())
def test_the_order_of_frames_does_not_matter(data, random):
    truth, results = data
    before = stats(truth, results)
    orders = {
        video["id"]: random.sample(range(video["length"]), video["length"]) for video in truth["videos"]
    }
    for entry in [*truth["annotations"], *results]:
        entry["segmentations"] = [entry["segmentations"][t] for t in orders[entry["video_id"]]]
    assert_same(stats(truth, results), before)


@settings(max_examples=30, deadline=None)
@given(sets)
def test_null_equals_an_empty_mask(data):
    truth, results = data
    before = stats(truth, results)
    sizes = {video["id"]: [video["height"], video["width"]] for video in truth["videos"]}
    for entry in [*truth["annotations"], *results]:
        size = sizes[entry["video_id"]]
        empty = {"size": size, "counts": [size[0] * size[1]]}
        entry["segmentations"] = [empty if m is None else m for m in entry["segmentations"]]
    assert_same(stats(truth, results), before)


@settings(max_examples=30, deadline=None)
@given(sets)
def test_spelling_and_threads_do_not_matter(data):
    truth, results = data
    before = stats(truth, results)
    for i, entry in enumerate([*truth["annotations"], *results]):
        for mask in entry["segmentations"]:
            if mask is not None and i % 2:
                mask["counts"] = masks.runs(masks.from_coco(mask)).tolist()
    assert_same(stats(truth, results), before)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EvaluationWarning)
        assert_same(evaluate_tubes(truth, results, threads=4).stats, before)


# ---------------------------------------------------------------- overlaps


def tube_of(dense: np.ndarray, compute: ModuleType = intervals) -> TubeMasks:
    texts = [mask.counts for mask in masks.encode_many(dense)]
    return compute.from_text(b"".join(texts), np.cumsum([len(t) for t in texts]), dense.shape[1:])


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9))
def test_tube_and_boundary_iou_equal_dense_masks(reference, seed, width_a, width_b):
    rng = np.random.default_rng(seed)
    shape = int(rng.integers(1, 4)), int(rng.integers(1, 50)), int(rng.integers(1, 50))
    a, b = (rng.random(shape) < density for density in rng.choice([0, 0.5, 0.98, 1], 2))
    bands = [
        np.array([masks.boundary(mask, width) for mask in side])
        for side, width in ((a, width_a), (b, width_b))
    ]
    for compute in (intervals, reference):
        x, y = tube_of(a, compute), tube_of(b, compute)
        widths = np.array([width_a]), np.array([width_b])
        band = boundary_ious([x], [y], np.zeros((1, 2), np.int64), *widths, compute=compute)[0]
        for ours, (p, q) in ((mask_ious([x], [y], compute)[0, 0], (a, b)), (band, bands)):
            union = (p | q).sum()
            assert ours == (pytest.approx((p & q).sum() / union, abs=1e-15) if union else 0)


def test_combs_and_checkers_erode_right(compute):
    """Masks with many runs a column: the buffers of the compiled loop have to grow."""
    rng = np.random.default_rng(0)
    comb = np.ones((1, 301, 240), bool)
    comb[0, ::7, :] = False
    sieve = np.ones((1, 301, 240), bool)
    sieve[0, rng.integers(0, 301, 900), rng.integers(0, 240, 900)] = False
    for dense in (comb, sieve, np.ones((2, 40, 50), bool), np.zeros((2, 4, 5), bool)):
        for width in (1, 2, 3):
            expected = np.array([masks.erode(mask, width) for mask in dense])
            sizes = np.array([dense.shape[1]]), np.array([width])
            eroded = compute.erode(pack([tube_of(dense, compute)]), *sizes)
            wanted = tube_of(expected, compute)
            np.testing.assert_array_equal(eroded.edges, wanted.edges)
            np.testing.assert_array_equal(eroded.bounds, wanted.offsets)
            np.testing.assert_array_equal(eroded.areas, expected.sum((1, 2)))
