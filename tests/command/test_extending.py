"""docs/extending.md to the letter: its files saved, its commands run in their order, and what comes out."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import vis
from vis import masks
from vis.formats import registry, tubes
from vis.interfaces import Detector, MaskPredictor, Refiner, Tracker
from vis.video import VideoWriter

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"
FRAMES = 8


def square(frame: int) -> np.ndarray:
    mask = np.zeros((96, 128), np.bool_)
    mask[30:62, 10 + 4 * frame : 42 + 4 * frame] = True
    return mask


def add_format(name: str, code: str, monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """The module of a format, as if its file lay in vis/formats."""
    module = types.ModuleType(f"vis.formats.{name}")
    exec(compile(code, name, "exec"), vars(module))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.fixture
def page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_lines: Callable[..., None]
) -> Callable[[], None]:
    """Follows the page from its beginning to its end, in a folder with ``clip.mp4``."""
    with VideoWriter(tmp_path / "clip.mp4", (96, 128), 10.0) as writer:
        for frame in range(FRAMES):
            writer.write(np.where(square(frame)[..., None], (230, 40, 40), 60).astype(np.uint8))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("my_detector", "my_tracker", "my_refiner", "my_model"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    text = PAGE.read_text(encoding="utf-8")
    formats: dict[str, types.ModuleType] = {}

    def follow() -> None:
        for language, code in re.findall(r"```(python|toml|sh)\n(.*?)```", text, re.DOTALL):
            place = re.match(r"# (\S+)\.py\n", code)
            if language == "sh":
                run_lines(code, plain=False)
            elif language == "toml":  # what `pip install -e .` makes of it
                (tmp_path / "red_things-1.0.dist-info").mkdir()
                (tmp_path / "red_things-1.0.dist-info" / "METADATA").write_text(
                    "Name: red-things\nVersion: 1.0\n"
                )
                rows = re.sub(r'project\.entry-points\."(.*?)"', r"\1", code.split("\n\n", 1)[1]).replace(
                    '"', ""
                )
                (tmp_path / "red_things-1.0.dist-info" / "entry_points.txt").write_text(rows)
            elif place and place[1].startswith("vis/formats/"):
                name = place[1].rpartition("/")[2]
                formats[name] = add_format(name, code, monkeypatch)
            elif place:
                (tmp_path / f"{place[1]}.py").write_text(code)
            elif code.startswith("# a row of FORMATS"):
                added: dict[str, registry.Format] = {}
                exec(compile(code, str(PAGE), "exec"), {**vars(registry), **formats, "FORMATS": added})
                for name, row in added.items():
                    monkeypatch.setitem(registry.FORMATS, name, row)
            else:
                exec(compile(code, str(PAGE), "exec"), {})

    return follow


def test_the_page_ends_with_a_detector_a_tracker_a_refiner_and_a_format_that_work(
    page: Callable[[], None], tmp_path: Path
) -> None:
    page()
    runs = ("runs/red/tubes.json", "runs/nearest/tubes.json", "runs/named/tubes.json")
    for place in (*runs, "closed.json", "refined.json"):
        (tube,) = tubes.read(tmp_path / place).tubes
        assert tube.frames.tolist() == list(range(FRAMES)), place
        assert tube.masks is not None, place
        for frame, mask in enumerate(tube.masks):
            drawn = masks.decode(mask)
            assert (drawn & square(frame)).sum() > 0.9 * (drawn | square(frame)).sum(), place
    assert tubes.read(tmp_path / "runs" / "named" / "tubes.json").class_names == ("red thing",)
    followed = tubes.read(tmp_path / "runs" / "followed" / "tubes.json")
    assert [len(tube) for tube in followed.tubes] == [FRAMES]
    found, again = vis.read_results("runs/red"), vis.read_results("again.json")
    assert again.video.size == (96, 128)
    assert again.class_names == ("red thing",)
    assert [tube.boxes.tolist() for tube in again.tubes] == [tube.boxes.tolist() for tube in found.tubes]

    import my_detector
    import my_model
    import my_refiner
    import my_tracker

    assert isinstance(my_detector.RedThings(), Detector)
    assert isinstance(my_refiner.Closed(), Refiner)
    assert isinstance(my_model.SameColour(), MaskPredictor)
    tracker = my_tracker.Nearest(reach=5.0)
    assert isinstance(tracker, Tracker)
    far = vis.Detections([[0, 0, 4, 4]], [1], [0]), vis.Detections([[50, 50, 54, 54]], [1], [0])
    assert [tracker.update(found, at).track_ids.tolist() for at, found in enumerate(far)] == [[1], [2]]
