"""``vistubes eval coco``: COCO's and LVIS' mask AP, boundary AP, and the average recall of proposals.

Of results in a file, or of what a detector and a mask model find in the truth's images.
"""

from __future__ import annotations

import argparse
from typing import Any

from apps.option_types import number
from apps.verbs.evaluate_files import (
    add_limits,
    add_truth_and_results,
    truth_and_results,
    without_collection,
)
from apps.verbs.evaluate_images import add_images, check_options, make_results
from vis.errors import UsageError

__all__ = ["add", "evaluate"]

RATIO = number(0, 1, above=True)
"""Width of the boundary, as a share of the diagonal."""


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options, but ``--json``."""
    add_truth_and_results(parser)
    parser.add_argument("--class-agnostic", action="store_true", help="proposals: pool the classes")
    parser.add_argument("--ratio", type=RATIO, default=0.02, help="boundary band, share of the diagonal")
    parser.add_argument(
        "--strict-ratio",
        type=RATIO,
        default=0.01,
        help="the thinner band of 'strict' boundary AP (default: 0.01, as HQ-SAM's)",
    )
    parser.add_argument(
        "--federated",
        choices=("auto", "yes", "no"),
        default="auto",
        help="LVIS' rule, by neg_category_ids and not_exhaustive_category_ids (auto: when all images have both, and "
        "classes are not pooled)",
    )
    add_limits(parser, "1 10 100, LVIS: 1 10 300 per image")
    add_images(parser)


def evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The numbers and the table; with ``--images`` the results are made first, and a later call goes on."""
    from vis.evaluation import evaluate as evaluate_truth
    from vis.evaluation import report as reports
    from vis.evaluation.loading import read_results, read_truth
    from vis.evaluation.proposals import average_recall
    from vis.evaluation.tubes import IMAGE_RULES

    check_options(args)
    if args.class_agnostic and args.federated == "yes":
        raise UsageError(
            "--federated judges results by their class, and --class-agnostic has none; choose one"
        )
    path, found = truth_and_results(args, made=args.images is not None)
    with without_collection():
        truth = read_truth(path, images=True)
    made = make_results(args, path, truth) if args.images else found[0]
    with without_collection():
        results = read_results(made, truth, images=True)
    federated = _is_federated(args, truth)
    options: dict[str, Any] = {
        **IMAGE_RULES,
        "class_agnostic": args.class_agnostic,
        "max_dets": tuple(args.max_dets or (1, 10, 300 if federated else 100)),
        "threads": args.threads,
        "federated": federated,
    }
    whole = evaluate_truth(truth, results, ratio=args.ratio, **options)
    thin = evaluate_truth(truth, results, ratio=args.strict_ratio, kinds=("boundary",), **options)
    answer = reports.summary(whole)
    answer |= {"strict_boundary": thin.stats["boundary"], "strict_ratio": args.strict_ratio}
    answer |= {"federated": federated, "max_dets": list(options["max_dets"])}
    answer["images"] = answer.pop("videos")
    answer["results"] = str(made)
    tables = [reports.table(one, unit="images") for one in (whole, thin)]
    text = f"{tables[0]}\nstrict (band {args.strict_ratio:g}):\n{tables[1]}"
    if args.class_agnostic:
        recalls = average_recall(whole, truth, results, ratio=args.ratio, **options)
        answer["average_recall"] = recalls
        for kind, row in recalls.items():
            text += f"\n{kind} AR@{options['max_dets'][-1]}: {_percentages(row)}"
    elif frequencies := reports.frequency_rows(whole) | {
        f"strict_{kind}": row for kind, row in reports.frequency_rows(thin).items()
    }:
        answer["ap_by_frequency"] = frequencies
        for kind, row in frequencies.items():
            text += f"\n{kind} AP of rare, common, frequent classes: {_percentages(row)}"
    if federated:
        text += f"\nLVIS' federated rule, {options['max_dets'][-1]} results per image"
    return answer, text


def _is_federated(args: argparse.Namespace, truth: Any) -> bool:
    """Whether results count only where the truth says that their class was looked for."""
    if args.class_agnostic:
        return False
    told = bool(truth.videos) and all(
        image.absent is not None and image.open is not None for image in truth.videos.values()
    )
    return args.federated == "yes" or (args.federated == "auto" and told)


def _percentages(row: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {'-' if value < 0 else format(100 * value, '.2f')}" for name, value in row.items()
    )
