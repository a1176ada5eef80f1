"""How well are objects followed from one prompt, and what does it cost? DAVIS clips.

    python -m benchmarks.follow --data FOLDER [--parts quality,objects,memory] [--speeds full,balanced] [--json]
    python -m benchmarks.follow --data FOLDER --device cuda --parts speeds,objects --height 1080

quality   J and F (DAVIS measures, first and last frame not judged) from the first frame's true mask, its
          box, and one click at its deepest point; for every speed asked for. The three are followed side
          by side, as three objects: they share the embedding and do not disturb one another.
speeds    seconds per frame of each speed, on one clip, all work but video decoding counted.
objects   seconds per frame for 1, 5, 10 and 20 objects on one clip, and the growth per object.
memory    peak resident memory of a process that follows one object over 300 and over 3,000 frames (a
          clip played to and fro at 427x240, one look of the network in 50 frames).

Seconds are CPU seconds, which other work on the machine disturbs least; with a GPU they are the clock's. FOLDER
holds DAVIS's JPEGImages/480p and Annotations/480p. ``--cache`` keeps embeddings on disk between runs (half
precision), for quality alone.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.davis import SINGLE_OBJECT
from vis.evaluation.davis import contour_f, region_j
from vis.follow import SPEEDS, Follower, Prompt, follow
from vis.hqsam import ImageEmbedding, Predictor, load_embedding, load_model, save_embedding
from vis.prompt_policies import deepest_point
from vis.structures import Frame

ALL_CLIPS = (*SINGLE_OBJECT, "bmx-trees", "horsejump-high", "scooter-black")
KINDS = ("mask", "box", "click")


class CachingPredictor(Predictor):
    """Keeps embeddings in files named after the picture's pixels."""

    def __init__(self, model: Any, folder: Path | None) -> None:
        super().__init__(model)
        self.folder = folder
        self.embedded = 0

    def embed(self, image: np.ndarray) -> ImageEmbedding:
        self.embedded += 1
        if self.folder is None:
            return super().embed(image)
        path = self.folder / f"{hashlib.sha256(image.tobytes()).hexdigest()[:24]}.safetensors"
        if not path.exists():
            save_embedding(super().embed(image), path)
        return load_embedding(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/davis16"))
    parser.add_argument("--model", default="hq-tiny")
    parser.add_argument("--parts", default="quality,speeds,objects,memory")
    parser.add_argument("--clips", default=",".join(ALL_CLIPS))
    parser.add_argument("--speeds", default="full")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--frames", type=int, help="at most so many frames of each clip")
    parser.add_argument("--cache", type=Path, help="folder for embeddings")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--height", type=int, help="speeds and objects: pictures enlarged to this height")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--memory-frames", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()

    import torch

    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    if args.memory_frames:
        print(json.dumps(peak_memory(args)))
        return
    parts = args.parts.split(",")
    out: dict[str, Any] = {"options": {k: str(v) for k, v in vars(args).items() if k != "data"}}
    if "quality" in parts:
        out["quality"] = {speed: quality(args, SPEEDS[speed]) for speed in args.speeds.split(",")}
    if "speeds" in parts:
        out["seconds_per_frame"] = {speed: seconds_per_frame(args, SPEEDS[speed]) for speed in SPEEDS}
    if "objects" in parts:
        out["objects"] = objects(args)
    if "memory" in parts:
        out["peak_memory_mib"] = {count: in_a_process(args, count) for count in (300, 3000)}
    if args.json:
        print(json.dumps(out))
    else:
        show(out)


# ---------------------------------------------------------------- quality


def quality(args: argparse.Namespace, every: int) -> dict[str, Any]:
    """J, F and their mean per clip and prompt, and over clips."""
    predictor = CachingPredictor(load_model(args.model, device=args.device), args.cache)
    kinds = args.kinds.split(",")
    clips = {}
    for clip in args.clips.split(","):
        clips[clip] = measure(predictor, args, clip, every, kinds)
        told = " ".join(f"{kind} J {clips[clip][kind]['J']:.3f}" for kind in kinds)
        print(f"{clip} (every {every}): {told}", file=sys.stderr, flush=True)
    out: dict[str, Any] = {"clips": clips}
    for name, chosen in (("single_object", SINGLE_OBJECT), ("all", tuple(clips))):
        rows = [clips[clip] for clip in chosen if clip in clips]
        out[name] = {
            kind: {key: float(np.mean([row[kind][key] for row in rows])) for key in ("J", "F", "J&F")}
            for kind in kinds
            if rows
        }
    return out


def measure(
    predictor: CachingPredictor, args: argparse.Namespace, clip: str, every: int, kinds: list[str]
) -> dict[str, Any]:
    """One clip, its prompts side by side."""
    truth = [read_truth(path) for path in listed(args, "Annotations", clip, "png")]
    prompts = {KINDS.index(kind) + 1: {0: prompt_of(truth[0], kind)} for kind in kinds}
    values: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
    predictor.embedded = 0
    for item in follow(frames_of(args, clip), lambda: Follower(predictor), prompts, keyframe_interval=every):
        index = item.frame.index
        if index == 0 or index == len(truth) - 1:
            continue
        ids, masks = item.detections.track_ids, item.detections.masks
        assert ids is not None
        assert masks is not None
        for kind in kinds:
            rows = np.flatnonzero(ids == KINDS.index(kind) + 1)
            mask = masks[rows[0]] if len(rows) else np.zeros_like(truth[0])
            values[kind].append((region_j(mask, truth[index]), contour_f(mask, truth[index])))
    row: dict[str, Any] = {"frames": len(truth), "embedded": predictor.embedded}
    for kind in kinds:
        j, f = np.mean(values[kind], axis=0)
        row[kind] = {"J": float(j), "F": float(f), "J&F": float((j + f) / 2)}
    return row


def listed(args: argparse.Namespace, room: str, clip: str, suffix: str) -> list[Path]:
    return sorted((args.data / room / "480p" / clip).glob(f"*.{suffix}"))[: args.frames]


def read_truth(path: Path) -> np.ndarray:
    return cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 0


def frames_of(args: argparse.Namespace, clip: str) -> Iterator[Frame]:
    for index, path in enumerate(listed(args, "JPEGImages", clip, "jpg")):
        yield Frame(index, index / 24, np.ascontiguousarray(cv2.imread(str(path))[..., ::-1]))


def prompt_of(truth: np.ndarray, kind: str) -> Prompt:
    if kind == "mask":
        return Prompt(mask=truth)
    if kind == "box":
        ys, xs = np.nonzero(truth)
        return Prompt(box=(float(xs.min()), float(ys.min()), float(xs.max() + 1), float(ys.max() + 1)))
    x, y = deepest_point(truth).tolist()
    return Prompt(points=((x, y),), point_labels=(1,))


# ---------------------------------------------------------------- cost


def seconds_per_frame(args: argparse.Namespace, every: int, clip: str = "camel", count: int = 17) -> float:
    """Seconds per frame of one object, pictures read beforehand; the start is not counted."""
    predictor = Predictor(load_model(args.model, device=args.device))
    frames = enlarged(args, clip, count)
    truth = read_truth(listed(args, "Annotations", clip, "png")[0]).astype(np.uint8)
    mask = cv2.resize(truth, frames[0].size[::-1], interpolation=cv2.INTER_NEAREST) > 0
    seconds = 0.0
    # A GPU's first pass also chooses and compiles what the second one runs.
    for _ in range(1 if args.device == "cpu" else 2):
        prompts = {1: {0: Prompt(mask=mask)}}
        stream = follow(iter(frames), lambda: Follower(predictor), prompts, keyframe_interval=every)
        next(stream)
        start = clock(args)
        done = sum(1 for _ in stream)
        seconds = (clock(args) - start) / done
    return seconds


def objects(args: argparse.Namespace, clip: str = "camel", steps: int = 3) -> dict[str, Any]:
    """Least seconds of a step with 1, 5, 10 and 20 objects, embedding and all."""
    predictor = Predictor(load_model(args.model, device=args.device))
    frames = enlarged(args, clip, steps + 1)
    height, width = frames[0].size
    seconds = {}
    for count in (1, 5, 10, 20):
        follower = Follower(predictor)
        embedding = predictor.embed(frames[0].image)
        for number in range(count):
            row, column = divmod(number, 5)
            mask = np.zeros((height, width), np.bool_)
            y, x = 20 + row * (height - 40) // 4, 20 + column * (width - 40) // 5
            mask[y : y + (height - 40) // 5, x : x + (width - 40) // 6] = True
            follower.start(number + 1, frames[0].image, embedding, Prompt(mask=mask))
        times = []
        for frame in frames[1:]:
            start = clock(args)
            follower.step(frame.image, predictor.embed(frame.image))
            times.append(clock(args) - start)
        seconds[count] = min(times)
        print(f"{count} objects: {seconds[count]:.3f} s", file=sys.stderr, flush=True)
    growth = {count: 100 * (seconds[count] / seconds[1] - 1) / (count - 1) for count in (5, 10, 20)}
    return {"seconds": seconds, "growth_percent_per_object": growth}


def clock(args: argparse.Namespace) -> float:
    """Seconds; what is asked of a GPU here has its results back before it is asked."""
    return time.process_time() if args.device == "cpu" else time.perf_counter()


def enlarged(args: argparse.Namespace, clip: str, count: int) -> list[Frame]:
    """The first frames of a clip, at ``--height``."""
    frames = []
    for frame, _ in zip(frames_of(args, clip), range(count), strict=False):
        height, width = frame.size
        if args.height:
            size = 2 * round(width * args.height / height / 2), args.height
            image = cv2.resize(frame.image, size, interpolation=cv2.INTER_CUBIC)
            frame = Frame(frame.index, frame.pts_seconds, np.ascontiguousarray(image))
        frames.append(frame)
    return frames


def in_a_process(args: argparse.Namespace, count: int) -> float:
    """Peak memory of a process of its own."""
    words = [sys.executable, "-m", "benchmarks.follow", "--memory-frames", str(count)]
    words += ["--data", str(args.data), "--model", args.model, "--threads", str(args.threads)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["mib"])


def peak_memory(args: argparse.Namespace, clip: str = "camel") -> dict[str, float]:
    import resource

    from vis.pipeline import collect
    from vis.structures import VideoInfo

    size = (427, 240)
    small = [cv2.resize(frame.image, size, interpolation=cv2.INTER_AREA) for frame in frames_of(args, clip)]
    truth = read_truth(listed(args, "Annotations", clip, "png")[0]).astype(np.uint8)
    mask = cv2.resize(truth, size, interpolation=cv2.INTER_AREA) > 0
    predictor = Predictor(load_model(args.model, device=args.device))

    def played() -> Iterator[Frame]:
        period = 2 * len(small) - 2
        for index in range(args.memory_frames):
            at = index % period
            yield Frame(index, index / 24, small[min(at, period - at)].copy())

    stream = follow(played(), lambda: Follower(predictor), {1: {0: Prompt(mask=mask)}}, keyframe_interval=50)
    collect(stream, VideoInfo("played", size[1], size[0]), ("object",))
    return {"mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


def show(out: dict[str, Any]) -> None:
    for speed, result in out.get("quality", {}).items():
        kinds = list(result["all"])
        print(f"{speed:<16}" + "".join(f"{kind + ' J':>10} {'F':>6} {'J&F':>6}" for kind in kinds))
        rows = {**result["clips"], "single object": result["single_object"], "all": result["all"]}
        for name, row in rows.items():
            cells = (
                f"{row[k]['J']:>10.3f} {row[k]['F']:>6.3f} {row[k]['J&F']:>6.3f}" for k in kinds if k in row
            )
            print(f"{name:<16}" + "".join(cells))
    for speed, seconds in out.get("seconds_per_frame", {}).items():
        print(f"{speed:<10} {seconds:.3f} s per frame")
    if "objects" in out:
        for count, seconds in out["objects"]["seconds"].items():
            growth = out["objects"]["growth_percent_per_object"].get(count)
            print(f"{count:>3} objects {seconds:.3f} s" + (f", {growth:.1f} % per object" if growth else ""))
    for count, mib in out.get("peak_memory_mib", {}).items():
        print(f"{count:>5} frames: peak {mib:.0f} MiB")


if __name__ == "__main__":
    main()
