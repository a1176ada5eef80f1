"""``vistubes convert`` of whole folders, such as a batch leaves, and the pictures that its files name."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.identity import source_identity
from vis.errors import InputError, UsageError, VisError
from vis.formats import tubes
from vis.structures import VideoResult
from vis.video import VideoWriter

SIZE = (12, 17)


@pytest.fixture
def batch(busy: VideoResult, tmp_path: Path) -> Path:
    """What a batch leaves: run folders, reports, a failure; and a file that is none of it."""
    out = tmp_path / "runs" / "all"
    for place in ("day1/dog", "day1/cat", "day2/dog"):
        name = place.rsplit("/", 1)[1]
        tubes.write(out / place / "tubes.json", replace(busy, video=replace(busy.video, name=name)))
        (out / place / "run.json").write_text("{}")
        (out / place / "overlay.mp4").touch()
    tubes.write(out / ".batch" / "associations" / "0.json", busy)
    for name in ("batch.json", "batch.html", "results.json"):
        (out / name).write_text("{}")
    (out / "failures.jsonl").write_text('{"name": "day2/cat", "path": "x"}\n')
    (out / "day1" / "notes.txt").touch()
    (out / "day1" / "other.json").write_text('{"format": "other"}')
    return out


def video_names(path: Path) -> list[str]:
    return [video["name"] for video in json.loads(path.read_text())["videos"]]


def test_a_batch_folder_becomes_one_file_that_names_videos_by_their_place(
    batch: Path, call: Any, tmp_path: Path
) -> None:
    said = call(batch, tmp_path / "all.json", "--to", "coco")
    assert video_names(tmp_path / "all.json") == ["day1/cat", "day1/dog", "day2/dog"]
    assert said["passed_over"] == [str(batch / "day1" / name) for name in ("notes.txt", "other.json")]
    assert said["lost"][str(batch)] == ["videos that failed are not there: day2/cat"]
    call(batch, tmp_path / "each", "--to", "mot")
    assert sorted(p.name for p in (tmp_path / "each").iterdir()) == [
        "day1_cat.txt",
        "day1_dog.txt",
        "day2_dog.txt",
    ]


def test_two_batches_and_everything_that_a_shell_gives_for_a_star(
    batch: Path, busy: VideoResult, call: Any, tmp_path: Path
) -> None:
    other = tmp_path / "runs" / "more"
    tubes.write(other / "day1" / "dog" / "tubes.json", busy)
    call(batch, other, tmp_path / "two.json", "--to", "coco")
    assert video_names(tmp_path / "two.json") == ["day1/cat", "all/day1/dog", "day2/dog", "more/day1/dog"]
    said = call(*sorted(batch.glob("[!.]*")), tmp_path / "star.json", "--to", "coco")
    assert video_names(tmp_path / "star.json") == ["cat", "day1/dog", "day2/dog"]
    assert {Path(p).name for p in said["passed_over"]} >= {"batch.json", "failures.jsonl", "notes.txt"}


def test_files_of_tubes_with_names_of_their_own_are_found_and_broken_ones_named(
    busy: VideoResult, call: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    tubes.write(folder / "Cam.json", busy)
    tubes.write(folder / "cam" / "tubes.json", busy)  # alike but for the case
    call(folder, tmp_path / "all.json", "--to", "ytvis")
    files = [video["file_names"][0] for video in json.loads((tmp_path / "all.json").read_text())["videos"]]
    assert len({file.casefold() for file in files}) == 2
    (folder / "cam" / "tubes.json").write_text('{"format":"vis-tubes", ')
    with pytest.raises(VisError, match=r"cam/tubes.json"):
        call(folder, tmp_path / "all.json", "--to", "coco")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no tubes.json in it"):
        call(tmp_path / "empty", tmp_path / "all.json", "--to", "coco")


def test_what_was_passed_over_is_told_in_the_terminal(
    batch: Path, call: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from apps.cli import main

    assert main(["convert", str(batch), str(tmp_path / "all.json"), "--to", "coco"]) == 0
    err = capsys.readouterr().err
    assert f"passed over, since they are no results: 2 files: {batch}/day1/notes.txt" in err
    assert "videos that failed are not there: day2/cat" in err


# ---------------------------------------------------------------- pictures


def write_video(path: Path, brightness: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, (12, 16), 5.0) as writer:
        for frame in range(4):
            writer.write(np.full((12, 16, 3), brightness + 10 * frame, np.uint8))


def sized(result: VideoResult, name: str, width: int, frames: list[int], **video: Any) -> VideoResult:
    """The result's video alone, of another width, on these frames."""
    info = replace(result.video, name=name, width=width, **video)
    return replace(
        result, video=info, tubes=(), frames=np.array(frames), pts_seconds=np.array(frames, np.float64)
    )


def test_the_pictures_that_the_file_names_are_written(busy: VideoResult, call: Any, tmp_path: Path) -> None:
    for place, brightness in (("day1/dog", 20), ("day2/dog", 120)):
        video = tmp_path / "videos" / f"{place}.mp4"
        write_video(video, brightness)
        run = tmp_path / "runs" / place
        tubes.write(run / "tubes.json", sized(busy, "dog", 16, [0, 2]))
        (run / "run.json").write_text(json.dumps({"source": source_identity(video)}))
    for kind in ("coco", "ytvis"):
        out = tmp_path / f"{kind}.json"
        said = call(tmp_path / "runs", out, "--to", kind, "--export-frames", tmp_path / "videos")
        content = json.loads(out.read_text())
        named = [i["file_name"] for i in content.get("images", [])] or [
            f for v in content["videos"] for f in v["file_names"]
        ]
        assert said["frames"] == {"folder": str(tmp_path / f"{kind}_frames"), "count": 4}
        there = sorted(
            p.relative_to(tmp_path / f"{kind}_frames").as_posix()
            for p in (tmp_path / f"{kind}_frames").rglob("*.jpg")
        )
        assert there == sorted(named)
        values = [int(np.asarray(Image.open(tmp_path / f"{kind}_frames" / name)).mean()) for name in named]
        assert np.abs(np.array(values) - [20, 40, 120, 140]).max() <= 3
    # Pictures of an earlier export are not mixed with others.
    with pytest.raises(UsageError, match="coco_frames: exists"):
        call(
            tmp_path / "runs", tmp_path / "coco.json", "--to", "coco", "--export-frames", tmp_path / "videos"
        )


def test_images_of_the_user_are_copied_to_the_byte(busy: VideoResult, call: Any, tmp_path: Path) -> None:
    folder = tmp_path / "walk"
    folder.mkdir()
    for number in range(2):
        Image.fromarray(np.full((12, 16, 3), 90 + number, np.uint8)).save(folder / f"IMG_{number}.png")
    names = ("walk/IMG_0.png", "walk/IMG_1.png")
    tubes.write(tmp_path / "t.json", sized(busy, "walk", 16, [0, 1], file_names=names))
    call(tmp_path / "t.json", tmp_path / "c.json", "--to", "coco", "--export-frames", folder)
    for name in names:
        assert (tmp_path / "c_frames" / name).read_bytes() == (tmp_path / name).read_bytes()


def test_pictures_of_another_video_are_refused(busy: VideoResult, call: Any, tmp_path: Path) -> None:
    video, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    write_video(video, 20)
    write_video(other, 90)
    tubes.write(tmp_path / "run" / "tubes.json", sized(busy, "a", 16, [0]))
    (tmp_path / "run" / "run.json").write_text(json.dumps({"source": source_identity(video)}))
    with pytest.raises(InputError, match="is not the video that"):
        call(tmp_path / "run", tmp_path / "c.json", "--to", "coco", "--export-frames", other)
    assert not (tmp_path / "c_frames").exists()
    with pytest.raises(UsageError, match="names no pictures"):
        call(tmp_path / "run", tmp_path / "c.csv", "--to", "csv", "--export-frames", video)
    hostile = ("../../up.png",)
    tubes.write(tmp_path / "h.json", sized(busy, "a", 16, [0], file_names=hostile))
    with pytest.raises(UsageError, match="would leave the folder"):
        call(tmp_path / "h.json", tmp_path / "h2.json", "--to", "coco", "--export-frames", video)


def test_a_video_that_is_not_in_the_folder_is_named(busy: VideoResult, call: Any, tmp_path: Path) -> None:
    for name in ("a", "b"):
        tubes.write(tmp_path / "runs" / name / "tubes.json", sized(busy, name, 16, [0]))
    write_video(tmp_path / "videos" / "a.mp4", 20)
    with pytest.raises(InputError, match=r"holds no video 'b' \(1 of 2"):
        call(tmp_path / "runs", tmp_path / "c.json", "--to", "coco", "--export-frames", tmp_path / "videos")
