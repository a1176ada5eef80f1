"""Sources of every kind through the command: images of many bits, readers by name, names that are no UTF-8."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vis.files import read_json
from vis.formats import tubes

Call = Callable[..., Any]
CHEAP = ("--detector", "motion", "--model", "none", "--min-frames", "1", "--quiet")


@pytest.fixture
def twelve_bits(tmp_path: Path) -> Path:
    """12 images of 16 bits whose values end at 4095; a square walks."""
    folder = tmp_path / "twelve"
    folder.mkdir()
    for index in range(12):
        image = np.full((48, 64), 900, np.uint16)
        image[10:30, 3 * index : 3 * index + 20] = 3600
        Image.fromarray(image).save(folder / f"{index:03d}.png")
    return folder


def test_images_of_many_bits_are_seen_and_their_range_is_told(
    vistubes: Call, twelve_bits: Path, tmp_path: Path
) -> None:
    done = vistubes("run", twelve_bits, *CHEAP, "--out", tmp_path / "out")
    assert done.code == 0
    assert done.err.count("0 (black) to 4095 (white)") == 1
    assert "--value-range LOW HIGH" in done.err
    assert len(tubes.read(tmp_path / "out" / "tubes.json").tubes) >= 1
    given = vistubes("run", twelve_bits, *CHEAP, "--out", tmp_path / "given", "--value-range", 0, 4095)
    assert (given.code, given.err) == (0, "")
    # A result is worked on with the same pictures.
    words = ("link", tmp_path / "out", twelve_bits, "--value-range", -5, 4095, "--out", tmp_path / "linked")
    linked = vistubes(*words)
    assert linked.code == 0
    assert "range" not in linked.err


def test_a_range_for_a_video_file_is_a_mistake(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    done = vistubes("run", square_clip, *CHEAP, "--value-range", 0, 4095, "--out", tmp_path / "out")
    assert done.code == 2
    assert f"--value-range is for images of more than 8 bits, and {square_clip} is none" in done.err
    assert not (tmp_path / "out").exists()


def test_a_tiff_of_pages_is_a_video(vistubes: Call, twelve_bits: Path, tmp_path: Path) -> None:
    first, *others = [Image.open(path) for path in sorted(twelve_bits.iterdir())]
    first.save(tmp_path / "stack.tif", save_all=True, append_images=others)
    done = vistubes("run", tmp_path / "stack.tif", *CHEAP, "--out", tmp_path / "out", "--json")
    assert done.code == 0
    assert done.json["video"]["frames"] == 12
    assert "sound" not in done.err


def test_readers_by_name(vistubes: Call, square_clip: Path, twelve_bits: Path, tmp_path: Path) -> None:
    words = ("track", "--detector", "motion", "--min-frames", "1", "--quiet")
    for reader in ("pyav", "decord"):
        done = vistubes(*words, square_clip, "--reader", reader, "--out", tmp_path / reader)
        assert (done.code, done.err) == (0, "")
    results = [(tmp_path / reader / "results.json").read_bytes() for reader in ("pyav", "decord")]
    assert results[0] == results[1]
    refused = vistubes(*words, twelve_bits, "--reader", "decord", "--out", tmp_path / "none")
    assert refused.code == 2
    assert "reader 'decord' is for video files, and these are images" in refused.err


def test_names_that_are_no_utf8_are_carried(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    clip = tmp_path / "caf\udce9.mp4"
    shutil.copy(square_clip, clip)
    done = vistubes("run", clip, *CHEAP, "--end", 20, "--out", tmp_path / "o\udce9", "--json")
    assert done.code == 0
    assert done.json["source"]["name"] == clip.name
    assert tubes.read(tmp_path / "o\udce9" / "tubes.json").video.name == "caf\udce9"
    assert read_json(tmp_path / "o\udce9" / "run.json")["source"]["name"] == clip.name
    missing = vistubes("run", tmp_path / "no\udce9.mp4", *CHEAP)
    assert missing.code == 3
    assert "no\\udce9.mp4: no such file" in missing.err
