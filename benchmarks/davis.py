"""How good are the tubes of the main job on DAVIS clips? Mean IoU of the best tube, per clip.

    python -m benchmarks.davis --data FOLDER [--preset quick] [--clips camel,dog] [--stride N] [--json]

FOLDER holds DAVIS's JPEGImages/480p and Annotations/480p. Every frame counts: where the tube is absent
its IoU is 0 (1 where the truth is empty too). The best tube is the one of highest mean IoU; how many
tubes there were is printed beside it. Any option of ``vistubes run`` about objects and masks may be given.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from apps.job import Job
from apps.options import add_association, add_refiner, add_speed, plan_of
from vis import masks
from vis.structures import Tube, VideoResult
from vis.video import open_source

SINGLE_OBJECT = ("camel", "car-roundabout", "cows", "dance-twirl", "dog", "libby", "parkour")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/davis16"))
    parser.add_argument("--clips", default=",".join(SINGLE_OBJECT))
    parser.add_argument("--stride", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    add_association(parser)
    add_refiner(parser)
    add_speed(parser)
    args = parser.parse_args()
    job = Job(plan_of(args), device=args.device)
    clips = {clip: measure(job, args.data, clip, args.stride) for clip in args.clips.split(",")}
    mean = float(np.mean([row["iou"] for row in clips.values()]))
    if args.json:
        print(
            json.dumps({"options": vars(args) | {"data": args.data.name}, "clips": clips, "mean_iou": mean})
        )
        return
    print(f"{'clip':<16} {'IoU':>6} {'tubes':>6} {'frames with the tube':>22}")
    for clip, row in clips.items():
        print(f"{clip:<16} {row['iou']:>6.3f} {row['tubes']:>6} {row['covered']:>12} of {row['frames']}")
    print(f"{'mean':<16} {mean:>6.3f}")


def measure(job: Job, data: Path, clip: str, stride: int) -> dict[str, Any]:
    """The best tube of one clip against the truth."""
    source = open_source(data / "JPEGImages" / "480p" / clip, stride=stride)
    result = job.process(source)
    every = truth_of(data, clip)
    truth = [every[index] for index in result.frames]
    best = max(result.tubes, key=lambda tube: tube_iou(tube, result, truth), default=None)
    print(f"{clip}: {len(result.tubes)} tubes", file=sys.stderr)
    return {
        "iou": 0.0 if best is None else tube_iou(best, result, truth),
        "tubes": len(result.tubes),
        "covered": 0 if best is None else len(best),
        "frames": len(result.frames),
        "label": "" if best is None else result.class_names[best.label],
    }


def truth_of(data: Path, clip: str) -> list[np.ndarray]:
    """The true mask, bool (H, W), of every frame."""
    paths = sorted((data / "Annotations" / "480p" / clip).glob("*.png"))
    return [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0 for path in paths]


def tube_iou(tube: Tube, result: VideoResult, truth: list[np.ndarray]) -> float:
    """Mean over all frames of the IoU with the truth."""
    rows = {int(index): row for row, index in enumerate(tube.frames)}
    values = []
    for index, wanted in zip(result.frames.tolist(), truth, strict=True):
        row = rows.get(index)
        if row is None or tube.masks is None:
            values.append(float(not wanted.any()))
            continue
        mask = masks.decode(tube.masks[row])
        union = np.count_nonzero(mask | wanted)
        values.append(np.count_nonzero(mask & wanted) / union if union else 1.0)
    return float(np.mean(values))


if __name__ == "__main__":
    main()
