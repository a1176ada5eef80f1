"""``vistubes track``: association only, saved; ``vistubes refine`` reuses it."""

from __future__ import annotations

import argparse
import time

from apps.options import add_association, add_output, add_source

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
    parser.set_defaults(
        model="none",
        policy=None,
        whole_or_part=None,
        overlap=None,
        clean=None,
        mode="fast",
        zoom=False,
        device="auto",
    )


def run(args: argparse.Namespace) -> int:
    """As ``vistubes run --model none``."""
    from apps import assemble
    from apps.verbs.run import run_job

    started = time.time()
    plan = assemble.Plan.from_args(args)
    path, source_options = assemble.source_arguments(args)
    return run_job(
        args, path, source_options, lambda: assemble.Job(plan), started, stops=True, keeps_readable=True
    )
