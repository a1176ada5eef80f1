"""``vistubes run``: one video in, a run folder out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from apps.presets import PRESETS
from apps.run_folder import check_replaceable, new_run_folder

__all__ = ["configure", "run"]

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
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    parser.epilog = EPILOG
    parser.add_argument("source", help="video file, folder of images, or 'sample'")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="quick", help=f"{presets} (default: quick)")
    parser.add_argument("--detector", metavar="NAME", help="what finds objects (default: the preset's)")
    parser.add_argument("--weights", metavar="FILE", help="the detector's weights or JSON, where it takes a file")
    parser.add_argument("--tracker", metavar="NAME", help="what links them through time (default: the preset's)")
    parser.add_argument(
        "--model", metavar="NAME", help="refiner: a name of 'vistubes models list', a checkpoint, or 'none'"
    )
    parser.add_argument("--policy", metavar="NAME", help="prompt policy: box, box+mask, box+points or gated")
    parser.add_argument("--mode", choices=("fast", "exact"), default="fast", help="fast (default), or exact: fp32")
    parser.add_argument("--classes", metavar="A,B", help="keep these class names only")
    parser.add_argument("--score", type=_unit, metavar="S", help="least detection score, 0 to 1")
    parser.add_argument("--min-frames", type=_positive, metavar="N", help="drop tubes of fewer frames")
    parser.add_argument("--start", metavar="T", help="first frame (120) or time (4.5s)")
    parser.add_argument("--end", metavar="T", help="end before this frame (240) or time (9s)")
    parser.add_argument("--stride", type=_positive, default=1, metavar="N", help="every Nth frame (default: 1)")
    parser.add_argument("--fps", type=float, metavar="R", help="rate of a folder of images")
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    parser.add_argument("--out", type=Path, metavar="DIR", help="run folder (default: runs/NAME)")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in the same folder")
    parser.add_argument("--strict", action="store_true", help="a damaged video is an error, not a warning")
    parser.add_argument("--no-overlay", action="store_true", help="write no overlay.mp4")
    parser.add_argument("--json", action="store_true", help="print run.json to stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table")


def run(args: argparse.Namespace) -> int:
    """Do it; errors leave as exceptions of vis.errors."""
    from apps import assemble, report
    from vis.video import open_source

    started = time.time()
    plan = assemble.Plan.from_args(args)
    path, source_options = assemble.source_arguments(args)
    source = open_source(path, **source_options)
    out = args.out or Path("runs") / source.info.name
    check_replaceable(out, overwrite=args.overwrite)
    job = assemble.Job(plan, device=args.device)
    if not args.quiet:
        print(job.describe(), file=sys.stderr)
    with new_run_folder(out, overwrite=args.overwrite) as folder:
        result = job.process(source, quiet=args.quiet)
        report.write_results(folder, result)
        audio = path if path.is_file() else None
        job.draw(source, result, folder, audio_from=audio, overlay=not args.no_overlay, quiet=args.quiet)
        summary: dict[str, Any] = report.run_record(job, result, path, args, started)
        report.write_record(folder, summary)
    if not args.quiet:
        print(report.tube_table(result), file=sys.stderr)
        print(f"\nwritten to {out}/", file=sys.stderr)
    if args.json:
        print(json.dumps({**summary, "out": str(out)}))
    return 0


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def _unit(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1, got {text}")
    return value
