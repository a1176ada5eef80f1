"""One video: keyed, chunked, resumed wherever it stopped, recomputed only where an option touches it."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from apps import job
from apps.batch import work
from apps.batch.identity import identity
from apps.batch.item import Item
from tests.batch.killing import Killed, kill_after
from vis.errors import OutputError
from vis.formats import tubes
from vis.structures import Detections


def test_a_batch_video_is_what_vistubes_run_writes(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path
) -> None:
    from apps import cli

    line = make_worker().process(item, tell)
    assert (line["status"], line["frames"]) == ("done", 26)
    assert line["tubes"] > 0
    words = ["--detector", "motion", "--tracker", "iou", "--score", "0", "--model", "none", "--quiet"]
    assert cli.main(["run", item.path, "--out", str(tmp_path / "single"), *words]) == 0
    for name in ("tubes.json", "results.json", "contact_sheet.png"):
        assert (tmp_path / "out" / "clip" / name).read_bytes() == (tmp_path / "single" / name).read_bytes(), (
            name
        )


@pytest.mark.parametrize("chunks", [1, 2, 4, 6, 7])
def test_killed_after_any_chunk_it_goes_on_to_the_same_bytes(
    chunks: int, item: Item, make_worker: Any, fake_refiner: None, tell: Any, tmp_path: Path, outputs: Any
) -> None:
    whole = make_worker("--model", "fake", out=tmp_path / "whole")
    whole.process(item, tell)
    broken = make_worker("--model", "fake")
    with pytest.raises(Killed):
        broken.process(item, kill_after(chunks))
    assert not (tmp_path / "out" / "clip").exists()
    again = make_worker("--model", "fake")
    again.process(item, tell)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    # Not one finished frame is refined a second time.
    assert broken.job.refiner.seen + again.job.refiner.seen == whole.job.refiner.seen == 26
    assert not list((tmp_path / "out" / ".batch" / "chunks").iterdir())


@pytest.mark.parametrize("frames", [1, 13, 26])
def test_killed_while_drawing_it_goes_on_to_the_same_bytes(
    frames: int, item: Item, make_worker: Any, tell: Any, tmp_path: Path, outputs: Any
) -> None:
    make_worker(out=tmp_path / "whole").process(item, tell)
    with pytest.raises(Killed):
        make_worker().process(item, kill_after(frames, what="draw"))
    # The results were final before.
    folder = tmp_path / "out" / "clip"
    for name in ("tubes.json", "results.json"):
        assert (folder / name).read_bytes() == (tmp_path / "whole" / "clip" / name).read_bytes()
    assert json.loads((folder / "run.json").read_text())["pictures"] == {"state": "pending"}
    drawn: list[int] = []
    make_worker().process(item, lambda stage, done, expected: drawn.append(done) if stage == "draw" else None)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    assert "clip/overlay.mp4" in outputs(tmp_path / "out")
    # Pieces of four frames: those that were whole are not drawn again. The first call says where it begins.
    assert drawn[1:] == list(range((frames - 1) // 4 * 4 + 1, 27))


def test_an_overlay_alone_is_drawn_in_pieces_too(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path, outputs: Any
) -> None:
    make_worker(out=tmp_path / "whole").process(item, tell)
    make_worker(overlay=False).process(item, tell)
    with pytest.raises(Killed):
        make_worker().process(item, kill_after(6, what="draw"))
    damaged = next((tmp_path / "out" / ".batch").rglob("overlay/*/*.mp4"))
    damaged.write_bytes(damaged.read_bytes()[:100])
    make_worker().process(item, tell)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")


def test_a_detector_that_saves_its_state_does_not_look_twice(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path, outputs: Any
) -> None:
    class Counting:
        """Finds the bright square; its memory is how many frames it has seen."""

        class_names = ("square",)

        def __init__(self) -> None:
            self.seen = self.calls = 0

        def reset(self) -> None:
            self.seen = 0

        def state_dict(self) -> dict[str, Any]:
            return {"seen": self.seen}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.seen = state["seen"]

        def detect(self, images: Any) -> Any:
            import numpy as np

            from vis.structures import Detections

            self.seen += 1
            self.calls += 1
            rows, columns = np.nonzero(images[0][..., 1] > 180)
            if not len(rows):
                return [Detections.empty()]
            box = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            score = np.array([self.seen / 100], np.float32)
            return [Detections(np.array([box], np.float32), score, np.zeros(1, np.int64))]

    def worker(out: str) -> Any:
        made = make_worker(out=tmp_path / out, overlay=False)
        made.job.detector = Counting()
        return made

    # Boxes only have no results.json; what matters here is the state.
    from apps import report

    original = report.write_results
    report.write_results = lambda folder, result: tubes.write(folder / "tubes.json", result)
    try:
        whole, broken, again = worker("whole"), worker("out"), worker("out")
        whole.process(item, tell)
        with pytest.raises(Killed):
            broken.process(item, kill_after(3))
        again.process(item, tell)
    finally:
        report.write_results = original
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    # The chunk in hand is lost at most: three chunks of four frames were saved.
    assert again.job.detector.calls == 26 - 12


def test_a_detector_that_knows_frame_numbers_is_asked_by_number_after_a_kill(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path, outputs: Any
) -> None:
    import json

    import detectors

    boxes = [[{"box": [frame, 10, frame + 30, 40], "id": 1}] for frame in range(30)]
    (tmp_path / "boxes.json").write_text(json.dumps({"frames": boxes}))

    def worker(out: str) -> Any:
        made = make_worker("--start", "3", "--stride", "2", out=tmp_path / out, overlay=False)
        made.job.detector = detectors.create("precomputed", weights=tmp_path / "boxes.json")
        return made

    worker("whole").process(item, tell)
    with pytest.raises(Killed):
        worker("out").process(item, kill_after(2))
    worker("out").process(item, tell)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "whole")
    (tube,) = tubes.read(tmp_path / "out" / "clip" / "tubes.json").tubes
    assert tube.frames.tolist() == list(range(3, 26, 2))
    assert tube.boxes[:, 0].tolist() == tube.frames.tolist()


def test_a_refiner_that_remembers_goes_on_where_it_was(
    item: Item,
    make_worker: Any,
    thin_refiner: type,
    tell: Any,
    tmp_path: Path,
    outputs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Mindful(thin_refiner):
        """Keeps a row more of each object on every frame that it sees."""

        frames = 0

        def reset(self) -> None:
            self.frames = 0

        def state_dict(self) -> dict[str, Any]:
            return {"frames": self.frames}

        def load_state_dict(self, state: dict[str, Any]) -> None:
            self.frames = state["frames"]

        def refine(self, image: np.ndarray, detections: Detections) -> Detections:
            self.frames += 1
            if detections.masks is None:
                return replace(detections, masks=np.zeros((0, *image.shape[:2]), np.bool_))
            masks = detections.masks & (np.arange(image.shape[0])[:, None] % 30 < self.frames)
            return replace(detections, masks=masks)

    monkeypatch.setattr(job, "build_refiner", lambda refining, **_: Mindful(refining.policy))
    monkeypatch.setattr(job, "model_checksums", lambda model: {model: "0" * 64})

    def worker(out: str, *words: str) -> Any:
        return make_worker("--model", "fake", *words, out=tmp_path / out, overlay=False)

    once = worker("whole")
    once.process(item, tell)
    first = outputs(tmp_path / "whole")
    once.process(replace(item, name="second"), tell)  # another video of the same worker
    again = {
        name.removeprefix("second/"): data for name, data in outputs(tmp_path / "whole" / "second").items()
    }
    assert again == {name.removeprefix("clip/"): data for name, data in first.items()}
    shutil.rmtree(tmp_path / "whole" / "second")
    with pytest.raises(Killed):
        worker("out").process(item, kill_after(3))
    worker("out").process(item, tell)
    assert outputs(tmp_path / "out") == first
    # and on an association that was saved before
    with pytest.raises(Killed):
        worker("out", "--policy", "gated").process(item, kill_after(3))
    worker("out", "--policy", "gated").process(item, tell)
    worker("fresh", "--policy", "gated").process(item, tell)
    assert outputs(tmp_path / "out") == outputs(tmp_path / "fresh")


def test_what_is_done_is_kept(item: Item, make_worker: Any, tell: Any, tmp_path: Path) -> None:
    make_worker().process(item, tell)
    before = (tmp_path / "out" / "clip" / "run.json").read_bytes()
    assert make_worker().process(item, tell)["status"] == "kept"
    assert (tmp_path / "out" / "clip" / "run.json").read_bytes() == before


def test_a_new_refiner_reuses_the_association(
    item: Item,
    make_worker: Any,
    fake_refiner: None,
    tell: Any,
    tmp_path: Path,
    outputs: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_worker("--model", "fake", "--policy", "box").process(item, tell)
    fresh = make_worker("--model", "fake", "--policy", "gated", out=tmp_path / "fresh")
    fresh.process(item, tell)
    reusing = make_worker("--model", "fake", "--policy", "gated")
    monkeypatch.setattr(reusing.job.detector, "detect", lambda images: pytest.fail("the detector ran again"))
    assert reusing.process(item, tell)["status"] == "done"
    assert outputs(tmp_path / "out") == outputs(tmp_path / "fresh")
    # Killed in the middle of that, it goes on as well.
    third = make_worker("--model", "fake", "--policy", "box")
    with pytest.raises(Killed):
        third.process(item, kill_after(2))
    fourth = make_worker("--model", "fake", "--policy", "box")
    fourth.process(item, tell)
    assert third.job.refiner.seen + fourth.job.refiner.seen == 26


CHANGES = [
    (["--no-overlay"], False, False),
    (["--policy", "gated"], False, True),
    (["--min-frames", "9"], False, True),
    (["--stride", "2"], True, True),
    (["--score", "0.5"], True, True),
    (["--tracker", "mask_iou"], True, True),
]


@pytest.mark.parametrize(
    ("words", "detects", "refines"), CHANGES, ids=lambda v: v[0] if isinstance(v, list) else ""
)
def test_an_option_recomputes_what_it_touches_and_no_more(
    words: list[str],
    detects: bool,
    refines: bool,
    item: Item,
    make_worker: Any,
    fake_refiner: None,
    tell: Any,
    monkeypatch: pytest.MonkeyPatch,
    parse: Any,
    tmp_path: Path,
) -> None:
    make_worker("--model", "fake").process(item, tell)
    from dataclasses import replace

    from apps.verbs import batch

    args = parse("unused", "--out", str(tmp_path / "out"), "--model", "fake")
    for name, value in zip(words[::2], words[1::2], strict=False):
        kind = {"min_frames": int, "stride": int, "score": float}.get(name[2:].replace("-", "_"), str)
        setattr(args, name[2:].replace("-", "_"), kind(value))
    settings = batch.settings_of(args, batch.workers_of(args, 1))
    worker = work.Worker(replace(settings, overlay="--no-overlay" not in words))
    detected = 0
    original = worker.job.detector.detect

    def count(images: Any) -> Any:
        nonlocal detected
        detected += 1
        return original(images)

    monkeypatch.setattr(worker.job.detector, "detect", count)
    assert worker.process(item, tell)["status"] == "done"
    assert (detected > 0) == detects
    assert (worker.job.refiner.seen > 0) == refines
    assert (tmp_path / "out" / "clip" / "overlay.mp4").exists() == ("--no-overlay" not in words)


def test_a_changed_video_is_done_again_and_a_touched_one_is_not(
    item: Item, make_worker: Any, tell: Any, write_clip: Any, tmp_path: Path
) -> None:
    make_worker().process(item, tell)
    os.utime(item.path)
    assert make_worker().process(item, tell)["status"] == "kept"
    write_clip(Path(item.path), frames=26, seed=9)
    assert make_worker().process(item, tell)["status"] == "done"
    record = json.loads((tmp_path / "out" / "clip" / "run.json").read_text())
    assert record["source"]["sha256"] == identity(item, {})["sha256"]


def test_a_moved_video_keeps_its_key(item: Item, tmp_path: Path) -> None:
    shutil.copy(item.path, tmp_path / "copy.mp4")
    copy = Item("clip", str(tmp_path / "copy.mp4"))
    assert identity(item, {})["sha256"] == identity(copy, {})["sha256"]


def test_warnings_are_told_in_the_line(item: Item, make_worker: Any, tell: Any) -> None:
    path = Path(item.path)
    whole = path.with_name("whole.mp4")
    # Index in front, then cut: the container promises more than it holds.
    import av

    with av.open(str(path)) as source, av.open(str(whole), "w", options={"movflags": "faststart"}) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    path.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.8)])
    line = make_worker().process(item, tell)
    assert line["frames"] < 26
    assert any("frames decode" in text for text in line["warnings"])


def test_videos_behind_an_address_are_fetched(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path
) -> None:
    fsspec = pytest.importorskip("fsspec", reason="fsspec comes with the extra 'cluster'")
    memory = fsspec.filesystem("memory")
    memory.put_file(item.path, "/bucket/clip.mp4")
    far = Item("far", "memory://bucket/clip.mp4")
    make_worker().process(item, tell)
    assert make_worker().process(far, tell)["status"] == "done"
    assert make_worker().process(far, tell)["status"] == "kept"
    near_tubes, far_tubes = ((tmp_path / "out" / name / "tubes.json").read_text() for name in ("clip", "far"))
    assert near_tubes == far_tubes


def test_what_no_batch_has_made_is_never_replaced(
    item: Item, make_worker: Any, tell: Any, tmp_path: Path
) -> None:
    mine = tmp_path / "out" / "clip" / "notes.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(OutputError, match="not of a batch"):
        make_worker().process(item, tell)
    assert mine.read_text() == "mine"
