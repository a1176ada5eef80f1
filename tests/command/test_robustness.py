"""The benchmark that tries every file of a folder: what it tries, and how it tells how a command ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.robustness import execute, steps_of, summary, table

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


@pytest.fixture
def files(tmp_path: Path) -> Path:
    root = tmp_path / "files"
    (root / "frames").mkdir(parents=True)
    for k in range(2):
        Image.fromarray(np.full((8, 10, 3), 40 * k, np.uint8)).save(root / "frames" / f"{k}.png")
    (root / "broken.mp4").write_bytes(b"no video at all" * 9)
    (root / "truth.json").write_text("{}")
    (root / "results.json").write_text("[]")
    (root / "notes.md").write_text("whatever a user may give")
    return root


def test_every_file_and_folder_of_images_is_tried(files: Path) -> None:
    steps = list(steps_of(files))
    tried = {(step.kind, step.path.relative_to(files).as_posix()) for step in steps}
    assert {path for kind, path in tried if kind == "run"} == {
        "broken.mp4",
        "notes.md",
        "frames",
        "frames/0.png",
    }
    assert {path for kind, path in tried if kind == "convert"} == {"truth.json", "results.json", "frames"}
    pairs = [step.words for step in steps if step.kind == "eval" and step.path.name == "results.json"]
    assert any("coco" in words and str(files / "truth.json") in words for words in pairs)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("print('fine')", "ok"),
        ("import sys; print('error: no video', file=sys.stderr); raise SystemExit(3)", "refused"),
        ("raise KeyError('bug')", "traceback"),
        ("raise SystemExit(77)", "exit code"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal"),
        ("import time; time.sleep(600)", "hang"),
        ("bytearray(2**33)", "memory"),
    ],
)
def test_how_a_command_ended(code: str, end: str) -> None:
    seconds = 1.0 if end == "hang" else 60.0
    outcome = execute((sys.executable, "-c", code), seconds=seconds, memory_bytes=GIB)
    assert outcome.end == end, outcome
    assert outcome.is_fault == (end not in ("ok", "refused"))


def test_peaks_are_of_the_command_alone() -> None:
    """In a process of its own, as the benchmark runs: Linux counts what a parent held as its child's peak."""
    program = (
        "import sys; from benchmarks.robustness import execute\n"
        "words = (sys.executable, '-c', 'data = bytearray(2**27)')\n"
        f"print(execute(words, seconds=60, memory_bytes={GIB}).peak_bytes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert 2**27 < int(done.stdout) < 2**28


def test_faults_are_listed_with_their_command(files: Path) -> None:
    step = next(iter(steps_of(files)))
    bad = execute((sys.executable, "-c", "raise KeyError('bug')"), seconds=60, memory_bytes=GIB)
    good = execute((sys.executable, "-c", "pass"), seconds=60, memory_bytes=GIB)
    report = summary([(step, bad), (step, good)], files)
    assert report["steps"]["probe"]["commands"] == 2
    assert report["faults"][0]["command"] == list(step.words)
    assert "traceback in probe of" in table(report)
    assert "KeyError: 'bug'" in table(report)


def test_the_script_on_a_small_folder(files: Path) -> None:
    files = Path(os.path.relpath(files, ROOT))  # commands run elsewhere, and find it all the same
    words = ("-m", "benchmarks.robustness", "--files", str(files), "--steps", "probe", "--json")
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["faults"] == []
    assert report["steps"]["probe"]["commands"] == 4
    assert report["steps"]["probe"]["ok"] >= 1
    assert any("broken.mp4: not a video" in row["said"] for row in report["refusals"])
