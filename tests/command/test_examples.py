"""The examples run as they are, and the ways that the docs show end where they say."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

import vis
from apps.cli import main
from vis.formats import tubes

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
