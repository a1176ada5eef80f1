"""Speed and memory of SAM and HQ-SAM against the reference package, in the same run.

    python -m benchmarks.refiner --json                       # vit_tiny and vit_b, CPU
    python -m benchmarks.refiner --sizes vit_h --repeats 5 --ways modules fast --no-memory
    python -m benchmarks.refiner --device cuda --sizes vit_tiny vit_b vit_l vit_h

One 1280x720 frame with ten drawn objects, boxes around them: embed, decode, masks at the frame's size. The ways are
the reference package, this project's plain modules, and its three modes.
They take turns in one process, so that a busy machine slows all alike; the best of the repeats
counts, in wall seconds and in CPU seconds; on a machine that others use, trust CPU seconds with
``--threads 1``, for threads that wait for each other burn both. Peak memory with 50 boxes is measured in
a fresh process each.
Weights: MobileSAM's for vit_tiny when they are in the cache, else random ones; the HQ tensors are the
packaged head's or random. The reference is the package segment-anything-hq 0.3 (with timm).
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

FRAME = (720, 1280)
SIZES = ("vit_tiny", "vit_b")
WAYS = ("reference", "modules", "exact", "fast", "fastest")


def scene(objects: int) -> tuple[np.ndarray, np.ndarray]:
    """A textured frame with ellipses, and a box around each."""
    import cv2

    rng = np.random.default_rng(7)
    frame = rng.integers(60, 120, (*FRAME, 3)).astype(np.uint8)
    frame = cv2.GaussianBlur(frame, (0, 0), 3)
    boxes = []
    for _ in range(objects):
        half = rng.integers(30, 110, 2)
        x, y = (int(rng.integers(h, side - h)) for h, side in zip(half, (FRAME[1], FRAME[0]), strict=True))
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        cv2.ellipse(frame, (x, y), (int(half[0]), int(half[1])), 0, 0, 360, colour, -1)
        boxes.append((x - half[0], y - half[1], x + half[0] + 1, y + half[1] + 1))
    return frame, np.clip(np.array(boxes, np.float32), 0, (FRAME[1], FRAME[0]) * 2)


def state_for(size: str) -> dict[str, Any]:
    """Weights of an HQ-SAM: real ones where they are at hand, the rest random but of sensible scale."""
    import torch

    from vis import weights
    from vis.hqsam import SIZES as TABLE
    from vis.hqsam import SamModel
    from vis.hqsam.network.checkpoints import read_state

    torch.manual_seed(0)
    state = dict(SamModel(TABLE[size], hq=True).state_dict())
    if size == "vit_tiny":
        if weights.cached(weights.WEIGHTS["mobile-sam"]):
            state |= read_state(weights.file_path(weights.WEIGHTS["mobile-sam"]))
        head = weights.MODELS["hq-tiny"].head
        if head is not None and head.is_file():
            named = read_state(head)
            state |= {
                k if k.startswith("mask_decoder.") else f"mask_decoder.{k}": v for k, v in named.items()
            }
    return state


def make_reference(size: str, state: dict[str, Any], device: str) -> Callable[[np.ndarray, np.ndarray], Any]:
    """embed + decode + masks with the reference package."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm.models

        sys.modules.setdefault("timm.models.registry", timm.models._registry)
        import torch
        from segment_anything_hq import SamPredictor, sam_model_registry

    model = sam_model_registry[size]()
    model.load_state_dict(state, strict=True)
    model.train()  # its TinyViT gathers the attention biases on the change to evaluation
    predictor = SamPredictor(model.eval().to(device))

    def run(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        predictor.set_image(frame)
        scaled = predictor.transform.apply_boxes(boxes, frame.shape[:2])
        given = torch.as_tensor(scaled, dtype=torch.float32, device=device)
        masks, _, _ = predictor.predict_torch(None, None, given, None, multimask_output=False)
        out: np.ndarray = masks[:, 0].cpu().numpy()
        return out

    return run


def make_ours(state: dict[str, Any], device: str, way: str) -> Callable[[np.ndarray, np.ndarray], Any]:
    """embed + decode + masks with this project."""
    import torch

    from vis.hqsam import Predictor, build_model
    from vis.hqsam.runtime.engine import ExactEngine

    plain = way == "modules"
    predictor = Predictor(build_model(state, mode="exact" if plain else way).to(device))
    if plain:  # whatever exact may run
        with torch.inference_mode():
            predictor._engine = ExactEngine(predictor.model)

    def run(frame: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        return predictor.decode(predictor.embed(frame), boxes=boxes).masks

    return run


def make(name: str, size: str, device: str) -> Callable[[np.ndarray, np.ndarray], Any]:
    state = state_for(size)
    if name == "reference":
        return make_reference(size, state, device)
    return make_ours(state, device, name)


def race(size: str, device: str, names: list[str], *, repeats: int, objects: int) -> dict[str, Any]:
    """Best times of all ways, in turns, and how they compare with the first one, and with the modules' time."""
    frame, boxes = scene(objects)
    runs = {name: make(name, size, device) for name in names}
    masks = {name: run(frame, boxes) for name, run in runs.items()}  # also the warm-up
    best: dict[str, dict[str, float]] = {
        name: {"wall_seconds": float("inf"), "cpu_seconds": float("inf")} for name in names
    }
    for _ in range(repeats):
        for name, run in runs.items():
            gc.collect()
            wall, cpu = time.perf_counter(), time.process_time()
            run(frame, boxes)
            best[name]["wall_seconds"] = min(best[name]["wall_seconds"], time.perf_counter() - wall)
            best[name]["cpu_seconds"] = min(best[name]["cpu_seconds"], time.process_time() - cpu)
    out: dict[str, Any] = {}
    first, want = best[names[0]], masks[names[0]]
    for name in names:
        inter, union = (want & masks[name]).sum((1, 2)), (want | masks[name]).sum((1, 2))
        iou = np.where(union > 0, inter / np.maximum(union, 1), 1.0)
        out[name] = {key: round(value, 4) for key, value in best[name].items()} | {
            "times_faster_wall": round(first["wall_seconds"] / best[name]["wall_seconds"], 2),
            "times_faster_cpu": round(first["cpu_seconds"] / best[name]["cpu_seconds"], 2),
            "mask_iou_mean": round(float(iou.mean()), 5),
            "mask_iou_min": round(float(iou.min()), 5),
        }
        if "modules" in names:
            plain = best["modules"]["cpu_seconds"]
            out[name]["of_modules_cpu"] = round(best[name]["cpu_seconds"] / plain, 3)
    return out


def peak_memory(name: str, size: str, device: str, objects: int, threads: int) -> dict[str, Any]:
    """Peak resident memory in MiB of a fresh process that does one frame."""
    command = [sys.executable, "-m", "benchmarks.refiner", "--one", name, "--sizes", size]
    command += ["--device", device, "--objects", str(objects), "--threads", str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"error": done.stderr.strip().splitlines()[-1:] or ["failed"]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def one(name: str, size: str, device: str, objects: int) -> dict[str, Any]:
    """The child's side of :func:`peak_memory`: what loading takes, and the peak."""
    import resource

    import torch

    frame, boxes = scene(objects)
    run = make(name, size, device)
    gc.collect()
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    run(frame, boxes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    out: dict[str, Any] = {"peak_rss_mib": round(peak), "after_loading_mib": round(loaded)}
    if device.startswith("cuda"):
        out["peak_gpu_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), help="default: vit_tiny vit_b")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=WAYS, help="default: all")
    parser.add_argument("--repeats", type=int, help="turns per way; default 3, on a CPU 1 but for vit_tiny")
    parser.add_argument("--objects", type=int, default=10)
    parser.add_argument("--memory-objects", type=int, default=50)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-memory", action="store_true", help="times only")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    import torch

    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(one(args.one, args.sizes[0], args.device, args.objects)))
        return 0
    report: dict[str, Any] = {
        "frame": "1280x720",
        "objects": args.objects,
        "device": args.device if args.device == "cpu" else torch.cuda.get_device_name(),
        "machine": f"{platform.machine()}, {args.threads} threads, torch {torch.__version__}",
        "sizes": {},
    }
    for size in args.sizes:
        repeats = args.repeats or (3 if size == "vit_tiny" or args.device != "cpu" else 1)
        memory = {
            name: peak_memory(name, size, args.device, args.memory_objects, args.threads)
            for name in args.ways
            if name in ("reference", "exact", "fast") and not args.no_memory
        }
        report["sizes"][size] = {
            "times": race(size, args.device, args.ways, repeats=repeats, objects=args.objects),
            f"memory_{args.memory_objects}_objects": memory,
        }
        if not args.json:
            print(size, json.dumps(report["sizes"][size], indent=2))
    if args.json:
        print(json.dumps(report, indent=2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
