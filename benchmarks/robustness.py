"""Does any file end in a traceback, a hang or without bounds? Probe, run, convert and eval over a folder.

    python -m benchmarks.robustness --files FOLDER [--json] [--steps probe,run] [--seconds 60] [--memory 6]

Every file below FOLDER, and every folder of images, goes through what a user would do with it,
each in a process of its own under limits on time and memory:

    probe      what is it? (one frame is decoded)
    run        vistubes run with detector motion and no refiner, a few frames, pictures included
    convert    annotations read by every format of their kind, and written as tubes.json
    eval       as truth and as results, of each other where a folder holds both

A file may be refused: that is a sentence and a documented exit code. Faults are listed: a traceback, an exit code
that is not documented, a signal, no end within the time, no room within the memory. Beside them the peak memory and
the longest time of each step, with the file; --json also gives what was said of every file that was refused. The
exit code is 1 when there are faults.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from apps.batch.inputs import IMAGE_SUFFIXES
from apps.cli import EXIT_CODES
from vis.formats.registry import FORMATS

ROOT = Path(__file__).resolve().parents[1]
TEXT_SUFFIXES = frozenset(row.suffix for row in FORMATS.values() if row.suffix)
STEPS = ("probe", "run", "convert", "eval")
FRAMES = 8
"""Frames of a run: reading and drawing are what is tried, not the networks."""
PAIRS = 3
"""Results files that a truth file is scored with."""
SAID_BYTES = 3000
FILE_BYTES = 2**30
"""Largest file that a step may write."""
PROBE = """\
import sys
from vis.errors import VisError
from vis.video import probe
try:
    print(probe(sys.argv[1]))
except VisError as error:
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(3) from None
"""
VISTUBES = (sys.executable, "-m", "apps.cli")


@dataclass(frozen=True)
class Step:
    """One command on one input."""

    kind: str
    path: Path
    words: tuple[str, ...]
    """The command; OUT stands for a fresh path."""


@dataclass(frozen=True)
class Outcome:
    """How a command ended."""

    end: str
    """ok, refused, traceback, exit code, signal, hang or memory."""
    code: int
    seconds: float
    peak_bytes: int
    said: str
    """The end of what it wrote to stderr."""

    @property
    def is_fault(self) -> bool:
        return self.end not in ("ok", "refused")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--files", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--steps", default=",".join(STEPS), help=f"which (default: {','.join(STEPS)})")
    parser.add_argument("--seconds", type=float, default=60.0, help="longest time of a step (default: 60)")
    parser.add_argument("--memory", type=float, default=6.0, help="most memory of a step, GiB (default: 6)")
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    if not args.files.is_dir():
        parser.error(f"--files {args.files}: no such folder")
    chosen = args.steps.split(",")
    if unknown := set(chosen) - set(STEPS):
        parser.error(f"--steps: no step {', '.join(sorted(unknown))}; there are {', '.join(STEPS)}")
    rows = []
    # Commands run in folders of their own.
    steps = [step for step in steps_of(args.files.absolute()) if step.kind in chosen]
    for number, step in enumerate(steps, 1):
        outcome = execute(step.words, seconds=args.seconds, memory_bytes=int(args.memory * 2**30))
        rows.append((step, outcome))
        if outcome.is_fault or sys.stderr.isatty():
            print(
                f"{number}/{len(steps)} {step.kind} {step.path}: {outcome.end}", file=sys.stderr, flush=True
            )
    report = summary(rows, args.files)
    print(json.dumps(report) if args.json else table(report))
    return 1 if report["faults"] else 0


def steps_of(root: Path) -> Iterator[Step]:
    """What is tried with the files and folders below ``root``, in a fixed order."""
    for place, below, names in os.walk(root):
        below[:] = sorted(name for name in below if not name.startswith("."))
        folder = Path(place)
        shown = (folder / name for name in sorted(names) if not name.startswith("."))
        files = [path for path in shown if path.is_file()]  # no pipe or device
        images = [file for file in files if _suffix(file) in IMAGE_SUFFIXES]
        texts = [file for file in files if _suffix(file) in TEXT_SUFFIXES]
        # Whatever is neither may be given for a video.
        media = [file for file in files if _suffix(file) not in IMAGE_SUFFIXES | TEXT_SUFFIXES]
        # Of a folder's images the first alone is tried as a file of its own.
        for path in [*media, *images[:1], *([folder] if images else [])]:
            yield Step("probe", path, (sys.executable, "-c", PROBE, str(path)))
            few = ("--detector", "motion", "--model", "none", "--end", str(FRAMES), "--quiet")
            yield Step("run", path, (*VISTUBES, "run", str(path), *few, "--out", "OUT"))
        if any(_suffix(file) == ".png" for file in images):
            yield from _conversions(folder, [name for name, row in FORMATS.items() if not row.suffix], [])
            words = ("eval", "davis", "--truth", str(folder), "--results", str(folder))
            yield Step("eval", folder, (*VISTUBES, *words))
        truths = [file for file in texts if _suffix(file) == ".json" and _first_letter(file) != "["]
        for file in texts:
            known = [name for name, row in FORMATS.items() if row.suffix == _suffix(file)]
            yield from _conversions(file, known, truths)
            if _suffix(file) == ".json":
                yield from _scores(file, truths)


def _conversions(path: Path, names: list[str], truths: list[Path]) -> Iterator[Step]:
    """The input as each format that it could be, to tubes.json."""
    for name in names:
        needs = FORMATS[name].needs
        words = ("convert", str(path), "OUT", "--from", name, "--to", "tubes")
        size = ("--size", "64x64") if "size" in needs else ()
        for truth in truths[:PAIRS] or [path] if "truth" in needs else [None]:
            belongs = () if truth is None else ("--truth", str(truth))
            yield Step("convert", path, (*VISTUBES, *words, *size, *belongs))


def _scores(file: Path, truths: list[Path]) -> Iterator[Step]:
    """The file as results of the truths beside it, and as its own truth."""
    for truth in dict.fromkeys([*truths[:PAIRS], file]):
        for verb in ("tubes", "coco"):
            words = ("eval", verb, "--truth", str(truth), "--results", str(file))
            yield Step("eval", file, (*VISTUBES, *words))
    yield Step("eval", file, (*VISTUBES, "eval", "zip", "--results", str(file), "--out", "OUT"))


# A program that limits itself and becomes the command: what Popen could run before that, between fork and exec, may
# wait for ever on a lock that another thread of this process had.
LIMITED = """
import os, resource, sys
memory, file = map(int, sys.argv[1:3])
resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
resource.setrlimit(resource.RLIMIT_FSIZE, (file, file))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
os.execvp(sys.argv[3], sys.argv[3:])
"""


def execute(words: tuple[str, ...], *, seconds: float, memory_bytes: int) -> Outcome:
    """Run a command under limits; OUT among the words becomes a path in a folder that goes afterwards."""
    limited = (sys.executable, "-I", "-S", "-c", LIMITED, str(memory_bytes), str(FILE_BYTES))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "VISTUBES_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    with tempfile.TemporaryDirectory(prefix="robustness-") as place, tempfile.TemporaryFile() as said:
        fresh = str(Path(place) / "out")
        began = time.monotonic()
        process = subprocess.Popen(
            [*limited, *(fresh if word == "OUT" else word for word in words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
            cwd=place,
            env=environment,
            start_new_session=True,  # its own children go with it
        )
        overdue = threading.Event()
        timer = threading.Timer(seconds, _kill, (process.pid, overdue))
        timer.start()
        _, status, usage = os.wait4(process.pid, 0)
        timer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        took = time.monotonic() - began
        said.seek(max(0, said.seek(0, os.SEEK_END) - SAID_BYTES))
        text = said.read().decode(errors="backslashreplace")
    end = "hang" if overdue.is_set() else _ending(process.returncode, text)
    unit = 1 if sys.platform == "darwin" else 1024
    return Outcome(end, process.returncode, round(took, 2), usage.ru_maxrss * unit, text)


def _kill(pid: int, overdue: threading.Event) -> None:
    overdue.set()
    os.killpg(pid, signal.SIGKILL)


def _ending(code: int, said: str) -> str:
    if any(
        word in said for word in ("MemoryError", "Cannot allocate memory", "bad_alloc", "Unable to allocate")
    ):
        return "memory"
    if "Traceback (most recent call last)" in said:
        return "traceback"
    if code < 0:
        return "signal"
    if code == 0:
        return "ok"
    return "refused" if code in EXIT_CODES else "exit code"


def summary(rows: list[tuple[Step, Outcome]], root: Path) -> dict[str, Any]:
    """Counts and peaks per step, and every fault with its command and the end of what it said."""
    steps = {}
    for kind in dict.fromkeys(step.kind for step, _ in rows):
        mine = [(step, outcome) for step, outcome in rows if step.kind == kind]
        largest = max(mine, key=lambda row: row[1].peak_bytes)
        longest = max(mine, key=lambda row: row[1].seconds)
        steps[kind] = {
            "commands": len(mine),
            **Counter(outcome.end for _, outcome in mine),
            "peak_mib": round(largest[1].peak_bytes / 2**20),
            "peak_of": str(largest[0].path),
            "longest_seconds": longest[1].seconds,
            "longest_of": str(longest[0].path),
        }
    faults = [
        {"step": step.kind, "path": str(step.path), "command": list(step.words), **asdict(outcome)}
        for step, outcome in rows
        if outcome.is_fault
    ]
    refusals = [
        {"step": step.kind, "path": str(step.path), "said": _last_line(outcome.said)}
        for step, outcome in rows
        if outcome.end == "refused"
    ]
    return {"files": str(root), "steps": steps, "faults": faults, "refusals": refusals}


def table(report: dict[str, Any]) -> str:
    """The report for people."""
    ends = ("ok", "refused", "traceback", "exit code", "signal", "hang", "memory")
    lines = [
        f"{'step':<8}{'commands':>9}"
        + "".join(f"{end:>10}" for end in ends)
        + f"{'peak MiB':>10}{'longest s':>11}"
    ]
    for kind, row in report["steps"].items():
        counts = "".join(f"{row.get(end, 0):>10}" for end in ends)
        lines.append(
            f"{kind:<8}{row['commands']:>9}{counts}{row['peak_mib']:>10}{row['longest_seconds']:>11}"
        )
    for kind, row in report["steps"].items():
        lines.append(
            f"{kind}: most memory {_printable(row['peak_of'])}, longest {_printable(row['longest_of'])}"
        )
    for fault in report["faults"]:
        place, said = _printable(fault["path"]), _last_line(fault["said"])
        lines.append(f"{fault['end']} in {fault['step']} of {place}: {said[:200]}")
    return "\n".join(lines)


def _last_line(said: str) -> str:
    return (said.strip().splitlines() or [""])[-1]


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _suffix(path: Path) -> str:
    return path.suffix.lower()


def _first_letter(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip()[:1].decode(errors="replace")
    except OSError:  # may not be read: the command says so
        return ""


if __name__ == "__main__":
    raise SystemExit(main())
