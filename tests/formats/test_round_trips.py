"""Written, read, equal: random tubes through every format, and what a format cannot hold is said."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vis.errors import OutputError, UsageError
from vis.formats import coco, csv_table, cvat, davis, mot, mots, per_object, sav, tubes, ytvis_set
from vis.structures import VideoResult

SETTINGS = settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def in_new_folder(name: str) -> Any:
    folder = tempfile.TemporaryDirectory()
    return folder, Path(folder.name) / name


def check(result: VideoResult, name: str, write: Any, read: Any, same: Any, *without: str) -> list[str]:
    folder, path = in_new_folder(name)
    with folder:
        said = write(path, result)
        same(read(path), result, *without)
    return said


# Formats that hold overlapping masks give back any tubes at all.
ANY = {
    "tubes": ("t.json", lambda p, r: tubes.write(p, r), tubes.read),
    "coco": ("c.json", lambda p, r: coco.write(p, [r]), lambda p: coco.read(p)[0]),
    "csv": ("t.csv", csv_table.write, csv_table.read),
    "sav": ("s.json", sav.write_json_file, sav.read_json_file),
    "sav-png": ("s", sav.write_png, sav.read_png),
    "png": ("p", per_object.write, per_object.read),
}
# Label images take tubes that do not overlap.
FLAT = {
    "davis": ("d", davis.write, davis.read),
}
MOTS = {
    "mots": ("m.txt", mots.write_text_file, lambda p, n: mots.read_text(p, num_frames=n)),
    "mots-png": ("m", mots.write_png, lambda p, n: mots.read_png(p)),
    "cvat": ("c.zip", cvat.write, lambda p, n: cvat.read(p)),
}


@pytest.mark.parametrize("name", ANY)
@SETTINGS
@given(data=st.data())
def test_overlapping_tubes_come_back(name: str, data: st.DataObject, make_results: Any, same: Any) -> None:
    file, write, read = ANY[name]
    # CSV has no row for frames without objects.
    check(data.draw(make_results()), file, write, read, same, *(["frames", "times"] if name == "csv" else []))


@pytest.mark.parametrize("name", FLAT)
@SETTINGS
@given(data=st.data())
def test_flat_tubes_come_back(name: str, data: st.DataObject, make_results: Any, same: Any) -> None:
    file, write, read = FLAT[name]
    assert check(data.draw(make_results(overlap=False)), file, write, read, same) == []


@pytest.mark.parametrize("name", MOTS)
@SETTINGS
@given(data=st.data())
def test_mots_ids_are_class_and_instance(
    name: str, data: st.DataObject, make_results: Any, same: Any
) -> None:
    result = data.draw(make_results(overlap=False))
    file, write, read = MOTS[name]
    number = (
        1 if name == "cvat" else 3
    )  # a class that MOTS does not name; CVAT numbers the lines of labels.txt
    expected = replace(result, tubes=tuple(replace(t, id=number * 1000 + t.id) for t in result.tubes))
    folder, path = in_new_folder(file)
    with folder:
        assert write(path, result) == ["ids become class * 1000 + instance"]
        got = read(path, len(result.frames))
        same(got, expected, "classes")
        assert got.class_names == (("object",) if name == "cvat" else ("class 3",))
        # Such ids stay: a second trip changes nothing at all.
        second = path.with_name(f"again{path.suffix}")
        renamed = replace(got, class_names=("object",))
        assert write(second, renamed) == []
        same(read(second, len(result.frames)), expected, "classes")


@SETTINGS
@given(data=st.data())
def test_ytvis_truth_and_results_come_back(data: st.DataObject, make_results: Any, same: Any) -> None:
    drawn = data.draw(make_results())
    result = replace(drawn, tubes=tuple(replace(t, id=n) for n, t in enumerate(drawn.tubes, start=1)))
    folder, path = in_new_folder("truth.json")
    with folder:
        assert ytvis_set.write_truth(path, [result, result]) == []
        for got in ytvis_set.read_truth(path)[:1]:
            same(got, result)
        ytvis_set.write_results(path.with_name("results.json"), [result, result])
        for got in ytvis_set.read_results(path.with_name("results.json"), path):
            same(got, result)


@SETTINGS
@given(data=st.data())
def test_mot_boxes_come_back_to_the_bit(data: st.DataObject, make_results: Any, same: Any) -> None:
    drawn = data.draw(make_results())
    shift = data.draw(st.floats(-500, 500, width=32))
    result = replace(
        drawn,
        tubes=tuple(
            replace(t, boxes=(t.boxes * np.float32(1.1) + np.float32(shift)), masks=None) for t in drawn.tubes
        ),
    )
    folder, path = in_new_folder("m.txt")
    with folder:
        mot.write(path, result)
        same(mot.read(path, size=result.video.size, num_frames=len(result.frames)), result)


def test_a_full_result_comes_back_from_formats_that_hold_it(
    busy: VideoResult, same: Any, tmp_path: Path
) -> None:
    assert coco.write(tmp_path / "c.json", [busy]) == []
    (read,) = coco.read(tmp_path / "c.json")
    same(read, busy)
    assert read.video == busy.video
    said = csv_table.write(tmp_path / "t.csv", busy)
    same(csv_table.read(tmp_path / "t.csv"), busy, "frames", "times")
    assert said == ["the frame rate is lost", "1 frames without objects have no row"]


LOST = {
    "davis": (davis.write, "class names|scores of tubes|scores per frame|boxes|times|frame rate|overlap"),
    "png": (per_object.write, "class names|scores of tubes|scores per frame|boxes|times|frame rate"),
    "mots-png": (mots.write_png, "ids become|class names|scores of tubes|boxes|times|frame rate|overlap"),
    "mots": (mots.write_text_file, "ids become|class names|scores of tubes|boxes|times|frame rate|overlap"),
    "sav": (sav.write_json_file, "every 4th frame|class names|scores of tubes|boxes|times"),
    "mot": (mot.write, "masks|class names|scores of tubes|times|frame rate|size"),
    "ytvis": (
        lambda p, r: ytvis_set.write_truth(p, [r]),
        "ids|scores of tubes|scores per frame|boxes|times|frame rate",
    ),
    "ytvis-results": (
        lambda p, r: ytvis_set.write_results(p, [r]),
        "names|ids|scores per frame|boxes|times|frame rate",
    ),
    "cvat": (cvat.write, "ids become|scores of tubes|boxes|times|frame rate|overlap"),
}


@pytest.mark.parametrize("name", LOST)
def test_what_is_lost_is_said(name: str, busy: VideoResult, tmp_path: Path) -> None:
    write, words = LOST[name]
    said = write(tmp_path / "out", busy)
    for word in words.split("|"):
        assert any(word in sentence for sentence in said), f"{word} in {said}"
    assert len(said) >= len(words.split("|")) - 1


def test_of_overlapping_masks_the_higher_score_lies_on_top(make_result: Any, tmp_path: Path) -> None:
    low, high = np.zeros((1, 12, 17), np.bool_), np.zeros((1, 12, 17), np.bool_)
    low[0, 2:8, 2:8], high[0, 4:10, 4:10] = True, True
    result = make_result([(1, [0], low), (2, [0], high)], 1, scores={1: 0.5, 2: 0.9})
    said = davis.write(tmp_path / "d", result)
    assert any(s.startswith("16 pixels of 1 tubes are lost to overlap") for s in said)
    first, second = davis.read(tmp_path / "d").tubes
    from vis import masks

    np.testing.assert_array_equal(masks.decode(first.masks[0]), low[0] & ~high[0])
    np.testing.assert_array_equal(masks.decode(second.masks[0]), high[0])
    # Of equal scores the smaller id lies on top.
    tie = make_result([(1, [0], low), (2, [0], high)], 1)
    davis.write(tmp_path / "tie", tie)
    np.testing.assert_array_equal(masks.decode(davis.read(tmp_path / "tie").tubes[0].masks[0]), low[0])


def test_large_ids_are_numbered_anew_and_said(make_result: Any, tmp_path: Path) -> None:
    dot = np.zeros((1, 12, 17), np.bool_)
    dot[0, 0, 0] = True
    other = np.roll(dot, 3, axis=2)
    result = make_result([(4000, [0], dot), (70_000, [0], other)], 1)
    assert davis.write(tmp_path / "d", result) == [
        "ids are numbered anew from 1: the format holds ids up to 253"
    ]
    assert [t.id for t in davis.read(tmp_path / "d").tubes] == [1, 2]
    said = mots.write_png(tmp_path / "m", result)
    assert "2 instances are numbered anew: their ids are over 999" in said
    assert [t.id for t in mots.read_png(tmp_path / "m").tubes] == [3001, 3002]


def test_eighty_classes_fit_mots_text_and_their_used_ones_png(make_result: Any, tmp_path: Path) -> None:
    dot = np.zeros((1, 12, 17), np.bool_)
    dot[0, 5, 5] = True
    names = tuple(f"class{n}" for n in range(80))
    result = make_result([(5, [0], dot)], 1, names=names, labels={5: 79})
    mots.write_text_file(tmp_path / "m.txt", result)
    assert [t.id for t in mots.read_text(tmp_path / "m.txt").tubes] == [
        83_005
    ]  # 3 + 79, and 10 is passed over
    mots.write_png(tmp_path / "m", result)
    assert [t.id for t in mots.read_png(tmp_path / "m").tubes] == [3005]
    assert "names of classes without tubes are lost" in cvat.write(tmp_path / "c.zip", result)
    assert cvat.read(tmp_path / "c.zip").class_names == ("class79",)


def test_class_ten_is_never_given(make_result: Any) -> None:
    numbers = mots.class_numbers([*(f"c{n}" for n in range(12)), "person", "car"])
    assert 10 not in numbers
    assert numbers[-2:] == [2, 1]
    assert len(set(numbers)) == len(numbers)


def test_a_folder_is_never_overwritten_and_never_half_written(
    busy: VideoResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        davis.write(tmp_path / "d", busy)

    def full(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="disk is full"):
        davis.write(tmp_path / "e", busy)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d"]


def test_sav_wants_even_spacing_and_keeps_it(
    make_result: Any, same: Callable[..., None], tmp_path: Path
) -> None:
    dot = np.ones((2, 12, 17), np.bool_)
    result = make_result([(1, [0, 1], dot)], 2)
    every4 = replace(
        result,
        video=replace(result.video, num_frames=8),
        frames=np.array([0, 4]),
        pts_seconds=np.array([0.0, 4.0]),
        tubes=(replace(result.tubes[0], frames=np.array([0, 4])),),
    )
    assert sav.write_json_file(tmp_path / "s.json", every4) == []
    same(sav.read_json_file(tmp_path / "s.json"), every4)
    uneven = replace(every4, frames=np.array([0, 4, 6]), pts_seconds=np.arange(3.0))
    with pytest.raises(UsageError, match="evenly spaced"):
        sav.write_json_file(tmp_path / "u.json", uneven)


def test_empty_masks_and_box_tubes_are_said(make_result: Any, tmp_path: Path) -> None:
    stack = np.zeros((2, 12, 17), np.bool_)
    stack[0, 1, 1] = True
    result = make_result([(1, [0, 1], stack), (2, [0], stack[:1])], 2)
    boxed = replace(result, tubes=(result.tubes[0], replace(result.tubes[1], masks=None)))
    said = per_object.write(tmp_path / "p", boxed)
    assert any("1 tubes of boxes only" in s for s in said)
    assert any("1 empty masks" in s for s in said)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [len(t) for t in per_object.read(tmp_path / "p").tubes] == [1]
