"""How many frames a second does ``vistubes run`` make, from the video to results and overlay, at each --speed?

    python -m benchmarks.end_to_end [--device auto] [--frames 240] [--objects 10] [--size 1080p] [--model hq-tiny]
                                    [--speeds full,balanced,fastest] [--precision fast] [--json]

A made clip of moving ellipses, whose boxes the detector knows: the mask network and all that lies around it is
measured, and no detector. Wall time of the whole call without loading, in turns of one process; a first run of a few
frames warms up what is compiled or recorded on first use. Beside it stand the seconds of each stage, as in run.json.
Aim on one H200: 30 frames/s at ``full`` and 60 at ``balanced``.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import apps
from apps.plan import SPEEDS
from benchmarks._known_boxes import KnownBoxes
from benchmarks.gpu import FRAMES, scene
from vis.video import VideoWriter


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, default=240)
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--size", choices=tuple(FRAMES), default="1080p")
    parser.add_argument("--model", default="hq-tiny")
    parser.add_argument("--speeds", default=",".join(SPEEDS))
    parser.add_argument(
        "--precision", choices=("exact", "fast", "fastest"), help="default: that of the speed"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    KnownBoxes.size, KnownBoxes.objects = FRAMES[args.size], args.objects
    rows = {}
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "clip.mp4"
        write_clip(clip, args.frames)
        for speed in args.speeds.split(","):
            run(clip, Path(name) / "warm", speed, args, end=8)
            rows[speed] = run(clip, Path(name) / speed, speed, args)
            print(f"{speed}: {rows[speed]['frames_per_second']:.1f} frames/s", file=sys.stderr, flush=True)
    if args.json:
        print(json.dumps({"options": vars(args), "speeds": rows}))
        return 0
    for speed, row in rows.items():
        stages = ", ".join(f"{stage} {seconds:.1f}" for stage, seconds in row["seconds_per_stage"].items())
        print(f"{speed:<10} {row['frames_per_second']:>6.1f} frames/s   s per stage: {stages}")
    return 0


def run(clip: Path, out: Path, speed: str, args: argparse.Namespace, **part: Any) -> dict[str, Any]:
    """One run: frames a second without loading, and its stages."""
    begin = time.perf_counter()
    result = apps.run(
        clip,
        detector="benchmarks._known_boxes:KnownBoxes",
        tracker="iou",
        model=args.model,
        device=args.device,
        precision=args.precision,
        link=False,
        speed=speed,
        out=out,
        overwrite=True,
        **part,
    )
    spent = time.perf_counter() - begin
    record = json.loads((out / "run.json").read_text(encoding="utf-8"))
    stages = record["seconds_per_stage"]
    return {
        "frames_per_second": len(result.frames) / (spent - stages["load"]),
        "tubes": len(result.tubes),
        "seconds_per_stage": stages,
        "stages_beside": record["stages_beside"],
        "made_on": result.made_with["options"] | {"device": args.device},
    }


def write_clip(path: Path, frames: int) -> None:
    """The moving ellipses as a video."""
    with VideoWriter(path, KnownBoxes.size, 30) as writer:
        for index in range(frames):
            writer.write(scene(KnownBoxes.size, KnownBoxes.objects, index)[0])


if __name__ == "__main__":
    raise SystemExit(main())
