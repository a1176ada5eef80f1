"""``vistubes label``: from a saved result to a training set that the trainer's own reader takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vis.formats import tubes
from vis.training.datasets import image_folder


@pytest.fixture
def found(vistubes: Any, square_clip: Path, tmp_path: Path) -> Path:
    out = tmp_path / "run"
    words = ("--detector", "motion", "--tracker", "iou", "--score", "0", "--model", "none", "--no-overlay")
    assert vistubes("run", square_clip, "--out", out, *words).code == 0
    return out


def test_good_tubes_become_pairs_and_the_others_wait(
    vistubes: Any, square_clip: Path, found: Path, tmp_path: Path
) -> None:
    out = tmp_path / "set"
    words = ("label", found, square_clip, "--out", out, "--min-score", "0", "--every", "5", "--json")
    done = vistubes(*words)
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record == json.loads((out / "labels" / "square.json").read_text())
    saved = tubes.read(found / "tubes.json")
    assert record["kept"] + record["left"] == len(saved.tubes)
    assert record["kept"] >= 1
    pairs = image_folder(out)
    assert len(pairs) == record["pairs"] > 0
    for name in sorted(path.stem for path in (out / "masks").iterdir()):
        _, index, number = name.rsplit("-", 2)
        assert int(index) % 5 == 0
        tube = next(tube for tube in saved.tubes if tube.id == int(number))
        assert int(index) in tube.frames
        picture, mask = (
            np.array(Image.open(out / kind)) for kind in (f"images/{name}.jpg", f"masks/{name}.png")
        )
        assert picture.shape == (96, 128, 3)
        # The square is bright yellow: what the mask covers is brighter than what it leaves.
        assert picture[mask == 255].mean() > picture[mask == 0].mean() + 30

    again = vistubes(*words)
    assert again.code == 2
    assert "square is labelled already; --overwrite replaces it" in again.err
    stricter = vistubes(*words, "--min-frames", "1000", "--overwrite")
    assert stricter.code == 0
    assert json.loads(stricter.out)["pairs"] == 0
    assert not list((out / "masks").iterdir())
    assert len(tubes.read(out / "left" / "square.json").tubes) == len(saved.tubes)
    assert "frames only" in stricter.err


def test_another_video_is_refused(vistubes: Any, found: Path, tmp_path: Path) -> None:
    from vis.video import VideoWriter

    other = tmp_path / "other.mp4"
    with VideoWriter(other, (48, 64), 10.0) as writer:
        writer.write(np.zeros((48, 64, 3), np.uint8))
    done = vistubes("label", found, other, "--out", tmp_path / "set")
    assert done.code == 3
    assert "give the video that it was made from" in done.err
    assert not (tmp_path / "set").exists()


def test_two_videos_of_one_name_keep_their_labels(
    vistubes: Any, square_clip: Path, found: Path, tmp_path: Path
) -> None:
    from vis.video import VideoWriter, open_source

    other, copy = tmp_path / "day2" / "square.mp4", tmp_path / "copy" / "square.mp4"
    for path in (other, copy):
        path.parent.mkdir()
    copy.write_bytes(square_clip.read_bytes())
    with VideoWriter(other, (96, 128), 10.0) as writer:
        for frame in open_source(square_clip):
            writer.write(frame.image[::-1])
    words = ("--out", tmp_path / "set", "--min-score", "0", "--every", "8", "--quiet", "--json")

    def label(source: Path, *more: str) -> Any:
        done = vistubes("label", found, source, *words, *more)
        return json.loads(done.out)["name"] if done.code == 0 else done

    def files(name: str) -> dict[str, bytes]:
        paths = [*(tmp_path / "set").rglob(f"{name}-0*"), tmp_path / "set" / "labels" / f"{name}.json"]
        return {path.name: path.read_bytes() for path in paths}

    assert label(square_clip) == "square"
    first = files("square")
    assert len(first) > 2
    assert label(other) == "square-2"
    second = files("square-2")
    assert label(other, "--overwrite") == "square-2"
    refused = label(copy)
    assert refused.code == 2
    assert "square is labelled already; --overwrite replaces it" in refused.err
    assert label(copy, "--overwrite") == "square"
    assert (files("square"), files("square-2")) == (first, second)

    # Of an earlier version: nobody knows whose it is, so nobody's is replaced.
    record = tmp_path / "set" / "labels" / "square.json"
    value = json.loads(record.read_text())
    del value["source"]
    record.write_text(json.dumps(value))
    refused = label(copy, "--overwrite")
    assert refused.code == 2
    assert "does not tell which square.mp4 it is about" in refused.err
