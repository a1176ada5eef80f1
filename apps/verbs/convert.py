"""``vistubes convert``: tubes from one format into another, and what that costs."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apps.batch.summary import read_failures
from apps.frame_export import Export
from apps.options import positive
from apps.run_folder import tubes_of
from apps.saved_results import BATCH_FILES, Saved, is_result, results_below
from apps.verbs import convert_pictures
from vis.errors import InputError, UsageError, VisWarning
from vis.formats.fields import MAX_FPS, MAX_FRAME, MIN_FPS
from vis.formats.naming import told_apart, unique_names
from vis.formats.registry import FORMATS, Format
from vis.structures import VideoResult

__all__ = ["FORMATS", "configure", "run"]

EPILOG = """\
formats:
{table}

IN may be a run folder, whose tubes.json is taken, or a folder of run folders, such as a batch's --out: it is
searched, and its videos are named by their place in it (day1/dog). Several videos make one file of a format that
holds many; with other formats OUT becomes a folder with one file or folder per video. Files that are no results are
passed over and named. What a format cannot hold is said on stderr, and under "lost" with --json: by input what
reading could not keep, by output what writing could not, and under "options" those that neither format takes.

COCO and YouTube-VIS name a picture for every frame. Those of a folder of images are the user's own; those of a
video are named and not written, unless --export-frames gives the video, or the folder that a batch took its
videos from: then the pictures lie in all_frames/ beside all.json, under the names that it has.

examples:
  vistubes convert runs/all all.json --to coco                       # a whole batch, one file
  vistubes convert runs/all all.json --to coco --export-frames videos/    # ... and its pictures in all_frames/
  vistubes convert runs/clip clip_mots/ --to mots-png
  vistubes convert runs/a runs/b two.json --to ytvis
  vistubes convert gt.txt tubes.json --from mot --to tubes --size 1080x1920 --fps 30
  vistubes convert results.json out/ --from ytvis-results --truth valid.json --to davis
  vistubes convert out/*.json results.json --to ytvis-results --truth valid.json    # with its ids
"""

SPELLED = {
    "truth": "--truth",
    "size": "--size",
    "num_frames": "--frames",
    "fps": "--fps",
    "first_frame": "--first-frame",
    "class_names": "--classes",
}
"""Option of a format -> how it is spelled here."""
NEEDED = {
    "truth": "a YTVIS results file names no video; give its annotations (or the test set's JSON) with --truth",
    "size": "MOT text does not tell the video's size; give it with --size HxW",
}
SHOWN = 8
"""Files passed over that are named on stderr; --json has all."""
NAME_BYTES = 150
"""Longest name of a video in a file name."""


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
        "--truth",
        type=Path,
        metavar="FILE",
        help="annotations of a set: those that a results file belongs to, and whose ids are written",
    )
    parser.add_argument("--size", metavar="HxW", help="video size, for formats that do not tell it")
    parser.add_argument("--frames", type=positive, metavar="N", help="length of the video, likewise")
    parser.add_argument("--fps", type=float, metavar="R", help="frames per second, likewise")
    parser.add_argument(
        "--first-frame",
        type=int,
        metavar="N",
        help="number of the first frame (MOTS: 0; MOT: 0 where a line says so, else 1)",
    )
    parser.add_argument(
        "--classes", metavar="N=NAME,..", help="names of MOTS class numbers, like 3=dog,4=cat"
    )
    parser.add_argument(
        "--export-frames",
        type=Path,
        metavar="VIDEOS",
        help="coco, ytvis: write the pictures that the file names, of this video, or of those in this folder",
    )
    parser.add_argument(
        "--overlay",
        type=Path,
        metavar="VIDEOS",
        help="also draw overlay.mp4 and contact_sheet.png on this video, or on those in this folder",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file (never a folder)")
    parser.add_argument("--json", action="store_true", help="print what was written and lost as JSON")


@dataclass(frozen=True, slots=True)
class _Read:
    """One video that was read."""

    path: Path
    """The input."""
    result: VideoResult
    """Called by its place where it was found in a folder."""
    saved: Path | None = None
    """Its tubes.json, where it was found in a folder or is a run folder's."""
    called: str = ""
    """What the result itself calls its video."""


def run(args: argparse.Namespace) -> int:
    """Do it; errors leave as exceptions of vis.errors."""
    options = _options(args)
    source, target = FORMATS[args.source], FORMATS[args.to]
    _check(args, source, target, options)
    found, lost, passed = _read_all(args.inputs, args.source, options)
    written = [read.result for read in found]
    if unused := [SPELLED[name] for name in options if name not in (*source.reads, *target.writes)]:
        formats = f"neither --from {args.source} nor --to {args.to}"
        lost["options"] = [f"{option} is not used: {formats} takes it" for option in unused]
    if target.many:
        # Of a set's own videos the names say which they are.
        written = written if "truth" in options and "truth" in target.writes else _told_apart(found)
        lost |= _write(args.out, written, target, options)
    elif len(found) == 1:
        lost |= _write(args.out, written, target, options)
    else:
        written, dropped = _write_each(args.out, written, target, options, overwrite=args.overwrite)
        lost |= dropped
    summary: dict[str, Any] = {
        "videos": len(found),
        "tubes": sum(len(read.result.tubes) for read in found),
        "lost": lost,
    }
    names = [
        {"input": str(read.path), "video": read.called, "name": result.video.name}
        for read, result in zip(found, written, strict=True)
        if read.called != result.video.name
    ]
    if names:
        summary["names"] = names
    if passed:
        summary["passed_over"] = [str(file) for file in passed]
    _say(args, lost, names, passed)
    exports = [
        Export(result, read.result.video.name, read.saved)
        for read, result in zip(found, written, strict=True)
    ]
    if args.export_frames is not None:
        summary["frames"] = convert_pictures.export(args.export_frames, exports, args.out)
    if args.overlay is not None:
        folders = _file_names(written)
        summary["overlays"] = convert_pictures.draw(args.overlay, exports, folders, args.out)
    if args.json:
        print(json.dumps(summary))
    return 0


def _check(args: argparse.Namespace, source: Format, target: Format, options: dict[str, Any]) -> None:
    """Raise :class:`UsageError` for what cannot be meant, before anything is read."""
    for name in source.needs:
        if name not in options:
            raise UsageError(NEEDED[name])
    if args.export_frames is not None and not target.names_frames:
        raise UsageError(f"--export-frames: --to {args.to} names no pictures; it is for coco and ytvis")
    if _is_file(args.out) and not args.overwrite:
        raise UsageError(f"{args.out}: exists; add --overwrite to replace it, or choose another name")
    pictures, overlays = convert_pictures.pictures_of(args.out), convert_pictures.overlays_of(args.out)
    for wanted, folder in ((args.export_frames, pictures), (args.overlay, overlays)):
        if wanted is not None and _exists(folder):
            raise UsageError(
                f"{folder}: exists, and may hold other pictures; move it away, or choose another OUT"
            )


def _read_all(
    inputs: Sequence[Path], name: str, options: dict[str, Any]
) -> tuple[list[_Read], dict[str, list[str]], list[Path]]:
    """The videos of all inputs, what of each input is not kept, and the files that were passed over."""
    lost: dict[str, list[str]] = {}
    found: list[_Read] = []
    passed: list[Path] = []
    for path in inputs:
        if name == "tubes" and len(inputs) > 1 and path.name in BATCH_FILES and not is_result(path):
            passed.append(path)  # of runs/all/*
            continue
        saved: list[Saved] = []
        if name == "tubes" and _is_folder(path) and not _is_file(path / "tubes.json"):
            saved, others = results_below(path)
            passed += others
            if failed := [line["name"] for line in read_failures(path)]:
                lost[str(path)] = [f"videos that failed are not there: {', '.join(failed)}"]
        for one in saved or [Saved(path, "")]:
            results, said = _read(one.path, FORMATS[name], name, options)
            for result in results:
                video = replace(result.video, name=one.place or result.video.name)
                place = tubes_of(one.path) if name == "tubes" else None
                found.append(_Read(path, replace(result, video=video), place, result.video.name))
            if said:
                lost[str(one.path)] = said
    if not found:
        raise InputError(f"{', '.join(map(str, inputs))}: no video in it; there is nothing to write")
    return found, lost, passed


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """The formats' options that were given."""
    if args.fps is not None and not MIN_FPS <= args.fps <= MAX_FPS:
        raise UsageError(f"--fps {args.fps}: give a rate above 0, of at most {MAX_FPS:,.0f}")
    if args.first_frame is not None and not 0 <= args.first_frame <= MAX_FRAME:
        raise UsageError(f"--first-frame {args.first_frame}: give a number from 0")
    given = {
        "truth": args.truth,
        "size": _size(args.size),
        "num_frames": args.frames,
        "fps": args.fps,
        "first_frame": args.first_frame,
        "class_names": _numbered(args.classes),
    }
    return {name: value for name, value in given.items() if value is not None}


def _read(
    path: Path, source: Format, name: str, options: dict[str, Any]
) -> tuple[Sequence[VideoResult], list[str]]:
    """The videos of an input, and what of it is not kept."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            place = tubes_of(path) if name == "tubes" else path
        except OSError as error:  # a name that is too long for the file system
            raise InputError(f"{path}: cannot be read ({error.strerror})") from error
        results = source.read(place, **{key: options[key] for key in source.reads if key in options})
    said = []
    for warning in caught:
        if issubclass(warning.category, VisWarning):
            said.append(str(warning.message).removeprefix(f"{place}: "))
        else:
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
    return results, said


def _write(
    place: Path, results: Sequence[VideoResult], target: Format, options: dict[str, Any]
) -> dict[str, list[str]]:
    used = {key: options[key] for key in target.writes if key in options}
    return {str(place): target.write(place, results, **used)}


def _write_each(
    out: Path, results: list[VideoResult], target: Format, options: dict[str, Any], *, overwrite: bool
) -> tuple[list[VideoResult], dict[str, list[str]]]:
    """One file or folder per video in ``out``: the results under the names that they have there, and what is lost."""
    places = [out / f"{name}{target.suffix}" for name in _file_names(results)]
    for place in places:
        if _exists(place) and not overwrite:
            raise UsageError(f"{place}: exists; choose another OUT")
    lost: dict[str, list[str]] = {}
    for place, result in zip(places, results, strict=True):
        lost |= _write(place, [result], target, options)
    names = [place.stem if target.suffix else place.name for place in places]
    named = [replace(r, video=replace(r.video, name=name)) for r, name in zip(results, names, strict=True)]
    return named, lost


def _say(
    args: argparse.Namespace, lost: dict[str, list[str]], names: list[dict[str, str]], passed: Sequence[Path]
) -> None:
    if passed:
        some = ", ".join(map(str, passed[:SHOWN])) + (", ..." if len(passed) > SHOWN else "")
        print(f"passed over, since they are no results: {len(passed)} files: {some}", file=sys.stderr)
    for place, sentences in lost.items():
        head = (
            "options"
            if place == "options"
            else f"{'written to' if _is_output(place, args.out) else 'read from'} {place}"
        )
        print(head + "".join(f"\n  {sentence}" for sentence in sentences), file=sys.stderr)
    for row in names:
        print(f"  {row['video']} of {row['input']} is called {row['name']}", file=sys.stderr)


def _is_output(place: str, out: Path) -> bool:
    return out in (Path(place), Path(place).parent)


def _told_apart(found: Sequence[_Read]) -> list[VideoResult]:
    """The results; videos of one name are called by as much of their input's path as tells them apart."""
    count = Counter(read.result.video.name.casefold() for read in found)
    twice = [at for at, read in enumerate(found) if count[read.result.video.name.casefold()] > 1]
    results = [read.result for read in found]
    for at, name in zip(twice, told_apart([_place(found[at]) for at in twice]), strict=True):
        results[at] = replace(results[at], video=replace(results[at].video, name=name))
    return results


def _place(read: _Read) -> tuple[str, ...]:
    """The path of an input, the last part of which is the video's name: ``out/day1/clip`` for a run folder."""
    path, name = read.saved or read.path, read.result.video.name
    path = path.parent if path.name == "tubes.json" else path.with_suffix("") if _is_file(path) else path
    parts = tuple(part for part in path.parts if part not in ("/", ".", ".."))
    ends = tuple(part for part in Path(name).parts if part not in ("/", ".."))
    return parts if parts[-len(ends) :] == ends else (*parts, name)


def _file_names(results: Sequence[VideoResult]) -> list[str]:
    """File names of the videos: safe, and each once."""
    safe = []
    for result in results:
        text = "".join(c if c.isalnum() or c in "-_." else "_" for c in result.video.name).lstrip(".")
        safe.append(text.encode()[:NAME_BYTES].decode(errors="ignore") or "video")
    return unique_names(safe)


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    parts = text.lower().split("x")
    digits = all(part.isascii() and part.isdigit() and len(part) <= 5 for part in parts)
    if len(parts) != 2 or not digits or not all(0 < int(part) <= 65_535 for part in parts):
        raise UsageError(f"--size {text[:40]!r}: give height and width, like 1080x1920")
    return int(parts[0]), int(parts[1])


def _numbered(text: str | None) -> dict[int, str] | None:
    if text is None:
        return None
    names: dict[int, str] = {}
    for part in text.split(","):
        number, _, name = (side.strip() for side in part.partition("="))
        digits = number.isascii() and number.isdigit() and len(number) <= 9
        if not digits or not name or int(number) in names:
            raise UsageError(
                f"--classes {text[:40]!r}: give numbers and names, each number once, like 3=dog,4=cat"
            )
        names[int(number)] = name
    return names


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name that is too long for the file system: writing it says so
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False
