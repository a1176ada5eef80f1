"""Stages that run beside the others: the same results, the same errors, and their times in run.json."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from apps.cli import main
from apps.job import Job, collect_beside
from apps.plan import Plan
from apps.progress import Stopwatch
from vis.errors import UsageError
from vis.formats import tubes
from vis.pipeline import collect, refine
from vis.render import OverlayWriter, Renderer
from vis.structures import Detections, Frame, TrackedFrame, VideoInfo
from vis.video import VideoWriter

INFO = VideoInfo("clip", 48, 64, 8, 25.0)


def stream(count: int = 8, error: BaseException | None = None) -> Iterator[TrackedFrame]:
    chance = np.random.default_rng(0)
    for index in range(count):
        masks = chance.random((2, 48, 64)) < 0.5
        boxes, ids = np.tile(np.array([0, 0, 64, 48], np.float32), (2, 1)), np.array([1, 2])
        found = Detections(boxes, np.full(2, 0.5, np.float32), np.zeros(2, np.int64), masks, ids)
        image = chance.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        yield TrackedFrame(Frame(index, index / 25, image), found)
    if error is not None:
        raise error


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name == "vis-background"]


def test_tubes_collected_beside_are_those_of_one_after_the_other(tmp_path):
    watch = Stopwatch()
    tubes.write(tmp_path / "beside.json", collect_beside(stream(), INFO, ("a",), watch).result())
    tubes.write(tmp_path / "after.json", collect(stream(), INFO, ("a",)))
    assert (tmp_path / "beside.json").read_bytes() == (tmp_path / "after.json").read_bytes()
    assert set(watch.beside["collect"]) == {"busy", "waiting", "held_up"}
    assert not threads()


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("a frame does not decode")])
def test_an_error_of_the_stream_ends_the_thread_too(error):
    with pytest.raises(type(error)):
        collect_beside(stream(5, error), INFO, ("a",), Stopwatch())
    assert not threads()


def test_frames_that_do_not_rise_are_told_as_before():
    twice = [*stream(2), *stream(2)]
    with pytest.raises(ValueError, match="rise strictly"):
        collect(twice, INFO, ("a",))
    with pytest.raises(ValueError, match="rise strictly"):
        collect_beside(twice, INFO, ("a",), Stopwatch()).result()


def test_an_overlay_encoded_beside_has_the_bytes_of_one_after_the_other(tmp_path):
    renderer = Renderer(["a"])
    with OverlayWriter(tmp_path / "beside.mp4", INFO, renderer) as overlay:
        for tracked in stream():
            overlay.write(tracked)
    with VideoWriter(tmp_path / "after.mp4", INFO.size, 25.0) as writer:
        for tracked in stream():
            writer.write(renderer.draw(tracked.frame.image, tracked.detections), tracked.frame.pts_seconds)
    beside, after = ((tmp_path / f"{name}.mp4").read_bytes() for name in ("beside", "after"))
    assert hashlib.sha256(beside).digest() == hashlib.sha256(after).digest()
    assert not threads()


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_overlay_that_is_left_ends_its_thread_and_leaves_no_file(tmp_path, error):
    overlay = OverlayWriter(tmp_path / "overlay.mp4", INFO, Renderer(["a"]))

    def leave() -> None:
        with overlay:
            for tracked in stream(3):
                overlay.write(tracked)
            raise error

    with pytest.raises(error):
        leave()
    assert not list(tmp_path.iterdir())
    assert not threads()


def test_pictures_that_cannot_be_encoded_are_told_and_leave_no_file(tmp_path):
    overlay = OverlayWriter(tmp_path / "overlay.mp4", INFO, Renderer(["a"]))
    (first,) = stream(1)

    def write_again() -> None:
        with overlay:
            overlay.write(first)
            overlay.write(TrackedFrame(Frame(1, float("nan"), first.frame.image), first.detections))

    with pytest.raises(ValueError, match="nan"):
        write_again()
    assert not list(tmp_path.iterdir())
    assert not threads()


def test_run_json_tells_what_ran_beside(tmp_path):
    with VideoWriter(tmp_path / "clip.mp4", (48, 64), 25) as writer:
        for tracked in stream(4):
            writer.write(tracked.frame.image)
    words = ["run", str(tmp_path / "clip.mp4"), "--detector", "motion", "--model", "none"]
    assert main([*words, "--out", str(tmp_path / "out"), "--quiet"]) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert set(record["stages_beside"]) == {"collect", "encode"}
    assert all(seconds >= 0 for stage in record["stages_beside"].values() for seconds in stage.values())


class Bright:
    """Finds what is bright, and draws it."""

    class_names = ("a",)
    predictor = policy = None

    def reset(self):
        self.calls = []

    def detect(self, images):
        self.calls.append(("detect", threading.current_thread() is threading.main_thread()))
        masks = np.stack([images[0][..., 0] > 200, images[0][..., 1] > 200])
        boxes = [[*at.min(axis=0)[::-1], *at.max(axis=0)[::-1] + 1] for at in map(np.argwhere, masks)]
        return [Detections(boxes, [0.9, 0.8], [0, 0])]

    def refine(self, image, objects):
        self.calls.append(("refine", threading.current_thread() is threading.main_thread()))
        return replace(objects, masks=np.stack([image[..., 0] > 200] * len(objects)))


def test_the_detector_works_a_frame_ahead_of_the_mask_network(tmp_path):
    job = Job(Plan.of("quick", detector="none", model="none", link=False, min_frames=1), device="cpu")
    job.detector = job.refiner = network = Bright()
    ahead = collect(job.stream(item.frame for item in stream()), INFO, ("a",))
    assert network.calls.count(("detect", False)) == network.calls.count(("refine", True)) == 8
    assert set(job.watch.seconds) >= {"decode", "detect", "track", "refine", "wait"}
    job.start()
    after = refine(job.associate(item.frame for item in stream()), network)
    tubes.write(tmp_path / "ahead.json", ahead)
    tubes.write(tmp_path / "after.json", collect(after, INFO, ("a",)))
    assert (tmp_path / "ahead.json").read_bytes() == (tmp_path / "after.json").read_bytes()


@pytest.mark.parametrize("at_once", [True, False])
def test_a_stream_that_is_left_leaves_no_thread_and_an_error_of_the_detector_comes_in_its_turn(at_once):
    job = Job(Plan.of("quick", detector="none", model="none", link=False, min_frames=1), device="cpu")
    job.detector = job.refiner = network = Bright()
    seen = job.stream((item.frame for item in stream()), quiet=True)
    next(seen)
    if at_once:
        seen.close()
    else:
        network.class_names = ()
        with pytest.raises(UsageError, match="label 0"):
            list(seen)
    del seen
    assert "vis-read-ahead" not in [thread.name for thread in threading.enumerate()]
