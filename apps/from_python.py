"""``vistubes run`` asked for from Python: keyword arguments are read as the command's own options are."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from apps.option_types import Parser
from apps.options import output_of, plan_of, selection_of
from apps.plan import source_path
from vis.errors import UsageError

if TYPE_CHECKING:
    from vis.structures import VideoResult

__all__ = ["run_parser", "run_video"]

OF_THE_FOLDER = ("overwrite", "no_overlay", "json")
"""Options without effect where no run folder is written."""


class _RaisingParser(Parser):
    """A parser whose errors are ours to tell."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def run_video(path: str | Path, preset: str, options: Mapping[str, Any]) -> VideoResult:
    """See :func:`apps.run`."""
    from apps.job import Job
    from apps.verbs.run import run_job

    parser = run_parser()
    words = [*_words(parser, {"preset": preset, "quiet": True, **options}), "--", str(path)]
    args = parser.parse_args(words)
    if idle := [name for name in OF_THE_FOLDER if options.get(name) and args.out is None]:
        raise UsageError(f"{idle[0]}: is about the run folder, and none is written; give out as well")
    plan, selection, source = plan_of(args), selection_of(args), source_path(args.source)
    if args.out is None:
        frames = selection.open(source)  # a wrong path is told before weights are loaded
        return Job(plan, device=args.device).process(frames, quiet=args.quiet)
    results: list[VideoResult] = []
    run_job(
        lambda: Job(plan, device=args.device),
        source,
        selection,
        output_of(args),
        command=["vistubes", "run", *words],
        done=results.append,
    )
    return results[0]


def run_parser() -> Parser:
    """The options of ``vistubes run``; what they refuse is a :class:`UsageError`."""
    from apps.verbs.run import configure

    parser = _RaisingParser(prog="vistubes run", add_help=False)
    configure(parser)
    return parser


def _words(parser: argparse.ArgumentParser, options: Mapping[str, Any]) -> list[str]:
    """The options as they are spelled on a command line."""
    known = {_keyword(action): action for action in parser._actions if action.option_strings}
    words = []
    for name, value in options.items():
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the options are {', '.join(known)}"
            raise UsageError(f"run has no option {name!r}; {hint}")
        if value is not None:
            words += _word(known[name], name, value)
    return words


def _keyword(action: argparse.Action) -> str:
    """``--min-frames`` -> "min_frames"; ``--overlay`` only takes ``--no-overlay`` back, and goes by its name."""
    name = action.option_strings[0][2:].replace("-", "_")
    return action.dest if action.dest == f"no_{name}" else name


def _word(action: argparse.Action, name: str, value: Any) -> list[str]:
    flag = action.option_strings[0]
    if action.nargs != 0:
        if isinstance(value, bool):
            raise UsageError(f"{name}: expected a value, got {value}")
        text = ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
        return [f"{flag}={text}"]
    if not isinstance(value, bool):
        raise UsageError(f"{name}: expected True or False, got {value!r}")
    if isinstance(action, argparse.BooleanOptionalAction):
        return [flag if value else action.option_strings[1]]
    return [flag] if value else []
