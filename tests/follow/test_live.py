"""Pictures that do not wait: the latest is answered, the others are counted."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from apps.cli import main
from apps.verbs.follow_live import pictures
from vis import weights
from vis.errors import VideoError
from vis.evaluation.davis import region_j
from vis.follow import Follower, Prompt
from vis.follow.live import LatestFrame, follow_live
from vis.video import VideoWriter


def test_what_nobody_had_time_for_is_dropped_and_counted() -> None:
    taken, arrived = threading.Event(), threading.Event()

    def source():
        yield np.full((4, 4, 3), 0, np.uint8)
        taken.wait(10)  # the first is answered slowly: three more arrive meanwhile
        for value in (1, 2, 3):
            yield np.full((4, 4, 3), value, np.uint8)
        arrived.set()

    latest = LatestFrame(source())
    frames = iter(latest)
    assert next(frames).index == 0
    taken.set()
    arrived.wait(10)
    late = next(frames)
    assert (late.index, int(late.image[0, 0, 0])) == (3, 3)
    assert next(frames, None) is None
    assert (latest.arrived, latest.dropped) == (4, 2)


def test_an_error_of_the_source_comes_through() -> None:
    def broken():
        yield np.zeros((4, 4, 3), np.uint8)
        raise VideoError("the cable is out")

    with pytest.raises(VideoError, match="the cable is out"):
        list(LatestFrame(broken()))


@pytest.mark.parametrize("every", [1, 4])
def test_each_frame_is_answered_at_once(scene, predictor, every) -> None:
    pictures = scene()
    x, y = pictures.corner("red", 0)
    prompts = {5: Prompt(points=((x + 18.0, y + 18.0),), point_labels=(1,))}
    follower = Follower(predictor)
    asked = []
    looks = 0

    def frames():
        for index in range(12):
            asked.append(index)
            yield pictures[index]

    for frame, (seen,) in follow_live(frames(), follower, prompts, keyframe_interval=every):
        assert asked[-1] == frame.index  # nothing was read ahead
        assert seen.object_id == 5
        # Carried forwards only, over up to three strides of a fifth of its size, it keeps the most of itself.
        least = 0.85 if predictor.embedded > looks else 0.6
        assert region_j(seen.mask, pictures.truth("red", frame.index)) > least, frame.index
        looks = predictor.embedded
    # Where motion cannot be told the network looks before its turn, at that very frame.
    assert looks == 12 if every == 1 else 3 <= looks <= 4


@pytest.mark.parametrize("name", ["notes.mp4", "gone"])
def test_no_video_in_the_stream_is_an_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.mp4").write_text("no video at all\n" * 50)
    with pytest.raises(VideoError, match=name):
        next(pictures(str(tmp_path / name)))


@pytest.mark.slow
def test_a_file_as_if_it_were_filmed_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not weights.cached(weights.WEIGHTS["mobile-sam"]):
        pytest.skip("mobile-sam is not in the cache: vistubes models fetch mobile-sam")
    path = tmp_path / "square.mp4"
    with VideoWriter(path, (96, 128), 10.0) as writer:
        for k in range(12):
            image = np.full((96, 128, 3), 60, np.uint8)
            image[30:62, 10 + 2 * k : 42 + 2 * k] = (250, 240, 30)
            writer.write(image)
    out = tmp_path / "run"
    words = ["follow", str(path), "--live", "--box", "10,30,42,62", "--speed", "fastest"]
    assert main([*words, "--json", "--quiet", "--out", str(out)]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    record = json.loads((out / "run.json").read_text())
    assert record["live"]["arrived"] == 12
    assert record["live"]["answered"] + record["live"]["dropped"] == 12
    assert len(lines) == record["live"]["answered"]
    assert lines[0]["frame"] == 0
    assert lines[-1]["objects"][0]["id"] == 1
