"""From the images of a truth to the table in one command: proposals, and masks of a detector's boxes."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from apps.cli import main
from vis.evaluation import evaluate_images

PROPOSALS = [
    "--detector",
    "everything",
    "--class-agnostic",
    "--max-dets",
    "10",
    "100",
    "1000",
    "--points",
    "6",
]


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, colour_model: Any) -> list[Any]:
    """Every mask model that is loaded, in order; all know colours only, as the detector ``colours`` does."""
    import detectors
    from vis import refiners

    made: list[Any] = []

    def create(*_: Any, **__: Any) -> Any:
        made.append(colour_model.ColourModel())
        return made[-1]

    monkeypatch.setattr(refiners, "create", create)
    real = detectors.create
    monkeypatch.setattr(
        detectors,
        "create",
        lambda name, **given: colour_model.ColourDetector() if name == "colours" else real(name, **given),
    )
    return made


@pytest.fixture
def small_set(tmp_path, colour_model):
    colour_model.write_set(tmp_path / "truth.json", tmp_path / "val")
    return [
        "eval",
        "coco",
        "--truth",
        str(tmp_path / "truth.json"),
        "--images",
        str(tmp_path / "val"),
        "--json",
    ]


def run(capsys: Any, *words: Any, code: int = 0) -> Any:
    capsys.readouterr()
    assert main([str(word) for word in words]) == code
    out = capsys.readouterr()
    return out.err if code else json.loads(out.out)


def pycocotools_stats(truth: Any, results: Any) -> np.ndarray:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(truth))
        evaluation = COCOeval(coco, coco.loadRes(str(results)), "segm")
        evaluation.params.useCats = 0
        evaluation.params.maxDets = [10, 100, 1000]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_average_recall_of_proposals_is_pycocotools(models, small_set, tmp_path, capsys):
    capsys.readouterr()
    assert main([*small_set, *PROPOSALS, "--out", str(tmp_path / "out")]) == 0
    told = capsys.readouterr()
    answer = json.loads(told.out)
    assert "AR10  AR100 AR1000    ARs" in told.err
    assert "mask AR@1000: all " in told.err
    theirs = pycocotools_stats(tmp_path / "truth.json", tmp_path / "out" / "results.json")
    np.testing.assert_allclose(answer["mask"][6:], theirs[6:], atol=1e-12)
    recall = answer["average_recall"]["mask"]
    assert list(recall) == ["all", "small", "medium", "large"]
    np.testing.assert_allclose(list(recall.values()), theirs[8:], atol=1e-12)
    assert 0.5 < recall["all"] < 1
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert all("bbox" not in entry for entry in results)
    per_image = [[r["score"] for r in results if r["image_id"] == number] for number in (1, 2, 3)]
    assert all(scores == sorted(scores, reverse=True) and len(scores) > 5 for scores in per_image)


def test_recall_by_frequency_is_that_of_a_truth_of_these_classes_alone(
    models, tmp_path, capsys, colour_model
):
    truth = tmp_path / "lvis.json"
    colour_model.write_set(truth, tmp_path / "coco" / "val2017", lvis=True)
    words = ["eval", "coco", "--truth", truth, "--images", tmp_path / "coco", "--json", *PROPOSALS]
    words += ["--out", tmp_path / "out"]
    answer = run(capsys, *words)
    assert answer["federated"] is False
    recall = answer["average_recall"]["mask"]
    assert recall["common"] == -1
    whole = json.loads(truth.read_text())
    for name, category in (("frequent", 3), ("rare", 5)):
        some = [one | {"iscrowd": 0} for one in whole["annotations"] if one["category_id"] == category]
        (tmp_path / "some.json").write_text(json.dumps(whole | {"annotations": some}))
        theirs = pycocotools_stats(tmp_path / "some.json", tmp_path / "out" / "results.json")
        assert recall[name] == pytest.approx(theirs[8], abs=1e-12)
    assert "--federated judges results by their class" in run(capsys, *words, "--federated", "yes", code=2)


def test_a_detectors_boxes_become_masks_and_may_be_used_again(models, small_set, tmp_path, capsys):
    first = run(capsys, *small_set, "--detector", "colours", "--out", tmp_path / "a")
    assert first["mask"][0] == pytest.approx(1)
    assert first["boundary"][0] == pytest.approx(1)
    assert first["strict_boundary"][0] == pytest.approx(1)
    assert first["results"] == str(tmp_path / "a" / "results.json")
    boxes = tmp_path / "a" / "boxes.json"
    second = run(capsys, *small_set, "--boxes", boxes, "--out", tmp_path / "b")
    assert (tmp_path / "a" / "results.json").read_text() == (tmp_path / "b" / "results.json").read_text()
    assert {k: v for k, v in second.items() if k != "results"} == {
        k: v for k, v in first.items() if k != "results"
    }
    own = run(capsys, *small_set, "--detector", "colours", "--model", "none", "--out", tmp_path / "c")
    assert own["mask"] == first["mask"]
    assert len(models) == 2
    # Scores beyond 1, and more digits than a float32 has, stay what they were.
    rows = json.loads(boxes.read_text())
    for index, row in enumerate(rows):
        row["score"] = 5 + index * 1e-12
    boxes.write_text(json.dumps(rows))
    run(capsys, *small_set, "--boxes", boxes, "--out", tmp_path / "d")
    kept = json.loads((tmp_path / "d" / "results.json").read_text())
    assert [one["score"] for one in kept] == [one["score"] for one in rows]
    direct = evaluate_images(tmp_path / "truth.json", tmp_path / "d" / "results.json")
    assert direct.stats["mask"][0] == pytest.approx(1)


def test_a_killed_command_goes_on_and_a_finished_one_loads_nothing(
    models, small_set, tmp_path, capsys, monkeypatch
):
    from vis import refiners

    colour = type(refiners.create())
    words = [*small_set, *PROPOSALS]
    whole = run(capsys, *words, "--out", tmp_path / "whole")
    monkeypatch.setattr(refiners, "create", lambda *_, **__: colour(stop_after=1))
    assert "interrupted" in run(capsys, *words, "--out", tmp_path / "part", code=130)
    assert not (tmp_path / "part" / "results.json").exists()
    last = colour()
    monkeypatch.setattr(refiners, "create", lambda *_, **__: last)
    again = run(capsys, *words, "--out", tmp_path / "part")
    assert last.embedded == 2
    assert again | {"results": ""} == whole | {"results": ""}
    monkeypatch.setattr(refiners, "create", lambda *_, **__: pytest.fail("a network was loaded"))
    assert run(capsys, *words, "--out", tmp_path / "part") == again
    assert "with another model; choose another" in run(
        capsys, *words, "--model", "sam-b", "--out", tmp_path / "part", code=2
    )


def test_options_that_do_not_go_together_are_refused(models, small_set, tmp_path, capsys):
    truth = small_set[:4]
    frames = str(tmp_path / "frames.json")
    (tmp_path / "frames.json").write_text('{"frames": [[]]}')
    for words, message in (
        (
            [*truth, "--results", "r.json", "--detector", "colours"],
            "--detector is for results made from images",
        ),
        (small_set, "--detector NAME or --boxes FILE, one of them"),
        ([*small_set, "--detector", "colours", "--boxes", "b.json"], "one of them"),
        ([*small_set, "--detector", "colours", "--results", "r.json"], "leave one of them out"),
        ([*small_set, "--detector", "colours", "--points", "4"], "--points is for proposals"),
        ([*small_set, "--boxes", "b.json", "--model", "none"], "name a mask model"),
        (
            [*small_set, *PROPOSALS, "--score", "0.5", "--text", "dog"],
            "--score and --text: nothing here would use it",
        ),
        ([*small_set, "--boxes", "b.json", "--weights", "w"], "--weights: nothing here would use it"),
        ([*small_set, "--detector", "precomputed", "--weights", frames], "objects of frames by number"),
        ([*small_set, "--detector", "everything", "--model", "sam-b"], "knows none of the truth's classes"),
    ):
        out = ["--out", tmp_path / "out"] if "--images" in words else []
        assert message in run(capsys, *words, *out, code=2), words


def test_what_is_wrong_with_images_and_boxes_is_named(models, small_set, tmp_path, capsys, colour_model):
    words = [*small_set, "--detector", "colours", "--out", tmp_path / "out"]
    image = tmp_path / "val" / "000000000002.jpg"
    colour_model.write_image(image, np.zeros((96, 120, 3), np.uint8))
    assert "is (96, 120) (height, width), the truth says (96, 128)" in run(capsys, *words, code=3)
    image.unlink()
    assert "000000000002.jpg: not there, which image 2 of the truth is" in run(capsys, *words, code=3)
    data = json.loads((tmp_path / "truth.json").read_text())
    data["images"][1]["file_name"] = "../secret.jpg"
    (tmp_path / "truth.json").write_text(json.dumps(data))
    assert "leads out of the image folder" in run(capsys, *words, code=3)
    assert "b.json: no such file; --boxes takes" in run(
        capsys, *small_set, "--boxes", tmp_path / "b.json", code=3
    )
    assert "no such folder" in run(capsys, *small_set[:5], tmp_path / "none", *words[7:], code=3)
    colour_model.write_set(tmp_path / "truth.json", tmp_path / "val")
    for number, (row, message) in enumerate(
        (
            (
                {"image_id": 9, "category_id": 3, "score": 1, "bbox": [0, 0, 1, 1]},
                "image 9 is not in the truth",
            ),
            ({"image_id": 1, "category_id": 3, "score": 1}, "bbox is missing"),
            ({"image_id": 1, "category_id": 3, "score": 1, "bbox": [0, 0, -1, 1]}, "negative width"),
            (
                {"image_id": 1, "category_id": 3, "score": "high", "bbox": [0, 0, 1, 1]},
                "finite number as score",
            ),
        )
    ):
        (tmp_path / "b.json").write_text(json.dumps([row]))
        out = tmp_path / f"b{number}"
        assert message in run(capsys, *small_set, "--boxes", tmp_path / "b.json", "--out", out, code=3)
