"""Every command of docs/papers.md, as the page spells it, on three pictures in the published layout.

No network runs: a model and a detector that know colours stand in for all of them.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.cli import main
from vis.formats import ytvis_set
from vis.structures import Tube, VideoInfo, VideoResult

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
OVER_IMAGES = [line for line in COMMANDS if line.startswith(("vistubes eval masks", "vistubes eval coco"))]
TABLES = {
    "vistubes eval hq-ytvis": r"AP50 .*\nmask +\d",
    "vistubes eval masks": r"mean over images +\d\.\d{4}",
    "vistubes eval coco": r"(?s)AP50 .*\nmask +\d.*strict \(band 0\.01\)",
    "vistubes eval davis": r"mean over objects +\d",
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
    "vistubes batch": (3, 3),
    "vistubes run": (0, 1),
    "vistubes refine": (1, 4),
}
"""Images that a command's mask model sees before the kill, and those that are left to the next call.

Of several videos the finished ones are kept, of three frames each; one video is done anew.
"""


def test_the_page_has_a_command_for_each_of_these() -> None:
    assert len(BLOCKS) == 12  # the first above all sections
    assert {" ".join(line.split()[:3]) for line in OVER_IMAGES} == {
        "vistubes eval masks",
        "vistubes eval coco",
    }
    assert all(any(line.startswith(start) for start in TABLES) for line in COMMANDS)


def test_links_within_the_page_lead_to_headings() -> None:
    slugs = {
        re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in re.findall(r"(?m)^## (.*)$", PAGE)
    }
    assert set(re.findall(r"\]\(#([^)]*)\)", PAGE)) <= slugs


@pytest.fixture
def papers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, colour_model: Any) -> Path:
    """A folder with ``data/`` as the page lays it out."""
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    _pairs(colour_model, data / "DIS5K" / "DIS-VD", "im", "gt")
    thin = data / "thin_object_detection"
    _pairs(colour_model, thin / "COIFT", "images", "masks")
    _pairs(colour_model, thin / "HRSOD", "images", "masks_max255")
    _pairs(colour_model, thin / "ThinObject5K", "images_test", "masks_test")
    for folder in ("wheels", "animals"):
        _pairs(colour_model, data / "suite", f"images/{folder}", f"masks/{folder}")
    _pairs(colour_model, data / "MIAP", "images", "masks")
    groups = {f"{number:05d}": ("feminine", "masculine")[number % 2] for number in (1, 2, 3)}
    (data / "MIAP" / "groups.json").write_text(json.dumps(groups))
    for number in (1, 2, 3):
        image, things = colour_model.picture(number)
        place = data / "BIG" / "test" / f"big{number}"
        colour_model.write_image(place.with_name(place.name + "_im.jpg"), image)
        colour_model.write_image(place.with_name(place.name + "_gt.png"), _grey(things[0][1]))
        coarse = np.roll(things[0][1], 2, axis=1)
        colour_model.write_image(data / "BIG" / "pspnet" / f"big{number}_seg.png", _grey(coarse))
    coco = data / "coco"
    colour_model.write_set(coco / "annotations" / "instances_val2017.json", coco / "val2017")
    colour_model.write_set(data / "lvis" / "lvis_v1_val.json", coco / "train2017", lvis=True)
    colour_model.write_set(
        data / "UVO" / "FrameSet" / "UVO_frame_val.json",
        data / "UVO" / "uvo_videos_sparse_frames",
        pooled=True,
    )
    elephants = data / "seginw" / "Elephants" / "valid"
    colour_model.write_set(elephants / "_annotations_min1cat.coco.json", elephants)
    for place in (data / "lvis" / "vitdet_h.json", data / "UVO" / "boxes.json"):
        place.write_text(json.dumps(_boxes(colour_model)))
    colour_model.write_image(data / "photo" / "street.png", colour_model.picture(1)[0])
    _videos(colour_model, data)
    return data


def _pairs(colour_model: Any, root: Path, images: str, masks: str) -> None:
    for number in (1, 2, 3):
        image, things = colour_model.picture(number)
        colour_model.write_image(root / images / f"{number:05d}.jpg", image)
        colour_model.write_image(root / masks / f"{number:05d}.png", _grey(things[0][1]))


def _grey(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.uint8) * 255


def _boxes(colour_model: Any) -> list[dict[str, Any]]:
    rows = []
    for number in (1, 2, 3):
        (found,) = colour_model.ColourDetector().detect([colour_model.picture(number)[0]])
        for box, score in zip(found.boxes.tolist(), found.scores.tolist(), strict=True):
            bbox = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            rows.append({"image_id": number, "category_id": 3, "bbox": bbox, "score": score})
    return rows


def _videos(colour_model: Any, data: Path) -> None:
    """HQ-YTVIS and YouTube-VIS with two clips of three frames, DAVIS with one."""
    from vis import masks

    results = []
    for number, name in enumerate(("aaa", "bbb"), 1):
        image, things = colour_model.picture(number)
        for frames in (data / "HQ-YTVIS" / "train_all_frames", data / "YTVIS19" / "valid"):
            for index in range(3):
                colour_model.write_image(frames / "JPEGImages" / name / f"{index:05d}.jpg", image)
        files = tuple(f"{name}/{index:05d}.jpg" for index in range(3))
        tubes = []
        for row, (_, mask) in enumerate(things[:2]):
            box = masks.bounding_box(masks.encode(mask))
            same = (masks.encode(mask),) * 3
            boxes = np.tile(box, (3, 1)).astype(np.float32)
            tubes.append(Tube(row + 1, row, 1.0, np.arange(3), boxes, np.ones(3, np.float32), same))
        info = VideoInfo(name, *image.shape[:2], num_frames=3, file_names=files)
        results.append(VideoResult(info, ("person", "dog"), tuple(tubes), np.arange(3), np.arange(3.0)))
    ytvis_set.write_truth(data / "HQ-YTVIS" / "ytvis_hq-test.json", results)
    ytvis_set.write_truth(data / "YTVIS19" / "valid.json", results)
    whole = json.loads((data / "YTVIS19" / "valid.json").read_text())
    del whole["annotations"]
    (data / "YTVIS19" / "valid.json").write_text(json.dumps(whole))
    image, things = colour_model.picture(1)
    labels = Image.fromarray(things[0][1].astype(np.uint8))
    labels.putpalette([0, 0, 0, 128, 0, 0])
    for root in (data / "DAVIS" / "Annotations" / "480p", data / "XMem"):
        (root / "dogs-jump").mkdir(parents=True)
        for index in range(4):
            labels.save(root / "dogs-jump" / f"{index:05d}.png")
            frame = data / "DAVIS" / "JPEGImages" / "480p" / "dogs-jump" / f"{index:05d}.jpg"
            colour_model.write_image(frame, image)


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch, colour_model: Any) -> list[Any]:
    """In place of all networks: what knows colours. Mask models of the list are loaded first, in its order."""
    import detectors
    from apps import job
    from apps.batch import pool, work
    from apps.batch.events import Event, run_item
    from vis import automatic_masks, refiners

    waiting: list[Any] = []

    def run_local(items: Any, settings: Any, **_: Any) -> Iterator[Event]:
        worker = work.Worker(settings)
        for at, item in enumerate(items):
            kind, data = run_item(worker, item, lambda *_: None)
            yield Event(kind, at, "0", data)

    monkeypatch.setattr(pool, "run_local", run_local)
    monkeypatch.setattr(
        refiners, "create", lambda *_, **__: waiting.pop(0) if waiting else colour_model.ColourModel()
    )
    monkeypatch.setattr(job, "model_checksums", lambda model: {})
    monkeypatch.setattr(detectors, "create", lambda *_, **__: colour_model.ColourDetector())
    grid = automatic_masks.point_grid(6)
    monkeypatch.setattr(automatic_masks, "point_grid", lambda per_side: grid)
    return waiting


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
    heading: str, papers: Path, models: list[Any], say: Say, colour_model: Any
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


@pytest.mark.parametrize("heading", BLOCKS)
def test_what_is_not_there_is_named(
    heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, models: list[Any], say: Say
) -> None:
    monkeypatch.chdir(tmp_path)
    for line in BLOCKS[heading]:
        code, out, err = say(line)
        assert (code, out) == (3, ""), f"{line}\n{err}"
        inputs = [word for word in shlex.split(line) if word.startswith(("data/", "runs/"))]
        named = [word for word in inputs if word in err]
        assert named, f"{line}\n{err}"
    assert not list(tmp_path.rglob("*.json"))


def test_weights_that_are_not_there_are_named_with_what_to_do(
    papers: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, say: Say
) -> None:
    for name, value in {
        "VISTUBES_OFFLINE": "1",
        "VISTUBES_CACHE": str(tmp_path / "none"),
        "TORCH_HOME": str(tmp_path / "none"),
        "HF_HOME": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    given = tmp_path / "runs" / "coco-hq" / "boxes.json"
    given.parent.mkdir(parents=True)
    given.write_bytes((papers / "UVO" / "boxes.json").read_bytes())
    for line in OVER_IMAGES:
        line = line.replace("--out runs", "--out others")
        code, out, err = say(line)
        assert (code, out) == (4, ""), f"{line}\n{err}"
        assert re.search(r"vistubes models fetch |OFFLINE is set; fetch http|hf download ", err), (
            f"{line}\n{err}"
        )
