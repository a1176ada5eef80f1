"""vistubes run, track and refine as a user calls them: what appears, what is said, which exit code."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apps.run_folder import FILES
from vis import weights
from vis.formats import tubes
from vis.masks import bounding_box, decode
from vis.video import open_source

MOTION = ("--detector", "motion", "--model", "none", "--tracker", "iou")
Call = Callable[..., Any]


def test_a_run_leaves_the_whole_folder_and_reads_back(
    vistubes: Call, square_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    done = vistubes("run", square_clip, *MOTION, "--out", out, "--json")
    assert done.code == 0, done.err
    assert sorted(p.name for p in out.iterdir()) == sorted(FILES)
    assert [p.name for p in tmp_path.iterdir()] == ["run"], "temporary folders stayed behind"

    record = json.loads((out / "run.json").read_text())
    assert {**record, "out": str(out)} == done.json
    assert record["video"] == {"height": 96, "width": 128, "frames": 40}
    assert record["peak_memory_bytes"] > 10_000_000
    assert {"decode", "detect", "track", "draw"} <= set(record["seconds_per_stage"])

    result = tubes.read(out / "tubes.json")
    longest = max(result.tubes, key=len)
    assert longest.masks is not None
    last = bounding_box(longest.masks[-1])
    # On the last frame the square lies at x 68..100, y 30..62; it moves 2 pixels a frame, and the motion
    # detector closes gaps between fragments, so its outline is a few pixels wide of the square.
    assert abs(last - [68, 30, 100, 62]).max() <= 6
    assert decode(longest.masks[-1])[34:58, 74:94].mean() > 0.9

    entries = json.loads((out / "results.json").read_text())
    assert len(entries) == len(result.tubes)
    assert all(len(entry["segmentations"]) == 40 for entry in entries)
    assert sum(1 for _ in open_source(out / "overlay.mp4")) == 40
    assert "frames" in done.err
    assert "\x1b" not in done.err, "control characters without a terminal"


def test_frames_are_chosen_by_number_or_time(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    for start, end in (("12", "30"), ("1.2s", "3s")):
        out = tmp_path / start
        done = vistubes(
            "run",
            square_clip,
            *MOTION,
            "--start",
            start,
            "--end",
            end,
            "--stride",
            3,
            "--out",
            out,
            "--quiet",
        )
        assert done.code == 0, done.err
        assert (done.out, done.err) == ("", "")
        assert tubes.read(out / "tubes.json").frames.tolist() == [12, 15, 18, 21, 24, 27]


def test_track_then_refine_keeps_the_association(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    if not weights.cached(weights.WEIGHTS["mobile-sam"]):
        pytest.skip("MobileSAM is not in the cache: vistubes models fetch mobile-sam")
    found, fine = tmp_path / "found", tmp_path / "fine"
    few = ("--start", 20, "--end", 24)
    assert (
        vistubes("track", square_clip, "--detector", "motion", "--min-frames", 1, *few, "--out", found).code
        == 0
    )
    assert vistubes("refine", found, square_clip, "--model", "sam-tiny", "--out", fine).code == 0
    before, after = tubes.read(found / "tubes.json"), tubes.read(fine / "tubes.json")
    assert [(t.id, t.label, t.score, t.frames.tolist()) for t in after.tubes] == [
        (t.id, t.label, t.score, t.frames.tolist()) for t in before.tubes
    ]
    assert all((a.boxes == b.boxes).all() for a, b in zip(after.tubes, before.tubes, strict=True))
    assert after.made_with["association"] == before.made_with
    assert "mobile_sam.pt" in after.made_with["weights_sha256"]


def test_boxes_only_are_kept_without_results_json(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    boxes = {"class_names": ["square"], "frames": [[{"box": [10, 30, 42, 62], "score": 0.9}]] * 40}
    (tmp_path / "boxes.json").write_text(json.dumps(boxes))
    words = ("--detector", "precomputed", "--weights", tmp_path / "boxes.json", "--out", tmp_path / "run")
    done = vistubes("track", square_clip, *words)
    assert done.code == 0, done.err
    assert not (tmp_path / "run" / "results.json").exists()
    assert tubes.read(tmp_path / "run" / "tubes.json").tubes[0].masks is None


@pytest.mark.parametrize(
    ("selection", "frames"),
    [
        ((), [0, 1, 2, 4, 5, 6, 7, 8]),  # image 3 does not decode
        (("--start", 2), [2, 4, 5, 6, 7, 8]),
        (("--start", 1, "--stride", 3, "--end", 8), [1, 4, 7]),
    ],
)
@pytest.mark.filterwarnings("ignore::vis.errors.TruncatedVideoWarning")
def test_objects_from_a_file_belong_to_their_frames(
    vistubes: Call, tmp_path: Path, selection: tuple[object, ...], frames: list[int]
) -> None:
    from PIL import Image

    (tmp_path / "f").mkdir()
    for frame in range(9):
        Image.new("RGB", (64, 48)).save(tmp_path / "f" / f"{frame}.png")
    (tmp_path / "f" / "3.png").write_bytes(b"no image")
    boxes = [[{"box": [2 * frame, 5, 2 * frame + 30, 35], "id": 1}] for frame in range(9)]
    (tmp_path / "boxes.json").write_text(json.dumps({"frames": boxes}))
    words = ("--detector", "precomputed", "--weights", tmp_path / "boxes.json", "--tracker", "native")
    done = vistubes("track", tmp_path / "f", *words, *selection, "--min-frames", 1, "--out", tmp_path / "run")
    assert done.code == 0, done.err
    (tube,) = tubes.read(tmp_path / "run" / "tubes.json").tubes
    assert tube.frames.tolist() == frames
    assert tube.boxes[:, 0].tolist() == [2 * frame for frame in frames]


def test_linking_joins_a_tube_that_was_broken(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    found, linked = tmp_path / "found", tmp_path / "linked"
    assert vistubes("track", square_clip, "--detector", "motion", "--start", 14, "--out", found).code == 0
    whole = max(tubes.read(found / "tubes.json").tubes, key=len)
    # The same object under two names, with four frames lost between them.
    value = json.loads((found / "tubes.json").read_text())
    (tube,) = (t for t in value["tubes"] if t["id"] == whole.id)

    def part(name: int, rows: slice) -> dict[str, Any]:
        lists = {key: tube[key][rows] for key in ("frames", "boxes", "scores", "masks")}
        return {**tube, **lists, "id": name}

    value["tubes"] = [part(1, slice(0, 8)), part(2, slice(12, None))]
    (tmp_path / "broken.json").write_text(json.dumps(value))
    words = ("link", tmp_path / "broken.json", square_clip, "--fill", 1, "--out", linked, "--json")
    done = vistubes(*words)
    assert done.code == 0, done.err
    assert done.json["tubes"] == 1
    (one,) = tubes.read(linked / "tubes.json").tubes
    assert one.frames.tolist() == whole.frames.tolist()


def test_refining_with_another_video_is_refused(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    if not weights.cached(weights.WEIGHTS["mobile-sam"]):
        pytest.skip("MobileSAM is not in the cache: vistubes models fetch mobile-sam")
    found = tmp_path / "found"
    assert vistubes("track", square_clip, "--detector", "motion", "--out", found).code == 0
    value = json.loads((found / "tubes.json").read_text())
    value["video"]["height"], value["tubes"] = 48, []
    (tmp_path / "other.json").write_text(json.dumps(value))
    done = vistubes(
        "refine", tmp_path / "other.json", square_clip, "--model", "sam-tiny", "--out", tmp_path / "o"
    )
    assert done.code == 3
    assert "give the video that it was made from" in done.err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("run", "MISSING"), 3, "MISSING"),
        (("run", "TEXT"), 3, "notes.mp4"),
        (("run", "EMPTY"), 3, "empty.mp4"),
        (("run", "CLIP", "--detector", "salience"), 2, "did you mean 'salient'"),
        (("run", "CLIP", "--tracker", "sortt"), 2, "choose one of iou"),
        (("run", "CLIP", *MOTION, "--classes", "dog"), 2, "no class 'dog'"),
        (("run", "CLIP", *MOTION, "--start", "soon"), 2, "4.5s"),
        (("run", "CLIP", "--detector", "motion", "--model", "hq-xxl"), 2, "hq-tiny"),
        (("run", "CLIP", "--stride", "0"), 2, "expected 1 or more"),
        (("run", "CLIP", "--score", "7"), 2, "from 0 to 1"),
        (("run",), 2, "source"),
        (("fly",), 2, "the verbs are"),
        ((), 2, "usage"),
        (("refine", "TEXT", "CLIP"), 3, "notes.mp4"),
        (("refine", "MISSING", "CLIP"), 3, "MISSING"),
    ],
)
def test_errors_say_what_and_how(
    vistubes: Call, square_clip: Path, tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    (tmp_path / "notes.mp4").write_text("no video at all\n" * 50)
    (tmp_path / "empty.mp4").write_bytes(b"")
    places = {
        "CLIP": square_clip,
        "TEXT": tmp_path / "notes.mp4",
        "EMPTY": tmp_path / "empty.mp4",
        "MISSING": tmp_path / "MISSING",
    }
    out = tmp_path / "out"
    done = vistubes(*(places.get(word, word) for word in words), *(("--out", out) if len(words) > 1 else ()))
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""
    assert not out.exists()


def test_missing_weights_say_the_command(
    vistubes: Call, square_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VISTUBES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    done = vistubes("run", square_clip, "--detector", "motion", "--out", tmp_path / "out")
    assert done.code == 4
    assert "vistubes models fetch mobile-sam" in done.err


def test_an_existing_run_is_never_replaced_silently(
    vistubes: Call, square_clip: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    words = ("run", square_clip, *MOTION, "--end", 3, "--no-overlay", "--out", out)
    assert vistubes(*words).code == 0
    assert not (out / "overlay.mp4").exists()
    before = (out / "run.json").read_bytes()
    refused = vistubes(*words)
    assert refused.code == 1
    assert "--overwrite" in refused.err
    assert (out / "run.json").read_bytes() == before
    assert vistubes(*words, "--overwrite").code == 0
    assert (out / "run.json").read_bytes() != before

    foreign = tmp_path / "photos"
    foreign.mkdir()
    (foreign / "mine.txt").write_text("keep")
    refused = vistubes("run", square_clip, *MOTION, "--out", foreign, "--overwrite")
    assert refused.code == 1
    assert "not a run of this program" in refused.err
    assert (foreign / "mine.txt").read_text() == "keep"


def test_a_run_that_fails_leaves_the_old_one(
    vistubes: Call, square_clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    words = ("run", square_clip, *MOTION, "--out", out)
    assert vistubes(*words).code == 0
    before = {p.name: p.read_bytes() for p in out.iterdir()}

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vis.files.os.fsync", full)
    failed = vistubes(*words, "--overwrite")
    assert failed.code == 1
    assert f"{out / 'results.json'}: the disk is full" in failed.err
    assert {p.name: p.read_bytes() for p in out.iterdir()} == before
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


def test_same_command_same_tubes(vistubes: Call, square_clip: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        assert vistubes("run", square_clip, *MOTION, "--out", tmp_path / name, "--quiet").code == 0
    # Not overlay.mp4: on some CPUs the encoder's output varies from run to run in a few bits.
    for file in ("tubes.json", "results.json", "contact_sheet.png"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file


def test_another_distributions_package_is_named(tmp_path: Path) -> None:
    (tmp_path / "trackers").mkdir()
    (tmp_path / "trackers" / "__init__.py").write_text("")
    code = "from apps.cli import main; raise SystemExit(main(['models', 'list']))"
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 4, done.stderr
    assert f"'trackers' is taken from {tmp_path / 'trackers'}" in done.stderr
    assert "python -m venv" in done.stderr


def test_doctor_examines_this_machine(vistubes: Call) -> None:
    done = vistubes("doctor", "--json")
    states = {finding["what"]: finding["state"] for finding in done.json["findings"]}
    assert states["video"] == "ok"
    assert states["package names"] == "ok"
    assert states["torch"] == "ok"
    assert done.code == int("broken" in states.values())


@pytest.mark.parametrize(
    ("words", "link", "overlap", "clean"),
    [
        ([], True, "resolve", True),
        (["--no-link", "--overlap", "keep", "--no-clean"], False, "keep", False),
        (["--preset", "paper"], False, "keep", False),
        (["--preset", "paper", "--link", "--overlap", "resolve", "--clean"], True, "resolve", True),
    ],
)
def test_presets_and_options_say_what_is_done_to_masks_and_tubes(
    words: list[str], link: bool, overlap: str, clean: bool
) -> None:
    from apps.cli import build_parser
    from apps.options import plan_of

    plan = plan_of(build_parser("run").parse_args(["clip.mp4", *words]))
    refining = plan.refining()
    assert refining is not None
    assert (plan.link, plan.overlap, plan.clean) == (link, overlap, clean)
    assert (refining.overlap, refining.clean) == (overlap, clean)
    # Short pieces stay until linking had its chance to join them.
    assert plan.collected_frames() == (1 if link else plan.min_frames)


@pytest.mark.parametrize(
    ("words", "chosen"),
    [
        ([], "tube"),
        (["--multimask", "single"], "single"),
        (["--preset", "paper"], "single"),
        (["--preset", "paper", "--multimask", "tube"], "tube"),
    ],
)
def test_presets_and_options_say_how_tubes_choose_among_masks(words: list[str], chosen: str) -> None:
    import argparse

    from apps.options import add_association, add_refiner, plan_of

    parser = argparse.ArgumentParser()
    add_association(parser)
    add_refiner(parser)
    plan = plan_of(parser.parse_args(words))
    refining = plan.refining()
    assert refining is not None
    assert refining.multimask_selection == plan.multimask_selection == chosen
    assert plan_of(parser.parse_args([*words, "--model", "none"])).refining() is None
