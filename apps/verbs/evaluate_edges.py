"""``vistubes eval edges``: edge maps against drawn boundaries, as BSDS500's benchmark."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from apps.option_types import number, whole
from vis.errors import InputError, VisError
from vis.evaluation.edges import (
    MAX_DISTANCE,
    EdgeCounts,
    EdgeScores,
    best_of_image,
    count_edges,
    edge_scores,
    edge_thresholds,
    read_edges,
)

__all__ = ["add", "evaluate"]


@dataclass(frozen=True, slots=True)
class _Task:
    """One image to be scored."""

    name: str
    edges: Path
    truth: Path
    thresholds: int
    """How many."""
    max_distance: float
    """Share of the diagonal."""

    def key(self) -> dict[str, Any]:
        """What its counts depend on."""
        from vis.weights.cache import sha256_of

        return {
            "edges_sha256": sha256_of(self.edges),
            "truth_sha256": sha256_of(self.truth),
            "thresholds": self.thresholds,
            "max_distance": self.max_distance,
        }


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options, but ``--json``."""
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="DIR", help="NAME.mat, as BSDS500/groundTruth/test"
    )
    parser.add_argument(
        "--results", type=Path, required=True, metavar="DIR", help="NAME.png, grey of 8 or 16 bits, thinned"
    )
    parser.add_argument(
        "--thresholds", type=whole(1, 999), default=99, metavar="N", help="cuts between 0 and 1 (99)"
    )
    parser.add_argument(
        "--max-distance",
        type=number(0, 0.1, above=True),
        default=MAX_DISTANCE,
        metavar="SHARE",
        help=f"between matched pixels, share of the diagonal ({MAX_DISTANCE:g})",
    )
    parser.add_argument(
        "--jobs", type=whole(1, 256), metavar="N", help="worker processes (default: one per core, at most 8)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="DIR",
        help="write report.json, CSV and report.html, and keep each image's counts there: stopped, the same "
        "command goes on",
    )


def evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """ODS, OIS, AP and R50 of a folder of edge maps; as JSON and as text.

    Raises :class:`InputError` when an image of the truth has no edge map: a score over the others would not be
    comparable.
    """
    from apps.progress import progress

    tasks = _tasks(args)
    counts = {task.name: found for task in tasks if (found := _kept(args.report, task)) is not None}
    left = [task for task in tasks if task.name not in counts]
    jobs = args.jobs or min(os.cpu_count() or 1, 8)
    for task, found in progress(_count_all(left, jobs), what="eval edges", total=len(left), unit="images"):
        counts[task.name] = found
        if args.report is not None:
            _keep(args.report, task, found)
    thresholds = edge_thresholds(args.thresholds)
    scores = edge_scores([counts[task.name] for task in tasks], thresholds)
    answer = _answer(scores, thresholds, args)
    answer["per_image"] = {task.name: asdict(best_of_image(counts[task.name], thresholds)) for task in tasks}
    text = _table(answer)
    if args.report is not None:
        from vis.evaluation.edge_report import write_report

        write_report(args.report, answer)
        text += f"\nreport: {args.report / 'report.html'}"
    return answer, text


def _tasks(args: argparse.Namespace) -> list[_Task]:
    from vis.formats.bsds import list_boundaries

    tasks = [
        _Task(truth.stem, args.results / f"{truth.stem}.png", truth, args.thresholds, args.max_distance)
        for truth in list_boundaries(args.truth)
    ]
    if missing := [task.edges.name for task in tasks if not task.edges.is_file()]:
        raise InputError(
            f"{args.results}: no edge map for {len(missing)} of {len(tasks)} images, {missing[0]} first; make them "
            "with 'vistubes edges IMAGES --out DIR', as NAME.png for each NAME.mat of the truth"
        )
    return tasks


# ---------------------------------------------------------------- counts


def _count(task: _Task) -> EdgeCounts:
    from vis.formats.bsds import read_boundaries

    edges, boundaries = read_edges(task.edges), read_boundaries(task.truth)
    thresholds = edge_thresholds(task.thresholds)
    try:
        return count_edges(edges, boundaries, thresholds, max_distance=task.max_distance)
    except InputError as error:
        raise InputError(f"{task.edges}, {task.truth}: {error}") from error


def _count_all(tasks: Sequence[_Task], jobs: int) -> Iterator[tuple[_Task, EdgeCounts]]:
    """The counts of each image, as they come."""
    if min(jobs, len(tasks)) < 2:
        yield from ((task, _count(task)) for task in tasks)
        return
    # Ctrl-C reaches the workers too; this process ends them.
    ignore = (signal.SIGINT, signal.SIG_IGN)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(jobs, len(tasks)), context, signal.signal, ignore) as pool:
        futures = {pool.submit(_count, task): task for task in tasks}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool as error:
            raise VisError(
                "a worker process was lost, perhaps for want of memory; run again with fewer of them (--jobs)"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _kept(report: Path | None, task: _Task) -> EdgeCounts | None:
    """Counts of an earlier run, where they are there and of the same files and options."""
    from vis.files import read_json

    path = None if report is None else _place(report, task)
    if path is None or not path.is_file():
        return None
    try:
        held = read_json(path)
        if not isinstance(held, dict) or held.get("key") != task.key():
            return None
        arrays = [np.array(held.get(field.name), np.int64) for field in fields(EdgeCounts)]
    except (InputError, TypeError, ValueError, OverflowError):  # not what was written: it is counted anew
        return None
    return EdgeCounts(*arrays) if all(array.shape == (task.thresholds,) for array in arrays) else None


def _keep(report: Path, task: _Task, counts: EdgeCounts) -> None:
    from vis.files import write_json

    rows = {field.name: getattr(counts, field.name).tolist() for field in fields(EdgeCounts)}
    write_json(_place(report, task), {"key": task.key(), **rows})


def _place(report: Path, task: _Task) -> Path:
    return report / "counts" / f"{task.name}.json"


# ---------------------------------------------------------------- what is said


def _answer(scores: EdgeScores, thresholds: Any, args: argparse.Namespace) -> dict[str, Any]:
    ods, ois = scores.ods, scores.ois
    return {
        "ods": ods.f,
        "ods_threshold": ods.threshold,
        "ods_recall": ods.recall,
        "ods_precision": ods.precision,
        "ois": ois.f,
        "ois_recall": ois.recall,
        "ois_precision": ois.precision,
        "ap": scores.ap,
        "r50": scores.r50,
        "thresholds": args.thresholds,
        "max_distance": args.max_distance,
        "results": str(args.results),
        "curve": {
            "threshold": thresholds.tolist(),
            "recall": scores.recall.tolist(),
            "precision": scores.precision.tolist(),
        },
    }


def _table(answer: Mapping[str, Any]) -> str:
    names = ("ods", "ois", "ap", "r50")
    return "\n".join(
        [
            "".join(f"{name.upper():>8}" for name in names),
            "".join(f"{answer[name]:>8.4f}" for name in names),
            f"{len(answer['per_image'])} images, {answer['thresholds']} thresholds",
            f"ODS at threshold {answer['ods_threshold']:.3f}: recall {answer['ods_recall']:.4f}, precision "
            f"{answer['ods_precision']:.4f}",
        ]
    )
