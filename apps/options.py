"""Options that several verbs share, so that they are spelled and explained once."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from apps.option_types import FormerName, FormerSwitch, moment, path_text, positive, rate, unit, whole
from apps.plan import SPEEDS, Plan, Refining, Selection
from apps.presets import PRESETS
from apps.run_folder import Output
from detectors import DETECTORS
from trackers import TRACKERS

__all__ = [
    "add_association",
    "add_network",
    "add_output",
    "add_overlay",
    "add_precision",
    "add_reading",
    "add_refiner",
    "add_saved_video",
    "add_source",
    "add_speed",
    "output_of",
    "plan_of",
    "positive",
    "refining_of",
    "selection_of",
    "unit",
]

SELECTION = ("start", "end", "stride", "fps", "strict", "value_range", "reader")
ASSOCIATION = (
    *("preset", "detector", "weights", "video_id", "text", "tracker", "camera_motion"),
    *("classes", "score", "min_frames", "link", "top", "speed"),
)
MASKS = ("model", "policy", "multimask_selection", "overlap", "clean", "zoom", "precision")


def add_source(parser: argparse.ArgumentParser) -> None:
    """Which frames of which video."""
    group = parser.add_argument_group("frames")
    parser.add_argument("source", type=path_text, help="video file, folder of images, or 'sample'")
    group.add_argument("--start", type=moment, metavar="T", help="first frame (120) or time (4.5s)")
    group.add_argument("--end", type=moment, metavar="T", help="end before this frame (240) or time (9s)")
    group.add_argument("--stride", type=positive, default=1, metavar="N", help="every Nth frame (default: 1)")
    group.add_argument("--fps", type=rate, metavar="R", help="rate of a folder of images")
    group.add_argument("--strict", action="store_true", help="a damaged video is an error, not a warning")
    add_reading(group)


def add_reading(parser: argparse._ActionsContainer) -> None:
    """How pictures are made of what is stored."""
    parser.add_argument(
        "--value-range",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="what becomes black and white in images of more than 8 bits (default: what a sample of them spans)",
    )
    parser.add_argument(
        "--reader",
        choices=("pyav", "decord"),
        default="pyav",
        help="what decodes video files: pyav (default), or decord, which refuses files that it does not read exactly",
    )


def add_saved_video(parser: argparse.ArgumentParser) -> None:
    """A saved result, and the video that it is of."""
    parser.add_argument("result", type=Path, help="a run folder, or a tubes.json")
    parser.add_argument("source", type=path_text, help="the video that the result was made from, or 'sample'")
    parser.add_argument("--fps", type=rate, metavar="R", help="rate of a folder of images")
    parser.add_argument("--strict", action="store_true", help="a damaged video is an error, not a warning")
    add_reading(parser)


def add_association(parser: argparse.ArgumentParser) -> None:
    """What finds objects, and what links them."""
    presets = "; ".join(f"{name}: {preset.about}" for name, preset in PRESETS.items())
    group = parser.add_argument_group("objects and association")
    group.add_argument(
        "--preset", choices=sorted(PRESETS), default="quick", help=f"{presets} (default: quick)"
    )
    group.add_argument(
        "--detector",
        metavar="NAME",
        help=f"what finds objects: {', '.join(DETECTORS)}, one that another package adds, or module:Class of your own "
        "(default: the preset's)",
    )
    group.add_argument(
        "--weights",
        type=path_text,
        metavar="FILE",
        help="the detector's weights or JSON, where it takes a file",
    )
    group.add_argument(
        "--video-id",
        type=whole(0, 2**63 - 1),
        metavar="ID",
        help="which video, for detector 'precomputed' and a file that holds several",
    )
    group.add_argument(
        "--text", metavar="WORDS", help="what to look for, for detectors that take words: 'person . red car'"
    )
    group.add_argument(
        "--tracker",
        metavar="NAME",
        help=f"what links them: {', '.join(TRACKERS)}, or one that another package adds (default: the preset's)",
    )
    group.add_argument(
        "--camera-motion", action="store_true", help="tell the tracker how the camera moved (botsort: always)"
    )
    group.add_argument("--classes", metavar="A,B", help="keep these class names only")
    group.add_argument("--score", type=unit, metavar="S", help="least detection score, 0 to 1")
    group.add_argument("--min-frames", type=positive, metavar="N", help="drop tubes of fewer frames")
    group.add_argument(
        "--link",
        action=argparse.BooleanOptionalAction,
        help="when the whole video is known, stitch tubes across gaps and fill short gaps (default of preset quick)",
    )
    group.add_argument("--top", type=positive, metavar="K", help="keep the K tubes of the highest score only")


def add_speed(parser: argparse.ArgumentParser, *, default: str | None = None) -> None:
    """On which frames the networks look, or the one network that there is. ``default``: None is the preset's."""
    parser.add_argument(
        "--speed",
        choices=tuple(SPEEDS),
        default=default,
        help="full: networks look at every frame; balanced, fastest: at one in "
        f"{SPEEDS['balanced'].interval} or {SPEEDS['fastest'].interval}, and where motion does not explain what they "
        "saw; between them masks are carried by motion "
        f"(default: {default or 'balanced for preset quick and its own detector, else full'})",
    )


def add_refiner(parser: argparse.ArgumentParser) -> None:
    """What sharpens the masks, and how it is prompted."""
    group = parser.add_argument_group("masks")
    group.add_argument(
        "--model",
        type=path_text,
        metavar="NAME",
        help="refiner: a name of 'vistubes models list', a checkpoint, or 'none'",
    )
    group.add_argument("--policy", metavar="NAME", help="prompts: box, box+mask, box+points or gated")
    group.add_argument(
        "--multimask",
        dest="multimask_selection",
        choices=("single", "tube"),
        help="single: SAM's single mask; tube: of its masks of the whole and of a part the one that it thinks best "
        "over the frames so far, for loose boxes (default of preset quick)",
    )
    group.add_argument(
        "--whole-or-part",
        dest="multimask_selection",
        action=FormerSwitch,
        present="--multimask",
        values=("single", "tube"),
        help=argparse.SUPPRESS,
    )
    group.add_argument(
        "--overlap",
        choices=("keep", "resolve"),
        help="resolve: where two masks of a frame claim a pixel, the surer one has it (default of preset quick); "
        "keep: both have it, as tube AP expects of ranked candidates",
    )
    group.add_argument(
        "--clean",
        action=argparse.BooleanOptionalAction,
        help="remove specks and pin-holes from masks (default of preset quick)",
    )
    group.add_argument(
        "--zoom", action="store_true", help="embed a crop around small objects too: finer, slower"
    )
    add_precision(
        group,
        default=None,
        about="exact: float32, every pixel computed; fast: also bfloat16 where masks bear it, and masks computed only "
        "where they can be; fastest: low precision throughout, and on a CPU no work on a frame's padding "
        "(default: fast; fastest with --speed balanced or fastest)",
    )
    group.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")


def add_precision(parser: argparse._ActionsContainer, *, default: str | None, about: str) -> None:
    """How exactly the mask network computes, under its former name too."""
    choices = ("exact", "fast", "fastest")
    parser.add_argument("--precision", choices=choices, default=default, help=about)
    parser.add_argument(
        "--mode",
        dest="precision",
        action=FormerName,
        const="--precision",
        choices=choices,
        default=default,
        help=argparse.SUPPRESS,
    )


def add_network(parser: argparse._ActionsContainer) -> None:
    """Which SAM or HQ-SAM draws, for verbs that follow."""
    parser.add_argument(
        "--model",
        type=path_text,
        default="hq-tiny",
        metavar="NAME",
        help="a name of 'vistubes models list', or a checkpoint",
    )
    add_precision(
        parser, default="fast", about="numbers of the network: exact, fast (default) or fastest, as for 'run'"
    )
    parser.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:N or mps")


def add_output(parser: argparse.ArgumentParser, *, default: str) -> None:
    """Where results go, and what is printed."""
    group = parser.add_argument_group("results")
    group.add_argument("--out", type=Path, metavar="DIR", help=f"run folder (default: {default})")
    group.add_argument("--overwrite", action="store_true", help="replace an earlier run in the same folder")
    add_overlay(group)
    group.add_argument("--json", action="store_true", help="print run.json to stdout")
    group.add_argument("--quiet", action="store_true", help="no progress, no table")


def add_overlay(parser: argparse._ActionsContainer) -> None:
    """Whether the video is drawn with its tubes on it."""
    parser.add_argument(
        "--overlay",
        action="store_false",
        dest="no_overlay",
        default=False,
        help="write overlay.mp4 (default)",
    )
    parser.add_argument("--no-overlay", action="store_true", help="write no overlay.mp4")


def selection_of(args: argparse.Namespace) -> Selection:
    """Which frames, of those options of :func:`add_source` that the verb has."""
    return Selection(**_named(args, SELECTION))


def plan_of(args: argparse.Namespace) -> Plan:
    """The options of :func:`add_association`, :func:`add_refiner` and :func:`add_speed`.

    Without the second nothing is refined, without the third every frame is looked at.
    """
    return Plan.of(**{"model": "none", "speed": "full", **_named(args, (*ASSOCIATION, *MASKS))})


def refining_of(args: argparse.Namespace) -> Refining:
    """The options of :func:`add_refiner` and :func:`add_speed` over the defaults of preset ``quick``."""
    return Refining.of(**_named(args, (*MASKS, "speed")))


def output_of(args: argparse.Namespace) -> Output:
    """The options of :func:`add_output`."""
    return Output(args.out, args.overwrite, overlay=not args.no_overlay, json=args.json, quiet=args.quiet)


def _named(args: argparse.Namespace, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(args, name) for name in names if name in args}
