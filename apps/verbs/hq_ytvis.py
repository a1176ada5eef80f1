"""``vistubes eval hq-ytvis``: from frames and JSON through the batch to AP^M and AP^B; killed, it goes on.

::

    ROOT/ytvis_hq-test.json                      annotations (also -val, -train), from the VMT project
    ROOT/train_all_frames/JPEGImages/<clip>/     frames: those of YouTube-VIS 2019's training set
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.verbs.batch import add_work, objects_of_set, settings_of, workers_of

__all__ = ["add", "evaluate"]

FRAMES = ("train_all_frames/JPEGImages", "train/JPEGImages", "JPEGImages")
"""Where the frames may lie below the root, tried in this order."""
SEEN = (
    "All HQ-YTVIS videos come from YouTube-VIS 2019's training set: a detector that was trained on that set "
    "has very likely seen them."
)


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options, but ``--json``."""
    parser.add_argument(
        "--root", type=Path, required=True, metavar="DATA", help="folder of annotations and frames"
    )
    parser.add_argument("--split", choices=("train", "val", "test"), default="test", help="default: test")
    parser.add_argument(
        "--frames", type=Path, metavar="DIR", help=f"frames (default: {FRAMES[0]} below DATA)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="run folders and report (default: runs/hq-ytvis-SPLIT)"
    )
    parser.add_argument(
        "--protocol", choices=("official", "strict"), default="official", help="as --mode of 'eval tubes'"
    )
    parser.add_argument(
        "--key", choices=("auto", "official", "refined", "raw"), default="auto", help="truth masks"
    )
    parser.add_argument("--class-agnostic", action="store_true", help="pool the classes (useCats=0)")
    add_work(parser)


def evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """Track, refine and score the split; returns the numbers and the table.

    Raises :class:`InputError` when the data is not there, saying where it comes from and how it must
    lie, and when videos failed: a score over the others would not be comparable.
    """
    from apps.batch.inputs import find_items
    from apps.batch.run import run_items
    from vis.errors import InputError
    from vis.evaluation import evaluate_tubes
    from vis.evaluation import report as reports

    truth = args.root / f"ytvis_hq-{args.split}.json"
    frames = args.frames or next((args.root / name for name in FRAMES if (args.root / name).is_dir()), None)
    if not truth.is_file() or frames is None:
        missing = truth if not truth.is_file() else args.root / FRAMES[0]
        raise InputError(
            f"{missing}: not there. HQ-YTVIS' annotations come from the VMT project (github.com/SysCV/vmt), its "
            "frames from YouTube-VIS 2019 (train_all_frames); docs/batch.md shows how both must lie"
        )
    args.out = args.out or Path("runs") / f"hq-ytvis-{args.split}"
    items, _ = find_items([str(truth)], frames=frames, out=args.out)
    workers = workers_of(args, len(items))
    # The frames that the annotations list, all of them: nothing else can be scored.
    given = objects_of_set(args, items, [truth])
    settings = replace(settings_of(args, workers, strict=True), categories=given)
    told = run_items(items, settings, workers, out=args.out, sets=[truth], quiet=args.quiet)
    if told["totals"]["failed"]:
        raise InputError(
            f"{told['totals']['failed']} of {len(items)} videos failed, see {args.out / 'failures.jsonl'}; mend "
            "them and run the same command again, or score what there is with 'vistubes eval tubes'"
        )
    agnostic = args.class_agnostic or told["set"]["category_agnostic"]
    evaluation = evaluate_tubes(
        truth, told["set"]["results"], mode=args.protocol, key=args.key, class_agnostic=agnostic
    )
    answer = {**reports.summary(evaluation), "class_agnostic": agnostic, "batch": told["totals"]}
    text = f"{reports.table(evaluation)}\n{SEEN}"
    if agnostic and not args.class_agnostic:
        text += "\nThe detector knows none of the classes: scored without them."
    print(f"{told['set']['results']}: the results", file=sys.stderr)
    return answer, text
