"""``vistubes eval``: what scripts see (JSON, exit codes, files) and what people see."""

from __future__ import annotations

import argparse
import csv
import json
import re

import numpy as np
import pytest
from PIL import Image

import apps.verbs.evaluate as command
from apps.cli import main
from vis.errors import InputError, UsageError
from vis.evaluation import evaluate_tubes

BOX = (20, 20, 80, 80)


@pytest.fixture
def vistubes_eval(capsys):
    """Runs the verb with words; gives (JSON of stdout or None, stdout, stderr)."""

    def call(*words):
        parser = argparse.ArgumentParser()
        command.configure(parser)
        assert command.run(parser.parse_args([str(word) for word in words])) == 0
        out, err = capsys.readouterr()
        return json.loads(out) if "--json" in words else None, out, err

    return call


@pytest.fixture
def files(Scene, tmp_path):
    """Truth and two results of ten videos: B is better than A."""
    scene = Scene(videos=10)
    rng = np.random.default_rng(0)
    other = []
    for video in range(1, 11):
        scene.add_truth(BOX, video=video).add_truth((100, 10, 150, 90), video=video, category=2)
        scene.add_result((30, 25, 90, 85), video=video, score=float(rng.random()))
        scene.add_result((100, 10, 150, 90), video=video, category=1, score=float(rng.random()))
        scene.add_result([(100, 10, 150, 90), None, None, None], video=video, category=2, score=0.5)
        scene.add_result([BOX, BOX, (100, 10, 150, 90), (100, 10, 150, 90)], video=video, score=0.4)
        scene.add_result((2, 2, 9, 9), video=video, category=2, score=float(rng.random()))
        other += [
            {k: a[k] for k in ("video_id", "category_id", "segmentations")} | {"score": 0.9}
            for a in scene.truth["annotations"]
            if a["video_id"] == video and (video < 9 or a["category_id"] == 1)
        ]
    paths = [tmp_path / name for name in ("gt.json", "a.json", "b.json")]
    for path, value in zip(paths, (scene.truth, scene.results, other), strict=True):
        path.write_text(json.dumps(value))
    return paths


def test_tubes_prints_one_json_object_with_the_same_numbers(vistubes_eval, files):
    truth, results, _ = files
    answer, out, err = vistubes_eval("tubes", "--truth", truth, "--results", results, "--json")
    assert out.count("\n") == 1
    expected = evaluate_tubes(truth, results)
    assert answer["mask"] == expected.stats["mask"]
    assert answer["boundary"] == expected.stats["boundary"]
    assert len(answer["mask"]) == len(answer["stats_order"]) == 12
    assert (answer["mode"], answer["annotation_key"], answer["class_agnostic"]) == ("official", "raw", False)
    assert "AP50" in err
    assert "mode official, truth masks raw" in err


def test_tubes_report_holds_tables_curves_and_reasons(vistubes_eval, files, tmp_path):
    truth, results, _ = files
    answer, _, err = vistubes_eval(
        "tubes", "--truth", truth, "--results", results, "--report", tmp_path / "r", "--json"
    )
    whole = json.loads((tmp_path / "r" / "report.json").read_text())
    assert whole["mask"] == answer["mask"]
    counts = whole["losses"]["mask"]["counts"]
    assert counts == {"class": 10, "fragment": 10, "identity switch": 10, "background": 10}
    assert all(cost >= 0 for cost in whole["losses"]["mask"]["costs"].values())
    assert whole["losses"]["boundary"]["counts"]["boundary"] == 10  # shifted by ten pixels: band IoU is small
    spread = whole["intervals"]["mask"]
    assert spread["value"] == pytest.approx(whole["mask"][0])
    assert spread["low"] <= spread["value"] <= spread["high"]
    assert "fragment" in err
    rows = list(csv.DictReader((tmp_path / "r" / "classes.csv").open()))
    assert [row["name"] for row in rows] == ["class 1", "class 2"]
    mean = np.mean([float(row["mask_ap"]) for row in rows])
    assert mean == pytest.approx(whole["mask"][0])
    assert len(list(csv.DictReader((tmp_path / "r" / "videos.csv").open()))) == 10
    page = (tmp_path / "r" / "report.html").read_text()
    assert page.count("<polyline") == 6
    assert not re.search(r"(src|href)=.(?!data:)", page)  # loads nothing


def test_report_escapes_names_and_shows_frames(vistubes_eval, Scene, tmp_path):
    scene = Scene().add_truth(BOX)
    scene.truth["categories"][0]["name"] = "<script>alert(1)</script>"
    scene.truth["videos"][0]["file_names"] = [f"clip/{t}.jpg" for t in range(3)] + ["../../secret.jpg"]
    (tmp_path / "frames" / "clip").mkdir(parents=True)
    for t in range(3):
        Image.new("RGB", (200, 100), (90, 0, 0)).save(tmp_path / "frames" / "clip" / f"{t}.jpg")
    scene.add_result((150, 50, 160, 60))
    (tmp_path / "gt.json").write_text(json.dumps(scene.truth))
    (tmp_path / "r.json").write_text(json.dumps(scene.results))
    vistubes_eval(
        "tubes", "--truth", tmp_path / "gt.json", "--results", tmp_path / "r.json",
        "--report", tmp_path / "out", "--frames", tmp_path / "frames",
    )  # fmt: skip
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert page.count("data:image/jpeg;base64,") == 1


def test_compare_gives_the_difference_with_an_interval(vistubes_eval, files, tmp_path):
    truth, a, b = files
    for name, results in (("a", a), ("b", b)):
        vistubes_eval("tubes", "--truth", truth, "--results", results, "--report", tmp_path / name)
    answer, _, err = vistubes_eval("--compare", tmp_path / "a", tmp_path / "b", "--json")
    change = answer["mask"]["ap_difference"]
    assert change["value"] == pytest.approx(answer["mask"]["b"][0] - answer["mask"]["a"][0])
    assert 0 < change["low"] <= change["value"] <= change["high"]
    assert "more than chance" in err
    same, _, _ = vistubes_eval("--compare", tmp_path / "a", tmp_path / "a", "--json")
    assert set(same["mask"]["ap_difference"].values()) == {0}
    with pytest.raises(InputError, match="not a report"):
        vistubes_eval("--compare", truth, a)
    vistubes_eval("tubes", "--truth", truth, "--results", a, "--mode", "strict", "--report", tmp_path / "s")
    with pytest.raises(InputError, match="differ in mode"):
        vistubes_eval("--compare", tmp_path / "a", tmp_path / "s")


def test_two_results_are_told_apart_with_intervals_overall_and_per_class(vistubes_eval, files, tmp_path):
    truth, a, b = files
    folder = tmp_path / "ab"
    answer, _, err = vistubes_eval("tubes", "--truth", truth, "--results", a, b, "--json", "--report", folder)
    for side, path in (("a", a), ("b", b)):
        alone, _, _ = vistubes_eval("tubes", "--gt", truth, "--pred", path, "--json")
        assert answer["mask"][side] == alone["mask"]
        assert answer["boundary"][side] == alone["boundary"]
    change = answer["mask"]["ap_difference"]
    assert change["value"] == pytest.approx(answer["mask"]["b"][0] - answer["mask"]["a"][0])
    assert change["low"] <= change["value"] <= change["high"]
    per_class = [row["mask"] for row in answer["classes"]]
    assert len(per_class) >= 2
    for row in per_class:
        assert row["difference"]["value"] == pytest.approx(row["b"] - row["a"])
    mean = np.mean([row["difference"]["value"] for row in per_class])
    assert mean == pytest.approx(change["value"])
    assert "B - A (95 % interval)" in err
    page = (folder / "report.html").read_text()
    assert str(a) in page
    assert f"{100 * change['value']:+.2f}" in page
    assert "<script" not in page
    again, _, _ = vistubes_eval("--compare", folder / "a.json", folder / "b.json", "--json")
    assert again["mask"]["ap_difference"] == change


def test_files_may_stand_alone_in_their_order(vistubes_eval, files):
    truth, a, b = files
    spelled, _, _ = vistubes_eval("tubes", "--truth", truth, "--results", a, "--json")
    short, _, _ = vistubes_eval("tubes", truth, a, "--json")
    assert (short["mask"], short["boundary"]) == (spelled["mask"], spelled["boundary"])
    both, _, _ = vistubes_eval("tubes", truth, a, b, "--json")
    assert both["mask"]["a"] == spelled["mask"]
    for words, message in (
        (["tubes"], "give --truth"),
        (["tubes", "--gt", truth], "give --results"),
        (["tubes", truth], "give --results"),
        (["tubes", truth, a, b, a], "3 results; give one, or two"),
        (["coco", truth, a, b], "2 results; give one"),
    ):
        with pytest.raises(UsageError, match=message):
            vistubes_eval(*words)


def test_davis_means_over_objects(vistubes_eval, tmp_path):
    for clip, object_id in (("one", 255), ("two", 2)):
        for side in ("gt", "res"):
            (tmp_path / side / clip).mkdir(parents=True)
            for t in range(4):
                frame = np.zeros((40, 60), np.uint8)
                frame[5:25, 5:25] = object_id
                if side == "res" and clip == "two":
                    frame[:, 15:] = 0
                Image.fromarray(frame).save(tmp_path / side / clip / f"{t:05d}.png")
    answer, _, err = vistubes_eval(
        "davis", "--truth", tmp_path / "gt", "--results", tmp_path / "res", "--json"
    )
    assert answer["clips"]["one"]["objects"]["1"]["J"] == 1
    assert answer["clips"]["two"]["objects"]["2"]["J"] == 0.5
    assert answer["J"] == 0.75
    assert answer["JF"] == pytest.approx((answer["J"] + answer["F"]) / 2)
    assert "mean over objects" in err
    (tmp_path / "res" / "one" / "00002.png").unlink()
    with pytest.raises(InputError, match=r"00002\.png is missing"):
        vistubes_eval("davis", "--truth", tmp_path / "gt", "--results", tmp_path / "res")


def test_coco_gives_three_kinds(vistubes_eval, Scene, tmp_path):
    scene = Scene(size=(200, 300))
    truth = {
        "images": [{"id": 1, "height": 200, "width": 300}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "area": 10_000,
                "segmentation": scene.rle((50, 40, 150, 140)),
            }
        ],
    }
    results = [{"image_id": 1, "category_id": 1, "score": 1.0, "segmentation": scene.rle((52, 40, 152, 140))}]
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    (tmp_path / "r.json").write_text(json.dumps(results))
    answer, _, _ = vistubes_eval(
        "coco", "--truth", tmp_path / "gt.json", "--results", tmp_path / "r.json", "--json"
    )
    assert answer["mask"][0] > answer["boundary"][0] > answer["strict_boundary"][0] > 0
    assert answer["strict_ratio"] == 0.01
    assert answer["images"] == 1


def test_zip_packs_results(vistubes_eval, files, tmp_path):
    answer, _, _ = vistubes_eval("zip", "--results", files[1], "--out", tmp_path / "s.zip", "--json")
    assert answer == {"zip": str(tmp_path / "s.zip"), "results": 50}


def test_wrong_usage_says_what_to_do(vistubes_eval, tmp_path):
    with pytest.raises(
        UsageError, match="say what to evaluate: tubes, masks, davis, coco, edges, hq-ytvis, identity, zip"
    ):
        vistubes_eval()
    with pytest.raises(UsageError, match="points:K"):
        vistubes_eval("masks", "--images", tmp_path, "--masks", tmp_path, "--prompt", "points:0")
    with pytest.raises(InputError, match="has a mask of the same name"):
        vistubes_eval("masks", "--images", tmp_path, "--masks", tmp_path)


def test_options_without_effect_are_refused(vistubes_eval, files, tmp_path):
    words = ["tubes", "--truth", files[0], "--results", files[1]]
    with pytest.raises(UsageError, match="name the report's folder with --report"):
        vistubes_eval(*words, "--frames", tmp_path)
    with pytest.raises(InputError, match="--frames takes the folder"):
        vistubes_eval(*words, "--report", tmp_path / "r", "--frames", tmp_path / "none")
    with pytest.raises(UsageError, match="pad_short is for mode strict"):
        vistubes_eval(*words, "--pad-short")


def test_names_that_are_no_text_end_no_report(vistubes_eval, Scene, tmp_path):
    scene = Scene().add_truth(BOX).add_result((22, 20, 82, 80))
    scene.truth["categories"][0]["name"] = "caf\udce9"
    scene.truth["videos"][0]["file_names"] = [f"caf\udce9/{t}.jpg" for t in range(4)]
    (tmp_path / "gt.json").write_text(json.dumps(scene.truth))
    (tmp_path / "r.json").write_text(json.dumps(scene.results))
    vistubes_eval(
        "tubes", "--truth", tmp_path / "gt.json", "--results", tmp_path / "r.json",
        "--report", tmp_path / "out", "--frames", tmp_path,
    )  # fmt: skip
    assert "caf\\udce9" in (tmp_path / "out" / "report.html").read_text()


def test_clips_whose_names_are_no_text_are_printed(tmp_path, capfd):
    for side in ("gt", "r"):
        (tmp_path / side / "caf\udce9").mkdir(parents=True)
        for t in range(3):
            Image.fromarray(np.eye(20, dtype=np.uint8)).save(tmp_path / side / "caf\udce9" / f"{t}.png")
    assert main(["eval", "davis", "--truth", str(tmp_path / "gt"), "--results", str(tmp_path / "r")]) == 0
    assert "\ncaf" in capfd.readouterr().out
