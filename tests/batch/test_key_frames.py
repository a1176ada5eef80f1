"""Where networks look at key frames only, a video is done in chunks that end in one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from apps.batch.item import Item
from tests.batch.killing import Killed, kill_after
from vis.formats import tubes
from vis.structures import Detections


class Bright:
    """Finds the bright square, and as a refiner its pixels within a box."""

    class_names = ("square",)

    def __init__(self) -> None:
        self.predictor = SimpleNamespace(describe=lambda: {"network": "bright"})
        self.policy, self.multimask_selection = "box", "single"
        self.counts = SimpleNamespace(kept_coarse=0)
        self.calls: list[str] = []

    def reset(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        pass

    def detect(self, images: Any) -> list[Detections]:
        self.calls.append("detect")
        at = np.argwhere(images[0][..., 1] > 180)
        box = [[*at.min(axis=0)[::-1], *at.max(axis=0)[::-1] + 1]] if len(at) else []
        return [Detections(box, [0.9] * len(box), [0] * len(box))]

    def refine(self, image: np.ndarray, objects: Detections) -> Detections:
        self.calls.append("refine")
        masks = np.zeros((len(objects), *image.shape[:2]), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(masks, objects.boxes.round().astype(int), strict=True):
            mask[y0:y1, x0:x1] = image[y0:y1, x0:x1, 1] > 180
        return replace(objects, masks=masks)

    refine_some = refine


@pytest.mark.parametrize("chunks", [1, 3])
def test_with_key_frames_a_chunk_ends_in_one_and_a_kill_changes_nothing(
    chunks: int, item: Item, make_worker: Any, fake_refiner: None, tell: Any, tmp_path: Path, outputs: Any
) -> None:
    def worker(out: str) -> Any:
        made = make_worker("--speed", "balanced", "--model", "fake", out=tmp_path / out)
        made.job.detector = made.job.refiner = Bright()
        return made

    whole, broken, again = worker("whole"), worker("out"), worker("out")
    whole.process(item, tell)
    with pytest.raises(Killed):
        broken.process(item, kill_after(chunks))
    again.process(item, tell)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    found = tubes.read(tmp_path / "out" / "clip" / "tubes.json")
    assert len(found.frames) == 26
    assert [tube.frames[0] for tube in found.tubes] == [9]  # half of the way back from key frame 12 to 6
    assert whole.job.detector.calls.count("detect") < 20
    assert len(broken.job.detector.calls) + len(again.job.detector.calls) == len(whole.job.detector.calls)
