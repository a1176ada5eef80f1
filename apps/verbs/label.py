"""``vistubes label``: the good tubes of a saved result become a training set, the others wait for a person."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.identity import is_same, read_record, source_identity
from apps.job import check_same_size
from apps.option_types import path_text, positive, rate, unit
from apps.options import add_reading, selection_of
from apps.plan import source_path
from apps.progress import progress
from apps.run_folder import tubes_of
from vis.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from vis.interfaces import FrameSource
    from vis.structures import VideoResult
    from vis.training.labelling import Candidate

__all__ = ["configure", "run"]

EPILOG = """\
A training set of one's own videos, in the three stages of the Segment Anything paper:
  assisted        draw and follow objects in the page ('vistubes demo'), and download the training set there
  semi-automatic  label what a detector found; draw the rest in the page; left/NAME.json says which tubes wait
  automatic       every region by SAM's grid of points, linked, and labelled without anybody looking

DIR holds images/ and masks/ (one pair per object and frame: NAME-000040-2.jpg and .png), left/NAME.json (the
tubes that were not good enough, as a result that reads back) and labels/NAME.json (which video, and why; written
last). NAME is the video's; another video of the same name becomes NAME-2. The same DIR takes many videos.
'vistubes train prepare --images DIR' and 'train fit --images DIR' read it.

examples:
  vistubes run clip.mp4 --preset balanced --out runs/clip
  vistubes label runs/clip clip.mp4 --out set/
  vistubes run clip.mp4 --detector everything --tracker mask_iou --model none --out runs/all    # automatic
  vistubes label runs/all clip.mp4 --out set/ --every 5
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``label``."""
    parser.epilog = EPILOG
    parser.add_argument("result", type=Path, help="a run folder, or a tubes.json")
    parser.add_argument("source", type=path_text, help="the video that the result was made from, or 'sample'")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the training set's folder")
    parser.add_argument("--fps", type=rate, metavar="R", help="rate of a folder of images")
    parser.add_argument("--strict", action="store_true", help="a damaged video is an error, not a warning")
    add_reading(parser)
    good = parser.add_argument_group("what is good enough")
    good.add_argument("--min-score", type=unit, default=0.6, metavar="S", help="the tube's score (0.6)")
    good.add_argument(
        "--min-stability",
        type=unit,
        default=0.75,
        metavar="IOU",
        help="median IoU of its mask with the next frame's, centre on centre (0.75)",
    )
    good.add_argument("--min-frames", type=positive, default=5, metavar="N", help="frames it is on (5)")
    good.add_argument(
        "--min-area", type=unit, default=0.0005, metavar="SHARE", help="of the picture, on average (0.0005)"
    )
    good.add_argument(
        "--max-overlap",
        type=unit,
        default=0.7,
        metavar="IOU",
        help="a tube that overlaps a better one more than this is its double (0.7)",
    )
    parser.add_argument("--every", type=positive, default=1, metavar="N", help="every Nth frame (1)")
    parser.add_argument("--overwrite", action="store_true", help="replace this video's earlier labels")
    parser.add_argument("--json", action="store_true", help="print labels/NAME.json to stdout")
    parser.add_argument("--quiet", action="store_true", help="no progress, no table")


def run(args: argparse.Namespace) -> int:
    """Judge, write the pairs, say what was left."""
    from vis.files import write_json
    from vis.formats import tubes
    from vis.training.labelling import only, select_pseudo_labels

    saved = tubes.read(tubes_of(args.result))
    path = source_path(args.source)
    source = selection_of(args).open(path)
    check_same_size(source, saved)
    identity = source_identity(path)
    name = _name(args.out, re.sub(r"[^\w.-]+", "-", path.stem)[:100] or "video", identity)
    record = args.out / "labels" / f"{name}.json"
    if record.exists():
        if not args.overwrite:
            raise UsageError(f"{record}: {name} is labelled already; --overwrite replaces it")
        _forget(args.out, name, record)
    verdicts = select_pseudo_labels(
        saved,
        min_score=args.min_score,
        min_stability=args.min_stability,
        min_frames=args.min_frames,
        min_area=args.min_area,
        max_overlap=args.max_overlap,
    )
    kept = [verdict.tube for verdict in verdicts if verdict.kept]
    written = _write_pairs(args, source, only(saved, kept), name) if kept else 0
    left = [verdict.tube for verdict in verdicts if not verdict.kept]
    if left:
        tubes.write(args.out / "left" / f"{name}.json", only(saved, left))
    content: dict[str, Any] = {"video": path.name, "name": name, "source": identity}
    content |= {"pairs": written, "kept": len(kept), "left": len(left)}
    content["tubes"] = [_plain(verdict, saved) for verdict in verdicts]
    write_json(record, content)
    if not args.quiet:
        print(_table(verdicts, written, args.out), file=sys.stderr)
        print(f"{record}: what was taken, and why not the others", file=sys.stderr)
    if args.json:
        print(json.dumps(content))
    return 0


def _name(out: Path, stem: str, identity: Mapping[str, Any]) -> str:
    """The video's name in the set: its stem, or with a number where that is another video's.

    Raises :class:`UsageError` where labels of an earlier version do not say whose they are.
    """
    name, number = stem, 2
    while (record := out / "labels" / f"{name}.json").exists():
        before = read_record(record)
        same = is_same(identity, before.get("source", {"name": before.get("video")}))
        if same is None:
            raise UsageError(
                f"{record}: does not tell which {before.get('video', 'video')} it is about; if it is this one, remove "
                "it with its images and masks, else choose another --out"
            )
        if same:
            break
        name, number = f"{stem}-{number}", number + 1
    return name


def _write_pairs(args: argparse.Namespace, source: FrameSource, result: VideoResult, name: str) -> int:
    """The pairs of the chosen tubes; the picture of a frame is stored once, and linked for further objects."""
    from vis.training.labelling import pairs

    count = 0
    last = int(max(tube.frames[-1] for tube in result.tubes))
    frames: Iterator[Any] = (frame for frame in source if frame.index <= last)
    shown = progress(frames, what="label", total=last + 1, quiet=args.quiet)
    for frame, objects in pairs(shown, result, every=args.every):
        first: Path | None = None
        for number, mask in objects:
            stem = f"{name}-{frame.index:06d}-{number}"
            picture = args.out / "images" / f"{stem}.jpg"
            if first is None or not _linked(first, picture):
                _save(picture, frame.image, quality=95)
            first = first or picture
            _save(args.out / "masks" / f"{stem}.png", mask)
            count += 1
    return count


def _save(path: Path, pixels: NDArray[np.uint8] | NDArray[np.bool_], **how: Any) -> None:
    from PIL import Image

    from vis.files import whole_file

    with whole_file(path) as part:
        Image.fromarray(pixels if pixels.dtype != bool else pixels.astype("uint8") * 255).save(part, **how)


def _linked(old: Path, new: Path) -> bool:
    """Whether ``new`` could be made another name of ``old``."""
    try:
        new.unlink(missing_ok=True)
        os.link(old, new)
    except OSError:  # a file system without links
        return False
    return True


def _forget(out: Path, name: str, record: Path) -> None:
    record.unlink()
    (out / "left" / f"{name}.json").unlink(missing_ok=True)
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        for file in (out / folder).glob(f"{name}-*.{suffix}"):
            if re.fullmatch(rf"{re.escape(name)}-\d{{6,}}-\d+", file.stem):
                file.unlink()


def _plain(verdict: Candidate, result: VideoResult) -> dict[str, Any]:
    """A verdict for JSON, with the class; a stability that cannot be told is null."""
    label = next(tube.label for tube in result.tubes if tube.id == verdict.tube)
    stability = None if verdict.stability != verdict.stability else round(verdict.stability, 4)
    return {**asdict(verdict), "stability": stability, "class": result.class_names[label]}


def _table(verdicts: list[Candidate], written: int, out: Path) -> str:
    wide = shutil.get_terminal_size((100, 24)).columns
    lines = [f"{'object':>8} {'frames':>7} {'score':>6} {'stable':>7}"]
    for verdict in verdicts:
        line = f"{verdict.tube:>8} {verdict.frames:>7} {verdict.score:>6.2f} {verdict.stability:>7.2f}  "
        lines.append((line + ("taken" if verdict.kept else f"left: {verdict.reason}"))[:wide])
    kept = sum(verdict.kept for verdict in verdicts)
    lines.append(f"\n{kept} of {len(verdicts)} objects taken, {written} pairs in {out}/")
    return "\n".join(lines)
