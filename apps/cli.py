"""The command ``vistubes``: finds the verb, runs it, and turns errors into messages and exit codes.

Only the chosen verb's module is imported, so ``vistubes --help`` answers at once and without torch.
"""

from __future__ import annotations

import argparse
import errno
import gc
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from apps.malloc import return_large_blocks
from apps.option_types import Parser
from vis import __version__
from vis.errors import DependencyError, InputError, UsageError, VisError, VisWarning, WeightsError

__all__ = ["COMMANDS", "COMMAND_GROUPS", "EXIT_CODES", "build_parser", "main", "top_parser", "whole_parser"]

COMMAND_GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "start here": {
        "run": ("apps.verbs.run", "find, track and refine the objects of one video"),
        "follow": (
            "apps.verbs.follow",
            "point at objects once: a click, box or mask on any frame, and the tube is theirs",
        ),
        "demo": ("apps.verbs.demo", "open the page in the browser: upload, correct, compare, download"),
        "convert": ("apps.verbs.convert", "read and write tubes in other formats"),
        "eval": (
            "apps.verbs.evaluate",
            "tube AP and boundary AP, image metrics, J&F; reports and comparisons",
        ),
    },
    "many videos, and data for training": {
        "batch": ("apps.verbs.batch", "run over folders of videos: resumes after a kill, isolates failures"),
        "label": ("apps.verbs.label", "make a training set of a saved result's good tubes"),
    },
    "one step at a time": {
        "track": ("apps.verbs.track", "find and track only; saves an association to be refined later"),
        "refine": ("apps.verbs.refine", "refine the masks of a saved result with another model or policy"),
        "link": (
            "apps.verbs.link",
            "stitch the tubes of a saved result across gaps, fill, drop and cap them",
        ),
        "fill": (
            "apps.verbs.fill",
            "follow the objects of a saved result through its gaps, or between key frames",
        ),
        "edit": ("apps.verbs.edit", "replay a list of corrections on a saved result"),
    },
    "pictures and video": {
        "draw": ("apps.verbs.draw", "draw overlay and contact sheet of a saved result"),
        "cutout": ("apps.verbs.cutout", "cut objects out: video with transparency, or PNG"),
        "edges": ("apps.verbs.edges", "edge maps of pictures: the outlines of everything that SAM finds"),
    },
    "models, and this machine": {
        "models": ("apps.verbs.models", "list, fetch and verify weights"),
        "train": ("apps.verbs.train", "train the HQ head on a frozen SAM"),
        "export": ("apps.verbs.export", "write a refiner as ONNX files"),
        "doctor": ("apps.verbs.doctor", "say what works on this machine"),
    },
}
"""Task -> its verbs, as ``vistubes --help`` lists them: verb -> (module with ``configure(parser)`` and ``run(args)``,
one line of help)."""

COMMANDS = {verb: row for group in COMMAND_GROUPS.values() for verb, row in group.items()}
"""Verb -> (module, one line of help), of all groups."""

EXIT_CODES = {
    0: "success",
    1: "failure while running",
    2: "wrong usage: an option or argument that cannot be meant so",
    3: "bad input: a video, JSON or checkpoint that cannot be read or is invalid",
    4: "weights or an optional package missing; the message holds the command that fixes it",
    5: "a batch finished, but some of its videos failed",
    130: "interrupted (Ctrl-C)",
}

TOP_DESCRIPTION = "Video in, object tubes out: find, track and finely mask the objects of a video."

PACKAGES = ("vis", "trackers", "detectors", "apps")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``vistubes`` with ``argv`` (default: the process's) and return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    _print_any_name()
    try:
        shadow = foreign_packages()
        if shadow:
            raise DependencyError(shadow)
        if not words or words[0] not in COMMANDS:
            return _top_level(words)
        parser = build_parser(words[0])
        args = parser.parse_args(words[1:])
        return_large_blocks()
        module = importlib.import_module(COMMANDS[words[0]][0])
        run: Callable[[argparse.Namespace], int] = module.run
        with warnings.catch_warnings():
            warnings.simplefilter("default", VisWarning)
            warnings.showwarning = _show_warning
            code = run(args)
        if argv is None:
            # The process ends here. Python's last search for cycles would go through every object of every library
            # that was imported, which takes longer than an evaluation.
            gc.freeze()
        return code
    except VisError as error:
        print(f"vistubes: error: {error}", file=sys.stderr)
        return exit_code(error)
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            # The reader of our output (head, less) went away: not our failure, and nothing to say it to.
            sys.stderr.close()
            return 0
        return _system_refused(error)
    except KeyboardInterrupt:
        print("\nvistubes: interrupted", file=sys.stderr)
        return 130


def build_parser(verb: str) -> argparse.ArgumentParser:
    """The parser of one verb, as ``vistubes VERB --help`` shows it."""
    parser = Parser(prog=f"vistubes {verb}", **_look(verb))
    _configure(verb, parser)
    return parser


def whole_parser() -> argparse.ArgumentParser:
    """The parser of ``vistubes`` with all verbs below it; imports the module of each."""
    parser = top_parser()
    verbs = parser.add_subparsers(metavar="VERB")
    for verb, (_, summary) in COMMANDS.items():
        _configure(verb, verbs.add_parser(verb, help=summary, **_look(verb)))
    return parser


def _look(verb: str) -> dict[str, Any]:
    summary = COMMANDS[verb][1]
    description = summary[0].upper() + summary[1:] + "."
    return {"description": description, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _configure(verb: str, parser: argparse.ArgumentParser) -> None:
    configure: Callable[[argparse.ArgumentParser], None] = importlib.import_module(
        COMMANDS[verb][0]
    ).configure
    configure(parser)


def exit_code(error: VisError) -> int:
    """The documented exit code of an error."""
    if isinstance(error, UsageError):
        return 2
    if isinstance(error, InputError):
        return 3
    if isinstance(error, WeightsError | DependencyError):
        return 4
    return 1


def foreign_packages() -> str:
    """What to tell the user when another distribution's package hides one of ours; else ''.

    Other distributions own the names ``vis``, ``trackers`` and ``detectors`` too, and whichever
    comes first on the path is imported silently.
    """
    home = Path(__file__).resolve().parents[1]
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else [Path(p).resolve() for p in spec.submodule_search_locations or ()]
        if places[:1] != [home / name]:
            found = f"is taken from {places[0]}" if places else "cannot be found"
            return (
                f"the package '{name}' {found}, not from vis-tubes ({home / name}): another installed "
                f"distribution owns the same name. Install vis-tubes into an environment of its own:\n"
                f"  python -m venv vis-tubes-env && vis-tubes-env/bin/pip install vis-tubes"
            )
    return ""


def _print_any_name() -> None:
    """Names of files that the terminal's encoding lacks, or that are no text at all, are printed escaped."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


def _system_refused(error: OSError) -> int:
    """A file or device that the system does not give, where no verb says more; the exit code."""
    name = str(error.filename) if error.filename is not None else ""
    place = f"{name[:200]}{' ...' * (len(name) > 200)}: " if name else ""
    print(f"vistubes: error: {place}{error.strerror or error}", file=sys.stderr)
    return 2 if error.errno == errno.ENAMETOOLONG else 1


def _top_level(words: Sequence[str]) -> int:
    parser = top_parser()
    if not words:
        parser.print_help(sys.stderr)
        return 2
    if not words[0].startswith("-"):
        known = ", ".join(COMMANDS)
        parser.error(f"no verb {words[0]!r}; the verbs are: {known}")
    args = parser.parse_args(words)
    if args.print_completion:
        from apps.completion import completion_script

        print(completion_script(whole_parser(), args.print_completion), end="")
    return 0


def top_parser() -> argparse.ArgumentParser:
    """The parser of ``vistubes`` without a verb: ``--help`` lists the verbs by task."""
    width = max(map(len, COMMANDS))
    verbs = "\n\n".join(
        "\n".join([f"{task}:", *(f"  {verb:<{width}}  {summary}" for verb, (_, summary) in group.items())])
        for task, group in COMMAND_GROUPS.items()
    )
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = Parser(
        prog="vistubes",
        usage="vistubes VERB [options]",
        description=f"{TOP_DESCRIPTION}\n\n{verbs}\n\nEach verb has its own --help, as vistubes run --help.",
        epilog=f"exit codes:\n{codes}\n\nexample:\n  vistubes run clip.mp4 --out runs/clip",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vis-tubes {__version__}")
    parser.add_argument(
        "--print-completion",
        metavar="SHELL",
        help="print the completion script of a shell: bash, zsh, fish or tcsh (needs the package shtab)",
    )
    return parser


def _show_warning(  # noqa: PLR0917 - the signature is Python's
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,  # noqa: ARG001 - the signature is Python's
    line: str | None = None,
) -> None:
    # Our own warnings are for the user, so no file and line; others keep Python's format.
    if issubclass(category, VisWarning):
        print(f"vistubes: warning: {message}", file=sys.stderr)
    else:
        sys.stderr.write(warnings.formatwarning(message, category, filename, lineno, line))


if __name__ == "__main__":
    raise SystemExit(main())
