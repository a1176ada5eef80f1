"""``vistubes follow``: point at objects once, and have them through the whole video."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.job import model_checksums
from apps.option_types import path_text, unit
from apps.options import add_network, add_output, add_source, output_of, selection_of
from apps.plan import source_path
from apps.progress import Stopwatch, progress, timed
from apps.run_folder import check_replaceable
from apps.verbs import follow_prompts
from apps.verbs.follow_prompts import Given, Request, Selection
from vis import __version__, engines
from vis.errors import UsageError, VisWarning
from vis.interfaces import CountedFrames

if TYPE_CHECKING:
    from vis.interfaces import FrameSource
    from vis.structures import Frame, TrackedFrame, VideoResult
    from vis.video import RandomAccessReader

__all__ = ["FollowJob", "configure", "run"]

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
        return run_live(args, given)
    path = source_path(args.source)
    if args.format == "davis":
        return _run_davis(args, given, path)
    return run_job(
        lambda: FollowJob(args, given, path), path, selection_of(args), output_of(args), keeps_readable=True
    )


def _run_davis(args: argparse.Namespace, given: list[Given], path: Path) -> int:
    from vis.formats import davis

    if args.out is None:
        raise UsageError("--format davis: say with --out where the folder of PNG goes")
    if args.out.exists():
        check_replaceable(args.out, overwrite=False)
    if args.overwrite:
        raise UsageError(
            "--overwrite replaces run folders only; give --format davis the name of a new folder"
        )
    source = selection_of(args).open(path)
    job = FollowJob(args, given, path)
    result = job.process(source, quiet=args.quiet)
    lost = davis.write(args.out, result)
    if not args.quiet:
        for sentence in lost:
            print(f"vistubes: davis: {sentence}", file=sys.stderr)
        print(f"{len(result.frames)} PNG written to {args.out}/", file=sys.stderr)
    if args.json:
        summary = {
            "out": str(args.out),
            "frames": len(result.frames),
            "tubes": len(result.tubes),
            "lost": lost,
        }
        print(json.dumps({**job.made_with(), **summary, "seconds_per_stage": job.watch.report()}))
    return 0


class FollowJob:
    """One video and its prompts; no detector, no tracker."""

    def __init__(self, args: argparse.Namespace, given: list[Given], path: Path) -> None:
        from vis.video import RandomAccessReader

        self.watch = Stopwatch()
        self.refiner = None
        self._args, self._given = args, given
        self._model = engines.model_of(args.engine, args.model)
        with self.watch("open"):
            self._pictures: RandomAccessReader = RandomAccessReader(
                path, reader=args.reader, fps=args.fps, value_range=args.value_range
            )
        self._request: Request | None = None

    def describe(self) -> str:
        """One line that says what will run."""
        objects = len({item.place.number or f"row {row}" for row, item in enumerate(self._given)})
        return f"{objects} prompt{'s' * (objects != 1)} -> follow ({self._args.engine}) -> {self._model}"

    def made_with(self) -> dict[str, Any]:
        """How the result was made: prompts, options and checksums."""
        args = self._args
        options = {
            "engine": args.engine,
            "model": self._model,
            "precision": args.precision,
            "speed": args.speed,
        }
        prompts = [item.spelled for item in self._given]
        options |= {name: value for name in ("label", "weights") if (value := getattr(args, name))}
        return {
            "program": "vis-tubes",
            "version": __version__,
            "options": {**options, "prompts": prompts},
            "weights_sha256": model_checksums(self._model),
        }

    @property
    def class_names(self) -> tuple[str, ...]:
        """The objects' names: 'object' first, where one has no other."""
        if self._request is None:
            return ("object",)
        return follow_prompts.class_names(self._request)

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The objects as tubes."""
        from vis import pipeline

        selection = _selection(source, self._pictures)
        self._request = follow_prompts.assemble(self._given, source.info, selection, find=self._find)
        self._request = follow_prompts.labelled(self._request, self._args.label)
        stream = self._follow(source, selection, quiet=quiet)
        return pipeline.collect(stream, source.info, self.class_names, made_with=self.made_with())

    def _follow(self, source: FrameSource, selection: Selection, *, quiet: bool) -> Iterator[TrackedFrame]:
        from vis.background import prefetch
        from vis.follow import SPEEDS, follow

        assert self._request is not None
        with self.watch("load"):
            engine = engines.create(
                self._args.engine, model=self._model, device=self._args.device, mode=self._args.precision
            )
        names = self.class_names
        labels = {number: names.index(name) for number, name in self._request.labels.items()}

        def backwards(high: int, low: int) -> Iterator[Frame]:
            low = max(low, selection.first)
            frames = (self._pictures[index] for index in range(high, low - 1, -selection.stride))
            total = len(range(high, low - 1, -selection.stride))
            return progress(prefetch(frames, 4), what="backwards", total=total, quiet=quiet)

        stream = follow(
            source,
            engine.propagator,
            self._request.prompts,
            backwards=backwards,
            keyframe_interval=SPEEDS[self._args.speed],
            labels=labels,
        )
        total = source.expected_frames if isinstance(source, CountedFrames) else None
        stream = timed(stream, self.watch, "follow")
        yield from progress(stream, what="follow", total=total, quiet=quiet)

    def _find(self, words: str, frame: int) -> list[tuple[tuple[float, float, float, float], str]]:
        import detectors

        chosen = {} if self._args.weights is None else {"weights": self._args.weights}
        with self.watch("text"):
            finder = detectors.create(
                "text", text=words, score=self._args.text_score, device=self._args.device, **chosen
            )
            found = finder.detect([self._pictures[frame].image])[0]
        size = self._pictures.info
        out = []
        for (x0, y0, x1, y1), label in zip(found.boxes.tolist(), found.labels.tolist(), strict=True):
            box = max(0.0, x0), max(0.0, y0), min(float(size.width), x1), min(float(size.height), y1)
            out.append((box, finder.class_names[label]))
        return out


def _selection(source: Any, pictures: RandomAccessReader) -> Selection:
    """The frames that ``source`` will give, as far as its span says."""
    span, count = source.frame_range, len(pictures)
    first = span.start_frame or 0
    if span.start_seconds is not None:
        first = max(first, pictures.index_at(span.start_seconds))
        while first + 1 < count and span.starts_after(first, pictures[first].pts_seconds):
            first += 1
    stop = count if span.end_frame is None else min(count, span.end_frame)
    if span.end_seconds is not None:
        last = pictures.index_at(span.end_seconds)
        stop = min(stop, last if span.is_past(last, pictures[last].pts_seconds) else last + 1)
    return Selection(first, stop, span.stride, pictures.index_at)
