"""Batch: killed at random moments, the same bytes; two workers beside two single runs; memory per worker.

    python -m benchmarks.batch --work /tmp/batch --frames 48 --kills 20 --detector motion --model none --chunk 8
    python -m benchmarks.batch --work /tmp/batch --frames 48 --kills 20 --small-disk ... (mounts a tmpfs: root)
    python -m benchmarks.batch --work /tmp/batch --frames 12 --kills 0 --throughput

Twelve clips are cut from the shared data folder ($VISTUBES_SHARED_DATA), with a corrupt, a halved,
an empty, a non-video and a bomb file among them. Seconds are of a machine that may be busy: the throughput is the ratio
of both ways measured one after the other, alternating, best of --rounds.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np

from vis.video import VideoWriter, open_source

ROOT = Path(__file__).resolve().parents[1]
NAMES = ("overlay.mp4", "tubes.json", "results.json", "contact_sheet.png", "failures.jsonl")


def cut_clips(target: Path, frames: int, count: int) -> None:
    """Ten DAVIS clips and two videos, the first frames of the first ``count``; and five broken files."""
    beside = ROOT.parent / "shared" / "data"
    data = Path(os.environ.get("VISTUBES_SHARED_DATA", beside))
    sources = sorted((data / "davis16" / "JPEGImages" / "480p").iterdir())
    sources += [data / "videos" / "vtest.avi", data / "videos" / "bedroom.mp4"]
    for source in sources[:count]:
        reader = open_source(source, end_frame=frames)
        target.mkdir(parents=True, exist_ok=True)
        with VideoWriter(target / f"{source.stem}.mp4", reader.info.size, 24) as writer:
            for frame in reader:
                writer.write(frame.image)
    whole = sorted(target.glob("*.mp4"))[0].read_bytes()
    # The index goes first in these files: without it nothing decodes, with half of the pictures half does.
    (target / "x-corrupt.mp4").write_bytes(whole[: whole.index(b"moov") + 40])
    (target / "x-halved.mp4").write_bytes(whole[: len(whole) // 2])
    (target / "x-empty.mp4").touch()
    (target / "x-text.mp4").write_text("not a video\n" * 100)
    write_bomb(target / "x-bomb.avi")


def write_bomb(path: Path) -> None:
    """A few kilobytes whose headers promise pictures of 16384 x 8192."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for packet in [
            *stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8))),
            *stream.encode(),
        ]:
            container.mux(packet)
    data = bytearray(path.read_bytes())
    # The bitmap header of the stream (strf) and the picture's own (SOF0), where height comes first.
    at = data.index(b"strf") + 8 + 4
    data[at : at + 8] = struct.pack("<ii", 16_384, 8_192)
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 8_192, 16_384)
    path.write_bytes(data)


def batch(clips: Path, out: Path, options: list[str], *, kill_after: float | None = None) -> int | None:
    """Exit code of the command, or None when it was killed with its workers left to find out."""
    words = [sys.executable, "-m", "apps.cli", "batch", str(clips), "--out", str(out), "--quiet", *options]
    process = subprocess.Popen(words, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        return process.wait(kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def outputs(out: Path) -> dict[str, str]:
    """sha256 of each final file."""
    files = [p for p in sorted(out.rglob("*")) if p.name in NAMES and ".batch" not in p.parts]
    return {p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def measure_kills(
    clips: Path, work: Path, options: list[str], *, kills: int, seed: int, disk: Disk | None
) -> bool:
    """Whether a batch that was killed again and again ends with the files of one that was not."""
    whole, killed = work / "whole", (work if disk is None else disk.folder) / "killed"
    started = time.monotonic()
    code = batch(clips, whole, options)
    usual = time.monotonic() - started
    started = time.monotonic()
    batch(clips, whole, options)
    idle = time.monotonic() - started  # with nothing left to do: what starting and ending cost
    print(f"uninterrupted: exit code {code}, {usual:.0f} s, of which {idle:.0f} s are not work", flush=True)
    if disk is not None:
        disk.resize(int(0.4 * sum(p.stat().st_size for p in whole.rglob("*") if p.is_file())))
    dice, count, finished = random.Random(seed), 0, None
    # Moments spread so that the work lasts for about as many sessions as there are kills.
    until = idle + 1.5 * (usual - idle) / max(1, kills)
    while finished in (None, 1):
        left = count < kills
        finished = batch(clips, killed, options, kill_after=dice.uniform(0.6 * idle, until) if left else None)
        done = len(list(killed.rglob("run.json")))
        pieces = len(list((killed / ".batch" / "chunks").glob("*/*/*.json")))
        drawn = len(list((killed / ".batch" / "chunks").glob("*/*/overlay/*/*.mp4")))
        state = f"{done} videos done, {pieces} chunks and {drawn} drawn pieces waiting"
        if finished is None:
            count += 1
            print(f"  kill {count}: {state}", flush=True)
        elif finished == 1 and disk is not None and not disk.was_full:
            print(f"  disk full, exit code 1: {state}; grown, going on", flush=True)
            disk.resize(2**30)
            disk.was_full = True
        elif finished == 1:
            break
    print(f"killed {count} times, then exit code {finished}")
    want, got = outputs(whole), outputs(killed)
    same = sum(want[name] == got.get(name) for name in want)
    for name in NAMES:
        mine = [path for path in want if Path(path).name == name]
        print(f"  {name}: {sum(want[path] == got.get(path) for path in mine)} of {len(mine)} equal")
    print(f"final files equal: {same} of {len(want)}; none besides: {set(got) == set(want)}")
    report = json.loads((killed / "batch.json").read_text())
    print(json.dumps(report["totals"], indent=2))
    for line in report["videos"]:
        if line["status"] == "failed":
            print(f"  {line['name']}: {line['error']}: {line['message'][-110:]}")
    return want == got and (disk is None or disk.was_full)


class Disk:
    """A small disk in memory that can grow."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.was_full = folder, False
        folder.mkdir(parents=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", str(folder)], check=True)

    def resize(self, size: int) -> None:
        subprocess.run(["mount", "-o", f"remount,size={size}", str(self.folder)], check=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=True)


def measure_throughput(clips: Path, work: Path, options: list[str], rounds: int) -> None:
    """Two single runs side by side, each over half of the clips one by one, against --jobs 2."""
    files = [p for p in sorted(clips.glob("*.mp4")) if not p.name.startswith("x-")]
    folder = work / "good"
    folder.mkdir(exist_ok=True)
    for path in files:
        shutil.copy(path, folder)
    single: list[tuple[float, float]] = []
    both: list[tuple[float, float]] = []
    for number in range(rounds):
        out = work / f"single{number}"
        with timed(single):
            halves = [subprocess.Popen(one_by_one(files[k::2], out, options), cwd=ROOT) for k in (0, 1)]
            for half in halves:
                half.wait()
        together = work / f"jobs{number}"
        with timed(both):
            batch(folder, together, [*options, "--jobs", "2"])
        print(
            f"round {number}: two single runs {single[-1][0]:.1f} s ({single[-1][1]:.1f} s of CPU), "
            f"--jobs 2 {both[-1][0]:.1f} s ({both[-1][1]:.1f} s)",
            flush=True,
        )
    totals = json.loads((together / "batch.json").read_text())["totals"]
    for place, what in enumerate(("time", "CPU time")):
        ratio = min(spent[place] for spent in single) / min(spent[place] for spent in both)
        print(f"throughput of --jobs 2 by {what}, best of {rounds}: {ratio:.2f} x two single runs")
    print(f"peak memory per worker: {totals['peak_memory_bytes_per_worker'] / 2**20:.0f} MiB")


@contextlib.contextmanager
def timed(into: list[tuple[float, float]]) -> Iterator[None]:
    """Seconds by the clock and of CPU time, this process's ended children and theirs."""
    before, started = os.times(), time.monotonic()
    yield
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    into.append((time.monotonic() - started, spent))


def one_by_one(files: list[Path], out: Path, options: list[str]) -> list[str]:
    """One process that does its videos one after the other through a batch of one worker."""
    words = [sys.executable, "-m", "apps.cli", "batch", *map(str, files), "--quiet", "--jobs", "1"]
    return [*words, "--out", str(out / files[0].stem), *options]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for clips and outputs; made anew")
    parser.add_argument("--frames", type=int, default=30)
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--small-disk", action="store_true", help="fill a small disk in the middle")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--throughput", action="store_true")
    args, options = parser.parse_known_args()
    shutil.rmtree(args.work, ignore_errors=True)
    cut_clips(args.work / "clips", args.frames, args.clips)
    good = True
    if args.kills:
        disk = Disk(args.work / "disk") if args.small_disk else None
        words = ["--jobs", "2", *options]
        try:
            good = measure_kills(
                args.work / "clips", args.work, words, kills=args.kills, seed=args.seed, disk=disk
            )
        finally:
            if disk is not None:
                disk.close()
    if args.throughput:
        measure_throughput(args.work / "clips", args.work, options, args.rounds)
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
