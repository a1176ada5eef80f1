"""How fast are the trackers at 100 objects, beside roboflow ``trackers`` on the same boxes?

    python -m benchmarks.trackers [--json] [--objects 100] [--frames 1000] [--rounds 5] [--no-peer]

Our trackers run in this process. The peer (2.6.1, Apache-2.0) claims the same package name, so it
runs as a subprocess in a virtual environment of its own, made once in the user's cache folder; its
rounds alternate with ours. Best of all rounds, one thread; wall time, and beside it CPU time,
which other work on the machine disturbs less.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np  # noqa: E402
import platformdirs  # noqa: E402

from trackers import create  # noqa: E402
from vis.structures import Detections  # noqa: E402

PEER = "2.6.1"
PEERS = {
    "sort": "SORTTracker",
    "bytetrack": "ByteTrackTracker",
    "ocsort": "OCSORTTracker",
    "botsort": "BoTSORTTracker",
}
WIDTH, HEIGHT = 1920, 1080
Seconds = tuple[float, float]

PEER_SCRIPT = """
import sys, time
import numpy as np, supervision as sv, trackers
name, boxes_file = sys.argv[1:]
data = np.load(boxes_file)
frames = []
for boxes, scores in zip(np.split(data["boxes"], data["ends"]), np.split(data["scores"], data["ends"])):
    frames.append(sv.Detections(xyxy=boxes, confidence=scores, class_id=np.zeros(len(boxes), int)))
settings = {"enable_cmc": False} if name == "BoTSORTTracker" else {}
tracker = getattr(trackers, name)(**settings)
wall, cpu = time.perf_counter(), time.process_time()
for frame in frames:
    tracker.update(frame)
print(time.perf_counter() - wall, time.process_time() - cpu)
"""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--objects", type=int, default=100)
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-peer", action="store_true", help="do not measure roboflow trackers")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    args = parser.parse_args()

    stream = scene(args.objects, args.frames)
    queries = with_embeddings(stream, args.objects)
    masked = with_masks(stream[: max(1, args.frames // 50)])
    jobs: dict[str, tuple[str, list[Detections]]] = {
        name: (name, stream) for name in ("iou", "sort", "bytetrack", "ocsort", "botsort")
    }
    jobs["query"] = ("query", queries)
    jobs["mask_iou (640x360 masks)"] = ("mask_iou", masked)

    ours: dict[str, list[Seconds]] = {job: [] for job in jobs}
    theirs: dict[str, list[Seconds]] = {}
    with tempfile.TemporaryDirectory() as folder:
        boxes = Path(folder) / "boxes.npz"
        python = None if args.no_peer else peer_python()
        save(stream, boxes)
        for number in range(args.rounds):
            print(f"round {number + 1} of {args.rounds}", file=sys.stderr)
            for job, (name, frames) in jobs.items():
                ours[job].append(seconds_of(name, frames))
                if python and job in PEERS:
                    theirs.setdefault(job, []).append(peer_seconds(python, PEERS[job], boxes))
    table: dict[str, dict[str, float]] = {}
    for job, (_, frames) in jobs.items():
        wall, cpu = rates(ours[job], len(frames))
        table[job] = {"frames_per_second": wall, "frames_per_cpu_second": cpu}
        if job in theirs:
            peer_wall, peer_cpu = rates(theirs[job], len(frames))
            table[job] |= {
                "roboflow_frames_per_second": peer_wall,
                "roboflow_frames_per_cpu_second": peer_cpu,
            }
            table[job] |= {
                "times_roboflow": round(wall / peer_wall, 1),
                "times_roboflow_cpu": round(cpu / peer_cpu, 1),
            }
    if args.json:
        print(
            json.dumps(
                {"objects": args.objects, "frames": args.frames, "rounds": args.rounds, "trackers": table}
            )
        )
        return 0
    print(
        f"{args.objects} objects, {args.frames} frames, best of {args.rounds}: frames per second (of CPU time)"
    )
    for job, row in table.items():
        line = f"{job:<26}{row['frames_per_second']:>7} ({row['frames_per_cpu_second']})"
        if job in theirs:
            line += (
                f", roboflow {row['roboflow_frames_per_second']} ({row['roboflow_frames_per_cpu_second']}):"
            )
            line += f" {row['times_roboflow']} times ({row['times_roboflow_cpu']})"
        print(line)
    return 0


def rates(rounds: list[Seconds], frames: int) -> tuple[int, int]:
    """Best frames per second, of wall and of CPU time."""
    return round(frames / min(wall for wall, _ in rounds)), round(frames / min(cpu for _, cpu in rounds))


def scene(objects: int, frames: int) -> list[Detections]:
    """Objects that bounce about a full-HD picture; 5 % missed, one in six weak, rows shuffled."""
    rng = np.random.default_rng(0)
    centre = rng.uniform([0, 0], [WIDTH, HEIGHT], (objects, 2))
    speed, size = rng.normal(0, 4, (objects, 2)), rng.uniform(30, 120, (objects, 2))
    stream = []
    for _ in range(frames):
        centre = centre + speed
        speed = np.where((centre < 0) | (centre > [WIDTH, HEIGHT]), -speed, speed)
        boxes = np.concatenate([centre - size / 2, centre + size / 2], 1) + rng.normal(0, 1, (objects, 4))
        scores = np.where(
            rng.random(objects) < 1 / 6, rng.uniform(0.2, 0.6, objects), rng.uniform(0.7, 1, objects)
        )
        rows = rng.permutation(np.flatnonzero(rng.random(objects) > 0.05))
        labels = np.zeros(len(rows), np.int64)
        stream.append(Detections(boxes[rows].astype(np.float32), scores[rows].astype(np.float32), labels))
    return stream


def with_embeddings(stream: list[Detections], objects: int, width: int = 256) -> list[Detections]:
    """Every frame filled up to all of its queries, each with a noisy embedding of its object."""
    rng = np.random.default_rng(1)
    looks = rng.normal(size=(objects, width)).astype(np.float32)
    queries = []
    for frame in stream:
        short = objects - len(frame)
        boxes = np.concatenate([frame.boxes, np.tile(np.float32([0, 0, 50, 50]), (short, 1))])
        scores = np.concatenate([frame.scores, np.full(short, 0.3, np.float32)])
        rows = rng.permutation(objects)
        seen = looks[rows] + rng.normal(0, 0.3, (objects, width)).astype(np.float32)
        labels = np.zeros(objects, np.int64)
        queries.append(Detections(boxes, scores, labels, None, None, seen))
    return queries


def with_masks(stream: list[Detections], scale: int = 3) -> list[Detections]:
    """Each box filled with an ellipse, on a picture of a third of the size."""
    masked = []
    y, x = np.ogrid[: HEIGHT // scale, : WIDTH // scale]
    for frame in stream:
        masks = np.zeros((len(frame), HEIGHT // scale, WIDTH // scale), bool)
        boxes = frame.boxes / scale
        for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
            mask |= ((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2 <= 1
        masked.append(Detections(boxes, frame.scores, frame.labels, masks))
    return masked


def seconds_of(name: str, frames: list[Detections]) -> Seconds:
    tracker = create(name)
    wall, cpu = time.perf_counter(), time.process_time()
    for i, frame in enumerate(frames):
        tracker.update(frame, i / 30)
    return time.perf_counter() - wall, time.process_time() - cpu


def save(stream: list[Detections], path: Path) -> None:
    ends = np.cumsum([len(frame) for frame in stream])[:-1]
    boxes, scores = (np.concatenate([getattr(frame, key) for frame in stream]) for key in ("boxes", "scores"))
    np.savez(path, boxes=boxes, scores=scores, ends=ends)


def peer_python() -> Path:
    """The interpreter of the peer's environment, made at the first call."""
    home = Path(platformdirs.user_cache_dir("vis-tubes")) / "benchmarks" / f"roboflow-trackers-{PEER}"
    python = home / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    ready = home / "ready"
    if not ready.is_file():
        print(f"installing roboflow trackers {PEER} under {home}", file=sys.stderr)
        venv.create(home, with_pip=True, clear=True)
        install = [python, "-m", "pip", "install", "--quiet", f"trackers=={PEER}"]
        subprocess.run(install, check=True, stdout=sys.stderr)
        ready.touch()
    return python


def peer_seconds(python: Path, name: str, boxes: Path) -> Seconds:
    """One run of a tracker of the peer; -I keeps this checkout's packages out of its way."""
    out = subprocess.run(
        [python, "-I", "-c", PEER_SCRIPT, name, boxes], check=True, capture_output=True, text=True
    )
    wall, cpu = out.stdout.split()[-2:]
    return float(wall), float(cpu)


if __name__ == "__main__":
    raise SystemExit(main())
