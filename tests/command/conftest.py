"""A small clip with one moving object, and the command called as a user calls it."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps.cli import main
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


PLAIN = ["--tracker", "iou", "--no-link", "--model", "none", "--min-frames", "1", "--score", "0", "--quiet"]
"""What makes the commands of the docs quick: no networks."""


@pytest.fixture
def run_lines() -> Callable[..., None]:
    """Runs the commands of a shell block of the docs: with ``plain`` without networks, else to the letter."""

    def run(block: str, *, plain: bool = True) -> None:
        for line in block.splitlines():
            words = shlex.split(line, comments=True)
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
