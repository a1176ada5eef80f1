"""``apps.run``: what the command does, in one call."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import apps
import vis
from apps.from_python import run_parser
from apps.options import plan_of
from detectors.motion import Motion
from vis.errors import InputError, UsageError, VisWarning
from vis.formats.tubes import to_json
from vis.structures import Detections

MOVING: dict[str, Any] = {"detector": "motion", "tracker": "iou", "model": "none", "link": False}


def test_it_gives_what_the_command_saves(
    vistubes: Callable[..., Any], square_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "--detector motion --tracker iou --model none --no-link --stride 2 --end 3s --no-overlay --quiet"
    assert vistubes("run", square_clip, *words.split(), "--out", tmp_path / "command").code == 0
    result = apps.run(square_clip, **MOVING, stride=2, end="3s")
    assert to_json(result) == to_json(vis.read_results(tmp_path / "command"))
    assert result.tubes
    assert capsys.readouterr() == ("", "")

    same = apps.run(square_clip, "quick", **MOVING, stride=2, end="3s", out=tmp_path / "own", no_overlay=True)
    assert to_json(same) == to_json(vis.read_results(tmp_path / "own"))
    command = json.loads((tmp_path / "own" / "run.json").read_text())["command"]
    assert command[:3] == ["vistubes", "run", "--preset=quick"]
    before = (tmp_path / "own" / "tubes.json").read_bytes()
    again = [*command[2:-2], "--overwrite", "--", command[-1]]
    assert vistubes("run", *again).code == 0
    assert (tmp_path / "own" / "tubes.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"detektor": "motion"}, "run has no option 'detektor'; did you mean 'detector'?"),
        ({"qqqq": 1}, "run has no option 'qqqq'; the options are start, end, stride"),
        ({"score": 7}, "argument --score: expected a number from 0 to 1, got '7'"),
        ({"stride": True}, "stride: expected a value, got True"),
        ({"link": "no"}, "link: expected True or False, got 'no'"),
        ({"preset": "quik"}, "argument --preset: invalid choice: 'quik'"),
        ({"overwrite": True}, "overwrite: is about the run folder, and none is written"),
    ],
)
def test_a_wrong_option_says_what_is_wrong(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        apps.run("clip.mp4", **options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("options", "tube"),
    [({"multimask": "tube"}, True), ({"multimask": "single"}, False), ({"whole_or_part": True}, True)],
)
def test_options_go_by_the_commands_names_the_former_ones_too(
    options: dict[str, Any], tube: bool, square_clip: Path
) -> None:
    with pytest.warns(VisWarning) if "whole_or_part" in options else contextlib.nullcontext():
        result = apps.run(square_clip, "paper", **{**MOVING, "end": 2, **options})
    assert result.made_with["options"]["whole_or_part"] is tube
    with pytest.raises(UsageError, match="no option 'multimask_selection'; did you mean 'multimask'"):
        apps.run(square_clip, multimask_selection="tube")


def test_a_wrong_path_is_told_before_anything_is_loaded(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.mp4"):
        apps.run(tmp_path / "absent.mp4", weights="absent.onnx", detector="yolox")


def test_with_less_than_full_speed_the_detector_is_asked_less(
    square_clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []

    def bright(self: Motion, images: Any) -> list[Detections]:
        looked.append(len(images))
        found = [np.argwhere(image[..., 0] > 180) for image in images]
        boxes = [[[*at.min(axis=0)[::-1], *at.max(axis=0)[::-1] + 1]] if len(at) else [] for at in found]
        return [Detections(box, [0.9] * len(box), [0] * len(box)) for box in boxes]

    monkeypatch.setattr(Motion, "detect", bright)
    full = apps.run(square_clip, **MOVING)
    frames, looked[:] = sum(looked), []
    fast = apps.run(square_clip, **MOVING, speed="balanced")
    assert sum(looked) < 0.5 * frames == 0.5 * len(fast.frames)
    assert len(fast.frames) == len(full.frames)
    assert fast.tubes
    assert "speed" not in full.made_with["options"], "what was made before 0.2 is told by the same options"
    assert fast.made_with["options"]["speed"] == "balanced"


def test_a_preset_s_speed_is_for_its_own_detector() -> None:
    """What another one, or a file, gives on each frame is not passed over unasked."""
    plan = plan_of(run_parser().parse_args(["clip.mp4"]))
    assert (plan.speed, plan.precision) == ("balanced", "fastest")
    for words in (["--speed", "full"], ["--detector", "motion"], ["--preset", "balanced"]):
        plan = plan_of(run_parser().parse_args(["clip.mp4", *words]))
        assert (plan.speed, plan.precision) == ("full", "fast")
    plan = plan_of(run_parser().parse_args(["clip.mp4", "--detector", "motion", "--speed", "fastest"]))
    assert plan.speed == "fastest"
