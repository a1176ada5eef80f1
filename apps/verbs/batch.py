"""``vistubes batch``: many videos, unattended; killed at any moment, the same command goes on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.option_types import moment, number, path_text, positive, rate, seconds, whole
from apps.options import (
    add_association,
    add_overlay,
    add_reading,
    add_refiner,
    add_speed,
    plan_of,
    selection_of,
)
from vis.errors import UsageError

if TYPE_CHECKING:
    from apps.batch.item import Item
    from apps.batch.run import Workers
    from apps.batch.work import Settings

__all__ = ["add_work", "configure", "objects_of_set", "run", "settings_of", "workers_of"]

EPILOG = """\
Every video gets a run folder under --out, at the place that it has under its input folder. A video that
fails is told in failures.jsonl and does not stop the others; the exit code is then 5. The same command
again keeps what is done, goes on where it was stopped, and tries failures anew (--retry-failed: those alone). A
changed option computes again only what it touches: another --model or --policy reuses the saved associations.
Passed over, and named at the end: files in folders that are no videos, pictures beside videos, and folders of
runs. Hidden files and folders are not looked at.

inputs: video files; folders (searched, with image folders as videos); globs in quotes; .txt lists of paths;
the .json of a YouTube-VIS set (then results.json and results.zip of the whole set are written too);
addresses such as s3://bucket/clip.mp4.

examples:
  vistubes batch videos/ --out runs/all --merge coco         # run folders, and all in runs/all/coco.json
  vistubes batch videos/ --out runs/all --dry-run            # what would be done, and why
  vistubes batch 'day*/cam?.mp4' list.txt --out runs/cams --model none --no-overlay
  vistubes batch ytvis/valid.json --out runs/valid --detector mask2former-video
  vistubes batch ytvis/valid.json --out runs/fine --detector precomputed --weights results.json --model hq-l
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
    group = parser.add_argument_group("all videos")
    group.add_argument(
        "--merge",
        choices=("coco", "ytvis"),
        help="at the end also one file of all videos, OUT/coco.json or OUT/ytvis.json; they are named by their place",
    )
    group.add_argument(
        "--retry-failed", action="store_true", help="do those videos alone that are in OUT/failures.jsonl"
    )
    group.add_argument(
        "--dry-run", action="store_true", help="say what would be done with each video, and do nothing"
    )
    parser.add_argument("--json", action="store_true", help="print batch.json to stdout")


def add_work(parser: argparse.ArgumentParser) -> None:
    """What is done with each video, and by whom; shared with ``vistubes eval hq-ytvis``."""
    add_association(parser)
    add_refiner(parser)
    add_speed(parser)
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
    add_overlay(group)
    group.add_argument("--quiet", action="store_true", help="no status, no totals")


def run(args: argparse.Namespace) -> int:
    """Do it; errors that concern all videos leave as exceptions of vis.errors."""
    from apps.batch.inputs import find_items
    from apps.batch.run import run_items

    items, passed = find_items(args.inputs, frames=args.frames, out=args.out)
    _check_used(args, items)
    sets = [Path(text) for text in args.inputs if text.lower().endswith(".json")]
    workers = workers_of(args, len(items))
    given = objects_of_set(args, items, sets)
    settings = replace(settings_of(args, workers), categories=given)
    if args.dry_run:
        return _preview(args, items, passed, settings)
    summary = run_items(
        items,
        settings,
        workers,
        out=args.out,
        passed_over=passed,
        sets=sets,
        merge=args.merge,
        retry_failed=args.retry_failed,
        quiet=args.quiet,
    )
    if args.json:
        print(json.dumps(summary))
    return 5 if summary["totals"]["failed"] else 0


def _preview(
    args: argparse.Namespace, items: Sequence[Item], passed: Sequence[str], settings: Settings
) -> int:
    """Say what would be done, and do none of it."""
    from collections import Counter

    from apps.batch.preview import preview
    from apps.batch.summary import passed_over

    rows = preview(items, settings, args.out, retry_failed=args.retry_failed)
    if args.json:
        print(json.dumps({"videos": rows, "passed_over": list(passed)}))
        return 0
    for row in rows:
        print(f"{row['state']:<9}{row['name']}" + (f"    {row['why']}" if row["why"] else ""))
    count = Counter(row["state"] for row in rows)
    print(f"{len(rows)} videos: " + ", ".join(f"{number} {state}" for state, number in count.items()))
    if passed:
        print(passed_over(passed))
    return 0


def objects_of_set(
    args: argparse.Namespace, items: Sequence[Item], sets: Sequence[Path]
) -> dict[int, str] | None:
    """The set's categories where detector ``precomputed`` gives each of its videos its own objects, else None.

    Options that were left out then keep the objects as they are: tracker ``native``, every score, no tube dropped or
    linked, overlaps kept. Raises :class:`UsageError` where the file of objects is missing.
    """
    of_set = len(sets) == 1 and all(item.video_id is not None for item in items)
    if args.detector != "precomputed" or not of_set or args.video_id is not None:
        return None
    if args.weights is None or not Path(args.weights).is_file():
        raise UsageError(
            f"--detector precomputed: {args.weights or 'no file'}: give the results of the set's videos with --weights"
        )
    from vis.formats.ytvis_set import read_videos

    kept = {"tracker": "native", "score": 0.0, "min_frames": 1, "link": False, "overlap": "keep"}
    for name, value in kept.items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    return read_videos(sets[0])[1]


def _check_used(args: argparse.Namespace, items: Sequence[Item]) -> None:
    """Raise :class:`UsageError` for an option that none of the videos has a use for."""
    if args.fps is not None and not any(item.images or Path(item.path).is_dir() for item in items):
        raise UsageError(
            f"--fps {args.fps:g}: is for folders of images, and none is among these; a video has its own times"
        )
    if args.frames is not None and not any(item.images for item in items):
        raise UsageError(f"--frames {args.frames}: is the image folder of a set, and no set's .json is given")


def workers_of(args: argparse.Namespace, videos: int) -> Workers:
    """Who does ``videos`` videos, of the options of :func:`add_work`."""
    from apps.batch.run import Workers

    return Workers.of(
        videos,
        jobs=args.jobs,
        memory_gib=args.memory,
        stall_seconds=args.stall,
        video_seconds=args.timeout,
        cluster=args.cluster,
        address=args.address,
    )


def settings_of(args: argparse.Namespace, workers: Workers, **selection: Any) -> Settings:
    """What all workers share; ``selection``: what is not an option of the verb."""
    from apps.batch.work import Settings

    return Settings(
        plan=plan_of(args),
        out=str(args.out.resolve()),
        selection=replace(selection_of(args), **selection),
        device=args.device,
        threads=workers.threads,
        chunk=args.chunk,
        overlay=not args.no_overlay,
        command=("vistubes", *sys.argv[1:]),
    )
