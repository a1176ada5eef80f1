"""Ctrl-C in the middle of a run: what was finished is kept and called partial; a second one keeps nothing."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from vis.formats import tubes

WORDS = ("--detector", "motion", "--tracker", "iou", "--score", "0", "--model", "none")


@pytest.fixture(autouse=True)
def listening() -> Iterator[None]:
    """A test run in a shell's background inherits that Ctrl-C is ignored; here it is heard."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def press(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``press(20, times=1)``: Ctrl-C while the detector looks at its 20th frame."""

    def at(frame: int, *, times: int = 1) -> None:
        from detectors.motion import Motion

        seen, real = 0, Motion.detect

        def detect(self: Any, images: Any) -> Any:
            nonlocal seen
            seen += len(images)
            if seen == frame:
                for _ in range(times):
                    os.kill(os.getpid(), signal.SIGINT)
            return real(self, images)

        monkeypatch.setattr(Motion, "detect", detect)

    return at


@pytest.mark.parametrize("verb", ["run", "track"])
def test_finished_frames_are_kept(
    verb: str, vistubes: Any, square_clip: Path, tmp_path: Path, press: Any
) -> None:
    words = [word for word in WORDS if verb == "run" or word not in ("--model", "none")]
    before = signal.getsignal(signal.SIGINT)
    press(25)
    done = vistubes(verb, square_clip, "--out", tmp_path / "o", *words)
    assert done.code == 130
    assert "interrupted: 25 of about 40 frames are in" in done.err
    assert signal.getsignal(signal.SIGINT) is before
    result = tubes.read(tmp_path / "o" / "tubes.json")
    assert result.frames.tolist() == list(range(25))
    assert result.tubes
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert record["partial"] == {"frames": 25, "of": 40}
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [
        "results.json",
        "run.json",
        "tubes.json",
    ]
    again = vistubes(verb, square_clip, "--out", tmp_path / "o", "--overwrite", *words)
    assert again.code == 0
    assert "partial" not in json.loads((tmp_path / "o" / "run.json").read_text())


def test_the_second_one_keeps_nothing(vistubes: Any, square_clip: Path, tmp_path: Path, press: Any) -> None:
    press(25, times=2)
    done = vistubes("run", square_clip, "--out", tmp_path / "o", *WORDS)
    assert done.code == 130
    assert list(tmp_path.iterdir()) == []


def test_while_drawing_the_tubes_are_kept(
    vistubes: Any, square_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vis.render import Renderer

    real = Renderer.draw

    def draw(self: Any, *args: Any) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return real(self, *args)

    monkeypatch.setattr(Renderer, "draw", draw)
    done = vistubes("run", square_clip, "--out", tmp_path / "o", *WORDS)
    assert done.code == 130
    assert "interrupted: 40 of about 40 frames" in done.err
    assert len(tubes.read(tmp_path / "o" / "tubes.json").frames) == 40
    assert not (tmp_path / "o" / "overlay.mp4").exists()
