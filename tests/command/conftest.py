"""A small clip with one moving object, and the command called as a user calls it."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import detectors
from apps.cli import main
from vis import refiners
from vis.structures import Detections
from vis.video import VideoWriter


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout; fails when there is anything else."""
        return json.loads(self.out)


@pytest.fixture
def vistubes(capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    def call(*words: object) -> Outcome:
        capsys.readouterr()
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def square_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 frames of 96 x 128 at 10 fps: still noise, and a bright square that walks to the right from frame 10."""
    path = tmp_path_factory.mktemp("clips") / "square.mp4"
    ground = np.random.default_rng(0).integers(40, 90, (96, 128, 3)).astype(np.uint8)
    with VideoWriter(path, (96, 128), 10.0) as writer:
        for k in range(40):
            image = ground.copy()
            if k >= 10:
                image[30:62, 10 + 2 * (k - 10) : 42 + 2 * (k - 10)] = (250, 240, 30)
            writer.write(image)
    return path


class Light:
    """A detector of what is light, in place of the presets' networks."""

    class_names = ("person",)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        found = []
        for image in images:
            mask = image.min(axis=2) > 150
            rows, columns = np.nonzero(mask)
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            found.append(Detections([box], [0.9], [0], mask[None]))
        return found


@pytest.fixture
def no_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Detectors that need weights find what is light; SAM and HQ-SAM are the mask model of docs/extending.md."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n# my_model\.py\n(.*?)```", page, re.DOTALL)
    model = types.ModuleType("model_of_the_page")
    exec(compile(code, "my_model.py", "exec"), vars(model))
    monkeypatch.setitem(sys.modules, model.__name__, model)
    monkeypatch.setitem(refiners.REFINERS, "hqsam", f"{model.__name__}:SameColour")
    for name in ("objects", "yolox"):
        monkeypatch.setitem(detectors.DETECTORS, name, f"{__name__}:Light")


@pytest.fixture
def make_clip() -> Callable[..., None]:
    """``make_clip(path, frames)`` writes a light square of 32 x 32 that walks over a dark ground of 96 x 128."""

    def make(path: Path, frames: int, fps: float = 10.0) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        with VideoWriter(path, (96, 128), fps) as writer:
            for frame in range(frames):
                image = np.full((96, 128, 3), 60, np.uint8)
                image[30:62, 10 + 4 * frame : 42 + 4 * frame] = 250
                writer.write(image)

    return make


PLAIN = ["--tracker", "iou", "--no-link", "--model", "none", "--min-frames", "1", "--score", "0", "--quiet"]
"""What makes the commands of the docs quick: no networks."""


@pytest.fixture
def run_lines() -> Callable[..., None]:
    """Runs the commands of a shell block of the docs: with ``plain`` without networks, else to the letter."""

    def run(block: str, *, plain: bool = True) -> None:
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
            if words[:1] == ["cp"]:
                subprocess.run(words, check=True)
            if words[:1] != ["vistubes"]:
                continue
            if plain and words[1] in ("run", "batch"):
                words += [*PLAIN, *([] if "--detector" in words else ["--detector", "own_detector:Bright"])]
            assert main(words[1:]) == 0, line

    return run


@pytest.fixture
def batch_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """``vistubes batch`` starts no worker processes."""
    from apps.batch import pool
    from apps.batch.events import Event, run_item
    from apps.batch.work import Worker

    def run_local(items: Any, settings: Any, **_: Any) -> Iterator[Event]:
        worker = Worker(settings)
        for at, item in enumerate(items):
            kind, data = run_item(worker, item, lambda *_: None)
            yield Event(kind, at, "0", data)

    monkeypatch.setattr(pool, "run_local", run_local)
