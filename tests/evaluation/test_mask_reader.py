"""Every spelling of masks gives the same intervals, read at once or mask by mask, compiled or not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vis import masks
from vis.errors import AnnotationError
from vis.evaluation import intervals
from vis.evaluation.loading import read_results, read_truth
from vis.evaluation.mask_reader import read_masks
from vis.evaluation.tube_masks import BadMaskError, Polygons, TubeMasks

SIZE = 37, 53


def assert_equal(ours: TubeMasks, wanted: TubeMasks) -> None:
    assert ours.size == wanted.size
    for name in ("edges", "offsets", "areas", "boxes"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(wanted, name), err_msg=name)


def mask_of(rng: np.random.Generator, spelling: str) -> object:
    """One mask, as a JSON value."""
    if spelling == "null":
        return None
    if spelling == "polygons":
        return [
            (rng.random(2 * int(rng.integers(3, 7))) * 60 - 5).round(1).tolist()
            for _ in range(rng.integers(1, 4))
        ]
    dense = rng.random(SIZE) < rng.choice([0, 0.02, 0.5, 1])
    dense[:, ::3] = dense[:, 1::3][:, :1] if rng.random() < 0.3 else dense[:, ::3]
    mask = masks.encode(dense)
    counts = masks.runs(mask).tolist() if spelling == "list" else mask.counts.decode()
    pair = [("size", list(SIZE)), ("counts", counts)]
    return dict(pair if rng.random() < 0.7 else pair[::-1])


def data_set(rng: np.random.Generator) -> tuple[dict, list]:
    truth = {"annotations": [], "videos": [], "categories": [{"id": 1, "name": 'a "counts": [1]'}]}
    for v in range(3):
        truth["videos"].append({"id": v, "height": SIZE[0], "width": SIZE[1], "length": 4})
    kinds = (
        ["text"],
        ["list"],
        ["polygons"],
        ["null"],
        ["text", "list"],
        ["list", "polygons", "null"],
        ["polygons", "null"],
    )
    results = []
    for k in range(12):
        kind = kinds[int(rng.integers(len(kinds)))]
        entry = {
            "video_id": k % 3,
            "category_id": 1,
            "bboxes": [None, [1, 2.5, -3e1, 4], [0.0, 0, 0, 0], None],
        }
        entry["segmentations"] = [mask_of(rng, str(rng.choice(kind))) for _ in range(4)]
        results.append(entry | {"score": float(rng.random())})
        more = (
            {"id": k + 1, "segmentations_refined": [mask_of(rng, "text") for _ in range(4)]}
            if k % 2
            else {"id": k + 1}
        )
        truth["annotations"].append(entry | more)
    return truth, results


@pytest.mark.parametrize("seed", range(12))
def test_every_spelling_is_read_alike(tmp_path, reference, seed):
    rng = np.random.default_rng(seed)
    for name, value in zip(("gt", "pred"), data_set(rng), strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(value))
    read = {}
    for compute in (intervals, reference):
        truth = read_truth(tmp_path / "gt.json", compute=compute)
        read[compute] = truth.tubes, read_results(tmp_path / "pred.json", truth, compute=compute)
    for side in range(2):
        for ours, wanted in zip(read[intervals][side], read[reference][side], strict=True):
            assert_equal(ours.masks, wanted.masks)
            if getattr(wanted, "refined", None) is not None:
                assert_equal(ours.refined, wanted.refined)


@pytest.mark.parametrize("spelling", ["text", "list", "polygons", "null"])
def test_what_is_read_at_once_is_what_is_read_mask_by_mask(monkeypatch, spelling):
    rng = np.random.default_rng(3)
    value = [mask_of(rng, spelling) if t % 3 else None for t in range(9)]
    at_once = read_masks(value, SIZE, "here", intervals)
    one_by_one = [read_masks([mask], SIZE, "here", intervals) for mask in value]
    assert at_once.areas.tolist() == [int(one.areas[0]) for one in one_by_one]
    # A mask of another spelling sends the whole tube the slow way.
    other = mask_of(rng, "list" if spelling == "text" else "text")
    mixed = read_masks([*value, other], SIZE, "here", intervals)
    np.testing.assert_array_equal(mixed.boxes[:-1], at_once.boxes)
    np.testing.assert_array_equal(mixed.edges[: len(at_once.edges)], at_once.edges)


@pytest.mark.parametrize(
    "mask",
    [
        {"size": [37, 53], "counts": ""},
        {"size": [37, 53], "counts": []},
        {"size": [37, 53], "counts": [1961.0]},
        {"size": [53, 37], "counts": [1961]},
        {"size": [37, 53], "counts": "0" * (7 * 1962 + 1)},
        [[0, 0, 9, 0, 9]],
        [[0, 0, 9, 0, 9, float("inf")]],
        "#0",
    ],
    ids=lambda mask: str(mask)[:40],
)
def test_what_is_no_mask_is_refused_beside_good_ones(mask):
    good = {"size": list(SIZE), "counts": [1961]}
    with pytest.raises(AnnotationError, match=r"^here, frame 2: "):
        read_masks([good, None, mask], SIZE, "here", intervals)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_polygons_are_filled_as_pycocotools_fills_them(reference, seed):
    rng = np.random.default_rng(seed)
    height, width = int(rng.integers(1, 70)), int(rng.integers(1, 70))
    points, polygon_ends, mask_ends = [], [], []
    for _ in range(int(rng.integers(1, 4))):
        for _ in range(int(rng.integers(0, 4))):
            xy = rng.normal(0.5, rng.choice([0.2, 0.5, 2, 9]), (int(rng.integers(3, 12)), 2)) * [
                width,
                height,
            ]
            xy = xy.round(int(rng.integers(0, 3)))
            points += xy[np.sort(rng.integers(0, len(xy), len(xy)))].reshape(-1).tolist()  # some points twice
            polygon_ends.append(len(points))
        mask_ends.append(len(polygon_ends))
    polygons = Polygons(np.array(points), np.array(polygon_ends, np.int64), np.array(mask_ends, np.int64))
    if len(points):
        size = height, width
        assert_equal(intervals.from_polygons(polygons, size), reference.from_polygons(polygons, size))


def test_outlines_too_long_to_draw_are_refused_by_name(tmp_path):
    zigzag = [float(v) for k in range(700_000) for v in (k % 2 * 5000, k % 3)]
    polygons = Polygons(np.array(zigzag), np.array([len(zigzag)], np.int64), np.array([0, 1], np.int64))
    with pytest.raises(BadMaskError) as caught:
        intervals.from_polygons(polygons, (10, 5000))
    assert caught.value.index == 1
    with pytest.raises(AnnotationError, match=r"^here, frame 1: .*outlines"):
        read_masks([None, [zigzag]], (10, 5000), "here", intervals)


def test_tubes_of_another_size_name_annotation_and_frame(tmp_path, compute):
    mask = masks.to_coco(masks.encode(np.ones((5, 5), bool)))
    truth = {
        "videos": [{"id": 1, "height": 6, "width": 5, "length": 2}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 3, "video_id": 1, "category_id": 1, "segmentations": [None, mask]}],
    }
    with pytest.raises(
        AnnotationError, match=r"\(id 3\), video 1, frame 1: size \[5, 5\], expected \[6, 5\]"
    ):
        read_truth(truth, compute=compute)
