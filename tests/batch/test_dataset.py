"""A YouTube-VIS set through the batch: frames and JSON in, one results file for evaluator and server out."""

from __future__ import annotations

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image

from apps.batch.dataset import items_of_set, write_set_results
from apps.verbs import batch
from vis.errors import InputError, VideoError
from vis.formats import tubes, ytvis_set
from vis.video.folder import ImageList


@pytest.fixture
def small_set(tmp_path: Path, write_clip: Any) -> Path:
    """Two clips as a set lies on the disk: JPEGImages and a JSON that lists every other frame."""
    root = tmp_path / "set"
    videos = []
    for number, name in enumerate(("aaa", "bbb"), start=4):
        clip = write_clip(tmp_path / f"{name}.mp4", frames=40, seed=number)
        (root / "JPEGImages" / name).mkdir(parents=True)
        with av.open(str(clip)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                frame.to_image().save(root / "JPEGImages" / name / f"{index:05d}.jpg", quality=95)
        listed = [f"{name}/{index:05d}.jpg" for index in range(0, 40, 2)]
        videos.append({"id": number, "height": 72, "width": 96, "length": 20, "file_names": listed})
    categories = [{"id": 3, "name": "cat"}, {"id": 8, "name": "moving"}]
    (root / "valid.json").write_text(json.dumps({"videos": videos, "categories": categories}))
    return root / "valid.json"


def test_a_set_becomes_results_that_its_evaluator_reads(small_set: Path, parse: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    args = parse(str(small_set), "--out", str(out), "--no-overlay", "--jobs", "1")
    assert batch.run(args) == 0
    told = json.loads((out / "batch.json").read_text())["set"]
    assert told["missing_videos"] == []
    assert not told["category_agnostic"]
    back = ytvis_set.read_results(out / "results.json", small_set)
    assert [result.video.name for result in back] == ["aaa", "bbb"]
    for result in back:
        saved = tubes.read(out / result.video.name / "tubes.json")
        # Places in the set's list, not the numbers in the file names.
        assert saved.frames.tolist() == list(range(20))
        assert [t.masks for t in result.tubes] == [t.masks for t in saved.tubes]
        assert {result.class_names[t.label] for t in result.tubes} == {"moving"}
    with zipfile.ZipFile(out / "results.zip") as archive:
        assert json.loads(archive.read("results.json")) == json.loads((out / "results.json").read_text())


def test_unknown_classes_are_counted_and_one_class_detectors_said(
    small_set: Path, parse: Any, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    data = json.loads(small_set.read_text())
    data["categories"] = [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}]
    small_set.write_text(json.dumps(data))
    batch.run(parse(str(small_set), "--out", str(out), "--no-overlay", "--jobs", "1"))
    items = items_of_set(small_set)
    told = write_set_results(out, small_set, items)
    assert told["category_agnostic"]
    assert {entry["category_id"] for entry in json.loads((out / "results.json").read_text())} == {3}
    shutil.rmtree(out / "bbb")
    assert write_set_results(out, small_set, items)["missing_videos"] == ["bbb"]


def test_images_of_a_set_keep_their_names_and_tubes_of_boxes_are_counted(
    small_set: Path, tmp_path: Path
) -> None:
    from dataclasses import replace

    import numpy as np

    from vis.structures import Tube, VideoInfo, VideoResult

    item = items_of_set(small_set)[0]
    opened = ImageList.open(item.name, item.images or ())
    assert opened.info.file_names[:2] == ("aaa/00000.jpg", "aaa/00002.jpg")
    tube = Tube(1, 0, 1.0, np.array([0]), np.ones((1, 4), np.float32), np.ones(1, np.float32))
    info = VideoInfo("aaa", 72, 96)
    result = VideoResult(info, ("cat",), (tube, replace(tube, id=2)), np.arange(20), np.arange(20.0))
    tubes.write(tmp_path / "out" / "aaa" / "tubes.json", result)
    told = write_set_results(tmp_path / "out", small_set, [item])
    assert (told["entries"], told["tubes_without_masks"]) == (0, 2)


def test_missing_frames_are_named(small_set: Path, tmp_path: Path) -> None:
    items = items_of_set(small_set)
    Path(items[0].images[3]).unlink()
    source = ImageList.open("aaa", items[0].images)
    with pytest.raises(VideoError, match=r"aaa/00006.jpg: this frame is listed"):
        list(source)
    Image.new("RGB", (90, 72)).save(items[0].images[3])
    with pytest.raises(VideoError, match="another size"):
        list(source)


def test_where_the_frames_were_sought_is_said(small_set: Path, tmp_path: Path) -> None:
    moved = small_set.parent / "elsewhere"
    (small_set.parent / "JPEGImages").rename(moved)
    with pytest.raises(InputError, match=r"JPEGImages/aaa/00000.jpg.*--frames"):
        items_of_set(small_set)
    assert len(items_of_set(small_set, moved)) == 2


def test_file_names_stay_in_the_image_folder(small_set: Path) -> None:
    data = json.loads(small_set.read_text())
    data["videos"][1]["file_names"][0] = "../../secret.jpg"
    small_set.write_text(json.dumps(data))
    with pytest.raises(InputError, match="leave the image folder"):
        items_of_set(small_set)


@pytest.mark.shared_data
def test_hq_ytvis_from_frames_and_json_to_ap(shared_data: Path, tmp_path: Path, capsys: Any) -> None:
    """The layout of HQ-YTVIS made from two real clips."""
    import argparse
    from dataclasses import replace

    import numpy as np

    from apps.verbs import hq_ytvis
    from vis import masks
    from vis.formats import davis

    root = tmp_path / "data"
    results = []
    for name in ("dog", "libby"):
        clip = davis.read(shared_data / "davis16" / "Annotations" / "480p" / name)
        keep = clip.frames[:14]
        (root / "train_all_frames" / "JPEGImages" / name).mkdir(parents=True)
        for index in keep.tolist():
            source = shared_data / "davis16" / "JPEGImages" / "480p" / name / f"{index:05d}.jpg"
            (root / "train_all_frames" / "JPEGImages" / name / source.name).symlink_to(source)
        (tube,) = clip.tubes
        cut = replace(
            tube, frames=keep, boxes=tube.boxes[:14], scores=tube.scores[:14], masks=tube.masks[:14]
        )
        assert all(masks.area(mask) for mask in cut.masks)
        info = replace(clip.video, name=name)
        results.append(replace(clip, video=info, tubes=(cut,), frames=keep, pts_seconds=np.arange(14.0)))
    ytvis_set.write_truth(root / "ytvis_hq-test.json", results)

    parser = argparse.ArgumentParser()
    hq_ytvis.add(parser)
    words = ["--root", str(root), "--out", str(tmp_path / "out"), "--detector", "motion", "--model", "none"]
    args = parser.parse_args([*words, "--score", "0", "--no-overlay", "--quiet", "--jobs", "1"])
    answer, text = hq_ytvis.evaluate(args)
    assert answer["class_agnostic"]
    assert answer["batch"]["done"] == 2
    assert "AP" in text
    assert "YouTube-VIS 2019's training set" in text
    again, _ = hq_ytvis.evaluate(args)
    assert again["batch"]["kept"] == 2
    assert {k: v for k, v in again.items() if k not in ("batch", "seconds")} == {
        k: v for k, v in answer.items() if k not in ("batch", "seconds")
    }


def test_absent_hq_ytvis_says_where_it_comes_from(tmp_path: Path) -> None:
    import argparse

    from apps.verbs import hq_ytvis

    parser = argparse.ArgumentParser()
    hq_ytvis.add(parser)
    with pytest.raises(InputError, match=r"VMT project.*docs/batch.md"):
        hq_ytvis.evaluate(parser.parse_args(["--root", str(tmp_path)]))


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch, tell: Any) -> None:
    """A batch's videos one after the other, without a process for each."""
    from collections.abc import Iterator

    from apps.batch import pool
    from apps.batch.events import Event, run_item
    from apps.batch.work import Worker

    def run_local(items: Any, settings: Any, **_: Any) -> Iterator[Event]:
        worker = Worker(settings)
        for at, item in enumerate(items):
            kind, data = run_item(worker, item, tell)
            yield Event(kind, at, "0", data)

    monkeypatch.setattr(pool, "run_local", run_local)


@pytest.mark.usefixtures("in_this_process")
def test_hq_ytvis_scores_given_results_by_class(tmp_path: Path) -> None:
    """Two videos, each with one cat of 20 x 20 pixels on three frames."""
    import argparse

    import numpy as np

    from apps.verbs import hq_ytvis
    from vis import masks
    from vis.errors import UsageError

    def shapes(left: int) -> list[dict[str, Any]]:
        mask = np.zeros((48, 64), np.bool_)
        mask[10:30, left : left + 20] = True
        return [masks.to_coco(masks.encode(mask))] * 3

    root = tmp_path / "data"
    videos, truths = [], []
    for number, name in ((4, "aaa"), (9, "bbb")):
        frames = [f"{name}/{index:05d}.jpg" for index in (0, 5, 10)]
        for frame in frames:
            path = root / "JPEGImages" / frame
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (64, 48)).save(path)
        videos.append({"id": number, "height": 48, "width": 64, "length": 3, "file_names": frames})
        one = {"id": number, "video_id": number, "category_id": 3, "iscrowd": 0, "segmentations": shapes(10)}
        truths.append(one | {"areas": [400] * 3, "bboxes": [[10, 10, 20, 20]] * 3})
    categories = [{"id": 3, "name": "cat"}, {"id": 8, "name": "dog"}]
    data = {"videos": videos, "categories": categories, "annotations": truths}
    (root / "ytvis_hq-test.json").write_text(json.dumps(data))

    def answer(*results: tuple[int, int, int]) -> dict[str, Any]:
        given = tmp_path / "given.json"
        keys = ("video_id", "category_id", "segmentations", "score")
        entries = [(video, category, shapes(left), 0.1) for video, category, left in results]
        given.write_text(json.dumps([dict(zip(keys, entry, strict=True)) for entry in entries]))
        parser = argparse.ArgumentParser()
        hq_ytvis.add(parser)
        words = ["--root", str(root), "--out", str(tmp_path / f"out-{len(list(tmp_path.iterdir()))}")]
        words += ["--detector", "precomputed", "--weights", str(given), "--model", "none"]
        found = hq_ytvis.evaluate(parser.parse_args([*words, "--no-overlay", "--quiet", "--jobs", "1"]))[0]
        assert not found["class_agnostic"]
        return found

    assert answer((4, 3, 10), (9, 3, 10))["mask"][0] == pytest.approx(1)
    # One of two truths, above all thresholds: precision 1 up to recall 1/2, 51 of 101 points.
    half = answer((4, 3, 10), (9, 8, 10), (77, 3, 10))  # the other is named a dog; 77 is no video of the set
    assert half["mask"][0] == pytest.approx(51 / 101)
    assert half["result_tubes"] == 2
    # Moved by five pixels: the overlap is 15 columns of 25, so that of ten thresholds .5, .55 and .6 are met.
    moved = answer((4, 3, 15), (9, 3, 15))["mask"]
    assert moved[:3] == pytest.approx([0.3, 1, 0])
    parser = argparse.ArgumentParser()
    hq_ytvis.add(parser)
    words = ["--root", str(root), "--out", str(tmp_path / "none"), "--detector", "precomputed"]
    with pytest.raises(UsageError, match="give the results of the set's videos with --weights"):
        hq_ytvis.evaluate(parser.parse_args([*words, "--jobs", "1"]))


@pytest.mark.usefixtures("in_this_process")
def test_a_whole_result_file_goes_through_in_one_command(
    small_set: Path, tmp_path: Path, capsys: Any
) -> None:
    import argparse

    import numpy as np

    from vis import masks
    from vis.errors import UsageError

    def entry(video: int, left: int, score: float, category: int = 8) -> dict[str, Any]:
        mask = np.zeros((72, 96), np.bool_)
        mask[10:30, left : left + 20] = True
        shape = masks.to_coco(masks.encode(mask))
        shapes = [shape if frame % 3 else None for frame in range(20)]
        return {"video_id": video, "category_id": category, "score": score, "segmentations": shapes}

    given = [entry(4, 5, 0.03125), entry(4, 15, 0.875, 3), entry(9999, 1, 0.5)]
    (tmp_path / "given.json").write_text(json.dumps(given))
    parser = argparse.ArgumentParser()
    batch.configure(parser)
    out = tmp_path / "out"
    words = [
        str(small_set),
        "--out",
        str(out),
        "--detector",
        "precomputed",
        "--model",
        "none",
        "--no-overlay",
    ]
    words += ["--quiet", "--weights", str(tmp_path / "given.json")]
    assert batch.run(parser.parse_args(words)) == 0
    back = json.loads((out / "results.json").read_text())
    assert sorted(back, key=lambda one: one["score"]) == given[:2]  # low scores and overlaps are kept
    assert tubes.read(out / "bbb" / "tubes.json").tubes == ()  # nothing is said of it
    assert batch.run(parser.parse_args([*words, "--dry-run", "--json"])) == 0
    rows = json.loads(capsys.readouterr().out)["videos"]
    assert [row["state"] for row in rows] == ["kept", "kept"]
    with pytest.raises(UsageError, match="give the results of the set's videos with --weights"):
        batch.run(parser.parse_args([*words[:-1], str(tmp_path / "none.json")]))
