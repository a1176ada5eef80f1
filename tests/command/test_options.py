"""Values of options: typed, within bounds, and told in a sentence where they are not."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from apps.cli import build_parser
from apps.option_types import Parser, file_path, moment, number, positive, rate, read_moment, unit, whole
from vis.errors import VisWarning

Call = Callable[..., Any]
FUZZ = Path(__file__).with_name("fuzz_options.py")
RUN = ("--detector", "none", "--model", "none", "--no-overlay", "--quiet")


@pytest.fixture
def film(tmp_path: Path) -> Path:
    folder = tmp_path / "film"
    folder.mkdir()
    for k in range(4):
        Image.fromarray(np.full((8, 10, 3), 40 * k, np.uint8)).save(folder / f"{k}.png")
    return folder


def test_thousands_of_hostile_values_are_refused_or_within_bounds() -> None:
    environment = {**os.environ, "PYTHONPATH": str(FUZZ.parents[2])}
    done = subprocess.run(
        [sys.executable, str(FUZZ), "2000", "0"],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    counts = json.loads(done.stdout)
    assert counts["parsed"] + counts["refused"] == 2000
    assert counts["parsed"] > 500
    assert counts["run"] > 30


@pytest.mark.parametrize(
    ("read", "good", "bad"),
    [
        (positive, {"1": 1, "1000000000": 10**9}, ["0", "-1", "1.0", "²", "٣", "1_0", "1000000001", "9" * 5000, ""]),
        (whole(0, 5), {"0": 0, "+5": 5}, ["6", "-1", "x"]),
        (unit, {"0": 0.0, "1": 1.0, "1e-3": 0.001}, ["nan", "inf", "-0.1", "1.1", "½", "０.5", ""]),
        (number(0, 9, above=True), {"9": 9.0, "1e-9": 1e-9}, ["0", "-1", "9.1", "nan", "-inf"]),
        (rate, {"29.97": 29.97, "5000": 5000.0, "0.005": 0.005}, ["0", "-3", "nan", "inf", "1e9", "1e-320"]),
        (moment, {"0": "0", "120": "120", "4.5s": "4.5s"}, ["-4s", "infs", "nans", "1e400s", "s", "-1", "²", "9" * 11]),
    ],
)  # fmt: skip
def test_numbers_are_whole_finite_and_bounded(
    read: Callable[[str], Any], good: dict[str, Any], bad: list[str]
) -> None:
    assert {text: read(text) for text in good} == good
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError) as refused:
            read(text)
        assert len(str(refused.value)) < 200


def test_moments_are_frames_or_seconds() -> None:
    assert read_moment("120") == (120, None)
    assert read_moment("4.5s") == (None, 4.5)


@pytest.mark.parametrize("name", ["a" * 256, "é" * 128, "nowhere/" + "b" * 300, "c/" * 3000, "d\0e", ""])
def test_paths_are_ones_that_a_file_system_holds(name: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=r"too long for the file system|no path|got nothing"):
        file_path(name)
    assert file_path("e" * 255) == Path("e" * 255)


@pytest.mark.parametrize(
    ("words", "said", "option"),
    [
        (["--mode", "exact"], "--mode is now --precision;", ("precision", "exact")),
        (["--whole-or-part"], "^--whole-or-part is now --multimask tube;", ("multimask_selection", "tube")),
        (["--no-whole-or-part"], "--multimask single;", ("multimask_selection", "single")),
    ],
)
@pytest.mark.parametrize("verb", ["run", "batch", "refine"])
def test_former_options_work_and_say_what_they_are_called_now(
    verb: str, words: list[str], said: str, option: tuple[str, str]
) -> None:
    files = ["tubes.json", "clip.mp4"] if verb == "refine" else ["clip.mp4"]
    with pytest.warns(VisWarning, match=said):
        args = build_parser(verb).parse_args([*files, "--out", "out", *words])
    assert getattr(args, option[0]) == option[1]


def test_plain_types_have_bounds_in_every_parser() -> None:
    parser = Parser(exit_on_error=False)
    parser.add_argument("--count", type=int)
    parser.add_argument("--share", type=float)
    parser.add_argument("--at", type=Path)
    parser.add_argument("--box")
    assert parser.parse_args(["--count", "-3", "--box", "-10,30,40,60"]) == argparse.Namespace(
        count=-3, share=None, at=None, box="-10,30,40,60"
    )
    assert parser.parse_args(["--box", "-.5,1@2s#1"]).box == "-.5,1@2s#1"
    for words in (["--count", "9" * 30], ["--share", "nan"], ["--share", "-inf"], ["--at", "x" * 300]):
        with pytest.raises((SystemExit, argparse.ArgumentError)):
            parser.parse_args(words)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("run", "FILM", "--end", "infs"), 2, "argument --end: 'infs': give a frame number like 120, or seconds"),
        (("run", "FILM", "--fps", "0"), 2, "argument --fps: expected a number from"),
        (("run", "FILM", "--fps", "-3"), 2, "argument --fps: expected a number from"),
        (("run", "CLIP", "--fps", "24"), 2, "--fps 24: is for folders of images; clip.mp4 is a file with its own"),
        (("refine", "RESULT", "CLIP", "--fps", "24"), 2, "is for folders of images"),
        (("batch", "CLIP", "--fps", "24"), 2, "--fps 24: is for folders of images, and none is among these"),
        (("batch", "FILM", "--frames", "FILM"), 2, "is the image folder of a set"),
        (("run", "x" * 300), 2, "argument source: the name is too long for the file system"),
        (("run", "FILM", "--model", "m" * 300), 2, "argument --model: the name is too long"),
        (("follow", "FILM", "--box", "-10,3,40,6"), 2, "--box -10,3,40,6: the box reaches out of the picture of 10x8"),
        (("follow", "FILM", "--mask", "m" * 300), 2, "no file can have this name"),
        (("follow", "FILM", "--point", "²,3"), 2, "expected x,y in pixels"),
        (("follow", "0", "--live", "--point", "1,2", "--start", "5"), 2, "--live takes every picture from its first"),
        (("run", "FILM", "--detector", "motion", "--video-id", "3"), 2, "detector 'motion' has no setting video_id"),
        (("demo", "--port", "70000"), 2, "argument --port: expected a whole number from 1 to 65535"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_told_with_the_way_out(
    words: tuple[str, ...], code: int, message: str, vistubes: Call, film: Path, tmp_path: Path
) -> None:
    clip, result = tmp_path / "clip.mp4", tmp_path / "tubes.json"
    clip.write_bytes(b"any file")
    (tmp_path / "made").mkdir()
    assert vistubes("run", film, *RUN, "--out", tmp_path / "made" / "run").code == 0
    result.write_bytes((tmp_path / "made" / "run" / "tubes.json").read_bytes())
    places = {"FILM": film, "CLIP": clip, "RESULT": result}
    out = () if words[0] == "demo" else ("--out", tmp_path / "out")
    done = vistubes(*(places.get(word, word) for word in words), *out)
    assert (done.code, "Traceback" in done.err) == (code, False), done.err
    assert message in done.err
    assert not (tmp_path / "out").exists()


def test_one_video_of_several_is_chosen(vistubes: Call, film: Path, tmp_path: Path) -> None:
    mask = {"size": [8, 10], "counts": [10, 4, 66]}
    entries = [
        {"video_id": video, "category_id": 1, "score": 0.3 + video / 5, "segmentations": [mask] * 4}
        for video in (1, 2)
    ]
    (tmp_path / "found.json").write_text(json.dumps(entries))
    words = ("track", film, "--detector", "precomputed", "--weights", tmp_path / "found.json", "--quiet")
    refused = vistubes(*words, "--out", tmp_path / "out")
    assert refused.code == 3
    assert "--video-id" in refused.err
    done = vistubes(*words, "--video-id", 2, "--json", "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert done.json["options"]["video_id"] == 2
    tubes = json.loads((tmp_path / "out" / "tubes.json").read_text())["tubes"]
    assert [tube["score"] for tube in tubes] == [pytest.approx(0.7)]


def test_names_that_are_no_text_go_through_a_run_and_come_back(
    vistubes: Call, film: Path, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        film.rename(odd)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    out = tmp_path / os.fsdecode(b"out\xff")
    done = vistubes("run", odd, *RUN, "--json", "--out", out)
    assert done.code == 0, done.err
    record = json.loads((out / "run.json").read_text())
    assert record["source"]["name"] == "caf\udce9"
    assert done.json["out"] == str(out)
    assert json.loads((out / "tubes.json").read_text())["video"]["name"] == "caf\udce9"
    assert vistubes("convert", out, tmp_path / "all.json", "--to", "ytvis", "--json").code == 0


def test_a_terminal_without_the_letters_gets_them_escaped(tmp_path: Path) -> None:
    script = "from apps.cli import _print_any_name; _print_any_name(); print('caf\\xe9 \\udce9 \\u3042')"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii:strict"}
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, env=environment, cwd=root, check=False
    )
    assert done.stdout.split() == [b"caf\\xe9", b"\\udce9", b"\\u3042"], done.stderr


def test_exporting_never_replaces_another_checkpoints_files(vistubes: Call, tmp_path: Path) -> None:
    (tmp_path / "model-encoder.onnx").write_bytes(b"of another model.pth")
    done = vistubes("export", tmp_path / "elsewhere" / "model.pth", "--out", tmp_path)
    assert done.code == 1
    assert "model-encoder.onnx: exists; add --overwrite" in done.err
