"""``vistubes edit``: corrections made in the page, played again on a saved result."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.option_types import path_text
from apps.options import add_reading, selection_of
from apps.run_folder import tubes_of

if TYPE_CHECKING:
    from vis.edits import Decode, EditFile
    from vis.structures import VideoResult

__all__ = ["configure", "run"]

EPILOG = """\
The edits file holds what was clicked, not the masks that came out of it, so the same edits on the same
result with the same model give the same tubes, byte for byte. The video is needed where an edit asks for
a mask: correct, add and follow. An edits.json written by hand may leave base_sha256 out; a warning then says that
nobody checked whether it is of this result. Where --out is the tubes.json of a run folder, its results.json is
written anew, too.

examples:
  vistubes edit runs/clip/tubes.json edits.json clip.mp4 --out corrected/tubes.json
  vistubes edit runs/clip edits.json clip.mp4 --out corrected/tubes.json --overlay
  vistubes edit runs/clip --base                           the base_sha256 of this result
  vistubes edit runs/clip/tubes.json edits.json --list     what is in the file; changes nothing
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``edit``."""
    parser.epilog = EPILOG
    parser.add_argument("result", type=Path, help="the tubes.json, or run folder, that was edited")
    parser.add_argument(
        "edits", nargs="?", type=Path, help="the edits.json of the page, or one written by hand"
    )
    parser.add_argument(
        "source", nargs="?", type=path_text, help="the video that the result was made from, or 'sample'"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the edited tubes.json goes")
    parser.add_argument("--overwrite", action="store_true", help="replace --out if it exists")
    parser.add_argument(
        "--model",
        type=path_text,
        metavar="NAME",
        help="decodes the clicks (default: the one named in the edits)",
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")
    add_reading(parser)
    parser.add_argument(
        "--overlay", action="store_true", help="also draw overlay.mp4 and contact_sheet.png beside --out"
    )
    parser.add_argument(
        "--base",
        action="store_true",
        help="print the base_sha256 that an edits.json for this result has, no more",
    )
    parser.add_argument("--list", action="store_true", help="print the edits, one a line, and do nothing")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON to stdout")


def run(args: argparse.Namespace) -> int:
    """Read, replay, write."""
    from vis import edits
    from vis.errors import OutputError, UsageError
    from vis.formats import tubes

    if args.base:
        print(edits.fingerprint(tubes.read(tubes_of(args.result))))
        return 0
    if args.edits is None:
        raise UsageError("give the edits.json as second argument (docs/page.md has its operations)")
    file = edits.read(args.edits)
    if args.list:
        for number, edit in enumerate(file.edits, 1):
            print(f"{number:>4}  {edits.describe(edit)}")
        return 0
    if args.out is None:
        raise UsageError("--out is missing: say where the edited tubes.json goes")
    if args.out.exists() and not args.overwrite:
        raise OutputError(
            f"{args.out}: exists; add --overwrite to replace it, or choose another name with --out"
        )
    if args.overlay:
        from apps.drawing import check_pictures

        if args.source is None:
            raise UsageError("--overlay: give the video as third argument, to draw on")
        check_pictures(args.out.parent, overwrite=args.overwrite)
    base = tubes.read(tubes_of(args.result))
    file.check_base(base, args.edits.name)
    model = args.model or file.model
    edited = edits.replay(base, file.edits, decode=_decode(args, file, model, base.video.size))
    result = edits.sealed(edited, base, file.edits, model)
    written = _write(args.out, result)
    summary: dict[str, Any] = {"edits": len(file.edits), "tubes": len(result.tubes), "out": str(args.out)}
    counts = (
        f"{count} {what}{'s' * (count != 1)}"
        for count, what in ((len(file.edits), "edit"), (len(result.tubes), "tube"))
    )
    print(f"{' played, '.join(counts)} written to {written}", file=sys.stderr)
    if args.overlay:
        from apps.drawing import draw_pictures
        from apps.saved_results import video_of

        source = video_of(args.source, selection_of(args), result, tubes_of(args.result))
        summary["pictures"] = draw_pictures(
            source, result, args.out.parent, video=args.source, quiet=args.json
        )
    if args.json:
        print(json.dumps(summary))
    return 0


def _write(out: Path, result: VideoResult) -> str:
    """The tubes, and in a run folder its results.json, which would tell of the tubes of before; what was written."""
    from apps import report
    from vis.formats import tubes

    beside = out.parent / "results.json"
    if out.name == "tubes.json" and beside.exists():
        report.write_results(out.parent, result)
        return f"{out} and {beside.name}"
    tubes.write(out, result)
    return str(out)


def _decode(args: argparse.Namespace, file: EditFile, model: str | None, size: tuple[int, int]) -> Decode:
    """The decoder that the edits need, or one that is never called."""
    from vis import edits, engines, refiners, weights
    from vis.errors import InputError, UsageError

    if not edits.needs_decode(file.edits):
        return edits.NoDecoder()
    if args.source is None:
        raise UsageError("some of these edits ask for masks: give the video as third argument")
    if model is None:
        raise UsageError("the edits name no model; give one with --model, such as hq-tiny")
    from vis.video.random_access import RandomAccessReader

    path = weights.path("sample") if args.source == "sample" else Path(args.source)
    reader = RandomAccessReader(path, reader=args.reader, value_range=args.value_range)
    if reader.info.size != size:
        raise InputError(
            f"{path}: frames are {reader.info.width}x{reader.info.height}, the result is of {size[1]}x{size[0]}; "
            "give the video that it was made from"
        )
    predictor = refiners.create(model, device=args.device)
    engine_of = partial(engines.create, device=args.device)
    return edits.FrameDecoder(predictor, lambda index: reader[index].image, engine_of=engine_of)
