"""A small clip with one moving object, and the command called as a user calls it."""

from __future__ import annotations

import json
from collections.abc import Callable
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
