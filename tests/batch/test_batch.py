"""The whole command with real worker processes: kills, hostile files, full disks, and what it leaves."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from apps.batch.item import Item
from apps.batch.pool import Limits, run_local
from apps.verbs import batch
from vis.errors import OutputError

ROOT = Path(__file__).resolve().parents[2]
FAST = ["--detector", "motion", "--tracker", "iou", "--score", "0", "--model", "none", "--chunk", "4"]


def command(*words: str, limit: float | None = None) -> int | None:
    """``vistubes batch`` in a process of its own; killed after ``limit`` seconds, then None."""
    line = [sys.executable, "-m", "apps.cli", "batch", *words, *FAST]
    process = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        return process.wait(limit)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


@pytest.fixture
def clips(tmp_path: Path, write_clip: Any) -> Path:
    for seed, name in enumerate(("one", "two", "deep/three")):
        write_clip(tmp_path / "in" / f"{name}.mp4", frames=24, seed=seed)
    return tmp_path / "in"


@pytest.mark.slow
def test_killed_five_times_at_random_it_ends_with_the_same_bytes(
    clips: Path, tmp_path: Path, outputs: Any
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    (clips / "broken.mp4").write_bytes(b"no video at all")
    began = time.monotonic()
    assert command(str(clips), "--out", str(whole), "--jobs", "2") == 5
    usual = time.monotonic() - began
    dice = random.Random(8)
    for _ in range(5):
        if (
            command(str(clips), "--out", str(out), "--jobs", "2", limit=dice.uniform(0.3, 0.9) * usual)
            is not None
        ):
            break
    assert command(str(clips), "--out", str(out), "--jobs", "1") == 5
    assert outputs(out) == outputs(whole)
    assert len(outputs(whole)) == 3 * 4 + 1
    leftovers = [p for p in out.rglob(".*") if p.name != ".batch"]
    assert leftovers == []
    report = json.loads((out / "batch.json").read_text())
    assert report["totals"]["failed"] == 1
    # A run after the end keeps everything.
    assert command(str(clips), "--out", str(out)) == 5
    assert json.loads((out / "batch.json").read_text())["totals"]["kept"] == 3


def write_bomb(path: Path) -> None:
    """A few kilobytes that promise pictures of 16384 x 8192: raw grey in an AVI whose header is changed."""
    import struct

    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for packet in [
            *stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))),
            *stream.encode(),
        ]:
            container.mux(packet)
    data = bytearray(path.read_bytes())
    # The bitmap header of the stream (strf), and the picture's own (SOF0): height before width there.
    at = data.index(b"strf") + 8 + 4
    data[at : at + 8] = struct.pack("<ii", 16_384, 8_192)
    sof = data.index(b"\xff\xc0") + 5
    data[sof : sof + 4] = struct.pack(">HH", 8_192, 16_384)
    path.write_bytes(data)


def test_hostile_files_are_named_and_all_others_finish(clips: Path, parse: Any, tmp_path: Path) -> None:
    (clips / "zero.mp4").touch()
    (clips / "text.mp4").write_text("this is no video\n" * 50)
    write_bomb(clips / "bomb.avi")
    whole = (clips / "one.mp4").read_bytes()
    (clips / "corrupt.mp4").write_bytes(whole[: len(whole) // 2])
    (clips / "notes.txt").write_text("not passed to any decoder")
    args = parse(str(clips), "--out", str(tmp_path / "out"), "--jobs", "2")
    assert batch.run(args) == 5
    lines = [json.loads(line) for line in (tmp_path / "out" / "failures.jsonl").read_text().splitlines()]
    told = {line["name"]: line["message"] for line in lines}
    assert sorted(told) == ["bomb", "corrupt", "text", "zero"]
    assert "over the limit" in told["bomb"]
    assert "empty" in told["zero"]
    report = json.loads((tmp_path / "out" / "batch.json").read_text())
    assert report["totals"]["done"] == 3
    assert report["passed_over"] == [str(clips / "notes.txt")]
    page = (tmp_path / "out" / "batch.html").read_text()
    for name in (*told, "notes.txt", "deep/three"):
        assert name in page
    # Every picture that the page shows is there.
    for source in re.findall(r'src="([^"]+)"', page):
        assert (tmp_path / "out" / source).is_file()


def run_watched(args: Any, items: list[Item], limits: Limits, strike: Any) -> list[Any]:
    """Events of the local engine; ``strike(pid)`` is done once, when the first worker has begun a video."""
    import multiprocessing

    events, struck = [], False
    settings = batch.settings_of(args, batch.workers_of(args, len(items)))
    stream = run_local(items, settings, jobs=1, limits=limits)
    for event in stream:
        events.append(event)
        if event.kind == "progress" and not struck:
            struck = True
            (child,) = [c for c in multiprocessing.active_children() if c.name.startswith("vistubes")]
            strike(child.pid)
    return events


def test_a_lost_worker_costs_no_video(clips: Path, parse: Any, tmp_path: Path, outputs: Any) -> None:
    items = [Item("one", str(clips / "one.mp4")), Item("two", str(clips / "two.mp4"))]
    args = parse("x", "--out", str(tmp_path / "out"), "--chunk", "4")
    events = run_watched(args, items, Limits(), lambda pid: os.kill(pid, signal.SIGKILL))
    assert [(e.kind, e.item) for e in events if e.kind in ("done", "failed")] == [("done", 0), ("done", 1)]
    assert sum(e.kind == "start" for e in events) == 3  # the struck one twice


def test_a_worker_that_dies_each_time_fails_its_video_only(clips: Path, parse: Any, tmp_path: Path) -> None:
    items = [Item("one", str(clips / "one.mp4")), Item("two", str(clips / "two.mp4"))]
    args = parse("x", "--out", str(tmp_path / "out"))
    events = run_watched(args, items, Limits(attempts=1), lambda pid: os.kill(pid, signal.SIGSEGV))
    ends = {e.item: e for e in events if e.kind in ("done", "failed")}
    assert ends[0].kind == "failed"
    assert "died (signal 11)" in ends[0].data["message"]
    assert ends[1].kind == "done"


def test_a_worker_that_stands_still_is_given_up(clips: Path, parse: Any, tmp_path: Path) -> None:
    items = [Item("one", str(clips / "one.mp4"))]
    args = parse("x", "--out", str(tmp_path / "out"))
    (last,) = run_watched(args, items, Limits(stall_seconds=6), lambda pid: os.kill(pid, signal.SIGSTOP))[-1:]
    assert last.kind == "failed"
    assert "no frame was finished" in last.data["message"]


def test_a_worker_that_grows_too_big_is_given_up(clips: Path, parse: Any, tmp_path: Path) -> None:
    if not Path("/proc/self/statm").exists():
        pytest.skip("this system does not tell how much memory a process has")
    items = [Item("one", str(clips / "one.mp4"))]
    args = parse("x", "--out", str(tmp_path / "out"))
    settings = batch.settings_of(args, batch.workers_of(args, 1))
    events = list(run_local(items, settings, jobs=1, limits=Limits(memory_bytes=2**20)))
    assert events[-1].kind == "failed"
    assert "over 0.0 GiB" in events[-1].data["message"]


def test_missing_weights_stop_the_batch_with_their_own_error(clips: Path, parse: Any, tmp_path: Path) -> None:
    from vis.errors import VisError

    args = parse(str(clips), "--out", str(tmp_path / "out"))
    args.detector, args.weights = "yolox", "nowhere.onnx"
    with pytest.raises(VisError, match="nowhere"):
        batch.run(args)


def test_two_batches_do_not_share_a_folder(parse: Any, tmp_path: Path) -> None:
    pytest.importorskip("fcntl", reason="file locks of this kind are POSIX")
    from apps.batch import lock

    script = (
        "import sys, time; from pathlib import Path; from apps.batch import lock\n"
        "with lock.acquire(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    other = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE)
    try:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(OutputError, match=f"process {other.pid}"), lock.acquire(tmp_path):
            pass
    finally:
        other.kill()
        other.wait()
        other.stdout.close()
    with lock.acquire(tmp_path):  # its holder is dead, so it is free
        pass


def test_a_full_disk_stops_the_batch_and_the_same_command_goes_on(
    clips: Path, tmp_path: Path, parse: Any, outputs: Any
) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount a small disk here")
    try:
        with pytest.raises(OutputError, match=r"disk is full|No space left|are free"):
            batch.run(parse(str(clips), "--out", str(small / "out")))
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        assert batch.run(parse(str(clips), "--out", str(small / "out"))) == 0
        assert batch.run(parse(str(clips), "--out", str(tmp_path / "whole"))) == 0
        assert outputs(small / "out") == outputs(tmp_path / "whole")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_json_goes_to_stdout_alone(
    clips: Path, parse: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = parse(str(clips / "one.mp4"), "--out", str(tmp_path / "out"), "--json")
    args.quiet = False
    assert batch.run(args) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["totals"]["videos"] == 1
    assert "1 of 1 videos: 1 done, 0 kept, 0 failed" in err
    assert "\x1b" not in err
