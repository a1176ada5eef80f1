"""The files and limits that sub-verbs of ``vistubes eval`` share, and how they may be given."""

from __future__ import annotations

import argparse
import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path

from apps.option_types import whole
from vis.errors import UsageError

__all__ = ["add_limits", "add_truth_and_results", "truth_and_results", "without_collection"]


def add_truth_and_results(parser: argparse.ArgumentParser, *, two: bool = False) -> None:
    """Truth and results, by options or in this order; ``two``: results may be two."""
    parser.add_argument(
        "files",
        nargs="*",
        type=Path,
        metavar="FILE",
        help="the truth and then the results, in place of the options",
    )
    parser.add_argument("--truth", "--gt", type=Path, metavar="FILE", help="annotations JSON")
    parser.add_argument(
        "--results",
        "--pred",
        type=Path,
        nargs="+" if two else 1,
        default=[],
        metavar="FILE",
        help="results JSON, or a zip" + ("; of two the difference is told, with intervals" if two else ""),
    )


def truth_and_results(
    args: argparse.Namespace, *, two: bool = False, made: bool = False
) -> tuple[Path, list[Path]]:
    """The files, however they were given; :class:`UsageError` where one is missing or too many are there.

    ``made``: the results are yet to be made, so that none may be given.
    """
    files = list(args.files)
    truth = args.truth if args.truth is not None or not files else files.pop(0)
    results = [*args.results, *files]
    if made and results:
        raise UsageError("results are given, and --images makes some; leave one of them out")
    if truth is None or not (results or made):
        missing = "--truth, the annotations" if truth is None else "--results, what is to be scored"
        raise UsageError(
            f"give {missing}: --truth annotations.json --results results.json, or both in this order"
        )
    if len(results) > 1 + two:
        raise UsageError(f"{len(results)} results; give {'one, or two to be compared' if two else 'one'}")
    return truth, results


def add_limits(parser: argparse.ArgumentParser, default: str = "1 10 100") -> None:
    """Limits of detections, and threads."""
    parser.add_argument(
        "--max-dets",
        type=whole(1, 10**6),
        nargs=3,
        metavar="N",
        help=f"three limits of detections for AR (default {default})",
    )
    parser.add_argument("--threads", type=whole(1, 1024), help="default: one per core, at most 8")


@contextlib.contextmanager
def without_collection() -> Iterator[None]:
    """Without a search for cycles of objects: reading makes millions, and none."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
