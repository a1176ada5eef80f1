"""``vistubes convert``: tubes from one format into another, and what that costs."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from apps.run_folder import tubes_of
from vis.errors import UsageError
from vis.formats import coco, csv_table, cvat, davis, mot, mots, per_object, sav, tubes, ytvis_set
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


Read = Callable[[Path, argparse.Namespace], Sequence[VideoResult]]
Write = Callable[[Path, Sequence[VideoResult]], list[str]]


@dataclass(frozen=True, slots=True)
class Format:
    """One row of the table."""

    about: str
    read: Read
    write: Write
    suffix: str
    """Of the file per video; '' for a folder."""
    many: bool = False
    """Whether one file holds many videos."""


def _ytvis_results(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    if args.truth is None:
        raise UsageError(
            "a YTVIS results file names no video; give its annotations (or the test set's JSON) with --truth"
        )
    return ytvis_set.read_results(path, args.truth, fps=args.fps)


def _mots(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    named = _numbered(args.classes)
    size = _size(args.size)
    return [
        mots.read_text(
            path,
            first_frame=args.first_frame,
            num_frames=args.frames,
            size=size,
            fps=args.fps,
            class_names=named,
        )
    ]


def _mots_png(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    return [
        mots.read_png(path, first_frame=args.first_frame, fps=args.fps, class_names=_numbered(args.classes))
    ]


def _mot(path: Path, args: argparse.Namespace) -> Sequence[VideoResult]:
    if args.size is None:
        raise UsageError("MOT text does not tell the video's size; give it with --size HxW")
    return [mot.read(path, size=_size(args.size), num_frames=args.frames, fps=args.fps)]


def _write_tubes(path: Path, result: VideoResult) -> list[str]:
    tubes.write(path, result)
    return []


def _one(write: Callable[[Path, VideoResult], list[str]]) -> Write:
    """A writer of one video, in the shape of a writer of many."""
    return lambda path, results: write(path, results[0])


FORMATS: dict[str, Format] = {
    "tubes": Format(
        "tubes.json, our full result: loses nothing",
        lambda p, _: [tubes.read(p)],
        _one(_write_tubes),
        ".json",
    ),
    "ytvis": Format(
        "YouTube-VIS annotations (truth)",
        lambda p, a: ytvis_set.read_truth(p, fps=a.fps),
        ytvis_set.write_truth,
        ".json",
        many=True,
    ),
    "ytvis-results": Format(
        "YouTube-VIS results; reading needs --truth",
        _ytvis_results,
        ytvis_set.write_results,
        ".json",
        many=True,
    ),
    "coco": Format(
        "COCO for video: videos, images, tracks", lambda p, _: coco.read(p), coco.write, ".json", many=True
    ),
    "mots": Format("MOTS text", _mots, _one(mots.write_text_file), ".txt"),
    "mots-png": Format("MOTS, a folder of 16-bit PNG", _mots_png, _one(mots.write_png), ""),
    "davis": Format(
        "DAVIS, a folder of palette PNG", lambda p, a: [davis.read(p, fps=a.fps)], _one(davis.write), ""
    ),
    "sav": Format(
        "SA-V masklets, JSON", lambda p, _: [sav.read_json_file(p)], _one(sav.write_json_file), ".json"
    ),
    "sav-png": Format(
        "SA-V val and test, a folder of PNG per object",
        lambda p, a: [sav.read_png(p, fps=a.fps)],
        _one(sav.write_png),
        "",
    ),
    "mot": Format("MOT text, boxes only; reading needs --size", _mot, _one(mot.write), ".txt"),
    "cvat": Format(
        "CVAT: zip for its 'MOTS PNG' import",
        lambda p, a: [cvat.read(p, fps=a.fps)],
        _one(cvat.write),
        ".zip",
    ),
    "png": Format(
        "a folder of binary PNG per object",
        lambda p, a: [per_object.read(p, fps=a.fps)],
        _one(per_object.write),
        "",
    ),
    "csv": Format(
        "one row per object and frame",
        lambda p, a: [csv_table.read(p, fps=a.fps)],
        _one(csv_table.write),
        ".csv",
    ),
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
    return tubes_of(path) if source == "tubes" else path


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
