"""``vistubes refine``: a saved association, refined again with another model or policy."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from apps.option_types import path_text, rate
from apps.options import add_output, add_reading, add_refiner
from apps.run_folder import tubes_of

__all__ = ["configure", "run"]

EPILOG = """\
Boxes, ids, labels and scores stay as they were saved; only masks change. The saved masks are the coarse
masks that the policies box+mask, box+points and gated start from.

examples:
  vistubes refine runs/found clip.mp4 --model hq-l --out runs/fine
  vistubes refine corrected/tubes.json clip.mp4 --policy gated --out runs/gated
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``refine``."""
    parser.epilog = EPILOG
    parser.add_argument("result", type=Path, help="a run folder, or a tubes.json")
    parser.add_argument("source", type=path_text, help="the video that the result was made from, or 'sample'")
    parser.add_argument("--fps", type=rate, metavar="R", help="rate of a folder of images")
    parser.add_argument("--strict", action="store_true", help="a damaged video is an error, not a warning")
    add_reading(parser)
    add_refiner(parser)
    add_output(parser, default="runs/NAME")
    # Which frames: those that the result covers.
    parser.set_defaults(start=None, end=None, stride=1)


def run(args: argparse.Namespace) -> int:
    """Replay the saved tubes on the video and refine them."""
    from apps import assemble
    from apps.verbs.run import run_job
    from vis.formats import tubes

    started = time.time()
    file = tubes_of(args.result)
    saved = tubes.read(file)
    path, source_options = assemble.source_arguments(args)
    return run_job(args, path, source_options, lambda: assemble.RefineJob.from_args(args, saved), started)
