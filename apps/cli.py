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
from typing import TextIO

from apps.malloc import return_large_blocks
from apps.option_types import Parser
from vis import __version__
from vis.errors import DependencyError, InputError, UsageError, VisError, VisWarning, WeightsError

__all__ = ["COMMANDS", "EXIT_CODES", "build_parser", "main"]

COMMANDS = {
    "run": ("apps.verbs.run", "find, track and refine the objects of one video"),
    "track": ("apps.verbs.track", "find and track only; saves an association to be refined later"),
    "follow": (
        "apps.verbs.follow",
        "point at objects once: a click, box or mask on any frame, and the tube is theirs",
    ),
    "refine": ("apps.verbs.refine", "refine the masks of a saved result with another model or policy"),
    "link": ("apps.verbs.link", "stitch the tubes of a saved result across gaps, fill, drop and cap them"),
    "fill": (
        "apps.verbs.fill",
        "follow the objects of a saved result through its gaps, or between key frames",
    ),
    "draw": ("apps.verbs.draw", "draw overlay and contact sheet of a saved result"),
    "cutout": ("apps.verbs.cutout", "cut objects out: video with transparency, or PNG"),
    "batch": ("apps.verbs.batch", "run over folders of videos: resumes after a kill, isolates failures"),
    "edges": ("apps.verbs.edges", "edge maps of pictures: the outlines of everything that SAM finds"),
    "eval": ("apps.verbs.evaluate", "tube AP and boundary AP, image metrics, J&F; reports and comparisons"),
    "edit": ("apps.verbs.edit", "replay a list of corrections on a saved result"),
    "label": ("apps.verbs.label", "make a training set of a saved result's good tubes"),
    "convert": ("apps.verbs.convert", "read and write tubes in other formats"),
    "demo": ("apps.verbs.demo", "open the page in the browser: upload, correct, compare, download"),
    "train": ("apps.verbs.train", "train the HQ head on a frozen SAM"),
    "export": ("apps.verbs.export", "write a refiner as ONNX files"),
    "models": ("apps.verbs.models", "list, fetch and verify weights"),
    "doctor": ("apps.verbs.doctor", "say what works on this machine"),
}
"""Verb -> (module with ``configure(parser)`` and ``run(args)``, one line of help)."""

EXIT_CODES = {
    0: "success",
    1: "failure while running",
    2: "wrong usage: an option or argument that cannot be meant so",
    3: "bad input: a video, JSON or checkpoint that cannot be read or is invalid",
    4: "weights or an optional package missing; the message holds the command that fixes it",
    5: "a batch finished, but some of its videos failed",
    130: "interrupted (Ctrl-C)",
}

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
    module_name, summary = COMMANDS[verb]
    module = importlib.import_module(module_name)
    parser = Parser(
        prog=f"vistubes {verb}",
        description=summary[0].upper() + summary[1:] + ".",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    configure: Callable[[argparse.ArgumentParser], None] = module.configure
    configure(parser)
    return parser


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
    width = max(map(len, COMMANDS))
    verbs = "\n".join(f"  {verb:<{width}}  {summary}" for verb, (_, summary) in COMMANDS.items())
    codes = "\n".join(f"  {code:>3}  {meaning}" for code, meaning in EXIT_CODES.items())
    parser = argparse.ArgumentParser(
        prog="vistubes",
        usage="vistubes VERB [options]",
        description="Video in, object tubes out: find, track and finely mask the objects of a video.",
        epilog=f"verbs (each has its own --help):\n{verbs}\n\nexit codes:\n{codes}\n\n"
        "example:\n  vistubes run clip.mp4 --out runs/clip",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"vis-tubes {__version__}")
    if not words:
        parser.print_help(sys.stderr)
        return 2
    if not words[0].startswith("-"):
        known = ", ".join(COMMANDS)
        parser.error(f"no verb {words[0]!r}; the verbs are: {known}")
    parser.parse_args(words)
    return 0


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
