"""Malformed input: errors that name the place, and a fuzz test of thousands of mutated inputs."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from vis.errors import AnnotationError, InputError
from vis.evaluation import evaluate_tubes
from vis.evaluation.comparison import compare_reports
from vis.evaluation.html_report import full_report
from vis.formats import json_stream, ytvis

BOX = (20, 20, 80, 80)
FUZZ = Path(__file__).with_name("fuzz_inputs.py")


@pytest.fixture
def scene(Scene):
    return Scene(videos=2).add_truth(BOX).add_truth(BOX, video=2).add_result(BOX).add_result(BOX, video=2)


@pytest.mark.slow
def test_thousands_of_mutated_inputs_neither_crash_nor_hang():
    done = subprocess.run(
        [sys.executable, str(FUZZ), "5000", "0"], capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout)
    assert counts["accepted"] + counts["refused"] == 5000
    assert counts["accepted"] > 300  # mutations that do no harm; else the test would prove nothing


TRUTH_FAULTS = [
    (lambda t: t["annotations"][1].update(id=1), r"annotation 1: id 1 is given twice"),
    (lambda t: t["annotations"][1].update(id="x"), r"annotation 1: expected a whole number as id"),
    (lambda t: t["annotations"][1].update(id=True), r"annotation 1: expected a whole number as id"),
    (lambda t: t["annotations"][1].pop("video_id"), r"annotation 1 \(id 2\): video_id is missing"),
    (lambda t: t["annotations"][1].update(iscrowd=2), r"id 2\), video 2: expected 0 or 1 as iscrowd"),
    (lambda t: t["annotations"][1].update(areas=[1, "2"]), r"id 2\), video 2: expected a list .* as areas"),
    (
        lambda t: t["annotations"][1].update(segmentations=3),
        r"id 2\), video 2: segmentations: expected a list",
    ),
    (lambda t: t["videos"].append(dict(t["videos"][0])), r"video 2: id 1 is given twice"),
    (lambda t: t["videos"][1].update(height=40_000, width=40_000), r"video 1 \(id 2\): .*over the limit"),
    (lambda t: t["videos"][1].update(height=0), r"video 1 \(id 2\): size"),
    (lambda t: t["videos"][1].update(length=-1), r"video 1 \(id 2\): expected a whole number as length from 0"),
    (lambda t: t["categories"].append(dict(t["categories"][0])), r"category 2: id 1 is given twice"),
    (lambda t: t.pop("videos"), r"expected a list as videos"),
    (lambda t: t["annotations"][1].update(id=1.5), r"annotation 1: expected a whole number as id, got 1.5"),
    (lambda t: t["annotations"][1].update(id=[2]), r"annotation 1: expected a whole number as id, got \[2\]"),
    (lambda t: t["annotations"][1].update(video_id={}), r"id 2\): expected a whole number as video_id, got an object"),
    (lambda t: t["annotations"][1].update(category_id=2**63), r"id 2\): expected a whole number as category_id"),
    (lambda t: t["annotations"][1].update(iscrowd=[1]), r"id 2\), video 2: expected 0 or 1 as iscrowd, got \[1\]"),
    (lambda t: t["annotations"][1].update(areas=[1, -2]), r"id 2\), video 2: expected a list .* as areas"),
    (lambda t: t["annotations"].insert(0, None), r"annotation 0: expected an object, got null"),
    (lambda t: t["annotations"].append(7), r"annotation 2: expected an object, got 7"),
    (lambda t: t.update(annotations=t["annotations"][0]), r"expected a list as annotations, got an object"),
    (lambda t: t.update(annotations="all"), r"expected a list as annotations, got 'all'"),
    (lambda t: t["videos"][1].update(id=None), r"video 1: expected a whole number as id, got null"),
    (lambda t: t["videos"][1].update(length=2.5), r"video 1 \(id 2\): expected a whole number as length from 0"),
    (lambda t: t["videos"][1].update(width=True), r"video 1 \(id 2\): expected a whole number as width"),
    (lambda t: t["videos"][1].update(file_names=["a", 7]), r"video 1 \(id 2\): expected a list of names as file_names"),
    (lambda t: t["videos"][1].update(file_names="a/0.jpg"), r"video 1 \(id 2\): expected a list as file_names"),
    (lambda t: t["videos"][1].update(name=["a"]), r"video 1 \(id 2\): expected text as name"),
    (lambda t: t["categories"][1].update(name=["a"]), r"category 1 \(id 2\): expected text as name"),
    (lambda t: t["categories"][1].update(id="2"), r"category 1: expected a whole number as id"),
    (lambda t: t.update(images=t.pop("videos")), r"videos is missing; it lists images, which 'vistubes eval coco'"),
    (lambda t: t["annotations"][1].update(segmentation=t["annotations"][1].pop("segmentations")),
     r"segmentations is missing; it has a segmentation, as images have: 'vistubes eval coco'"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), TRUTH_FAULTS)
def test_truth_errors_name_file_and_annotation(scene, tmp_path, change, message):
    change(scene.truth)
    path = tmp_path / "gt.json"
    path.write_text(json.dumps(scene.truth))
    with pytest.raises(AnnotationError, match=r"gt\.json: .*" + message):
        evaluate_tubes(path, scene.results)


RESULT_FAULTS = [
    ({"score": float("nan")}, r"expected a finite number as score, got nan"),
    ({"score": None}, r"expected a finite number as score, got null"),
    ({"score": True}, r"expected a finite number as score"),
    ({"score": "0.5"}, r"expected a finite number as score"),
    ({"score": 10**400}, r"expected a finite number as score"),
    ({"category_id": 1.5}, r"expected a whole number as category_id"),
    ({"category_id": [1]}, r"expected a whole number as category_id"),
    ({"category_id": 2**63}, r"expected a whole number as category_id"),
    ({"score": [0.5]}, r"expected a finite number as score, got \[0.5\]"),
    ({"segmentations": None}, r"segmentations: expected a list"),
    ({"segmentations": [None, 7, None, None]}, r"frame 1: expected run lengths"),
    ({"segmentations": [{"size": [100, 200], "counts": "é"}]}, r"frame 0: counts: not ASCII"),
    (
        {"segmentations": [{"size": [100, 200], "counts": [1e4, 1e4]}]},
        r"frame 0: counts: expected a list of ints",
    ),
    ({"segmentations": [{"size": [100, 200], "counts": [3]}]}, r"frame 0: counts: runs sum to 3"),
    ({"segmentations": [{"size": [31_623, 31_623], "counts": [10**9]}]}, r"frame 0: .*over the limit"),
    ({"segmentations": [[[0, 0, 1e999, 0, 5, 5]]]}, r"frame 0: polygon 0: .*finite"),
    ({"segmentations": [[[0, 0, 200, 100] * 40_000]]}, r"frame 0: polygons: outlines are longer"),
]


@pytest.mark.parametrize(("changes", "message"), RESULT_FAULTS)
def test_result_errors_name_entry_video_and_frame(scene, compute, changes, message):
    scene.results[1].update(changes)
    with pytest.raises(AnnotationError, match=r"^results: result 1, video 2[:,] ?" + message):
        evaluate_tubes(scene.truth, scene.results, compute=compute)


def test_whole_numbers_may_be_written_as_floats(scene):
    wanted = evaluate_tubes(scene.truth, scene.results).stats
    for entry in [
        *scene.truth["annotations"],
        *scene.results,
        *scene.truth["videos"],
        *scene.truth["categories"],
    ]:
        for key in {"id", "video_id", "category_id", "height", "width", "length", "iscrowd"} & entry.keys():
            entry[key] = float(entry[key])
    assert evaluate_tubes(scene.truth, scene.results).stats == wanted


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"video_id": [1]}, r"result 0: expected a whole number as video_id, got \[1\]"),
        (
            {"video_id": 10**5000},
            r"result 0: expected a whole number as video_id, got a whole number of 16610 bits",
        ),
        (
            {"image_id": 1},
            r"result 0: video_id is missing; it has image_id: 'vistubes eval coco' scores those",
        ),
        (
            {"video_id": 1, "category_id": 1, "score": 1, "bboxes": [[0, 0, 5, 5]]},
            r"result 0, video 1: segmentations is missing; it has only bboxes.*'vistubes refine'",
        ),
    ],
)
def test_results_of_another_kind_say_what_they_are(scene, entry, message):
    with pytest.raises(AnnotationError, match=message):
        evaluate_tubes(scene.truth, [entry])


def test_a_file_that_is_no_truth_is_not_taken_for_a_split_without_truth(scene):
    with pytest.raises(
        AnnotationError, match=r"expected an object with videos, .* got one with format, tubes"
    ):
        evaluate_tubes({"format": "vis-tubes", "tubes": []}, scene.results)


def test_what_a_file_says_of_a_length_allocates_nothing(scene):
    for video in scene.truth["videos"]:
        video["length"] = 2**52
    found = evaluate_tubes(scene.truth, scene.results, mode="strict", pad_short=True)
    assert found.stats["mask"][0] == pytest.approx(1)


def test_refined_masks_of_another_length_are_told(scene):
    masks = scene.truth["annotations"][0]["segmentations"]
    scene.truth["annotations"][0]["segmentations_refined"] = masks[:2]
    with pytest.raises(AnnotationError, match="annotation 1, refined, video 1: 2 frames, expected 4"):
        evaluate_tubes(scene.truth, scene.results, mode="strict")
    found = evaluate_tubes(scene.truth, scene.results, mode="strict", pad_short=True)
    assert found.stats["mask"][8] == pytest.approx(
        0.55
    )  # IoU 2/4: found at the lowest of ten thresholds only


REPORT_FAULTS = [
    (lambda r: r.update(thresholds=[]), "thresholds and evidence: expected objects"),
    (lambda r: r["evidence"].pop("mask"), "evidence and thresholds: expected both for"),
    (lambda r: r["thresholds"].update(mask=[0.5] * 10**5), "thresholds of mask: expected a list of 1 to 62"),
    (lambda r: r.update(mask=r["mask"][:-1]), "mask: expected 12 numbers"),
    (lambda r: r["mask"].__setitem__(0, "0.5"), "mask: expected 12 numbers"),
    (lambda r: r["evidence"]["mask"][1].__setitem__(0, [1]), "evidence of mask, row 1: expected"),
    (lambda r: r["evidence"]["mask"][1].__setitem__(2, 2**40), "evidence of mask, row 1: expected"),
    (lambda r: r["evidence"]["mask"][1][3].append(0.5), "evidence of mask, row 1: expected"),
    (lambda r: r["evidence"]["mask"][1][4].__setitem__(0, 2**70), "evidence of mask, row 1: expected"),
]


@pytest.mark.parametrize(("change", "message"), REPORT_FAULTS)
def test_broken_reports_name_file_and_part(scene, change, message):
    good = full_report(evaluate_tubes(scene.truth, scene.results))
    bad = json.loads(json.dumps(good))
    change(bad)
    with pytest.raises(InputError, match=rf"^b: broken report: {message}"):
        compare_reports(good, bad, ("a", "b"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not valid JSON"),
        (b'[{"video_id": 1', r"line 1, column \d+.*truncated"),
        (b"[" * 100_000, "not valid JSON"),
        (b'[{"score": NaN}]', "holds NaN"),
        (b'[{"score": -Infinity}]', "holds -Infinity"),
        (b"[" + b"9" * 6000 + b"]", "not valid JSON|expected an object"),
        (b"\xff\xfe[", "not valid JSON"),
        (b'{"a": 1}', "expected a list of results"),
        (b"7", "expected a JSON object or list"),
        (b'"text"', "expected a JSON object or list"),
        (b"[3]", "result 0: expected an object"),
    ],
)
@pytest.mark.parametrize("streamed", [False, True])
def test_broken_files(scene, tmp_path, monkeypatch, text, message, streamed):
    path = tmp_path / "results.json"
    path.write_bytes(text)
    if streamed:
        stream_everything(monkeypatch)
        message = "results.json"
    with pytest.raises(AnnotationError, match=rf"results\.json.*({message})" if not streamed else message):
        evaluate_tubes(scene.truth, path)


def stream_everything(monkeypatch):
    """Read every file in chunks of a few bytes."""
    whole = json_stream.items
    monkeypatch.setattr(json_stream._Chunks.__init__, "__defaults__", (7,))
    monkeypatch.setattr(
        "vis.evaluation.loading.items",
        lambda path, lists=(): whole(path, lists, whole_bytes=-1),
    )


@pytest.mark.parametrize("late_head", [False, True])
def test_streamed_files_give_the_same_tubes(scene, tmp_path, monkeypatch, late_head):
    keys = ["annotations", "videos", "categories"] if late_head else ["videos", "categories", "annotations"]
    truth, results = tmp_path / "gt.json", tmp_path / "pred.json"
    scene.truth["info"] = {"text": 'é "quoted" [1, 2', "numbers": [1.5e-3, -7, True, None]}
    truth.write_text(json.dumps({"info": scene.truth["info"]} | {k: scene.truth[k] for k in keys}, indent=1))
    results.write_text(json.dumps(scene.results, ensure_ascii=False))
    whole = evaluate_tubes(truth, results)
    stream_everything(monkeypatch)
    streamed = evaluate_tubes(truth, results)
    assert streamed.stats == whole.stats == evaluate_tubes(scene.truth, scene.results).stats
    assert [t.id for t in streamed.truth.tubes] == [t.id for t in whole.truth.tubes] == [1, 2]


def test_zipped_results_and_server_zip(scene, tmp_path):
    results, packed = tmp_path / "pred.json", tmp_path / "out.zip"
    results.write_text(json.dumps(scene.results))
    assert ytvis.write_server_zip(packed, results) == 2
    with zipfile.ZipFile(packed) as archive:
        assert archive.namelist() == ["results.json"]
        assert archive.read("results.json") == results.read_bytes()
    assert evaluate_tubes(scene.truth, packed).stats == evaluate_tubes(scene.truth, results).stats
    results.write_text(json.dumps(scene.truth))
    with pytest.raises(AnnotationError, match="not a results entry"):
        ytvis.write_server_zip(packed, results)
    packed.write_bytes(b"PK no zip")
    with pytest.raises(AnnotationError, match=r"out\.zip"):
        evaluate_tubes(scene.truth, packed)
