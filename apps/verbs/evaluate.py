"""``vistubes eval``: score tubes, masks, clips and images, compare results, pack them for a server."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.option_types import Parser, number, path_text, positive
from apps.verbs.evaluate_files import (
    add_limits,
    add_truth_and_results,
    truth_and_results,
    without_collection,
)
from vis.errors import InputError, UsageError

if TYPE_CHECKING:
    from vis.evaluation.tubes import TubeEvaluation

__all__ = ["configure", "run"]

RATIO = number(0, 1, above=True)
"""Width of the boundary, as a share of the diagonal."""

EPILOG = """\
With --json one JSON object goes to stdout; tables and warnings go to stderr.

examples:
  vistubes eval tubes --truth ytvis_hq-test.json --results results.json --report runs/report
  vistubes eval masks --images DIS5K/im --masks DIS5K/gt --prompt box --model hq-tiny
  vistubes eval tubes --truth ytvis_hq-test.json --results a.json b.json --report runs/a-b
  vistubes eval davis --truth DAVIS/Annotations/480p --results runs/png
  vistubes eval coco --truth instances_val2017.json --results segm.json --json
  vistubes eval edges --truth BSDS500/groundTruth/test --results runs/edges
  vistubes eval zip --results results.json --out submission.zip
  vistubes eval --compare runs/report-a runs/report-b
"""


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the sub-verbs and their options."""
    parser.epilog = EPILOG
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        type=Path,
        help="two folders (or report.json files) of --report: differences with 95%% intervals",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", parser_class=_SubVerb)
    for name, (summary, add, _) in VERBS.items():
        verbs.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".", add=add)


class _SubVerb(Parser):
    """Adds its options when it is first used: a sub-verb does not pay for what the others import."""

    def __init__(self, *, add: Callable[[argparse.ArgumentParser], None], **options: Any) -> None:
        super().__init__(**options)
        self._add: Callable[[argparse.ArgumentParser], None] | None = add

    def _fill(self) -> None:
        if self._add is not None:
            add, self._add = self._add, None
            # The parent's --json must survive when it stands before the sub-verb.
            self.add_argument(
                "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object"
            )
            add(self)

    def parse_known_args(self, *args: Any, **options: Any) -> Any:
        self._fill()
        return super().parse_known_args(*args, **options)

    def format_help(self) -> str:
        self._fill()
        return super().format_help()


def run(args: argparse.Namespace) -> int:
    """Score, print, and return the exit code."""
    if args.compare:
        if args.what:
            raise UsageError("--compare takes two reports and stands alone, without 'tubes' or another verb")
        answer, text = _compare(*args.compare)
    elif args.what:
        answer, text = VERBS[args.what][2](args)
    else:
        raise UsageError(
            f"say what to evaluate: {', '.join(VERBS)}, or --compare A B; see 'vistubes eval --help'"
        )
    if args.json:
        print(text, file=sys.stderr)
        print(json.dumps(answer, allow_nan=False))
    else:
        print(text)
    return 0


# ---------------------------------------------------------------- tubes


def _add_tubes(parser: argparse.ArgumentParser) -> None:
    add_truth_and_results(parser, two=True)
    parser.add_argument(
        "--mode",
        choices=("official", "strict"),
        default="official",
        help="official: the published evaluators' digits, oddities included; strict: for new work",
    )
    parser.add_argument(
        "--key",
        choices=("auto", "official", "refined", "raw"),
        default="auto",
        help="truth masks where HQ-YTVIS has refined ones (auto: as the mode says)",
    )
    parser.add_argument("--class-agnostic", action="store_true", help="pool the classes (useCats=0)")
    parser.add_argument("--pad-short", action="store_true", help="strict: missing last frames are absent")
    parser.add_argument("--ratio", type=RATIO, default=0.02, help="boundary band, share of the diagonal")
    parser.add_argument(
        "--kinds",
        nargs="+",
        choices=("mask", "boundary"),
        default=("mask", "boundary"),
        help="which AP to compute",
    )
    add_limits(parser)
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.json, CSV and report.html")
    parser.add_argument(
        "--frames", type=Path, metavar="DIR", help="frames of the videos (file_names), for pictures"
    )


def _tubes(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    if args.frames and not args.report:
        raise UsageError("--frames gives the report its pictures; name the report's folder with --report")
    if args.frames and not args.frames.is_dir():
        raise InputError(
            f"{args.frames}: no such folder; --frames takes the folder of the truth's file_names"
        )
    truth, results = truth_and_results(args, two=True)
    started = time.perf_counter()

    def evaluated(path: Path) -> TubeEvaluation:
        from vis.evaluation import evaluate_tubes

        return evaluate_tubes(
            truth,
            path,
            mode=args.mode,
            key=args.key,
            class_agnostic=args.class_agnostic,
            pad_short=args.pad_short,
            ratio=args.ratio,
            kinds=tuple(args.kinds),
            max_dets=tuple(args.max_dets or (1, 10, 100)),
            threads=args.threads,
        )

    if len(results) == 2:
        if args.frames:
            raise UsageError("--frames gives pictures to the report of one result; leave it out with two")
        from apps.verbs.evaluate_two import compare_results

        with without_collection():
            return compare_results(evaluated, (results[0], results[1]), args.report)
    args.results = results[0]
    with without_collection():
        from vis.evaluation import report as reports

        evaluation = evaluated(args.results)
    answer = reports.summary(evaluation) | {"report": None}
    text = reports.table(evaluation)
    if args.report:
        text += f"\n{_write_report(args, evaluation)}"
        answer["report"] = str(args.report)
    answer["seconds"] = round(time.perf_counter() - started, 3)
    return answer, text


def _write_report(args: argparse.Namespace, evaluation: TubeEvaluation) -> str:
    from vis.evaluation import html_report
    from vis.evaluation import report as reports
    from vis.files import write_json, write_text

    folder: Path = args.report
    whole = html_report.full_report(evaluation, frames=args.frames)
    write_text(folder / "classes.csv", reports.to_csv(whole["classes"]))
    write_text(folder / "videos.csv", reports.to_csv(whole["videos_table"]))
    write_text(folder / "report.html", html_report.render(whole, evaluation, title=Path(args.results).name))
    write_json(folder / "report.json", whole)  # last: its presence means that the report is whole
    return html_report.losses_table(whole) + f"\nreport: {folder / 'report.html'}"


# ---------------------------------------------------------------- masks


def _add_masks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--images", type=Path, required=True, metavar="DIR", help="images, by folder and name"
    )
    parser.add_argument(
        "--masks",
        type=Path,
        required=True,
        metavar="DIR",
        help="8-bit masks of the same names, nonzero: object",
    )
    parser.add_argument(
        "--prompt",
        default="box",
        metavar="P",
        help="box, box:0.4 (with noise), points:K, points:1,3,9 (a curve), or mask (a coarse mask); default "
        "%(default)s",
    )
    parser.add_argument("--coarse", type=Path, metavar="DIR", help="coarse masks for --prompt mask")
    parser.add_argument(
        "--coarse-detector",
        metavar="NAME",
        help="coarse masks for --prompt mask from a detector that gives masks, such as 'semantic' (torchvision's "
        "DeepLabV3): the one that overlaps the truth best",
    )
    parser.add_argument(
        "--coarse-weights", type=path_text, metavar="FILE", help="the coarse detector's weights"
    )
    parser.add_argument("--model", default="hq-tiny", metavar="NAME", help="name ('vistubes models') or file")
    parser.add_argument(
        "--stride", type=positive, default=1, metavar="N", help="every N-th image of each folder"
    )
    parser.add_argument("--ratio", type=RATIO, default=0.02, help="boundary band, share of the diagonal")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    parser.add_argument(
        "--groups", type=Path, metavar="JSON", help="{image: group}: means with 95%% intervals"
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="keep each finished image there, so that the same command goes on after a kill, results.json, and "
        "figures as PNG and CSV",
    )


def _masks(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from apps.verbs.evaluate_masks import evaluate_folder

    return evaluate_folder(
        args.images,
        args.masks,
        model=args.model,
        prompt=args.prompt,
        coarse=args.coarse,
        coarse_detector=args.coarse_detector,
        coarse_weights=args.coarse_weights,
        groups=args.groups,
        stride=args.stride,
        ratio=args.ratio,
        device=args.device,
        out=args.out,
    )


# ---------------------------------------------------------------- zip and compare


def _add_zip(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--results", type=Path, required=True, metavar="FILE", help="results JSON")
    parser.add_argument("--out", type=Path, required=True, metavar="ZIP", help="the zip to write")


def _zip(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    from vis.formats.ytvis import write_server_zip

    entries = write_server_zip(args.out, args.results)
    answer = {"zip": str(args.out), "results": entries}
    return answer, f"{args.out}: results.json with {entries} results, ready for the challenge server"


def _compare(a: Path, b: Path) -> tuple[dict[str, Any], str]:
    from vis.evaluation.comparison import compare_reports, comparison_table
    from vis.files import read_json

    first, second = (read_json(path / "report.json" if path.is_dir() else path) for path in (a, b))
    answer = compare_reports(first, second, names=(str(a), str(b)))
    return answer, comparison_table(answer)


Add = Callable[[argparse.ArgumentParser], None]
Answer = Callable[[argparse.Namespace], tuple[dict[str, Any], str]]


def _module(name: str) -> tuple[Add, Answer]:
    """The options and the answer of a sub-verb in a file of its own, imported when it is used."""

    def add(parser: argparse.ArgumentParser) -> None:
        importlib.import_module(name).add(parser)

    def answer(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
        given: tuple[dict[str, Any], str] = importlib.import_module(name).evaluate(args)
        return given

    return add, answer


VERBS: dict[str, tuple[str, Add, Answer]] = {
    "tubes": ("tube mask AP and tube boundary AP of YouTube-VIS style results", _add_tubes, _tubes),
    "masks": ("mIoU and mBIoU of a model on folders of images and masks", _add_masks, _masks),
    "davis": ("J, F and J&F of label images", *_module("apps.verbs.evaluate_davis")),
    "coco": (
        "mask, boundary and strict boundary AP of COCO style results",
        *_module("apps.verbs.evaluate_coco"),
    ),
    "edges": (
        "ODS, OIS, AP and R50 of edge maps, as BSDS500's benchmark",
        *_module("apps.verbs.evaluate_edges"),
    ),
    "hq-ytvis": ("run over HQ-YTVIS and score it, from frames and JSON", *_module("apps.verbs.hq_ytvis")),
    "identity": ("HOTA, IDF1, switches, MOTSA of tubes", *_module("apps.verbs.evaluate_identity")),
    "zip": ("pack results for the challenge servers, whose truth is not public", _add_zip, _zip),
}
