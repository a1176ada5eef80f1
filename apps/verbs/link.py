"""``vistubes link``: a saved result's tubes stitched across gaps, filled, and capped; nothing is detected again."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from apps.option_types import number, path_text, positive
from apps.options import add_reading, selection_of
from apps.run_folder import check_replaceable, new_run_folder, tubes_of
from vis.errors import UsageError

__all__ = ["configure", "run"]

EPILOG = """\
With the video, tubes are also told apart by their colours, which is what stitches across longer gaps.
The folder holds tubes.json, results.json and run.json; 'vistubes refine' takes it and makes fine masks.

examples:
  vistubes link runs/found clip.mp4 --out runs/linked
  vistubes link runs/found clip.mp4 --out runs/linked --overlay
  vistubes link runs/found --max-gap 1 --top 10 --out runs/ten
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``link``."""
    parser.epilog = EPILOG
    parser.add_argument("result", type=Path, help="a run folder, or a tubes.json")
    parser.add_argument(
        "source", nargs="?", type=path_text, help="the video that the result was made from: for colours"
    )
    parser.add_argument(
        "--max-gap", type=number(0, 1e9), default=4.0, metavar="S", help="longest gap to stitch, seconds (4)"
    )
    parser.add_argument(
        "--fill", type=number(0, 1e9), default=0.3, metavar="S", help="fill gaps up to this, seconds (0.3)"
    )
    parser.add_argument("--min-frames", type=positive, default=3, metavar="N", help="drop shorter tubes (3)")
    parser.add_argument(
        "--top", type=positive, metavar="K", help="keep the K tubes of the highest score only"
    )
    add_reading(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the new result")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in the same folder")
    parser.add_argument(
        "--overlay", action="store_true", help="also draw overlay.mp4 and contact_sheet.png in --out"
    )
    parser.add_argument("--json", action="store_true", help="print run.json to stdout")


def run(args: argparse.Namespace) -> int:
    """Read, link, write."""
    from apps import rendering, report
    from apps.drawing import draw_pictures
    from apps.identity import read_record
    from apps.saved_results import video_of
    from trackers.linking import link
    from vis.formats import tubes

    if args.overlay and args.source is None:
        raise UsageError("--overlay: give the video as second argument, to draw on")
    file = tubes_of(args.result)
    saved = tubes.read(file)
    check_replaceable(args.out, overwrite=args.overwrite)
    looks = None
    if args.source is not None:
        from trackers.appearance import colour_looks
        from vis.video import open_source

        source = open_source(args.source, reader=args.reader, value_range=args.value_range)
        looks = colour_looks(source, saved)
    linked = link(
        saved,
        looks,
        max_gap_seconds=args.max_gap,
        fill_seconds=args.fill,
        min_frames=args.min_frames,
        top=args.top,
    )
    record: dict[str, Any] = {**linked.made_with, "tubes": len(linked.tubes)}
    with new_run_folder(args.out, overwrite=args.overwrite) as folder:
        report.write_results(folder.part, linked)
        if made_of := read_record(file.parent / "run.json").get("source"):
            record["source"] = made_of
        record["pictures"] = dict(rendering.PENDING if args.overlay else rendering.LEFT_OUT)
        report.write_record(folder.part, record)
    print(
        f"{len(saved.tubes)} tubes before, {len(linked.tubes)} after; written to {folder.out}/",
        file=sys.stderr,
    )
    if args.overlay:
        draw_pictures(
            video_of(args.source, selection_of(args), linked, file),
            linked,
            folder.out,
            video=args.source,
            quiet=args.json,
        )
        record["pictures"] = rendering.drawn({})
        report.write_record(folder.out, record)
    if args.json:
        print(json.dumps({**record, "out": str(folder.out)}))
    return 0
