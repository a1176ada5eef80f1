"""Does a preset find every object of a clip, in one tube each? Tube IoU per object of labelled clips.

    python -m benchmarks.objects --data FOLDER [--preset quick] [--clips cars1,people2] [--json]

FOLDER holds JPEGImages/<clip>/ and Annotations/<clip>/ (PNG, value = object id, on some of the frames), as BMS-26
here. Tube IoU of an object and a tube: their common pixels over those of either, summed over the labelled frames;
objects and tubes are assigned one to one so that the sum is greatest. An object is found from .5 on. Its id holds
where the tube that fits it best (from .5 on, frame by frame) is the same on all labelled frames that have one. Tubes
that are no object's are counted, not punished: not everything in these clips is labelled. Any option of ``vistubes
run`` about objects and masks may be given.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from apps.job import Job
from apps.options import add_association, add_refiner, add_speed, plan_of
from vis import masks
from vis.structures import VideoResult
from vis.video import open_source

CLIPS = ("cars1", "cars2", "cars3", "cars5", "cars8", "cars10", "people2")
"""Clips of BMS-26 that are no film: what the mean is over."""
FOUND = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/bms26"))
    parser.add_argument("--clips", default=",".join(CLIPS), help="names, with commas")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    add_association(parser)
    add_refiner(parser)
    add_speed(parser)
    args = parser.parse_args()
    plan = plan_of(args)
    job = Job(plan, device=args.device)
    clips = {}
    for clip in args.clips.split(","):
        clips[clip] = measure(job, args.data, clip)
        print(clip, clips[clip], file=sys.stderr, flush=True)
    every = [value for row in clips.values() for value in row["iou"].values()]
    total = {
        "mean_iou": round(float(np.mean(every)), 4),
        "objects": len(every),
        **{key: sum(row[key] for row in clips.values()) for key in ("found", "held", "tubes")},
        "seconds": round(sum(row["seconds"] for row in clips.values()), 1),
    }
    if args.json:
        print(json.dumps({"preset": args.preset, "made_with": job.made_with(), "clips": clips, **total}))
        return
    print(f"{'clip':<10} {'found':>8} {'held':>5} {'tubes':>6} {'CPU s':>7}  IoU of each object")
    for clip, row in clips.items():
        each = " ".join(f"{value:.2f}" for value in row["iou"].values())
        of = f"{row['found']} of {len(row['iou'])}"
        print(f"{clip:<10} {of:>8} {row['held']:>5} {row['tubes']:>6} {row['seconds']:>7.1f}  {each}")
    print(
        f"mean {total['mean_iou']:.3f}, found {total['found']} of {total['objects']}, ids held {total['held']}, "
        f"{total['tubes']} tubes, {total['seconds']:.0f} s of CPU"
    )


def measure(job: Job, data: Path, clip: str) -> dict[str, Any]:
    """One clip: IoU of each object, how many are found, ids held, tubes in all, CPU seconds."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    result = job.process(open_source(data / "JPEGImages" / clip))
    after = resource.getrusage(resource.RUSAGE_SELF)
    ids, common, either = overlaps(result, truth_of(data, clip))
    total = common.sum(axis=0) / np.maximum(either.sum(axis=0), 1)
    rows, columns = linear_sum_assignment(total, maximize=True)
    best = np.zeros(len(ids))
    best[rows] = total[rows, columns]
    return {
        "iou": {str(one): round(float(value), 4) for one, value in zip(ids, best, strict=True)},
        "found": int((best >= FOUND).sum()),
        "held": sum(held(common[:, row] / np.maximum(either[:, row], 1)) for row in range(len(ids))),
        "tubes": len(result.tubes),
        "labels": {
            str(ids[row]): result.class_names[result.tubes[column].label]
            for row, column in zip(rows, columns, strict=True)
            if best[row] >= FOUND
        },
        "seconds": round(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 2),
    }


def held(frames: np.ndarray) -> bool:
    """Whether one tube alone fits an object best: IoU (T, K) of its labelled frames with every tube."""
    if not frames.size:
        return False
    fits = frames.max(axis=1) >= FOUND
    return bool(fits.any()) and len(set(frames[fits].argmax(axis=1).tolist())) == 1


def overlaps(
    result: VideoResult, truth: dict[int, dict[int, np.ndarray]]
) -> tuple[list[int], np.ndarray, np.ndarray]:
    """Ids of the objects, and common and either's pixels (T, N, K) of labelled frames, objects and tubes."""
    ids = sorted({one for objects in truth.values() for one in objects})
    common = np.zeros((len(truth), len(ids), len(result.tubes)))
    either = np.zeros_like(common)
    blank = np.zeros(result.video.size, np.bool_)
    for t, (frame, objects) in enumerate(sorted(truth.items())):
        for k, tube in enumerate(result.tubes):
            at = np.flatnonzero(tube.frames == frame)
            mask = masks.decode(tube.masks[int(at[0])]) if len(at) and tube.masks is not None else blank
            for n, one in enumerate(ids):
                wanted = objects.get(one, blank)
                common[t, n, k] = np.count_nonzero(mask & wanted)
                either[t, n, k] = np.count_nonzero(mask | wanted)
    return ids, common, either


def truth_of(data: Path, clip: str) -> dict[int, dict[int, np.ndarray]]:
    """Frame -> object id -> true mask, bool (H, W), of the labelled frames."""
    truth = {}
    for path in sorted((data / "Annotations" / clip).glob("*.png")):
        labels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        truth[int(path.stem)] = {int(one): labels == one for one in np.unique(labels) if one}
    return truth


if __name__ == "__main__":
    main()
