"""Results are final before a picture is drawn: whatever happens then, they stay, and what is missing is told."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.run_folder import FILES, added_files, check_replaceable, new_run_folder
from vis.errors import OutputError, VideoError
from vis.files import write_text
from vis.formats import tubes
from vis.render import OverlayWriter, Renderer
from vis.video import VideoWriter

FEW = ("--detector", "motion", "--model", "none", "--tracker", "iou", "--end", "20", "--quiet")
Call = Callable[..., Any]


def record_of(out: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((out / "run.json").read_text())
    return value


def fail(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, error: BaseException, *, call: int) -> None:
    """The ``call``-th call of a method and all after it raise."""
    real, calls = getattr(owner, name), 0

    def method(self: Any, *args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls >= call:
            raise error
        return real(self, *args)

    monkeypatch.setattr(owner, name, method)


def test_killed_while_drawing_the_results_read_back(square_clip: Path, tmp_path: Path) -> None:
    script = (
        "import os, sys; from vis.render import Renderer; from apps.cli import main\n"
        "real, calls = Renderer.draw, []\n"
        "def draw(self, *args):\n"
        "    calls.append(1)\n"
        "    return real(self, *args) if len(calls) < 8 else os.kill(os.getpid(), 9)\n"
        "Renderer.draw = draw; main(sys.argv[1:])"
    )
    out = tmp_path / "out"
    words = [sys.executable, "-c", script, "run", str(square_clip), *FEW]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([*words, "--out", str(out)], cwd=root, capture_output=True, check=False)
    assert done.returncode == -9, done.stderr
    assert len(tubes.read(out / "tubes.json").frames) == 20
    assert json.loads((out / "results.json").read_text())
    assert record_of(out)["pictures"] == {"state": "pending"}
    assert record_of(out)["source"]["sha256"]
    assert {path.name for path in out.iterdir() if not path.name.startswith(".")} == {
        "tubes.json",
        "results.json",
        "run.json",
    }


@pytest.mark.parametrize(
    ("owner", "name", "call", "error", "reason", "there"),
    [
        (OverlayWriter, "write", 5, OutputError("the encoder broke"), "the encoder broke", {"contact_sheet.png"}),
        (VideoWriter, "_encode", 3, OSError(errno.ENOSPC, "No space left"), "the disk is full", {"contact_sheet.png"}),
        (VideoWriter, "_empty", 1, ValueError("late"), "ValueError: late", {"contact_sheet.png"}),
        (Renderer, "draw", 4, ZeroDivisionError("odd"), "ZeroDivisionError: odd", set()),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_missing_and_nothing_else(
    owner: type,
    name: str,
    call: int,
    error: Exception,
    reason: str,
    there: set[str],
    vistubes: Call,
    square_clip: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    words = ("run", square_clip, *FEW, "--json", "--out")
    assert vistubes(*words, whole).code == 0
    fail(monkeypatch, owner, name, error, call=call)
    done = vistubes(*words, out)
    assert done.code == 1
    assert "Traceback" not in done.err
    record = record_of(out)
    assert done.json == {**record, "out": str(out)}
    assert record["pictures"]["state"] == "failed"
    assert reason in record["pictures"]["missing"]["overlay.mp4"]
    assert f"overlay.mp4 could not be written: {record['pictures']['missing']['overlay.mp4']}" in done.err
    kept = {"results.json", "tubes.json", "run.json"} | there
    assert {path.name for path in out.iterdir()} == kept
    assert f"the results are whole: {out}/ holds {', '.join(sorted(kept))}" in done.err
    for file in kept - {"run.json"}:
        assert (out / file).read_bytes() == (whole / file).read_bytes(), file
    assert set(record_of(whole)) == set(record)
    assert record_of(whole)["pictures"] == {"state": "drawn"}
    assert {path.name for path in whole.iterdir()} == set(FILES)


def test_ctrl_c_while_drawing_keeps_the_results_of_any_verb(
    vistubes: Call, square_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, Renderer, "draw", KeyboardInterrupt(), call=3)
    done = vistubes("run", square_clip, *FEW, "--out", tmp_path / "out")
    assert done.code == 130
    assert record_of(tmp_path / "out")["pictures"] == {"state": "failed", "reason": "interrupted"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"results.json", "tubes.json", "run.json"}


def test_an_odd_image_late_in_a_folder_costs_no_frame_before_it(vistubes: Call, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for k in range(8):
        image = np.full((48, 64, 3), 50, np.uint8)
        image[10:30, 4 * k : 4 * k + 20] = 230
        Image.fromarray(image if k != 6 else image[:40]).save(tmp_path / "in" / f"{k}.png")
    words = ("run", tmp_path / "in", "--detector", "motion", "--model", "none", "--min-frames", 1)
    done = vistubes(*words, "--out", tmp_path / "out", "--quiet")
    assert done.code == 1
    assert f"The 6 frames before it are in {tmp_path / 'out'}/" in done.err
    assert tubes.read(tmp_path / "out" / "tubes.json").frames.tolist() == list(range(6))
    partial = record_of(tmp_path / "out")["partial"]
    assert (partial["frames"], partial["of"]) == (6, 8)
    assert "6.png: 64x40 pixels" in partial["reason"]
    assert (tmp_path / "out" / "overlay.mp4").is_file()
    strict = vistubes(*words, "--out", tmp_path / "strict", "--strict")
    assert strict.code == 3
    assert not (tmp_path / "strict").exists()


def test_a_run_that_ends_second_takes_another_name(tmp_path: Path) -> None:
    out = tmp_path / "clip"
    with new_run_folder(out, overwrite=False) as late:
        with new_run_folder(out, overwrite=False) as early:
            (early.part / "run.json").write_text("early")
        (late.part / "run.json").write_text("late")
    assert (early.out, late.out) == (out, tmp_path / "clip-2")
    assert [(folder.out / "run.json").read_text() for folder in (early, late)] == ["early", "late"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip", "clip-2"]


def test_a_folder_that_a_kill_caught_between_two_renames_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / ("clip" + "é" * 100)  # 205 bytes: with what a temporary name adds it is still no error
    with new_run_folder(out, overwrite=False) as folder:
        (folder.part / "run.json").write_text("first")
    real, renames = Path.replace, 0

    class Killed(BaseException):
        pass

    def replace(self: Path, target: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == 2:
            raise Killed
        return real(self, target)

    def again() -> None:
        with new_run_folder(out, overwrite=True) as folder:
            (folder.part / "run.json").write_text("second")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace)
        patch.setattr(shutil, "rmtree", lambda *_args, **_options: None)
        with pytest.raises(Killed):
            again()
    assert not out.exists()
    with pytest.raises(OutputError, match="add --overwrite"):
        check_replaceable(out, overwrite=False)
    assert (out / "run.json").read_text() == "first"


def test_a_replacement_that_fails_leaves_the_old_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "clip"
    with new_run_folder(out, overwrite=False) as folder:
        (folder.part / "run.json").write_text("first")
    real = Path.replace

    def replace(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError(errno.EIO, "Input/output error")
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replace)
    with (
        pytest.raises(OutputError, match="Input/output error"),
        new_run_folder(out, overwrite=True) as folder,
    ):
        (folder.part / "run.json").write_text("second")
    assert (out / "run.json").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["clip"]


def test_added_files_are_on_the_disk_before_a_record_tells_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, int]] = []
    sync, replace = os.fsync, Path.replace

    def fsync(handle: int) -> None:
        told.append(("flush", os.fstat(handle).st_ino))
        sync(handle)

    def put(self: Path, target: Path) -> Path:
        if target.parent == tmp_path:
            told.append((target.name, self.stat().st_ino))
        return replace(self, target)

    (tmp_path / "run.json").write_text("before")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", put)
    with added_files(tmp_path) as added:
        write_text(added / "run.json", "after")
        write_text(added / "sheet.png", "picture")
        assert (tmp_path / "run.json").read_text() == "before"
    sheet, record, folder = ((tmp_path / name).stat().st_ino for name in ("sheet.png", "run.json", "."))
    last = [("sheet.png", sheet), ("flush", folder), ("run.json", record), ("flush", folder)]
    assert told[-4:] == last
    assert {("flush", sheet), ("flush", record)} <= {*told[:-4]}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.json", "sheet.png"]

    def fail_halfway() -> None:
        with added_files(tmp_path) as added:
            write_text(added / "sheet.png", "half")
            raise KeyError

    with pytest.raises(KeyError):
        fail_halfway()
    assert (tmp_path / "sheet.png").read_text() == "picture"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], None]:
    """``live(source)``: ``follow --live`` sees the pictures of ``source()`` and finds one object on each."""
    from vis.follow.follower import ObjectState

    box, logits = np.array([3, 2, 9, 6], np.float32), np.zeros((256, 256), np.float32)

    def follow(frames: Any, *_args: Any, **_options: Any) -> Any:
        for frame in frames:
            mask = np.zeros(frame.size, np.bool_)
            mask[2:6, 3:9] = True
            yield frame, (ObjectState(1, mask, box, 0.9, False, logits),)

    for name in ("vis.refiners.create", "vis.follow.Follower"):
        monkeypatch.setattr(name, lambda *_args, **_options: None)
    monkeypatch.setattr("vis.follow.live.follow_live", follow)
    monkeypatch.setattr("apps.follow_job.model_checksums", lambda _: {})
    return lambda source: monkeypatch.setattr("apps.verbs.follow_live.pictures", lambda _: source())


def film(sizes: list[tuple[int, int]], error: BaseException | None = None) -> Any:
    import time

    for size in sizes:
        yield np.zeros((*size, 3), np.uint8)
        time.sleep(0.05)  # so that the one before has been answered
    if error is not None:
        raise error


WATCH = ("follow", "cam", "--live", "--box", "3,2,9,6", "--quiet", "--out")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (lambda: film([(20, 30)] * 3, VideoError("the camera went away")), "the camera went away"),
        (lambda: film([(20, 30), (20, 30), (40, 30)]), "is 30x40 pixels where those before it are 30x20"),
    ],
)
def test_a_live_stream_that_breaks_keeps_what_was_followed(
    source: Callable[[], Any], reason: str, live: Any, vistubes: Call, tmp_path: Path
) -> None:
    live(source)
    done = vistubes(*WATCH, tmp_path / "out")
    assert done.code == 1
    assert reason in done.err
    (tube,) = tubes.read(tmp_path / "out" / "tubes.json").tubes
    assert len(tube) >= 1
    partial = record_of(tmp_path / "out")["partial"]
    assert reason in partial["reason"]
    assert partial["frames"] == len(tubes.read(tmp_path / "out" / "tubes.json").frames)


def test_a_reader_of_live_lines_that_goes_away_costs_nothing(
    live: Any, vistubes: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(lambda: film([(20, 30)] * 3))

    def gone(*_args: Any, **options: Any) -> None:
        if "file" not in options:
            raise BrokenPipeError

    monkeypatch.setattr("builtins.print", gone)
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr.close", lambda: None)
        assert vistubes(*WATCH, tmp_path / "out", "--json").code == 0
    assert tubes.read(tmp_path / "out" / "tubes.json").tubes


def test_the_default_folder_is_of_one_video(
    vistubes: Call, square_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for day in ("day1", "day2", "day3"):
        (tmp_path / day).mkdir()
        shutil.copy(square_clip, tmp_path / day / "clip.mp4")
    with (tmp_path / "day2" / "clip.mp4").open("ab") as file:
        file.write(b"\0\0\0\x08free")  # an empty box at the end: the same pictures, another file
    few = ("--detector", "none", "--model", "none", "--end", "2", "--no-overlay")
    assert vistubes("run", "day1/clip.mp4", *few).code == 0
    done = vistubes("run", "day2/clip.mp4", *few)
    assert done.code == 0
    assert "runs/clip/ is of another video; this one goes to runs/clip-2/" in done.err
    for day, place in (("day1", "clip"), ("day2", "clip-2"), ("day3", "clip")):
        refused = vistubes("run", f"{day}/clip.mp4", *few)
        assert refused.code == 1
        assert f"runs/{place}: exists; add --overwrite" in refused.err
    before = (tmp_path / "runs" / "clip" / "run.json").read_bytes()
    assert vistubes("run", "day2/clip.mp4", *few, "--overwrite").code == 0
    assert (tmp_path / "runs" / "clip" / "run.json").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["clip", "clip-2"]
