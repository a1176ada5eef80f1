"""``vistubes convert``: tubes from one format into another, and what that costs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vis.errors import UsageError

if TYPE_CHECKING:
    from vis.structures import VideoResult

__all__ = ["FORMATS", "configure", "run"]

EPILOG = """\
formats:
{table}

IN may be a run folder, whose tubes.json is taken. Several inputs make one file of a format that holds many
videos; with other formats OUT becomes a folder with one file or folder per video. What the format cannot
hold is said on stderr, and under "lost" with --json.

examples:
  vistubes convert runs/clip clip_mots/ --to mots-png
  vistubes convert runs/a runs/b all.json --to coco
  vistubes convert gt.txt tubes.json --from mot --to tubes --size 1080x1920 --fps 30
  vistubes convert results.json out/ --from ytvis-results --truth valid.json --to davis
"""


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table."""

    about: str
    read: Callable[[Path, argparse.Namespace], Sequence[VideoResult]]
    write: Callable[[Path, Sequence[VideoResult]], list[str]]
    suffix: str
    """Of the file per video; '' for a folder."""
    many: bool = False
    """Whether one file holds many videos."""


def _tubes_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:  # noqa: ARG001
    from vis.formats import tubes

    return [tubes.read(path)]


def _tubes_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import tubes

    tubes.write(path, results[0])
    return []


def _ytvis_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import ytvis_set

    return ytvis_set.read_truth(path, fps=args.fps)


def _ytvis_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import ytvis_set

    return ytvis_set.write_truth(path, results)


def _ytvis_results_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import ytvis_set

    if args.truth is None:
        raise UsageError(
            "a YTVIS results file names no video; give its annotations (or the test set's JSON) with --truth"
        )
    return ytvis_set.read_results(path, args.truth, fps=args.fps)


def _ytvis_results_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import ytvis_set

    return ytvis_set.write_results(path, results)


def _coco_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:  # noqa: ARG001
    from vis.formats import coco

    return coco.read(path)


def _coco_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import coco

    return coco.write(path, results)


def _mots_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import mots

    return [
        mots.read_text(
            path,
            first_frame=args.first_frame,
            num_frames=args.frames,
            size=_size(args.size),
            fps=args.fps,
            class_names=_numbered(args.classes),
        )
    ]


def _mots_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import mots

    return mots.write_text_file(path, results[0])


def _mots_png_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import mots

    names = _numbered(args.classes)
    return [mots.read_png(path, first_frame=args.first_frame, fps=args.fps, class_names=names)]


def _mots_png_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import mots

    return mots.write_png(path, results[0])


def _davis_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import davis

    return [davis.read(path, fps=args.fps)]


def _davis_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import davis

    return davis.write(path, results[0])


def _sav_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:  # noqa: ARG001
    from vis.formats import sav

    return [sav.read_json_file(path)]


def _sav_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import sav

    return sav.write_json_file(path, results[0])


def _sav_png_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import sav

    return [sav.read_png(path, fps=args.fps)]


def _sav_png_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import sav

    return sav.write_png(path, results[0])


def _mot_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import mot

    if args.size is None:
        raise UsageError("MOT text does not tell the video's size; give it with --size HxW")
    return [mot.read(path, size=_size(args.size), num_frames=args.frames, fps=args.fps)]


def _mot_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import mot

    return mot.write(path, results[0])


def _cvat_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import cvat

    return [cvat.read(path, fps=args.fps)]


def _cvat_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import cvat

    return cvat.write(path, results[0])


def _png_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import per_object

    return [per_object.read(path, fps=args.fps)]


def _png_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import per_object

    return per_object.write(path, results[0])


def _csv_read(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    from vis.formats import csv_table

    return [csv_table.read(path, fps=args.fps)]


def _csv_write(path: Path, results: Sequence[VideoResult]) -> list[str]:
    from vis.formats import csv_table

    return csv_table.write(path, results[0])


FORMATS: dict[str, Format] = {
    "tubes": Format("tubes.json, our full result: loses nothing", _tubes_read, _tubes_write, ".json"),
    "ytvis": Format("YouTube-VIS annotations (truth)", _ytvis_read, _ytvis_write, ".json", many=True),
    "ytvis-results": Format(
        "YouTube-VIS results; reading needs --truth",
        _ytvis_results_read,
        _ytvis_results_write,
        ".json",
        many=True,
    ),
    "coco": Format("COCO for video: videos, images, tracks", _coco_read, _coco_write, ".json", many=True),
    "mots": Format("MOTS text", _mots_read, _mots_write, ".txt"),
    "mots-png": Format("MOTS, a folder of 16-bit PNG", _mots_png_read, _mots_png_write, ""),
    "davis": Format("DAVIS, a folder of palette PNG", _davis_read, _davis_write, ""),
    "sav": Format("SA-V masklets, JSON", _sav_read, _sav_write, ".json"),
    "sav-png": Format("SA-V val and test, a folder of PNG per object", _sav_png_read, _sav_png_write, ""),
    "mot": Format("MOT text, boxes only; reading needs --size", _mot_read, _mot_write, ".txt"),
    "cvat": Format("CVAT: zip for its 'MOTS PNG' import", _cvat_read, _cvat_write, ".zip"),
    "png": Format("a folder of binary PNG per object", _png_read, _png_write, ""),
    "csv": Format("one row per object and frame", _csv_read, _csv_write, ".csv"),
}
"""Name -> how it is read and written."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``convert``."""
    width = max(map(len, FORMATS))
    parser.epilog = EPILOG.format(table="\n".join(f"  {n:<{width}}  {f.about}" for n, f in FORMATS.items()))
    parser.add_argument("inputs", nargs="+", type=Path, metavar="IN", help="file or folder to read")
    parser.add_argument("out", type=Path, metavar="OUT", help="file or folder to write; must not exist")
    parser.add_argument(
        "--from", dest="source", choices=FORMATS, default="tubes", help="format of IN (default: tubes)"
    )
    parser.add_argument("--to", choices=FORMATS, required=True, help="format of OUT")
    parser.add_argument(
        "--truth", type=Path, metavar="FILE", help="annotations that a results file belongs to"
    )
    parser.add_argument("--size", metavar="HxW", help="video size, for formats that do not tell it")
    parser.add_argument("--frames", type=int, metavar="N", help="length of the video, likewise")
    parser.add_argument("--fps", type=float, metavar="R", help="frames per second, likewise")
    parser.add_argument(
        "--first-frame", type=int, default=0, metavar="N", help="number of the first frame in MOTS (0)"
    )
    parser.add_argument(
        "--classes", metavar="N=NAME,..", help="names of MOTS class numbers, like 3=dog,4=cat"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file (never a folder)")
    parser.add_argument("--json", action="store_true", help="print what was written and lost as JSON")


def run(args: argparse.Namespace) -> int:
    """Do it; errors leave as exceptions of vis.errors."""
    if args.fps is not None and not 0 < args.fps < 1e6:
        raise UsageError(f"--fps {args.fps}: give a rate above 0")
    source, target = FORMATS[args.source], FORMATS[args.to]
    if args.out.is_file() and not args.overwrite:
        raise UsageError(f"{args.out}: exists; add --overwrite to replace it, or choose another name")
    results = [result for path in args.inputs for result in source.read(_entry(path, args.source), args)]
    if target.many or len(results) == 1:
        lost = {str(args.out): target.write(args.out, results)}
    else:
        lost = {}
        for result, name in zip(results, _names(results), strict=True):
            place = args.out / f"{name}{target.suffix}"
            if place.exists() and not args.overwrite:
                raise UsageError(f"{place}: exists; choose another OUT")
            lost[str(place)] = target.write(place, [result])
    summary: dict[str, Any] = {
        "videos": len(results),
        "tubes": sum(len(result.tubes) for result in results),
        "lost": lost,
    }
    for place, sentences in lost.items():
        print(f"written to {place}" + "".join(f"\n  {sentence}" for sentence in sentences), file=sys.stderr)
    if args.json:
        print(json.dumps(summary))
    return 0


def _entry(path: Path, source: str) -> Path:
    return path / "tubes.json" if source == "tubes" and path.is_dir() else path


def _names(results: Sequence[VideoResult]) -> list[str]:
    """File names of the videos: safe, and each once."""
    names: list[str] = []
    for result in results:
        base = (
            "".join(c if c.isalnum() or c in "-_." else "_" for c in result.video.name).lstrip(".") or "video"
        )
        name, count = base, 2
        while name in names:
            name, count = f"{base}-{count}", count + 1
        names.append(name)
    return names


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(
        part.isascii() and part.isdigit() and 0 < int(part) <= 65_535 for part in parts
    ):
        raise UsageError(f"--size {text!r}: give height and width, like 1080x1920")
    return int(parts[0]), int(parts[1])


def _numbered(text: str | None) -> dict[int, str] | None:
    if text is None:
        return None
    names: dict[int, str] = {}
    for part in text.split(","):
        number, _, name = part.partition("=")
        if not number.strip().isdigit() or not name.strip():
            raise UsageError(f"--classes {text!r}: give numbers and names, like 3=dog,4=cat")
        names[int(number)] = name.strip()
    return names
