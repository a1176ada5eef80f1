"""``vistubes run``: one video in, a run folder out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.options import add_association, add_output, add_refiner, add_source
from apps.run_folder import check_replaceable, new_run_folder

if TYPE_CHECKING:
    from apps.assemble import Job

__all__ = ["configure", "run", "run_job"]

EPILOG = """\
The run folder holds overlay.mp4, results.json (YTVIS results), tubes.json (the full result),
contact_sheet.png and run.json (versions, weights, options, timings; written last).

examples:
  vistubes run clip.mp4
  vistubes run frames/ --fps 24 --out runs/frames
  vistubes run clip.mp4 --detector yolox --weights yolox_s.onnx --classes person,dog --tracker bytetrack
  vistubes run clip.mp4 --start 10s --end 20s --stride 2 --json
  vistubes run sample                       the sample clip of the documentation
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``run``."""
    parser.epilog = EPILOG
    add_source(parser)
    add_association(parser)
    add_refiner(parser)
    add_output(parser, default="runs/NAME")


def run(args: argparse.Namespace) -> int:
    """Do it; errors leave as exceptions of vis.errors."""
    from apps import assemble

    started = time.time()
    plan = assemble.Plan.from_args(args)
    path, source_options = assemble.source_arguments(args)
    return run_job(args, path, source_options, lambda: assemble.Job(plan, device=args.device), started)


def run_job(
    args: argparse.Namespace,
    path: Path,
    source_options: dict[str, Any],
    make_job: Callable[[], Job],
    started: float,
) -> int:
    """What ``run``, ``track`` and ``refine`` do alike once they know what to run.

    The source and the folder are looked at before ``make_job`` loads any weights: a wrong path is
    told at once.
    """
    from apps import report
    from vis.video import open_source

    source = open_source(path, **source_options)
    out = args.out or Path("runs") / source.info.name
    check_replaceable(out, overwrite=args.overwrite)
    job = make_job()
    if not args.quiet:
        print(job.describe(), file=sys.stderr)
    with new_run_folder(out, overwrite=args.overwrite) as folder:
        result = job.process(source, quiet=args.quiet)
        report.write_results(folder, result)
        audio = path if path.is_file() else None
        job.draw(source, result, folder, audio_from=audio, overlay=not args.no_overlay, quiet=args.quiet)
        record = report.run_record(job, result, path, args, started)
        report.write_record(folder, record)
    if not args.quiet:
        print(report.tube_table(result), file=sys.stderr)
        print(f"\nwritten to {out}/", file=sys.stderr)
    if args.json:
        print(json.dumps({**record, "out": str(out)}))
    return 0
