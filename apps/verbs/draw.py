"""``vistubes draw``: the overlay and the contact sheet of any saved result."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from apps.drawing import check_pictures, draw_pictures
from apps.option_types import ids
from apps.options import add_saved_video, selection_of
from apps.saved_results import chosen, video_of

__all__ = ["configure", "run"]

EPILOG = """\
Of a result that 'edit', 'link', 'fill' or 'convert' wrote, or whose pictures are missing. overlay.mp4 has the sound of
the video; frames that the result does not cover are left out.

examples:
  vistubes draw corrected/tubes.json clip.mp4                # corrected/overlay.mp4 and contact_sheet.png
  vistubes draw runs/clip clip.mp4 --tubes 2 --out look/
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``draw``."""
    parser.epilog = EPILOG
    add_saved_video(parser)
    parser.add_argument("--tubes", type=ids, metavar="1,3", help="the objects, by their ids (default: all)")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder of the pictures (default: the result's)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace pictures that are there")
    parser.add_argument("--json", action="store_true", help="print where they are as JSON to stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Read and draw."""
    from apps.run_folder import tubes_of
    from vis.formats import tubes

    file = tubes_of(args.result)
    result = chosen(tubes.read(file), args.tubes)
    folder = args.out or file.parent
    check_pictures(folder, overwrite=args.overwrite)
    source = video_of(args.source, selection_of(args), result, file)
    drawn = draw_pictures(source, result, folder, video=args.source, quiet=args.quiet)
    if args.json:
        print(json.dumps({"out": str(folder), "pictures": drawn}))
    return 0
