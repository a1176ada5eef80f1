"""The examples run as they are, and the ways that the docs show end where they say."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import vis
from apps.cli import main
from vis.formats import coco, tubes, ytvis_set

ROOT = Path(__file__).resolve().parents[2]


def test_a_detector_of_ones_own_from_frames_to_ap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    example = runpy.run_path(str(ROOT / "examples" / "own_detector.py"))
    result, truth = example["main"]()
    said = capsys.readouterr().out
    assert "object 1: 8 frames" in said
    found = re.search(r"tube mask AP ([0-9.]+)", said)
    assert found is not None
    assert float(found[1]) > 0.8
    assert vis.evaluate(truth, truth).mask.ap == pytest.approx(1)
    # The same detector by its name, as the docs spell it.
    (tmp_path / "own_detector.py").write_text((ROOT / "examples" / "own_detector.py").read_text())
    words = (
        "run own/made.mp4 --detector own_detector:Bright --tracker iou --no-link --model none --no-overlay"
    )
    assert main([*words.split(), "--min-frames", "1", "--score", "0", "--quiet", "--out", "runs/mine"]) == 0
    again = tubes.read(tmp_path / "runs" / "mine" / "tubes.json")
    assert [tube.boxes.tolist() for tube in again.tubes] == [tube.boxes.tolist() for tube in result.tubes]


@pytest.fixture
def way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_in_this_process: None, run_lines: Any) -> Any:
    """``way(heading)`` runs the commands below a heading of docs/ways.md, in a folder with clips and a detector."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "own_detector", raising=False)  # that of another test's folder
    monkeypatch.syspath_prepend(tmp_path)
    shutil.copy(ROOT / "examples" / "own_detector.py", tmp_path)
    make_clip = runpy.run_path(str(tmp_path / "own_detector.py"))["make_clip"]
    truth = make_clip(tmp_path / "clip.mp4")
    for place in ("day1/dog.mp4", "day2/dog.mp4"):
        make_clip(tmp_path / "videos" / place)
    text = (ROOT / "docs" / "ways.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / "edits.json").write_text(written)

    def run(heading: str) -> Any:
        part = text.split(f"## {heading}", 1)[1]
        (block, *_) = re.findall(r"```sh\n(.*?)```", part, re.DOTALL)
        run_lines(block)
        return truth

    return run


def test_the_way_of_editing_ends_with_the_cut_out_and_the_corrected_masks(way: Any, tmp_path: Path) -> None:
    # Boxes of the detector become masks as they are: there is something to cut along without a network.
    from vis import masks

    truth = way_of_masks(way, tmp_path)
    result = tubes.read(tmp_path / "corrected" / "tubes.json")
    assert {result.class_names[tube.label] for tube in result.tubes} == {"juggler"}
    assert (tmp_path / "corrected" / "overlay.mp4").is_file()
    assert (tmp_path / "person.mov").stat().st_size > 0
    (read,) = coco.read(tmp_path / "person.json")
    assert masks.area(read.tubes[0].masks[0]) > 0  # type: ignore[index]
    assert len(list((tmp_path / "person_frames").rglob("*.jpg"))) == len(truth.frames)


def way_of_masks(way: Any, tmp_path: Path) -> Any:
    """The way of editing, where the detector gives its boxes as masks too."""
    file = tmp_path / "own_detector.py"
    code = file.read_text()
    boxes = "found.append(vis.Detections(boxes=[box], scores=[0.9], labels=[0]))"
    assert boxes in code
    filled = "image.min(axis=2)[None] > 180"
    file.write_text(code.replace(boxes, boxes.replace("labels=[0]", f"labels=[0], masks={filled}")))
    return way("Editing video")


def test_the_way_of_preparing_data_ends_with_one_file_and_its_pictures(way: Any, tmp_path: Path) -> None:
    way("Preparing data")
    for file in (tmp_path / "runs" / "all" / "coco.json", tmp_path / "all.json"):
        assert sorted(one.video.name for one in coco.read(file)) == ["day1/dog", "day2/dog"]
    named = {image["file_name"] for image in json.loads((tmp_path / "all.json").read_text())["images"]}
    there = {
        p.relative_to(tmp_path / "all_frames").as_posix() for p in (tmp_path / "all_frames").rglob("*.jpg")
    }
    assert named == there


def test_the_way_of_research_ends_with_a_comparison(way: Any, tmp_path: Path, capsys: Any) -> None:
    truth = runpy.run_path(str(tmp_path / "own_detector.py"))["make_clip"](tmp_path / "again.mp4")
    ytvis_set.write_truth("truth.json", [truth])
    for name in "ab":
        ytvis_set.write_results(f"{name}.json", [truth])
    way("Research")
    assert tubes.read(tmp_path / "runs" / "own" / "tubes.json").tubes
    assert "Two results, one truth" in (tmp_path / "runs" / "a-b" / "report.html").read_text()
    assert "hota" in capsys.readouterr().out
