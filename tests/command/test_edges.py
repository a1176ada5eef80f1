"""``vistubes edges``: which pictures become which maps, and what a stopped, repeated or broken run leaves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vis.evaluation.edges import read_edges


class Model:
    """Stands in for a mask model: ``detect_edges`` below knows what to do with it."""

    created = 0


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Edges are where a picture's brightness is, so that each map tells whose it is."""

    def create(name: str, **_: Any) -> Model:
        Model.created += 1
        return Model()

    def detect(model: Model, image: np.ndarray, *, points_per_side: int, box_nms: float, thin: bool) -> Any:
        assert isinstance(model, Model)
        if image.max() == 13:
            raise KeyboardInterrupt
        detected.append(image.shape[:2])
        return image[:, :, 0].astype(np.float32) / 255

    detected.clear()
    monkeypatch.setattr("vis.refiners.create", create)
    monkeypatch.setattr("vis.refiners.checksums", lambda name: {f"{name}.pt": "00"})
    monkeypatch.setattr("vis.edge_detection.detect_edges", detect)


detected: list[tuple[int, ...]] = []


def picture(path: Path, value: int, size: tuple[int, int] = (6, 9)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)
    return path


def test_a_folder_of_pictures_of_any_size_becomes_16_bit_maps(vistubes: Any, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png", 51, (6, 9))
    picture(tmp_path / "in" / "b.bmp", 102, (9, 6))
    outcome = vistubes("edges", tmp_path / "in", "--out", tmp_path / "out", "--json", "--points", 4)
    assert outcome.code == 0
    told = outcome.json
    assert (told["pictures"], told["made"], told["failed"], told["points"]) == (2, 2, 0, 4)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "b.png"]
    np.testing.assert_allclose(read_edges(tmp_path / "out" / "a.png"), np.full((6, 9), 0.2), atol=1e-5)
    np.testing.assert_allclose(read_edges(tmp_path / "out" / "b.png"), np.full((9, 6), 0.4), atol=1e-5)
    with Image.open(tmp_path / "out" / "a.png") as image:
        assert image.mode.startswith("I")  # 16 bits


def test_one_picture_of_16_bits_is_a_source(vistubes: Any, tmp_path: Path) -> None:
    Image.fromarray(np.full((5, 4), 13107, np.uint16)).save(  # 0.8 of 14 bits
        tmp_path / "deep.png"
    )
    assert vistubes("edges", tmp_path / "deep.png", "--out", tmp_path / "out").code == 0
    assert read_edges(tmp_path / "out" / "deep.png").max() == pytest.approx(0.8, abs=1e-5)


def test_a_stopped_run_goes_on_with_what_is_missing(vistubes: Any, tmp_path: Path) -> None:
    for k, value in enumerate((51, 13, 102)):
        picture(tmp_path / "in" / f"{k}.png", value)
    words = ("edges", tmp_path / "in", "--out", tmp_path / "out")
    assert vistubes(*words).code == 130
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["0.png"]
    picture(tmp_path / "in" / "1.png", 26)
    outcome = vistubes(*words)
    assert outcome.code == 0
    assert "2 edge maps made, 1 were there" in outcome.err
    assert len(detected) == 3
    before = Model.created
    assert vistubes(*words).code == 0
    assert len(detected) == 3
    assert Model.created == before  # no model is loaded for nothing


def test_maps_of_other_options_or_pictures_are_replaced_when_asked(vistubes: Any, tmp_path: Path) -> None:
    source = picture(tmp_path / "a.png", 51)
    words = ("edges", source, "--out", tmp_path / "out")
    assert vistubes(*words).code == 0
    for change in (["--no-thin"], ["--points", 8], ["--model", "other"]):
        outcome = vistubes(*words, *change)
        assert outcome.code == 1
        assert "exists, made of another picture or with other options; add --overwrite" in outcome.err
    assert vistubes(*words, "--no-thin", "--overwrite").code == 0
    assert len(detected) == 2
    assert vistubes(*words, "--no-thin", "--overwrite").code == 0
    assert len(detected) == 2
    picture(source, 102)
    assert vistubes(*words, "--no-thin").code == 1
    (tmp_path / "out" / "a.png").write_text("notes")
    assert "made by something else" in vistubes(*words).err


def test_a_broken_picture_costs_no_other(vistubes: Any, tmp_path: Path) -> None:
    picture(tmp_path / "in" / "a.png", 51)
    (tmp_path / "in" / "b.png").write_bytes((tmp_path / "in" / "a.png").read_bytes()[:50])
    picture(tmp_path / "in" / "c.png", 102)
    outcome = vistubes("edges", tmp_path / "in", "--out", tmp_path / "out")
    assert outcome.code == 3
    assert "1 of 3 pictures failed; the first: " in outcome.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]


def test_what_cannot_be_meant_is_told_before_any_work(vistubes: Any, tmp_path: Path) -> None:
    source = picture(tmp_path / "in" / "a.png", 51)
    (tmp_path / "clip.mp4").write_bytes(b"")
    (tmp_path / "empty").mkdir()
    for words, code, message in (
        ((tmp_path / "none.png",), 3, "no such file; give a picture or a folder of pictures"),
        ((tmp_path / "clip.mp4",), 3, "not a picture by its name"),
        ((tmp_path / "empty",), 3, "holds no images"),
        ((tmp_path / "in", "--out", tmp_path / "in", "--overwrite"), 2, "an edge map would replace it"),
        ((source, "--points", 0), 2, "expected a whole number from 1 to 256"),
    ):
        outcome = vistubes("edges", *words)
        assert outcome.code == code
        assert message in outcome.err
    picture(tmp_path / "in" / "a.jpg", 51)
    outcome = vistubes("edges", tmp_path / "in", "--out", tmp_path / "out")
    assert outcome.code == 2
    assert "a.jpg and a.png: both become" in outcome.err
    assert not detected
