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
contact_sheet.png and run.json (versions, weights, options, timings; written last). Ctrl-C keeps the frames
that were finished: results.json, tubes.json and a run.json that says "partial"; the exit code is 130.

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
    return run_job(
        args, path, source_options, lambda: assemble.Job(plan, device=args.device), started, keep_partial=True
    )


def run_job(
    args: argparse.Namespace,
    path: Path,
    source_options: dict[str, Any],
    make_job: Callable[[], Job],
    started: float,
    *,
    keep_partial: bool = False,
) -> int:
    """What ``run``, ``track`` and ``refine`` do alike once they know what to run.

    The source and the folder are looked at before ``make_job`` loads any weights: a wrong path is
    told at once. ``keep_partial``: Ctrl-C keeps the frames that were finished, without an overlay.
    """
    from apps import report
    from apps.interrupt import StopOnCtrlC
    from vis.video import open_source

    source = open_source(path, **source_options)
    out = args.out or Path("runs") / source.info.name
    check_replaceable(out, overwrite=args.overwrite)
    job = make_job()
    if not args.quiet:
        print(job.describe(), file=sys.stderr)
    partial: dict[str, Any] | None = None
    with new_run_folder(out, overwrite=args.overwrite) as folder:
        if keep_partial:
            with StopOnCtrlC() as stop:
                result = job.process(stop.watched(source), quiet=args.quiet)
            if stop.asked:
                if not len(result.frames):
                    raise KeyboardInterrupt
                partial = {"frames": len(result.frames), "of": source.expected_frames}
        else:
            result = job.process(source, quiet=args.quiet)
        report.write_results(folder, result)
        audio = path if path.is_file() else None
        try:
            if partial is None:
                overlay = not args.no_overlay
                job.draw(source, result, folder, audio_from=audio, overlay=overlay, quiet=args.quiet)
        except KeyboardInterrupt:
            if not keep_partial:
                raise
            partial = {"frames": len(result.frames), "of": len(result.frames)}
        record = report.run_record(job, result, path, args, started)
        if partial is not None:
            record["partial"] = partial
        report.write_record(folder, record)
    if not args.quiet:
        print(report.tube_table(result), file=sys.stderr)
        print(f"\nwritten to {out}/", file=sys.stderr)
    if args.json:
        print(json.dumps({**record, "out": str(out)}))
    if partial is None:
        return 0
    print(
        f"vistubes: interrupted: {partial['frames']} of about {partial['of'] or 'an unknown number of'} frames are in "
        f"{out}/, without overlay.mp4; run it again with --overwrite for all of it",
        file=sys.stderr,
    )
    return 130
