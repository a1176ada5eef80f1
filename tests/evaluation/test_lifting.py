"""Masks taken out of JSON text by the compiled kernels are those that the JSON parser would have given."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vis import masks
from vis.errors import AnnotationError
from vis.evaluation.loading import read_results, read_truth
from vis.evaluation.runs import BadMaskError, Polygons, TubeMasks, engine

NATIVE, PLAIN = engine("native"), engine("plain")
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
def test_every_spelling_is_read_alike(tmp_path, seed):
    rng = np.random.default_rng(seed)
    layout = [{}, {"separators": (",", ":")}, {"indent": 1}, {"indent": "\t", "separators": (" ,", " : ")}][
        seed % 4
    ]
    for name, value in zip(("gt", "pred"), data_set(rng), strict=True):
        (tmp_path / f"{name}.json").write_text(json.dumps(value, **layout))
    read = {}
    for compute in (NATIVE, PLAIN):
        truth = read_truth(tmp_path / "gt.json", compute)
        read[compute] = truth.tubes, read_results(tmp_path / "pred.json", truth, compute)
    for side in range(2):
        for ours, wanted in zip(read[NATIVE][side], read[PLAIN][side], strict=True):
            assert_equal(ours.masks, wanted.masks)
            if getattr(wanted, "refined", None) is not None:
                assert_equal(ours.refined, wanted.refined)


def test_whole_tubes_and_polygons_leave_the_text():
    """Not only right but used: what is lifted is not parsed a second time."""
    rng = np.random.default_rng(0)
    tubes = [[mask_of(rng, kind), None] for kind in ("text", "list", "polygons", "null")]
    value = [{"segmentations": tube, "bboxes": [None, [1.5, 2, 3, 4]]} for tube in tubes]
    lifted = NATIVE.lift(json.dumps(value).encode())
    marks = [entry["segmentations"] for entry in json.loads(lifted.text)]
    assert marks == ["%0", "%1", "&0", "%2"]
    assert all(entry["bboxes"] is None for entry in json.loads(lifted.text))
    assert len(lifted.tubes) == 3
    assert len(lifted.polygons) == 1


NUMBERS = st.one_of(
    st.floats(-1e6, 1e6),
    st.integers(-(10**17), 10**17),
    st.decimals(-1000, 1000, places=3).map(float),
    st.sampled_from([0.1, -0.0, 1e22, 5e-324, 123456789.123456, 0.30000000000000004, 1e2]),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(NUMBERS, min_size=6, max_size=6), st.sampled_from(["{!r}", "{:.3f}", "{:e}", "{:.17g}"]))
def test_numbers_round_as_the_parser_rounds_them(values, spelling):
    text = ",".join(spelling.format(value) for value in values)
    lifted = NATIVE.lift(f'{{"segmentations":[[[{text}]]]}}'.encode())
    rest = json.loads(lifted.text)["segmentations"]
    if rest == "&0":
        assert lifted.polygons[0].points.tolist() == json.loads(f"[{text}]")
    else:
        assert rest == json.loads(f"[[[{text}]]]")


@pytest.mark.parametrize("number", ["01", "1.", ".5", "+1", "1e", "--1", "1_0", "0x1", "NaN", "1" * 400])
def test_what_is_no_number_is_left_to_the_parser(number):
    for key in ("segmentations", "bboxes"):
        text = (
            f'{{"{key}": [[[0,0,1,0,1,{number}]]]}}'
            if key == "segmentations"
            else f'{{"{key}": [[{number},1,1,1]]}}'
        )
        assert NATIVE.lift(text.encode()).text == text.encode()


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_polygons_are_filled_as_pycocotools_fills_them(seed):
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
        assert_equal(NATIVE.from_polygons(polygons, size), PLAIN.from_polygons(polygons, size))


def test_outlines_too_long_to_draw_are_refused_by_name(tmp_path):
    zigzag = [float(v) for k in range(700_000) for v in (k % 2 * 5000, k % 3)]
    lifted = NATIVE.lift(json.dumps({"segmentations": [None, [zigzag]]}).encode())
    with pytest.raises(BadMaskError) as caught:
        NATIVE.from_polygons(lifted.polygons[0], (10, 5000))
    assert caught.value.index == 1
    truth = {
        "videos": [{"id": 1, "height": 10, "width": 5000, "length": 2}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 7, "video_id": 1, "category_id": 1, "segmentations": [None, [zigzag]]}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    with pytest.raises(AnnotationError, match=r"annotation 0 \(id 7\), video 1, frame 1: .*outlines"):
        read_truth(tmp_path / "gt.json", NATIVE)


def test_a_fault_is_placed_in_the_file_as_it_is(tmp_path):
    """Not in the shorter text that is parsed."""
    text = json.dumps([{"video_id": 1, "segmentations": [mask_of(np.random.default_rng(1), "text")] * 9}])
    (tmp_path / "pred.json").write_text(text[:-1] + ",]")
    truth = read_truth({"videos": [], "categories": [], "annotations": []}, NATIVE)
    with pytest.raises(AnnotationError, match=rf"column {len(text) + 1}\b|column {len(text)}\b"):
        read_results(tmp_path / "pred.json", truth, NATIVE)


def test_tubes_of_another_size_name_annotation_and_frame(tmp_path):
    mask = masks.to_coco(masks.encode(np.ones((5, 5), bool)))
    truth = {
        "videos": [{"id": 1, "height": 6, "width": 5, "length": 2}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [{"id": 3, "video_id": 1, "category_id": 1, "segmentations": [None, mask]}],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    for compute in (NATIVE, PLAIN):
        with pytest.raises(
            AnnotationError, match=r"\(id 3\), video 1, frame 1: size \[5, 5\], expected \[6, 5\]"
        ):
            read_truth(tmp_path / "gt.json", compute)
