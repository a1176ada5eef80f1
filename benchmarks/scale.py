"""Does a batch hold at ten thousand items? Memory of its driver, overhead per item, kills, and the size of the summary.

    python -m benchmarks.scale --items 10000 [--cluster local] [--jobs 2] [--kills 2] [--work DIR] [--json]

Tiny items: copies of ``--clips`` clips of three frames, made from a seed, each with a number of its own in it, so that
no two are the same video; their objects are stored masks, so no network runs. ``vistubes batch`` does them all in a
process of its own, whose resident memory is sampled: that of the last tenth of the items is set beside that of the
first. Overhead is wall time times jobs, less what the workers' stages took, per item; the start, until the first item
is done, is told beside it, and the CPU time of driver and workers (on a cluster: of the driver). Another batch over the
same items is killed (SIGKILL) ``--kills`` times on its way and resumed; its results are compared with those of the
first, file by file. The summary is ``batch.json`` and ``batch.html``, opened by parsing both.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import signal
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from vis import masks
from vis.formats import tubes
from vis.structures import Tube, VideoInfo, VideoResult
from vis.video import VideoWriter

FRAMES, SIZE = 3, (24, 96)
PER_FOLDER = 500
OPTIONS = ("--detector", "precomputed", "--tracker", "native", "--model", "none", "--no-overlay", "--quiet")
FINAL = ("tubes.json", "results.json", "contact_sheet.png", "failures.jsonl")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--clips", type=int, default=4, help="different clips among the items")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--cluster", choices=("local",), help="through a Ray cluster started for it")
    parser.add_argument("--work", type=Path, help="folder for items and results (default: a temporary one)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.work) as name:
        figures = measure(
            Path(name), args.items, clips=args.clips, jobs=args.jobs, kills=args.kills, cluster=args.cluster
        )
    if args.json:
        print(json.dumps(figures))
    else:
        for what, value in figures.items():
            print(f"{what:<28} {value}")
    return 0 if figures["same_files"] is not False and figures["failed"] == 0 else 1


def measure(
    work: Path, items: int, *, clips: int, jobs: int, kills: int, cluster: str | None
) -> dict[str, Any]:
    """All figures of one way through ``items`` items; ``work``: an empty folder."""
    stored = make_items(work / "items", work / "stored.json", items, clips)
    command = [sys.executable, "-m", "apps.cli", "batch", str(work / "items"), "--jobs", str(jobs)]
    command += [*OPTIONS, "--weights", str(stored), *(("--cluster", cluster) if cluster else ())]
    whole = run([*command, "--out", str(work / "whole")], work / "whole", items)
    report = json.loads((work / "whole" / "batch.json").read_text(encoding="utf-8"))
    busy = sum(report["totals"]["seconds_per_stage"].values())
    first, last = whole.memory(0, items / 10), whole.memory(0.9 * items, items)
    figures = {
        "items": items,
        "cluster": cluster or "no",
        "jobs": jobs,
        "failed": report["totals"]["failed"],
        "seconds": round(whole.seconds, 1),
        "start_seconds": round(whole.start, 1),
        "load": round(whole.load, 1),
        "work_ms_per_item": round(1000 * busy / items, 2),
        "overhead_ms_per_item": round(1000 * (whole.seconds * jobs - busy) / items, 2),
        "cpu_ms_per_item": round(1000 * whole.cpu / items, 2),
        "driver_mib_first_tenth": round(first / 2**20, 1),
        "driver_mib_last_tenth": round(last / 2**20, 1),
        "driver_growth": round(last / first - 1, 4),
        **summary(work / "whole"),
        "kills": 0,
        "same_files": None,
    }
    if kills:
        figures["kills"] = killed(command, work / "killed", items, kills)
        want, got = digests(work / "whole"), digests(work / "killed")
        figures["same_files"] = want == got and len(want) >= items
    return figures


def make_items(folder: Path, stored: Path, items: int, clips: int) -> Path:
    """Copies of a few tiny clips, and the file of the objects on them; returns it."""
    chance = np.random.default_rng(0)
    originals = []
    for number in range(clips):
        path = folder.parent / f"clip{number}.mp4"
        with VideoWriter(path, SIZE, 25) as writer:
            for _ in range(FRAMES):
                writer.write(np.full((*SIZE, 3), chance.integers(0, 256, 3), np.uint8))
        originals.append(path.read_bytes())
    for number in range(items):
        place = folder / f"{number // PER_FOLDER:04d}" / f"{number:06d}.mp4"
        place.parent.mkdir(parents=True, exist_ok=True)
        # A box of MP4 that players skip: its length, its kind, what it holds.
        place.write_bytes(originals[number % clips] + struct.pack(">I4sQ", 16, b"free", number))
    frames = np.arange(FRAMES)
    shapes = np.zeros((FRAMES, *SIZE), np.bool_)
    for frame in range(FRAMES):
        shapes[frame, 4:20, 5 + 3 * frame : 25 + 3 * frame] = True
    boxes = np.array([[5 + 3 * frame, 4, 25 + 3 * frame, 20] for frame in range(FRAMES)], np.float32)
    tube = Tube(1, 0, 0.9, frames, boxes, np.full(FRAMES, 0.9, np.float32), masks.encode_many(shapes))
    video = VideoInfo("stored", *SIZE, FRAMES, 25.0)
    tubes.write(stored, VideoResult(video, ("object",), (tube,), frames, frames / 25))
    return stored


@dataclass
class Run:
    """One run of the command: how long, and (items done, resident bytes of its process) as they were sampled."""

    seconds: float = 0.0
    start: float = 0.0
    """Seconds until the first item was done."""
    cpu: float = 0.0
    """CPU seconds of the process and of those that it has waited for."""
    loads: list[float] = field(default_factory=list)
    """Processes that wanted to run on the machine, of whoever, as they were sampled."""
    samples: list[tuple[int, int]] = field(default_factory=list)
    code: int | None = None

    @property
    def load(self) -> float:
        return float(np.mean(self.loads))

    def memory(self, begin: float, end: float) -> float:
        """Mean resident bytes while so many items were done; of the sample nearest to them where there is none."""
        within = [used for done, used in self.samples if begin < done <= end]
        return (
            float(np.mean(within)) if within else float(min(self.samples, key=lambda s: abs(s[0] - end))[1])
        )


def run(command: list[str], out: Path, items: int, *, kill_at: int | None = None) -> Run:
    """Run the command; with ``kill_at`` until so many items are done in it, then kill it."""
    told, start, cpu = Run(), time.monotonic(), children_seconds()
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=errors)
        before = done_in(out)
        while (code := process.poll()) is None:
            done = done_in(out)
            told.loads.append(os.getloadavg()[0])
            if done > before and not told.start:
                told.start = time.monotonic() - start
            if 0 < done < items:
                told.samples.append((done, resident_bytes(process.pid)))
            if kill_at is not None and done - before >= kill_at:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return told
            time.sleep(0.1)
        told.seconds, told.code = time.monotonic() - start, code
        told.cpu = children_seconds() - cpu
        if code:
            errors.seek(0)
            raise SystemExit(f"vistubes batch ended with exit code {code}: {errors.read()[-2000:].decode()}")
    return told


def killed(command: list[str], out: Path, items: int, kills: int) -> int:
    """A batch that is killed on its way, again and again, and then finished; returns how often it was."""
    count = 0
    for _ in range(kills):
        told = run([*command, "--out", str(out)], out, items, kill_at=max(1, items // (kills + 1)))
        count += told.code is None
    run([*command, "--out", str(out)], out, items)
    return count


def done_in(out: Path) -> int:
    """Items that the batch says it has done, over all of its runs."""
    try:
        rows = json.loads((out / ".batch" / "sessions.json").read_bytes())
        return sum(row["frames"] for row in rows) // FRAMES
    except (OSError, ValueError):
        return 0


def children_seconds() -> float:
    """CPU seconds of all processes that have ended and been waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, without those that it has started."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def digests(out: Path) -> dict[str, str]:
    """Path below ``out`` -> sha256 of each final file."""
    files = [path for path in out.rglob("*") if path.name in FINAL and ".batch" not in path.parts]
    return {path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def summary(out: Path) -> dict[str, Any]:
    """How large the summary is, and how long it takes to open."""
    start = time.perf_counter()
    json.loads((out / "batch.json").read_text(encoding="utf-8"))
    HTMLParser().feed((out / "batch.html").read_text(encoding="utf-8"))
    return {
        "batch_json_bytes": (out / "batch.json").stat().st_size,
        "batch_html_bytes": (out / "batch.html").stat().st_size,
        "summary_opens_seconds": round(time.perf_counter() - start, 3),
    }


if __name__ == "__main__":
    raise SystemExit(main())
