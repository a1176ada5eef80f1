"""examples/quickstart.ipynb: its cells run in their order, on a small clip and without networks."""

from __future__ import annotations

import ast
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vis
from vis import masks, weights
from vis.edits import read as read_edits
from vis.formats import coco

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "quickstart.ipynb"


class Video:
    """Of ``IPython.display``, which is there wherever notebooks are."""

    def __init__(self, data: str, *, embed: bool, width: int) -> None:
        self.data = Path(data).read_bytes()


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make_clip: Any, no_networks: None) -> None:
    """A clip of a light square in place of the sample, and a stand-in for the notebook's display."""
    make_clip(tmp_path / "bigbuckbunny.mp4", 16, fps=4.0)
    monkeypatch.setattr(weights, "path", {"sample": tmp_path / "bigbuckbunny.mp4"}.__getitem__)
    display = types.ModuleType("IPython.display")
    display.Video = Video  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", types.ModuleType("IPython"))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.chdir(tmp_path)


def run_cell(source: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does: its last expression is what is shown below it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, NOTEBOOK.name, "exec"), names)
    return eval(compile(ast.Expression(last.value), NOTEBOOK.name, "eval"), names) if last else None


def test_the_notebook_ends_with_a_corrected_and_exported_result(
    small: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    shown = [run_cell("".join(cell["source"]), names) for cell in cells if cell["cell_type"] == "code"]
    said = capsys.readouterr().out

    assert "1: person, 4 frames" in said
    assert "tube mask AP 1.000" in said
    pictures = [value for value in shown if hasattr(value, "_repr_png_")]
    assert len(pictures) == 2
    assert np.asarray(pictures[1])[0, 0].tolist() == [255, 255, 255], "what is no object is white"
    (video,) = (value for value in shown if isinstance(value, Video))
    assert video.data[4:8] == b"ftyp"
    assert ["call 1 rabbit", "correct 1 on frame 10 (1 point)"] in shown

    folder = tmp_path / "runs" / "quickstart"
    assert len(read_edits(folder / "edits.json").edits) == 2
    corrected = vis.read_results(folder / "corrected")
    assert corrected.class_names[corrected.tubes[0].label] == "rabbit"
    (exported,) = coco.read(folder / "corrected" / "coco.json")
    assert exported.tubes[0].masks is not None
    assert [masks.area(mask) for mask in exported.tubes[0].masks] == pytest.approx([32 * 32] * 4, rel=0.1)


def test_the_notebook_is_saved_without_outputs() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
