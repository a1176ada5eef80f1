"""Every command of docs/papers.md, as the page spells it, on three pictures in the published layout.

No network runs: a model and a detector that know colours stand in for all of them.
"""

from __future__ import annotations

import json
import re
import shlex
import shutil
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from apps.cli import main

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "papers.md").read_text(encoding="utf-8")


def blocks() -> dict[str, list[str]]:
    """Heading -> its commands."""
    found = {}
    for part in PAGE.split("\n## "):
        lines = [
            line for block in re.findall(r"```sh\n(.*?)```", part, re.DOTALL) for line in block.splitlines()
        ]
        if lines:
            found[part.partition("\n")[0]] = lines
    return found


BLOCKS = blocks()
COMMANDS = [line for lines in BLOCKS.values() for line in lines]
WITH_NETWORKS = [line for line in COMMANDS if "--model" in line or "--preset" in line or "--detector" in line]
TABLES = {
    "vistubes eval hq-ytvis": r"AP50 .*\nmask +\d",
    "vistubes eval masks": r"mean over images +\d\.\d{4}",
    "vistubes eval coco": r"(?s)AP50 .*\nmask +\d.*\n3 images, .*strict \(band 0\.01\)",
    "vistubes eval davis": r"mean over objects +\d",
    "vistubes eval edges": r"ODS +OIS +AP +R50\n +\d",
    "vistubes edges": "",
    "vistubes batch": "",
    "vistubes run": "",
    "vistubes convert": "",
    "vistubes refine": "",
}
"""What a command's table looks like."""
KILLS = {
    "vistubes eval masks": (1, 2),
    "vistubes eval coco": (1, 2),
    "vistubes eval hq-ytvis": (3, 3),
    "vistubes edges": (1, 2),
    "vistubes batch": (3, 3),
    "vistubes run": (0, 1),
    "vistubes refine": (1, 4),
}
"""Images that a command's mask model sees before the kill, and those that are left to the next call.

Of several videos the finished ones are kept, of three frames each; one video is done anew.
"""


def test_the_page_has_a_command_for_each_of_these() -> None:
    assert len(BLOCKS) == 13  # the first above all sections
    assert all(any(line.startswith(start) for start in TABLES) for line in COMMANDS)


def test_links_within_the_page_lead_to_headings() -> None:
    slugs = {
        re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"(?m)^## (.*)$", PAGE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= slugs


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_model: Any, papers_data: Any) -> Path:
    """A folder with ``data/`` as the page lays it out."""
    monkeypatch.chdir(tmp_path)
    papers_data.write_all(tmp_path / "data", colour_model)
    return tmp_path / "data"


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, colour_model: Any) -> list[Any]:
    """In place of all networks: what knows colours. Mask models of the list are loaded first, in its order."""
    import detectors
    from apps import job
    from vis import automatic_masks, refiners

    waiting: list[Any] = []
    monkeypatch.setattr(
        refiners, "create", lambda *_, **__: waiting.pop(0) if waiting else colour_model.ColourModel()
    )
    monkeypatch.setattr(refiners, "checksums", lambda model: {})
    monkeypatch.setattr(job, "model_checksums", lambda model: {})
    monkeypatch.setattr(detectors, "create", lambda *_, **__: colour_model.ColourDetector())
    grid = automatic_masks.point_grid(6)
    monkeypatch.setattr(automatic_masks, "point_grid", lambda per_side: grid)
    return waiting


@pytest.fixture
def one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """No worker processes: they take seconds to start."""
    from apps.batch import pool, work
    from apps.batch.events import Event, run_item

    def run_local(items: Any, settings: Any, **_: Any) -> Iterator[Event]:
        worker = work.Worker(settings)
        for at, item in enumerate(items):
            kind, data = run_item(worker, item, lambda *_: None)
            yield Event(kind, at, "0", data)

    monkeypatch.setattr(pool, "run_local", run_local)
    monkeypatch.setattr("os.cpu_count", lambda: 1)


Say = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Run one line of the page: exit code, stdout, stderr."""

    def run(line: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main(shlex.split(line)[1:])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("heading", BLOCKS)
def test_every_command_goes_on_after_a_kill_and_ends_in_its_table(
    heading: str, papers: Path, models: list[Any], one_process: None, say: Say, colour_model: Any
) -> None:
    for line in BLOCKS[heading]:
        start = next(start for start in TABLES if line.startswith(start))
        if start in KILLS:
            stop, left = KILLS[start]
            left += 3 * ("data/suite" in line)  # two sets of three images
            rest = colour_model.ColourModel()
            models += [colour_model.ColourModel(stop_after=stop), rest]
            code, out, err = say(line)
            assert (code, out) == (130, ""), f"{line}\n{err}"
        code, out, err = say(line)
        assert code == 0, f"{line}\n{err}"
        assert re.search(TABLES[start], out), f"{line}\n{out}"
        if start in KILLS:
            assert rest.embedded == left, line


def test_figures_are_drawn_as_png_and_csv(papers: Path, models: list[Any], say: Say) -> None:
    for line in (
        *BLOCKS["HQ-SAM figure 5, SAM figures 9 and 13: points"],
        *BLOCKS["SAM table 2: groups of people"],
    ):
        assert say(line)[0] == 0
    runs = papers.parent / "runs"
    for place in (*runs.glob("*/*.csv"),):
        assert Image.open(place.with_suffix(".png")).convert("L").getextrema()[0] < 100
    rows = [line.split(",") for line in (runs / "suite" / "points.csv").read_text().splitlines()]
    assert rows[0] == ["points", "miou", "mbiou", "miou_best_score", "miou_oracle"]
    assert [row[0] for row in rows[1:]] == ["1", "2", "3", "5", "9"]
    answer = json.loads((runs / "miap" / "results.json").read_text())
    assert [row["points"] for row in answer["curve"]] == [1, 3]
    head, *groups = (runs / "miap" / "groups.csv").read_text().splitlines()
    assert head == "group,mIoU with its 95 % interval,mIoU with its 95 % interval margin"
    assert [row.split(",")[0] for row in groups] == ["feminine", "masculine"]
    assert groups[0].endswith(",")  # one image has no interval
    assert float(groups[1].split(",")[1]) == answer["per_group"]["masculine"]["miou"]
    shares = [
        float(line.split(",")[1]) for line in (runs / "suite" / "recall.csv").read_text().splitlines()[1:]
    ]
    assert shares == sorted(shares, reverse=True)


@pytest.fixture
def no_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and nothing in any cache but the compiled evaluator."""
    from vis.evaluation.kernel_cache import compile_all

    compile_all()
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    for name in ("VISTUBES_CACHE", "TORCH_HOME", "HF_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "none"))


def output(line: str) -> str | None:
    """The file or folder that a command writes."""
    words = shlex.split(line)
    if words[1] == "convert":
        return words[-1]
    return next((after for word, after in pairwise(words) if word in ("--out", "--report")), None)


def inputs(line: str) -> list[Path]:
    """Files and folders that a command reads."""
    words = dict.fromkeys(shlex.split(line))
    return [Path(word) for word in words if re.match("data/|runs/", word) and word != output(line)]


def elsewhere(line: str) -> str:
    """The command with another output, which is not there."""
    written = output(line)
    return line if written is None else line.replace(written, "others")


def test_inputs_and_output_of_a_command_are_read_off_it() -> None:
    assert inputs("vistubes convert --to davis runs/a runs/b") == [Path("runs/a")]
    line = "vistubes eval edges --truth data/a --results runs/b --report runs/c"
    assert (inputs(line), output(line)) == ([Path("data/a"), Path("runs/b")], "runs/c")
    assert inputs("vistubes eval davis --truth data/a --results runs/b") == [Path("data/a"), Path("runs/b")]
    assert all(inputs(line) for line in COMMANDS)


@pytest.fixture
def made(papers: Path) -> None:
    """What some commands of the page read of the one before."""
    runs = papers.parent / "runs"
    for place, source in {
        "coco-hq/boxes.json": papers / "UVO" / "boxes.json",
        "davis/labels/dogs-jump/00000.png": papers / "XMem" / "dogs-jump" / "00000.png",
        "edges/1.png": papers / "BSDS500" / "images" / "test" / "1.jpg",
    }.items():
        (runs / place).parent.mkdir(parents=True)
        (runs / place).write_bytes(source.read_bytes())
    to_tubes = next(line for line in COMMANDS if line.startswith("vistubes convert --from davis"))
    assert main(shlex.split(to_tubes)[1:]) == 0
    run = runs / "davis" / "run" / "dogs-jump"
    run.mkdir(parents=True)
    shutil.copy(runs / "davis" / "boxes" / "dogs-jump.json", run / "tubes.json")


@pytest.mark.parametrize("heading", BLOCKS)
def test_without_any_data_its_place_is_named(
    heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_weights: None, say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in BLOCKS[heading]:
        code, out, err = say(line)
        assert (code, out) == (3, ""), f"{line}\n{err}"
        assert any(str(given) in err for given in inputs(line)), f"{line}\n{err}"
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("heading", BLOCKS)
def test_each_missing_input_is_named_before_weights_are_fetched(
    heading: str, made: None, no_weights: None, one_process: None, say: Say
) -> None:
    for line in BLOCKS[heading]:
        for given in inputs(line):
            hidden = given.rename(given.with_name("hidden"))
            code, out, err = say(elsewhere(line))
            assert (code, out) == (3, ""), f"without {given}: {line}\n{err}"
            assert str(given) in err, f"without {given}: {line}\n{err}"
            assert not Path("others").exists()
            hidden.rename(given)


@pytest.mark.parametrize("line", WITH_NETWORKS)
def test_missing_weights_are_named_with_the_command_that_fetches_them(
    line: str, made: None, no_weights: None, one_process: None, say: Say
) -> None:
    code, out, err = say(elsewhere(line))
    assert (code, out) == (4, ""), err
    assert re.search(r"`(vistubes models fetch [a-z-]+|hf download [\w/-]+|curl .*)`", err), err


@pytest.mark.parametrize(
    "line", [line for line in WITH_NETWORKS if re.search("detector (?!everything)", line)]
)
def test_missing_weights_of_a_detector_are_named_too(
    line: str, made: None, no_weights: None, say: Say, monkeypatch: pytest.MonkeyPatch, colour_model: Any
) -> None:
    from vis import refiners

    monkeypatch.setattr(refiners, "create", lambda *_, **__: colour_model.ColourModel())
    code, out, err = say(elsewhere(line))
    assert (code, out) == (4, ""), err
    assert re.search(r"`(hf download [\w/-]+|curl .*)`", err), err


@pytest.mark.parametrize(
    ("out", "image", "mask"),
    [
        ("runs/dis", "DIS5K/DIS-VD/im/00002.jpg", "DIS5K/DIS-VD/gt/00003.png"),
        ("runs/big-box", "BIG/test/big2_im.jpg", "BIG/test/big3_gt.png"),
    ],
)
def test_images_and_masks_without_partner_are_told(
    out: str, image: str, mask: str, papers: Path, models: list[Any], say: Say
) -> None:
    (papers / image).unlink()
    (papers / mask).unlink()
    code, table, err = say(next(line for line in COMMANDS if output(line) == out))
    assert code == 0
    assert ", 1 images, 1 images without a mask left out, 1 masks without an image left out" in table
    assert re.search(
        r"warning: .*: 1 masks have no image of their name .*, (big|0000)2 first: not scored", err
    )
