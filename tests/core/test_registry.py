"""Detectors and trackers by name, and those that other installed packages add by entry points."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import detectors
import trackers
from apps.cli import main
from vis.errors import DependencyError, UsageError
from vis.formats import tubes
from vis.interfaces import CameraCompensator, Detector, Resettable, Stateful, Tracker, WeightsRecord

PLUGIN = """
import numpy as np
from vis.structures import Detections

class Corner:
    class_names = ("corner",)
    def __init__(self, *, side: int = 8, device: str = "auto") -> None:
        self.side, self.device = side, device
    def detect(self, images):
        box = np.array([[0, 0, self.side, self.side]], np.float32)
        return [Detections(box, np.ones(1, np.float32), np.zeros(1, np.int64)) for _ in images]

class Tens:
    live_ids = ()
    def update(self, found, pts_seconds):
        return Detections(found.boxes, found.scores, found.labels, track_ids=10 * (found.labels + 1))
    def reset(self): ...
    def state_dict(self): return {}
    def load_state_dict(self, state): ...

NUMBER = 7
"""

Install = Callable[..., Path]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(name, entry_points)``: a distribution on the path, as pip leaves it, with a module of its own."""

    def add(name: str, entry_points: str, source: str = PLUGIN) -> Path:
        site = tmp_path / name
        info = site / f"{name}-1.2.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(entry_points)
        (site / f"{name}_module.py").write_text(source)
        monkeypatch.syspath_prepend(str(site))
        return site

    return add


def rows(group: str, **values: str) -> str:
    return f"[vistubes.{group}]\n" + "".join(f"{name} = {value}\n" for name, value in values.items())


def test_an_installed_package_adds_a_detector_and_a_tracker(
    install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install(
        "plain", rows("detectors", corner="plain_module:Corner") + rows("trackers", tens="plain_module:Tens")
    )
    assert detectors.names() == (*detectors.DETECTORS, "corner")
    assert trackers.names() == (*trackers.TRACKERS, "tens")
    made: Any = detectors.create("corner", device="cpu", score=0.5, side=9)
    assert (made.side, made.device) == (9, "cpu")
    (tmp_path / "clip").mkdir()
    for number in range(4):
        Image.new("RGB", (32, 24)).save(tmp_path / "clip" / f"{number}.png")
    words = (
        "track",
        tmp_path / "clip",
        "--detector",
        "corner",
        "--tracker",
        "tens",
        "--out",
        tmp_path / "run",
    )
    assert main([str(word) for word in (*words, "--quiet")]) == 0, capsys.readouterr().err
    (tube,) = tubes.read(tmp_path / "run" / "tubes.json").tubes
    assert (tube.id, len(tube), tube.boxes[0].tolist()) == (10, 4, [0, 0, 8, 8])


def test_a_rooms_own_names_win_and_a_package_that_lies_there_twice_is_one(
    install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = install("again", rows("trackers", sort="again_module:Tens", tens="again_module:Tens"))
    shutil.copytree(site, tmp_path / "copy")
    monkeypatch.syspath_prepend(str(tmp_path / "copy"))
    assert type(trackers.create("sort")).__module__ == "trackers.sort"
    assert type(trackers.create("tens")).__module__ == "again_module"
    assert trackers.names() == (*trackers.TRACKERS, "tens")


@pytest.mark.parametrize(
    ("value", "wrong"),
    [
        ("nowhere_module:Tens", "cannot be loaded: ModuleNotFoundError: No module named 'nowhere_module'"),
        ("broken_module:Absent", "cannot be loaded: AttributeError"),
        ("broken_module", "is no class but a module"),
        ("broken_module:NUMBER", "is no class but a int"),
        ("broken_module:Corner", "gives a Corner, which is no vis.interfaces.Tracker"),
        ("raising_module:Tens", "cannot be loaded: RuntimeError: no licence"),
    ],
)
def test_a_broken_entry_point_names_its_package(install: Install, value: str, wrong: str) -> None:
    site = install("broken", rows("trackers", mine=value))
    (site / "raising_module.py").write_text("raise RuntimeError('no licence')")
    with pytest.raises(DependencyError) as caught:
        trackers.create("mine")
    assert f"tracker 'mine' of the installed package broken 1.2 (entry point {value!r})" in str(caught.value)
    assert wrong in str(caught.value)
    assert "mine" in trackers.names()  # others may still be listed
    assert isinstance(trackers.create("iou"), Tracker)


def test_two_packages_with_one_name_and_an_unreadable_one_are_named(install: Install) -> None:
    for name in ("one", "two"):
        install(name, rows("detectors", same=f"{name}_module:Corner"))
    install("garbled", "[vistubes.detectors]\nno equals sign\n")
    with pytest.raises(
        UsageError, match=r"several installed packages, (one 1\.2 and two|two 1\.2 and one) 1\.2"
    ):
        detectors.create("same")
    with pytest.raises(UsageError, match="entry points of garbled cannot be read"):
        detectors.create("other")


def test_names_and_settings_that_do_not_exist_are_explained() -> None:
    with pytest.raises(UsageError, match="no tracker named 'bytetrak'; did you mean 'bytetrack'"):
        trackers.create("bytetrak")
    # BoT-SORT's settings are its own and ByteTrack's.
    with pytest.raises(
        UsageError, match=r"'botsort' has no setting hihg_score \(did you mean high_score\?\)"
    ):
        trackers.create("botsort", hihg_score=0.5)
    assert isinstance(trackers.create("botsort", high_score=0.5, smoothing=0.8), Tracker)
    with pytest.raises(UsageError, match="'none' has no setting speed; its settings are none"):
        detectors.create("none", speed=1)


def test_abilities_are_asked_for_by_their_protocols(install: Install) -> None:
    install("able", rows("trackers", tens="able_module:Tens"))
    assert isinstance(trackers.create("sort"), CameraCompensator)
    assert not isinstance(trackers.create("tens"), CameraCompensator)
    nothing = detectors.create("none")
    assert isinstance(nothing, Detector)
    assert not isinstance(nothing, Resettable | Stateful | WeightsRecord)
    motion = detectors.create("motion")
    assert isinstance(motion, Resettable)
    assert not isinstance(motion, Stateful)


def test_a_class_of_ones_own_is_named_by_its_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_own_squares.py").write_text(
        "from vis.structures import Detections\n"
        "class Squares:\n"
        "    class_names = ('square',)\n"
        "    def __init__(self, *, score: float = 0.5) -> None:\n"
        "        self.score = score\n"
        "    def detect(self, images):\n"
        "        return [Detections([[1, 2, 9, 9]], [self.score], [0]) for _ in images]\n"
    )
    monkeypatch.chdir(tmp_path)
    made = detectors.create("my_own_squares:Squares", score=0.25, device="cpu")
    assert isinstance(made, Detector)
    assert made.detect([np.zeros((16, 16, 3), np.uint8)])[0].scores.tolist() == [0.25]
    with pytest.raises(UsageError, match="has no setting speed"):
        detectors.create("my_own_squares:Squares", speed=1)
    for name, wrong in (
        ("my_own_squares:Circles", "has no attribute 'Circles'"),
        ("not_there_at_all:Squares", "No module named 'not_there_at_all'"),
        ("my_own_squares:", "give module:Class"),
    ):
        with pytest.raises(DependencyError, match=wrong):
            detectors.create(name)
