"""``vistubes refine --speed``: saved tubes stay; the mask network looks at some frames, motion carries to others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vis import masks
from vis.formats import tubes
from vis.structures import Detections, Tube, VideoResult
from vis.video import open_source

Call = Callable[..., Any]
MOVED_BY_HAND = 27  # no key frame


class Bright:
    """In place of a mask network: what is bright in a box."""

    policy, multimask_selection = "box", "single"
    predictor = SimpleNamespace(describe=lambda: {"network": "b", "size": "s", "mode": "m", "device": "cpu"})
    counts = SimpleNamespace(kept_coarse=0)

    def __init__(self) -> None:
        self.looks = 0

    def reset(self) -> None:
        pass

    def refine(self, image: np.ndarray, objects: Detections) -> Detections:
        self.looks += 1
        found = np.zeros((len(objects), *image.shape[:2]), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(found, objects.boxes.round().astype(int), strict=True):
            mask[y0:y1, x0:x1] = image[y0:y1, x0:x1, 1] > 180
        return replace(objects, masks=found)


@pytest.fixture
def saved(square_clip: Path, tmp_path: Path) -> Path:
    """The square, hidden on three frames and, by a hand's mistake, half as wide on one; and boxes that hold nothing."""
    source = open_source(square_clip)
    frames = np.array([f for f in range(10, 40) if f not in (20, 21, 22)])
    boxes = np.array([[10 + 2 * (f - 10), 30, 42 + 2 * (f - 10), 62] for f in frames], np.float32)
    boxes[frames == MOVED_BY_HAND, 2] -= 16
    square = Tube(7, 0, 0.75, frames, boxes, np.linspace(0.5, 1, len(frames)).astype(np.float32), None)
    some = np.arange(2)
    nothing = Tube(
        9, 1, 0.5, some, np.array([[5, 5, 20, 20]] * 2, np.float32), np.ones(2, np.float32) / 2, None
    )
    result = VideoResult(
        source.info, ("square", "ghost"), (square, nothing), np.arange(40), np.arange(40) / 10
    )
    tubes.write(tmp_path / "tubes.json", result)
    return tmp_path / "tubes.json"


def test_what_was_saved_stays_and_masks_are_those_of_every_frame(
    vistubes: Call, square_clip: Path, saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, looks = {}, {}
    monkeypatch.setattr("apps.job.model_checksums", lambda _: {})
    for speed in ("full", "balanced"):
        refiner = Bright()
        monkeypatch.setattr("apps.refine_job.build_refiner", lambda *_, refiner=refiner, **__: refiner)
        out = tmp_path / speed
        words = ("--speed", speed, "--model", "sam-tiny", "--no-overlay", "--quiet")
        done = vistubes("refine", saved, square_clip, *words, "--out", out)
        assert done.code == 0, done.err
        results[speed], looks[speed] = tubes.read(out / "tubes.json"), refiner.looks
    full = results["full"]
    assert looks["full"] == 40
    assert looks["balanced"] < 0.75 * looks["full"]  # motion of a plain square cannot be told everywhere
    speedy = results["balanced"]
    assert speedy.made_with["options"]["speed"] == "balanced"
    assert speedy.frames.tolist() == full.frames.tolist()
    for tube, of_full in zip(speedy.tubes, full.tubes, strict=True):
        assert (tube.id, tube.label, tube.score) == (of_full.id, of_full.label, of_full.score)
        assert tube.frames.tolist() == of_full.frames.tolist()
        assert np.array_equal(tube.boxes, of_full.boxes)
        assert np.array_equal(tube.scores, of_full.scores)
    mine, theirs = speedy.tubes[0], full.tubes[0]
    for frame, mask, want in zip(mine.frames.tolist(), mine.masks, theirs.masks, strict=True):
        assert masks.iou(mask, want) > (0.999 if frame == MOVED_BY_HAND else 0.9), frame
