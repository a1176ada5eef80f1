"""``vistubes edges``: edge maps of pictures by a mask model that never saw one, as Segment Anything's section 7.2."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.option_types import unit, whole
from apps.options import add_network

if TYPE_CHECKING:
    from vis.interfaces import MaskPredictor

__all__ = ["configure", "run"]

RECORD = "vis-tubes edges"
"""Name of the text in each file that says what it was made of."""

EPILOG = """\
Each picture becomes DIR/NAME.png, grey of 16 bits, thinned, brighter where an edge is surer. Stopped at any
moment, the same command goes on with the pictures that are not done.

examples:
  vistubes edges photo.jpg --out runs/edges
  vistubes edges BSDS500/images/test --out runs/bsds --model sam-h
  vistubes eval edges --truth BSDS500/groundTruth/test --results runs/bsds
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments of the verb."""
    parser.epilog = EPILOG
    parser.add_argument("source", type=Path, help="a picture, or a folder of pictures of any sizes")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/edges"), metavar="DIR", help="folder for the maps (runs/edges)"
    )
    add_network(parser)
    parser.set_defaults(model="sam-tiny")
    parser.add_argument(
        "--points", type=whole(1, 256), default=16, metavar="N", help="grid of N x N points (16)"
    )
    parser.add_argument(
        "--nms",
        type=unit,
        default=0.7,
        metavar="IOU",
        help="of masks whose boxes overlap more than this, the surer one stays (0.7)",
    )
    parser.add_argument(
        "--thin",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="suppress what is not highest across its edge, as edge benchmarks do (default)",
    )
    parser.add_argument(
        "--overwrite",
        action="store_true",
        help="replace maps that were made with other options or of other pictures",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def run(args: argparse.Namespace) -> int:
    """Make the maps that are not there; raises :class:`InputError` at the end when pictures failed."""
    from apps.progress import progress
    from vis import refiners
    from vis.errors import InputError

    pictures = _pictures(args.source)  # before weights are fetched
    settings = {
        "model": args.model,
        "weights": refiners.checksums(args.model),
        "precision": args.precision,
        "points": args.points,
        "nms": args.nms,
        "thin": args.thin,
    }
    # Whatever is in the way is told before any work is done.
    waiting = {
        target: (picture, record)
        for target, picture in _targets(pictures, args.out).items()
        if _wanted(target, record := _record(settings, picture), overwrite=args.overwrite)
    }
    failed: list[InputError] = []
    predictor = refiners.create(args.model, device=args.device, mode=args.precision) if waiting else None
    for target, (picture, record) in progress(
        waiting.items(), what="edges", total=len(waiting), quiet=args.quiet, unit="pictures"
    ):
        assert predictor is not None
        try:
            _write_edges(predictor, picture, target, record, args)
        except InputError as error:
            print(f"vistubes: warning: {error}", file=sys.stderr)
            failed.append(error)
    done = len(waiting) - len(failed)
    if args.json:
        told = {
            "out": str(args.out),
            "pictures": len(pictures),
            "made": done,
            "failed": len(failed),
            **settings,
        }
        print(json.dumps(told))
    elif not args.quiet:
        print(
            f"{args.out}: {done} edge maps made, {len(pictures) - len(waiting)} were there", file=sys.stderr
        )
    if failed:
        raise InputError(f"{len(failed)} of {len(pictures)} pictures failed; the first: {failed[0]}")
    return 0


def _pictures(source: Path) -> list[Path]:
    """The picture, or those of a folder in natural order."""
    from vis.errors import InputError
    from vis.video.images import is_image_file, list_images

    if source.is_dir():
        return list_images(source)
    if not source.is_file():
        raise InputError(f"{source}: no such file; give a picture or a folder of pictures")
    if not is_image_file(source):
        raise InputError(f"{source}: not a picture by its name; give a .jpg, .png, .bmp, .webp or .tif")
    return [source]


def _targets(pictures: list[Path], out: Path) -> dict[Path, Path]:
    """Edge map -> picture; raises :class:`UsageError` where two have one name, or a map would replace a picture."""
    from vis.errors import UsageError

    targets: dict[Path, Path] = {}
    for picture in pictures:
        target = out / f"{picture.stem}.png"
        if target in targets:
            raise UsageError(
                f"{targets[target].name} and {picture.name}: both become {target}; rename one, or take it out"
            )
        targets[target] = picture
    if same := next(
        (picture for picture in pictures if picture.resolve() in {t.resolve() for t in targets}), None
    ):
        raise UsageError(f"{same}: an edge map would replace it; choose another folder with --out")
    return targets


def _record(settings: Mapping[str, Any], picture: Path) -> str:
    """What a map is made of: the options and the picture's bytes, whatever its name."""
    from vis.errors import InputError
    from vis.weights.cache import sha256_of

    try:
        return json.dumps({**settings, "picture_sha256": sha256_of(picture)}, sort_keys=True)
    except OSError as error:
        raise InputError(f"{picture}: cannot be read ({error.strerror or error})") from error


def _wanted(target: Path, record: str, *, overwrite: bool) -> bool:
    """Whether the map is still to be made; raises :class:`OutputError` when another file has its name."""
    from PIL import Image

    from vis.errors import OutputError

    if not target.exists():
        return True
    try:
        with Image.open(target) as image:
            found = image.info.get(RECORD)
    except (OSError, SyntaxError, ValueError):
        found = None
    if found != record and not overwrite:
        made = "of another picture or with other options" if found else "by something else"
        raise OutputError(
            f"{target}: exists, made {made}; add --overwrite to replace it, or choose another folder with --out"
        )
    return found != record


def _write_edges(
    predictor: MaskPredictor, picture: Path, target: Path, record: str, args: argparse.Namespace
) -> None:
    import numpy as np

    from vis.edge_detection import detect_edges
    from vis.files import whole_file
    from vis.formats.images import png_bytes
    from vis.video.images import ImagePage, ImageReader
    from vis.video.value_range import range_of, to_8_bits

    values = ImageReader().values(ImagePage(picture))
    image = values if values.dtype == np.uint8 else to_8_bits(values, range_of([values]))
    edges = detect_edges(predictor, image, points_per_side=args.points, box_nms=args.nms, thin=args.thin)
    grey = np.rint(edges * 65535).astype(np.uint16)
    with whole_file(target) as part:
        part.write_bytes(png_bytes(grey, bits=16, text={RECORD: record}))
