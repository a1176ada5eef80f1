"""What does looking at key frames gain? CPU seconds of `quick` at each --speed, in turns, one process.

    python -m benchmarks.speed [VIDEO ...] [--frames 37] [--rounds 2] [--threads 1] [--json]

VIDEO: files or folders of images (default: the sample clip), of which the first ``--frames`` are taken. Beside the
times stands what stays: the tube IoU of full speed's largest tube with the best one of that speed. Quality against
truth: ``benchmarks.davis --speed ...`` and ``benchmarks.objects --speed ...``.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import torch

from apps.job import Job
from apps.plan import SPEEDS, Plan, source_path
from vis import masks as rle
from vis.structures import MaskRLE, Tube, VideoResult
from vis.video import open_source


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("videos", nargs="*", default=["sample"])
    parser.add_argument("--frames", type=int, default=37)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    jobs = {speed: Job(Plan.of("quick", speed=speed), device="cpu") for speed in SPEEDS}
    rows = [row for video in args.videos for row in measure(jobs, source_path(video), args)]
    if args.json:
        print(json.dumps(rows))
        return 0
    print(f"{'video':<20} {'speed':<10} {'CPU s a frame':>13} {'times faster':>13} {'IoU with full':>14}")
    for row in rows:
        print(
            f"{row['video']:<20} {row['speed']:<10} {row['cpu_seconds']:>13.3f} {row['times_faster']:>12.2f}x "
            f"{row['iou_with_full']:>14.3f}"
        )
    return 0


def measure(jobs: dict[str, Job], video: Path, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per speed, of the fastest of the rounds."""
    least: dict[str, float] = {}
    results: dict[str, VideoResult] = {}
    for _ in range(args.rounds):
        for speed, job in jobs.items():
            source = open_source(video, end_frame=args.frames)
            begin = time.process_time()
            results[speed] = job.process(source)
            spent = (time.process_time() - begin) / len(results[speed].frames)
            least[speed] = min(spent, least.get(speed, spent))
    largest = max(results["full"].tubes, key=lambda tube: sum(rle.area(mask) for mask in tube.masks or ()))
    return [
        {
            "video": video.stem,
            "speed": speed,
            "cpu_seconds": least[speed],
            "times_faster": least["full"] / least[speed],
            "iou_with_full": max((tube_iou(largest, tube) for tube in result.tubes), default=0.0),
        }
        for speed, result in results.items()
    ]


def tube_iou(a: Tube, b: Tube) -> float:
    """Pooled mask IoU over all frames of either."""
    first, second = by_frame(a), by_frame(b)
    common = sum(rle.intersection(first[frame], second[frame]) for frame in first.keys() & second.keys())
    areas = sum(rle.area(mask) for masks in (first, second) for mask in masks.values())
    return common / max(areas - common, 1)


def by_frame(tube: Tube) -> dict[int, MaskRLE]:
    """Frame index -> mask."""
    return dict(zip(tube.frames.tolist(), tube.masks or (), strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
