"""Clips, workers and fakes for the batch tests: tiny videos of moving squares, which detector motion finds."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from apps import job
from apps.batch.item import Item
from apps.batch.work import Settings, Worker
from apps.verbs import batch
from vis.structures import Detections

SIZE = (72, 96)


def _write_clip(path: Path, frames: int = 30, seed: int = 0) -> Path:
    """Squares that cross the picture after a quiet beginning, so that background subtraction learns first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    background = rng.integers(40, 80, (*SIZE, 3)).astype(np.uint8)
    background = np.repeat(np.repeat(background[::8, ::8], 8, 0), 8, 1)[: SIZE[0], : SIZE[1]]
    top, step = rng.integers(4, 36), rng.integers(2, 4)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = SIZE[1], SIZE[0], "yuv420p"
        for index in range(frames):
            picture = background.copy()
            if index >= 11:
                left = int((index - 11) * step) % 80
                picture[top : top + 16, left : left + 16] = 230
                picture[top + 20 : top + 32, 70 - left // 2 : 84 - left // 2] = (200, 30, 30)
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return path


@pytest.fixture
def write_clip() -> Callable[..., Path]:
    """``write_clip(path, frames=30, seed=0)``."""
    return _write_clip


@pytest.fixture
def parse() -> Callable[..., argparse.Namespace]:
    """The options of ``vistubes batch`` with the fast plan of these tests."""

    def call(*words: str) -> argparse.Namespace:
        parser = argparse.ArgumentParser()
        batch.configure(parser)
        fast = ["--detector", "motion", "--tracker", "iou", "--score", "0", "--chunk", "4", "--quiet"]
        model = [] if "--model" in words else ["--model", "none"]
        return parser.parse_args([*words, *fast, *model])

    return call


@pytest.fixture
def item(tmp_path: Path, write_clip: Any) -> Item:
    return Item("clip", str(write_clip(tmp_path / "clip.mp4", frames=26)))


class Thin:
    """A refiner that keeps the upper half of each coarse mask; counts the frames that it sees."""

    def __init__(self, policy: str) -> None:
        self.predictor = SimpleNamespace(describe=lambda: {"network": "fake"})
        self.policy = policy
        self.multimask_selection = "single"
        self.counts = SimpleNamespace(kept_coarse=0)
        self.seen = 0

    def reset(self) -> None:
        pass

    def refine(self, image: np.ndarray, detections: Detections) -> Detections:
        self.seen += 1
        if detections.masks is None:
            return replace(detections, masks=np.zeros((len(detections), *image.shape[:2]), np.bool_))
        masks = detections.masks.copy()
        masks[:, (SIZE[0] // 2 if self.policy == "box" else SIZE[0] // 3) :] = False
        return replace(detections, masks=masks)


@pytest.fixture
def thin_refiner() -> type[Thin]:
    return Thin


@pytest.fixture
def fake_refiner(monkeypatch: pytest.MonkeyPatch) -> None:
    """``--model fake`` without weights, in this process."""
    monkeypatch.setattr(
        job, "build_refiner", lambda refining, **_: None if refining is None else Thin(refining.policy)
    )
    monkeypatch.setattr(job, "model_checksums", lambda model: {model: "0" * 64})


@pytest.fixture
def make_worker(tmp_path: Path, parse: Any) -> Callable[..., Worker]:
    """``make_worker('--stride', '2', chunk=3)``: a worker in this process that writes to tmp_path / 'out'."""

    def make(*words: str, out: Path | None = None, **changes: Any) -> Worker:
        args = parse("unused", "--out", str(out or tmp_path / "out"), *words)
        settings: Settings = batch.settings_of(args, batch.workers_of(args, 1))
        return Worker(replace(settings, **changes))

    return make


def _outputs(out: Path) -> dict[str, bytes]:
    """The final files of a batch that must not depend on how it ran: all but those that hold timings."""
    names = ("overlay.mp4", "tubes.json", "results.json", "contact_sheet.png", "failures.jsonl")
    files = [p for p in sorted(out.rglob("*")) if p.name in names and ".batch" not in p.parts]
    return {p.relative_to(out).as_posix(): p.read_bytes() for p in files}


@pytest.fixture
def outputs() -> Callable[[Path], dict[str, bytes]]:
    return _outputs


def _quiet(stage: str, frames: int, expected: int | None) -> None:
    pass


@pytest.fixture
def tell() -> Callable[..., None]:
    return _quiet
