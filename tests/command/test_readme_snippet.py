"""The README's Python runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import vis
from vis import refiners, weights
from vis.video import VideoWriter

README = Path(__file__).resolve().parents[2] / "README.md"


class Boxes:
    """A mask model that fills the box: the snippet is what is tested, not the network."""

    mask_side = 256

    def __init__(self, name: str) -> None:
        self.name = name

    def embed(self, image: Any) -> Any:
        return image.shape[:2]

    def decode(self, embedding: Any, *, boxes: Any, **_: Any) -> Any:
        drawn = np.zeros((len(boxes), *embedding), np.bool_)
        for mask, (x0, y0, x1, y1) in zip(drawn, boxes.round().astype(int), strict=True):
            mask[y0:y1, x0:x1] = True
        return SimpleNamespace(masks=drawn, low_res_logits=None, three_scores=None)

    def predict_masks(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("nobody chooses among masks here")

    logits_to_masks = predict_masks

    def describe(self) -> dict[str, Any]:
        return {"network": self.name}


def test_the_readmes_python_runs_as_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not weights.cached(weights.WEIGHTS["u2netp"]):
        pytest.skip("the weights of detector salient are not there: vistubes models fetch u2netp")
    (snippet,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(snippet.splitlines()) <= 8
    image = np.full((96, 128, 3), 60, np.uint8)
    image[30:62, 40:72] = (250, 240, 30)
    with VideoWriter(tmp_path / "clip.mp4", (96, 128), 10.0) as writer:
        for _ in range(2):
            writer.write(image)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(refiners.REFINERS, "hqsam", f"{__name__}:Boxes")
    names: dict[str, Any] = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["result"].tubes
    assert names["source"].info.name == "clip"
    assert len(vis.read_results("tubes.json").tubes) == len(names["result"].tubes)
