"""``vistubes batch``: many videos, unattended; killed at any moment, the same command goes on.

::

    inputs.py    folders, globs, lists, sets -> items with names
    pool.py      worker processes here;  apps/cluster.py: actors on a Ray cluster
    work.py      one video: its keys, its chunks, its run folder
    summary.py   failures.jsonl, batch.json, batch.html
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.option_types import moment, number, path_text, positive, rate, seconds, whole
from apps.options import add_association, add_reading, add_refiner
from vis.errors import OutputError, UsageError

if TYPE_CHECKING:
    from apps.batch.item import Item
    from apps.batch.work import Settings

__all__ = ["add_work", "configure", "run", "run_items"]

EPILOG = """\
Every video gets a run folder under --out, at the place that it has under its input folder. A video that
fails is told in failures.jsonl and does not stop the others; the exit code is then 5. The same command
again keeps what is done, goes on where it was stopped, and tries failures anew. A changed option computes
again only what it touches: another --model or --policy reuses the saved associations.

inputs: video files; folders (searched, with image folders as videos); globs in quotes; .txt lists of paths;
the .json of a YouTube-VIS set (then results.json and results.zip of the whole set are written too);
addresses such as s3://bucket/clip.mp4.

examples:
  vistubes batch videos/ --out runs/all --jobs 2
  vistubes batch 'day*/cam?.mp4' list.txt --out runs/cams --model none --no-overlay
  vistubes batch ytvis/valid.json --out runs/valid --detector mask2former-video
  vistubes batch videos/ --out /mnt/shared/runs --cluster ray
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``batch``."""
    parser.epilog = EPILOG
    parser.add_argument(
        "inputs", nargs="+", type=path_text, metavar="INPUT", help="file, folder, glob, list, set or address"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the run folders")
    group = parser.add_argument_group("frames")
    group.add_argument(
        "--start", type=moment, metavar="T", help="first frame (120) or time (4.5s) of each video"
    )
    group.add_argument("--end", type=moment, metavar="T", help="end before this frame (240) or time (9s)")
    group.add_argument("--stride", type=positive, default=1, metavar="N", help="every Nth frame (default: 1)")
    group.add_argument("--fps", type=rate, metavar="R", help="rate of folders of images")
    group.add_argument("--strict", action="store_true", help="a damaged video is a failure, not a warning")
    add_reading(group)
    group.add_argument(
        "--frames", type=Path, metavar="DIR", help="images of a set (default: JPEGImages beside it)"
    )
    add_work(parser)
    parser.add_argument("--json", action="store_true", help="print batch.json to stdout")


def add_work(parser: argparse.ArgumentParser) -> None:
    """What is done with each video, and by whom; shared with ``vistubes eval hq-ytvis``."""
    add_association(parser)
    add_refiner(parser)
    group = parser.add_argument_group("work")
    group.add_argument(
        "--jobs",
        type=whole(1, 1024),
        metavar="N",
        help="worker processes (default: 1 per 4 cores, 1 per GPU)",
    )
    group.add_argument(
        "--chunk", type=positive, default=50, metavar="N", help="save every N frames (default: 50)"
    )
    group.add_argument(
        "--stall", type=seconds, default=600.0, metavar="S", help="give up a video that stands still (600)"
    )
    group.add_argument(
        "--timeout", type=seconds, metavar="S", help="give up a video after this time (default: never)"
    )
    group.add_argument(
        "--memory",
        type=number(0, 1e6, above=True),
        metavar="GIB",
        help="most memory of a worker (default: its share of 0.9)",
    )
    group.add_argument(
        "--cluster", choices=("ray", "local"), help="on a Ray cluster: the one there is, or one started here"
    )
    group.add_argument("--address", default="auto", help="of the Ray cluster (default: auto)")
    group = parser.add_argument_group("results")
    group.add_argument("--no-overlay", action="store_true", help="write no overlay.mp4")
    group.add_argument("--quiet", action="store_true", help="no status, no totals")


def run(args: argparse.Namespace) -> int:
    """Do it; errors that concern all videos leave as exceptions of vis.errors."""
    from apps.batch.inputs import find_items

    items, passed = find_items(args.inputs, frames=args.frames, out=args.out)
    summary = run_items(args, items, passed)
    if args.json:
        print(json.dumps(summary))
    return 5 if summary["totals"]["failed"] else 0


def run_items(args: argparse.Namespace, items: Sequence[Item], passed: Sequence[str] = ()) -> dict[str, Any]:
    """Do the items with the options of ``vistubes batch`` and write the reports; returns ``batch.json``."""
    from apps.batch import lock, summary
    from apps.batch.status import Status

    _check_used(args, items)
    settings = _settings(args, len(items))
    started = time.monotonic()
    with _sigterm_unwinds(), lock.hold(args.out):
        lock.clear_leftovers(args.out)
        failures = summary.Failures(args.out, items)
        lines: dict[int, dict[str, Any]] = {}
        status = Status(items, quiet=args.quiet)
        events = _engine(args, items, settings)
        try:
            for event in events:
                status.take(event)
                if event.kind == "done":
                    lines[event.item] = {
                        "name": items[event.item].name,
                        "path": items[event.item].path,
                        **event.data,
                    }
                    if event.data.get("disk_full"):
                        raise OutputError(
                            f"{args.out}: the disk is full: the pictures of {items[event.item].name} could not be "
                            "drawn, its results are whole. Free some space and run the same command again"
                        )
                elif event.kind == "failed":
                    failures.add(event.item, event.data)
                    lines[event.item] = {**failures.lines[event.item], "status": "failed"}
        finally:
            events.close()
            status.close()
        lock.clear_leftovers(args.out)  # of workers and nodes that were lost on the way
        failures.close()
        ordered = [lines[item] for item in sorted(lines)]
        told: dict[str, Any] = {
            "totals": summary.totals(ordered, time.monotonic() - started),
            "passed_over": list(passed),
            "videos": ordered,
            **_sets(args, items),
        }
        summary.write_reports(args.out, told)
    if not args.quiet:
        failed = told["totals"]["failed"]
        print(f"{args.out / 'batch.html'}: the report", file=sys.stderr)
        if failed:
            print(f"{args.out / 'failures.jsonl'}: {failed} failures and their reasons", file=sys.stderr)
    return told


def _check_used(args: argparse.Namespace, items: Sequence[Item]) -> None:
    """Raise :class:`UsageError` for an option that none of the videos has a use for."""
    if args.fps is not None and not any(item.images or Path(item.path).is_dir() for item in items):
        raise UsageError(
            f"--fps {args.fps:g}: is for folders of images, and none is among these; a video has its own times"
        )
    if args.frames is not None and not any(item.images for item in items):
        raise UsageError(f"--frames {args.frames}: is the image folder of a set, and no set's .json is given")


def _engine(args: argparse.Namespace, items: Sequence[Item], settings: Settings) -> Any:
    from apps.batch.pool import Limits, run_local

    share = args.memory * 2**30 if args.memory else _memory_share(_jobs(args, len(items)))
    memory = None if share is None else int(share)
    limits = Limits(stall_seconds=args.stall, video_seconds=args.timeout, memory_bytes=memory)
    if args.cluster is not None:
        from apps.cluster import run_on_ray

        address = None if args.cluster == "local" else args.address
        return run_on_ray(items, settings, jobs=args.jobs, address=address, limits=limits)
    return run_local(items, settings, jobs=_jobs(args, len(items)), limits=limits)


def _settings(args: argparse.Namespace, count: int) -> Settings:
    from apps import assemble
    from apps.batch.work import Settings

    args.source = ""
    _, options = assemble.source_arguments(args)
    cores = _cores()
    return Settings(
        plan=assemble.Plan.from_args(args),
        out=str(args.out.resolve()),
        source_options=options,
        selection={name: getattr(args, name) for name in ("start", "end", "stride")},
        device=args.device,
        threads=max(1, cores // _jobs(args, count)),
        chunk=args.chunk,
        overlay=not args.no_overlay,
        command=("vistubes", *sys.argv[1:]),
    )


def _sets(args: argparse.Namespace, items: Sequence[Item]) -> Mapping[str, Any]:
    """One results file per set among the inputs; several sets would overwrite each other's."""
    sets = [Path(text) for text in args.inputs if text.lower().endswith(".json")]
    if len(sets) != 1 or not any(item.video_id is not None for item in items):
        return {}
    from apps.batch.dataset import write_set_results

    mine = [item for item in items if item.video_id is not None]
    return {"set": write_set_results(args.out, sets[0], mine)}


def _jobs(args: argparse.Namespace, count: int) -> int:
    wanted: int = args.jobs or max(1, _cores() // 4)
    return max(1, min(wanted, count))


def _cores() -> int:
    """Cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _memory_share(jobs: int) -> float | None:
    """A worker's share of nine tenths of the machine's memory; None where the system does not tell."""
    try:
        return 0.9 * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / jobs
    except (AttributeError, ValueError, OSError):
        return None


@contextlib.contextmanager
def _sigterm_unwinds() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, by unwinding, with its own exit code."""

    def leave(*_: object) -> None:
        raise SystemExit(143)

    try:
        before = signal.signal(signal.SIGTERM, leave)
    except ValueError:  # outside of the main thread whoever called decides
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
