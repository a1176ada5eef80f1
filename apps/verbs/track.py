"""``vistubes track``: association only, saved; ``vistubes refine`` reuses it."""

from __future__ import annotations

import argparse

from apps.options import add_association, add_output, add_source, output_of, plan_of, selection_of
from apps.plan import source_path

__all__ = ["configure", "run"]

EPILOG = """\
The run folder is that of 'vistubes run', with the detector's own masks, or boxes only.

example: find once, refine twice
  vistubes track clip.mp4 --detector yolox --weights yolox_s.onnx --out runs/found
  vistubes refine runs/found clip.mp4 --model sam-tiny --out runs/sam
  vistubes refine runs/found clip.mp4 --model hq-tiny --out runs/hq
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``track``."""
    parser.epilog = EPILOG
    add_source(parser)
    add_association(parser)
    add_output(parser, default="runs/NAME")


def run(args: argparse.Namespace) -> int:
    """As ``vistubes run --model none``."""
    from apps.job import Job
    from apps.verbs.run import run_job

    return run_job(
        lambda: Job(plan_of(args)),
        source_path(args.source),
        selection_of(args),
        output_of(args),
        stops=True,
        keeps_readable=True,
    )
