"""``vistubes cutout``: objects of a saved result as a video with transparency, or as pictures."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from apps.option_types import ids, number
from apps.options import add_saved_video, selection_of
from apps.saved_results import chosen, video_of
from vis.errors import OutputError, UsageError

__all__ = ["configure", "run"]

EPILOG = """\
Every processed frame becomes a picture of the video's size: the objects as they are, everything else clear. Alpha is
255 inside and 0 outside, with no value between; --feather 3 makes a ramp of three pixels.

  webm     VP9 with alpha: browsers play it
  png      a folder of 000000.png, 000001.png, ... without gaps, whatever frames were chosen: a sequence for editors
  prores   ProRes 4444 in MOV: editing programs take it; where PyAV has the encoder

None has sound. OUT is cutout.webm, cutout/ or cutout.mov beside the result's tubes.json unless --out names it.

examples:
  vistubes follow clip.mp4 --point 310,96 --label juggler --out runs/juggler
  vistubes cutout runs/juggler clip.mp4 --to prores --out juggler.mov
  vistubes cutout runs/clip clip.mp4 --tubes 1,3 --to png --feather 2
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``cutout``."""
    parser.epilog = EPILOG
    add_saved_video(parser)
    parser.add_argument("--tubes", type=ids, metavar="1,3", help="the objects, by their ids (default: all)")
    parser.add_argument("--to", choices=("webm", "png", "prores"), default="webm", help="default: webm")
    parser.add_argument(
        "--feather",
        type=number(0, 1000),
        default=0.0,
        metavar="PX",
        help="soften the edge over so many pixels (0)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="OUT", help="file, or folder of PNG (default: beside the result)"
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file that is there (never a folder)"
    )
    parser.add_argument("--json", action="store_true", help="print a summary as JSON to stdout")
    parser.add_argument("--quiet", action="store_true", help="say nothing but errors and warnings")


def run(args: argparse.Namespace) -> int:
    """Read, cut, write."""
    from apps.cutout import SUFFIXES, write_cutout
    from apps.run_folder import tubes_of
    from vis.formats import tubes

    file = tubes_of(args.result)
    result = chosen(tubes.read(file), args.tubes)
    if boxes := [tube.id for tube in result.tubes if tube.masks is None]:
        raise UsageError(
            f"tube {boxes[0]} has boxes only, and there is nothing to cut along; 'vistubes refine' makes masks"
        )
    if not result.tubes:
        raise UsageError(f"{file}: holds no object")
    out = args.out or file.parent / f"cutout{SUFFIXES[args.to]}"
    if out.exists() and (out.is_dir() or not args.overwrite):
        folder = "a folder is never replaced; " if out.is_dir() else "add --overwrite, or "
        raise OutputError(f"{out}: exists; {folder}give another name with --out")
    source = video_of(args.source, selection_of(args), result, file)
    frames = write_cutout(source, result, out, args.to, feather=args.feather)
    summary = {"out": str(out), "frames": frames, "tubes": [tube.id for tube in result.tubes]}
    if not args.quiet:
        objects = f"{len(result.tubes)} object{'s' * (len(result.tubes) != 1)}"
        print(f"{objects} on {frames} frames written to {out}", file=sys.stderr)
    if args.json:
        print(json.dumps(summary))
    return 0
