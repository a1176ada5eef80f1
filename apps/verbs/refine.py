"""``vistubes refine``: a saved association, refined again with another model or policy."""

from __future__ import annotations

import argparse

from apps.options import (
    add_output,
    add_refiner,
    add_saved_video,
    add_speed,
    output_of,
    refining_of,
    selection_of,
)
from apps.plan import source_path
from apps.run_folder import tubes_of
from vis.errors import UsageError

__all__ = ["configure", "run"]

EPILOG = """\
Boxes, ids, labels and scores stay as they were saved; only masks change. The saved masks are the coarse
masks that the policies box+mask, box+points and gated start from.

examples:
  vistubes refine runs/found clip.mp4 --model hq-l --out runs/fine
  vistubes refine corrected/tubes.json clip.mp4 --policy gated --out runs/gated
  vistubes refine runs/found clip.mp4 --speed balanced --out runs/sooner
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``refine``."""
    parser.epilog = EPILOG
    add_saved_video(parser)
    add_speed(parser, default="full")
    add_refiner(parser)
    add_output(parser, default="runs/NAME")


def run(args: argparse.Namespace) -> int:
    """Replay the saved tubes on the video and refine them."""
    from apps.refine_job import RefineJob
    from apps.verbs.run import run_job
    from vis.formats import tubes

    saved = tubes.read(tubes_of(args.result))
    refining = refining_of(args)
    if refining.model == "none":
        raise UsageError("--model none: there would be nothing to refine with; name a model")
    return run_job(
        lambda: RefineJob(saved, refining, speed=args.speed, device=args.device),
        source_path(args.source),
        selection_of(args),
        output_of(args),
    )
