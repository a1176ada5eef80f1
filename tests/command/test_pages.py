"""docs/tutorial.md and docs/cookbook.md to the letter, on small clips and without networks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vis.formats import coco, mot, tubes

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture
def blocks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    no_networks: None,
    batch_in_this_process: None,
    run_lines: Callable[..., None],
) -> Callable[[str], None]:
    """``blocks(text)`` runs the commands and the Python of a page's part in their order, and saves its JSON."""
    monkeypatch.chdir(tmp_path)

    def follow(text: str) -> None:
        for language, code in re.findall(r"```(sh|json|python)\n(.*?)```", text, re.DOTALL):
            if language == "sh":
                run_lines(code, plain=False)
            elif language == "json":
                (tmp_path / "edits.json").write_text(code)
            else:
                exec(compile(code, "page", "exec"), {})

    return follow


@pytest.mark.filterwarnings("ignore:.*has no base_sha256")
def test_the_tutorial_ends_with_one_file_of_corrected_masks(
    blocks: Callable[[str], None], make_clip: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in ("day1/dog.mp4", "day2/dog.mp4"):
        make_clip(tmp_path / "videos" / place, 12)
    blocks((DOCS / "tutorial.md").read_text(encoding="utf-8"))
    said = capsys.readouterr().out
    assert "day1/dog dog 6 frames" in said
    assert "day2/dog person 12 frames" in said
    first, second = coco.read(tmp_path / "all.json")
    assert [first.video.name, second.video.name] == ["day1/dog", "day2/dog"]
    assert first.tubes[0].masks is not None
    assert (tmp_path / "corrected" / "day1" / "dog" / "overlay.mp4").is_file()
    untouched = tubes.read(tmp_path / "runs" / "all" / "day1" / "dog" / "tubes.json")
    assert len(untouched.tubes[0]) == 12, "the models' results stay"
    named = {image["file_name"] for image in json.loads((tmp_path / "all.json").read_text())["images"]}
    there = {p.relative_to(tmp_path / "all_frames").as_posix() for p in tmp_path.rglob("all_frames/**/*.jpg")}
    assert named == there


RECIPES = {
    "Fixed camera": "runs/camera/tubes.json",
    "Crowds": "runs/crowd/tubes.json",
    "Long videos": "runs/whole/tubes.json",
    "Labels for training": "set/labels/clip.json",
    "Evaluate my own tracker": "mine.json",
    "Compare two models": "runs/sam-hq/report.html",
}


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.filterwarnings("ignore::vis.errors.AnnotationWarning")
def test_every_recipe_of_the_cookbook_ends_with_its_result(
    recipe: str, blocks: Callable[[str], None], make_clip: Any, tmp_path: Path
) -> None:
    make_clip(tmp_path / "clip.mp4", 16)
    blocks("```sh\nvistubes run clip.mp4 --out runs/first --no-overlay --quiet\n```")
    truth = tubes.read(tmp_path / "runs" / "first" / "tubes.json")
    tubes.write(tmp_path / "truth.json", truth)
    mot.write(tmp_path / "mot.txt", truth)
    text = (DOCS / "cookbook.md").read_text(encoding="utf-8")
    blocks(text.split(f"## {recipe}\n")[1].split("\n## ")[0])
    assert (tmp_path / RECIPES[recipe]).stat().st_size > 0


def test_the_cookbook_has_no_recipe_that_is_not_tried() -> None:
    text = (DOCS / "cookbook.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", text, re.MULTILINE) == list(RECIPES)
