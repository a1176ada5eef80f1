"""``vistubes eval davis``: J, F and J&F of folders of label images."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

__all__ = ["add", "evaluate"]


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options, but ``--json``."""
    parser.add_argument(
        "--truth", type=Path, required=True, metavar="DIR", help="<clip>/00000.png label images"
    )
    parser.add_argument("--results", type=Path, required=True, metavar="DIR", help="the same layout")
    parser.add_argument("--unsupervised", action="store_true", help="assign proposals; judge all frames")


def evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The scores of each clip and object, and their means over objects; as JSON and as text."""
    from vis.evaluation.davis import evaluate_folders, mean_scores

    answer: dict[str, Any] = {"clips": {}}
    every: list[Any] = []
    for clip, scores in evaluate_folders(args.truth, args.results, unsupervised=args.unsupervised).items():
        answer["clips"][clip] = mean_scores(list(scores.objects.values())) | {
            "objects": {str(number): mean_scores([pair]) for number, pair in scores.objects.items()}
        }
        every += scores.objects.values()
    answer = mean_scores(every) | {"objects": len(every)} | answer
    lines = [f"{'clip':<28}{'J&F':>8}{'J':>8}{'F':>8}"]
    rows = [*answer["clips"].items(), ("mean over objects", answer)]
    lines += [f"{name:<28}{row['JF']:>8.4f}{row['J']:>8.4f}{row['F']:>8.4f}" for name, row in rows]
    return answer, "\n".join(lines)
