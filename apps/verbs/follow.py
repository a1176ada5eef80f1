"""``vistubes follow``: point at objects once, and have them through the whole video."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from apps import follow_prompts
from apps.follow_job import Following, FollowJob
from apps.option_types import path_text, unit
from apps.options import add_network, add_output, add_source, output_of, selection_of
from apps.plan import Selection, source_path
from apps.run_folder import Output, check_replaceable
from vis import engines
from vis.errors import UsageError, VisWarning

__all__ = ["configure", "run"]

EPILOG = """\
A prompt is VALUE[@FRAME][#ID]. FRAME is a frame number (120) or a time (4.5s), the first frame where it is
left out. Prompts with the same ID are one object: on the same frame they are one prompt together, on
another frame they set the object right there. A prompt without ID is an object of its own.

Every frame is followed from the object's prompt that is nearest in time, forwards or backwards, so a prompt
that is added changes nothing but the frames around it.

A mask is a PNG of the video's size: 0 is background; a palette or label image holds one object per value,
and the value is its ID.

examples:
  vistubes follow clip.mp4 --point 310,96 --label juggler
  vistubes follow clip.mp4 --box 40,60,200,220@120 --point 500,300@4.5s
  vistubes follow clip.mp4 --point 310,96@0#1 --not-point 340,180@0#1 --box 60,40,260,300@90#1
  vistubes follow clip.mp4 --point 310,96#1 --point 500,80#2 --label dog#1 --label ball#2
  vistubes follow frames/ --mask 00000.png --format davis --out masks/
  vistubes follow clip.mp4 --text 'red car' --speed balanced
  vistubes follow clip.mp4 --point 310,96 --engine NAME --model FOLDER
  vistubes follow 0 --live --box 200,100,440,380 --speed fastest --json
"""


class _PromptAction(argparse.Action):
    """Prompts of all kinds in one list, in the order given."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,  # noqa: ARG002 - the signature is argparse's
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        given = [*(getattr(namespace, self.dest) or []), (str(option_string)[2:], str(values))]
        setattr(namespace, self.dest, given)


def _speed(text: str) -> str:
    """A word of ``--speed``; ``exact`` is the former one for ``full``."""
    if text != "exact":
        return text
    warnings.warn(
        "--speed exact is now --speed full; the former word goes in the next version",
        VisWarning,
        stacklevel=2,
    )
    return "full"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``follow``."""
    parser.epilog = EPILOG
    add_source(parser)
    group = parser.add_argument_group("objects")
    for name, metavar, about in (
        ("--point", "X,Y[@T][#ID]", "a click on the object"),
        ("--not-point", "X,Y[@T][#ID]", "a click beside it: this is not part of it"),
        ("--box", "X0,Y0,X1,Y1[@T][#ID]", "a box around the object"),
        ("--mask", "FILE[@T][#ID]", "a PNG with its mask, or with one object per value"),
        ("--text", "WORDS[@T]", "what it is called: every object that detector 'text' finds on the frame"),
    ):
        group.add_argument(name, action=_PromptAction, dest="prompts", metavar=metavar, help=about)
    group.add_argument(
        "--text-score", type=unit, default=0.3, metavar="S", help="least score for --text (default: 0.3)"
    )
    group.add_argument(
        "--weights",
        type=path_text,
        metavar="NAME",
        help="weights of --text's detector: a hub's name, or a folder",
    )
    group.add_argument(
        "--label",
        action="append",
        default=[],
        metavar="NAME[#ID]",
        help="what the objects are called, or the one of that ID (default: object, or what --text calls them)",
    )
    group = parser.add_argument_group("masks")
    names = list(engines.ENGINES)
    group.add_argument(
        "--engine",
        default=engines.DEFAULT,
        metavar="NAME",
        help=f"what carries objects: {engines.DEFAULT} (default), any mask model of images led by motion; or "
        f"{', '.join(name for name in names if name != engines.DEFAULT)}, a model of videos with its own memory",
    )
    add_network(group)
    parser.set_defaults(model=None)  # the engine's own
    group = parser.add_argument_group("speed")
    group.add_argument(
        "--speed",
        type=_speed,
        choices=("full", "balanced", "fastest"),
        default="full",
        help="the network looks at every frame (full, default), at one in 4 (balanced) or one in 8 (fastest), "
        "and where motion is hard to tell; between, objects are carried by motion from both sides",
    )
    group.add_argument(
        "--live",
        action="store_true",
        help="SOURCE is a camera's number, '-' (stdin), a pipe or a stream: prompts are on its first frame, "
        "frames that come too fast are dropped and counted; --json prints one line per frame",
    )
    add_output(parser, default="runs/NAME")
    parser.add_argument(
        "--format",
        choices=("run", "davis"),
        default="run",
        help="run (default): a run folder; davis: a folder with one palette PNG per frame, nothing else",
    )


def run(args: argparse.Namespace) -> int:
    """Do it; errors leave as exceptions of vis.errors."""
    from apps.verbs.run import run_job

    given = follow_prompts.parse_all(args.prompts or [])
    if args.engine not in engines.names():
        raise UsageError(f"--engine {args.engine!r} is unknown; choose one of {', '.join(engines.names())}")
    follow_prompts.parse_labels(args.label)  # a mistake is told before any work
    if args.weights is not None and not any(item.kind == "text" for item in given):
        raise UsageError("--weights: is for the detector of --text, and no text is given")
    following = Following(
        engine=args.engine,
        model=engines.model_of(args.engine, args.model),
        precision=args.precision,
        speed=args.speed,
        labels=tuple(args.label),
        weights=args.weights,
        text_score=args.text_score,
        device=args.device,
    )
    output = output_of(args)
    if args.live:
        from apps.verbs.follow_live import run_live

        if args.format == "davis":
            raise UsageError(
                "--live writes a run folder; convert it with 'vistubes convert RUN OUT --to davis'"
            )
        given_too = {
            "--start": args.start,
            "--fps": args.fps,
            "--stride": None if args.stride == 1 else args.stride,
        }
        if unused := [name for name, value in given_too.items() if value is not None]:
            raise UsageError(f"--live takes every picture from its first on: leave out {', '.join(unused)}")
        check_replaceable(args.out or Path("runs") / "live", overwrite=args.overwrite)
        return run_live(following, given, args.source, output, end=args.end)
    path, selection = source_path(args.source), selection_of(args)
    if args.format == "davis":
        return _run_davis(lambda: FollowJob(following, given, path, selection), path, selection, output)
    return run_job(
        lambda: FollowJob(following, given, path, selection), path, selection, output, keeps_readable=True
    )


def _run_davis(make: Callable[[], FollowJob], path: Path, selection: Selection, output: Output) -> int:
    from vis.formats import davis

    if output.folder is None:
        raise UsageError("--format davis: say with --out where the folder of PNG goes")
    if output.folder.exists():
        check_replaceable(output.folder, overwrite=False)
    if output.overwrite:
        raise UsageError(
            "--overwrite replaces run folders only; give --format davis the name of a new folder"
        )
    source = selection.open(path)
    job = make()
    result = job.process(source, quiet=output.quiet)
    lost = davis.write(output.folder, result)
    if not output.quiet:
        for sentence in lost:
            print(f"vistubes: davis: {sentence}", file=sys.stderr)
        print(f"{len(result.frames)} PNG written to {output.folder}/", file=sys.stderr)
    if output.json:
        summary = {
            "out": str(output.folder),
            "frames": len(result.frames),
            "tubes": len(result.tubes),
            "lost": lost,
        }
        print(json.dumps({**job.made_with(), **summary, "seconds_per_stage": job.watch.report()}))
    return 0
