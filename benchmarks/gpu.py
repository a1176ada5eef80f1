"""HQ-SAM on one GPU: images/s, time per 10 and 50 boxes, memory, agreement, and a stream.

    python -m benchmarks.gpu --device cuda --json > gpu.json     # all; under three minutes on an H100
    python -m benchmarks.gpu --device cuda --sizes vit_h --no-compile
    python -m benchmarks.gpu --device cpu --quick                # every line once, with toy networks

The reference is the package segment-anything-hq 0.3 in float32 where it can be imported (it needs timm), else
this project's own exact engine, which is float32 too; the output says which. Weights are random, but for
vit_tiny MobileSAM's and the packaged HQ head's where they are at hand. Each part stands alone: one that
fails says how, and the next one goes on. Progress goes to stderr.

The stream is 1920x1080 with ten moving objects: decode video, embed, decode masks at the frame's size, draw
them, encode video; the video work in threads of its own, beside the network.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from benchmarks._stream import stream_through
from benchmarks.refiner import state_for
from vis.hqsam import SIZES, Predictor, SamModel, build_model
from vis.hqsam.runtime.engine import FastEngine

FRAMES = {"720p": (720, 1280), "1080p": (1080, 1920)}
START = time.perf_counter()


def say(text: str) -> None:
    print(f"[{time.perf_counter() - START:6.1f} s] {text}", file=sys.stderr, flush=True)


def scene(size: tuple[int, int], objects: int, at: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """A soft background with ellipses that move with ``at``, and a box around each."""
    import cv2

    height, width = size
    rng = np.random.default_rng(7)
    small = rng.integers(60, 120, (height // 16, width // 16, 3)).astype(np.uint8)
    frame = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)
    boxes = []
    for _ in range(objects):
        half = (rng.uniform(0.03, 0.12, 2) * height).astype(int) + 2
        start, step = rng.uniform(0, 1, 2), rng.uniform(-0.01, 0.01, 2)
        room = np.array([width, height]) - 2 * half
        x, y = (half + room * np.abs((start + step * at) % 2 - 1)).astype(int)
        colour = tuple(int(c) for c in rng.integers(0, 255, 3))
        cv2.ellipse(frame, (int(x), int(y)), (int(half[0]), int(half[1])), 0, 0, 360, colour, -1)
        boxes.append((x - half[0], y - half[1], x + half[0] + 1, y + half[1] + 1))
    return frame, np.clip(np.array(boxes, np.float32), 0, (width, height) * 2)


class Contestant:
    """One way to run one network: ``embed`` and ``decode``, both with results where a caller wants them."""

    predictor: Predictor  # ours alone

    def __init__(
        self, embed: Callable[[np.ndarray], Any], decode: Callable[[Any, np.ndarray], np.ndarray], about: Any
    ) -> None:
        self.embed, self.decode, self.about = embed, decode, about


def reference(state: dict[str, Any], name: str, device: str, toy: bool) -> Contestant:
    """segment-anything-hq where it is at hand (toy networks it cannot build), else our exact engine."""
    why = "toy networks"
    if not toy:
        try:
            return packaged_reference(state, name, device)
        except ImportError as error:
            why = f"segment_anything_hq cannot be imported: {error}"
    ours = contestant(state, name, device, "exact", toy=toy)
    return Contestant(ours.embed, ours.decode, f"this project's exact engine, float32 ({why})")


def packaged_reference(state: dict[str, Any], name: str, device: str) -> Contestant:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm.models

        sys.modules.setdefault("timm.models.registry", timm.models._registry)
        from segment_anything_hq import SamPredictor, sam_model_registry

        with torch.device(device):  # random numbers are slow on a CPU
            model = sam_model_registry[name]()
    model.load_state_dict(state, strict=True)
    model.train()  # its TinyViT gathers the attention biases on the change to evaluation
    predictor = SamPredictor(model.eval().to(device))

    def embed(frame: np.ndarray) -> tuple[int, int]:
        predictor.set_image(frame)
        return frame.shape[0], frame.shape[1]

    def decode(size: tuple[int, int], boxes: np.ndarray) -> np.ndarray:
        scaled = torch.as_tensor(predictor.transform.apply_boxes(boxes, size), dtype=torch.float32)
        masks, _, _ = predictor.predict_torch(None, None, scaled.to(device), None, multimask_output=False)
        out: np.ndarray = masks[:, 0].cpu().numpy()
        return out

    return Contestant(embed, decode, "segment-anything-hq 0.3, float32")


def toy_model(name: str, mode: str) -> SamModel:
    torch.manual_seed(0)
    size = SIZES[name]
    if not size.tiny:
        size = replace(size, depths=(2,), global_blocks=(1,), image_size=256)
    return SamModel(size, hq=True, mode=mode).eval()


def contestant(
    state: dict[str, Any], name: str, device: str, mode: str, *, toy: bool, compiled: bool = False
) -> Contestant:
    with torch.device(device):
        model = toy_model(name, mode) if toy else build_model(state, mode=mode)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        predictor = Predictor(model.to(device), compiled=compiled)
        if toy and mode != "exact" and device == "cpu":  # so that a CPU tries every line
            with torch.inference_mode():
                predictor._engine = FastEngine(model, torch.float32, batched=True, compiled=compiled)
    about: dict[str, Any] = predictor.describe()
    if caught:
        about["warnings"] = [str(one.message) for one in caught]
    made = Contestant(predictor.embed, lambda e, boxes: predictor.decode(e, boxes=boxes).masks, about)
    made.predictor = predictor
    return made


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def milliseconds(run: Callable[[], Any], device: str, budget: float) -> float:
    """Median of as many runs as the budget of seconds allows, three at least, after one that does not count.

    A budget of nothing is one run, and no other.
    """
    if budget:
        run()
    times: list[float] = []
    while not times or (budget and (len(times) < 3 or (sum(times) < budget and len(times) < 50))):
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return round(1000 * float(np.median(times)), 3)


def measure(one: Contestant, args: argparse.Namespace) -> tuple[dict[str, Any], np.ndarray]:
    """Times and peak memory of one contestant, and its masks of the 1080p scene with ten boxes."""
    device, budget, counts = args.device, args.budget, args.boxes
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats()
    out: dict[str, Any] = {"what": one.about}
    masks = np.zeros(0)
    for label, size in FRAMES.items():
        frame, boxes = scene(size, max(counts))
        embed = milliseconds(lambda frame=frame: one.embed(frame), device, budget)
        out[label] = {"embed_ms": embed, "images_per_second": round(1000 / embed, 2)}
        known = one.embed(frame)
        for count in counts:
            took = milliseconds(lambda known=known, few=boxes[:count]: one.decode(known, few), device, budget)
            out[label][f"decode_{count}_boxes_ms"] = took
            out[label][f"frame_with_{count}_boxes_ms"] = round(embed + took, 3)
        masks = one.decode(known, boxes[: counts[0]])
    if device.startswith("cuda"):
        out["peak_cuda_mib"] = round(torch.cuda.max_memory_allocated() / 2**20)
        out["reserved_cuda_mib"] = round(torch.cuda.memory_reserved() / 2**20)
    return out, masks


def batch_rate(one: Contestant, device: str, budget: float, batch: int) -> dict[str, Any]:
    """Images/s of the encoder with several frames in one pass."""
    frame, _ = scene(FRAMES["1080p"], 1)
    took = milliseconds(lambda: one.predictor.embed_batch([frame] * batch), device, budget)
    return {"frames": batch, "images_per_second": round(1000 * batch / took, 2)}


def agreement(have: np.ndarray, want: np.ndarray) -> dict[str, float]:
    inter, union = (have & want).sum((1, 2)), (have | want).sum((1, 2))
    iou = np.where(union > 0, inter / np.maximum(union, 1), 1.0)
    return {
        "mask_iou_mean": round(float(iou.mean()), 5),
        "mask_iou_min": round(float(iou.min()), 5),
        "pixels_that_differ": round(float((have != want).mean()), 6),
    }


def size_report(name: str, args: argparse.Namespace, kept: dict[str, np.ndarray]) -> dict[str, Any]:
    """The reference and the fast ways of one size; the reference's masks stay in ``kept``."""
    report: dict[str, Any] = {}
    state = random_state(name, args)
    with part(report, "reference"):
        report["reference"], kept[name] = measure(reference(state, name, args.device, args.quick), args)
        say(f"{name} reference: {json.dumps(report['reference'])}")
    for mode in ("fast", "fastest") if name == "vit_tiny" else ("fast",):
        free(args.device)
        with part(report, mode):
            report[mode] = way_report(
                state, name, mode, args, before=report["reference"], want=kept.get(name)
            )
            say(f"{name} {mode}: {json.dumps(report[mode])}")
    return report


def way_report(
    state: dict[str, Any],
    name: str,
    mode: str,
    args: argparse.Namespace,
    *,
    before: dict[str, Any],
    want: np.ndarray | None,
    compiled: bool = False,
) -> dict[str, Any]:
    """One way of ours, and how it compares to the reference."""
    start = time.perf_counter()
    one = contestant(state, name, args.device, mode, toy=args.quick, compiled=compiled)
    out, have = measure(one, args)
    out["seconds_with_warm_up"] = round(time.perf_counter() - start, 1)
    if not compiled:
        out["batch"] = batch_rate(one, args.device, args.budget, 2 if args.quick else 8)
    if want is not None:
        out["against_reference"] = agreement(have, want)
        out["times_faster"] = {
            f"{label}, {what}": round(took / out[label][what], 2)
            for label in FRAMES
            for what, took in before[label].items()
            if what.endswith("_ms")
        }
    return out


def random_state(name: str, args: argparse.Namespace) -> dict[str, Any]:
    """Weights for a full size, made on the device, where that is quick; nothing for toys."""
    if args.quick:
        return {}
    with torch.device(args.device):
        state = state_for(name)
        for key, value in state.items():
            if "rel_pos" in key or key.endswith("pos_embed"):  # zeros, when new, would prove nothing
                state[key] = 0.05 * torch.randn_like(value)
    return {key: value.cpu() for key, value in state.items()}  # so that peak memory does not hold them


class part:
    """A part whose failure is written down instead of ending the run."""

    def __init__(self, report: dict[str, Any], name: str) -> None:
        self.report, self.name = report, name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self.report[self.name] = {"error": f"{type(error).__name__}: {str(error)[:500]}"}
        say(f"{self.name} failed:\n" + "".join(traceback.format_exception(kind, error, trace)[-6:]))
        return True


def free(device: str) -> None:
    import gc

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()


def stream_report(name: str, mode: str, args: argparse.Namespace) -> dict[str, Any]:
    """Frames/s of a whole pass over a 1080p clip with ten boxes a frame."""
    size = (270, 480) if args.quick else FRAMES["1080p"]
    scenes = [scene(size, 10, at) for at in range(6 if args.quick else args.stream_frames)]
    one = contestant(random_state(name, args), name, args.device, mode, toy=args.quick)
    return stream_through(one.predictor, scenes)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--sizes", nargs="+", default=list(SIZES), choices=list(SIZES))
    parser.add_argument("--quick", action="store_true", help="toy networks, once: does every line work")
    parser.add_argument("--boxes", nargs="+", type=int, default=[10, 50])
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--no-stream", dest="stream", action="store_false")
    parser.add_argument("--stream-frames", type=int, default=120)
    parser.add_argument(
        "--limit", type=float, default=140, help="no compiling begins after this many seconds"
    )
    parser.add_argument("--budget", type=float, default=0.5, help="seconds per figure")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    args = parser.parse_args()
    if args.quick:
        args.budget, args.boxes = 0.0, [2, 3]
    on_cuda = args.device.startswith("cuda")
    report: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if on_cuda else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "networks": "toy, random weights" if args.quick else "full size",
        "sizes": {},
    }
    say(f"{report['device']}, torch {report['torch']}")
    kept: dict[str, np.ndarray] = {}
    for name in args.sizes:
        with part(report["sizes"], name):
            report["sizes"][name] = size_report(name, args, kept)
        free(args.device)
    if args.stream:
        report["stream"] = {}
        for name in args.sizes:
            with part(report["stream"], name):
                report["stream"][name] = got = stream_report(name, "fast", args)
                say(f"stream {name}: {json.dumps(got)}")
            free(args.device)
    for name in reversed(args.sizes) if args.compile else ():  # the largest gains most
        sizes = report["sizes"][name]
        if name == "vit_tiny":
            continue
        if time.perf_counter() - START > args.limit:
            sizes["fast, compiled"] = {"left out": f"{args.limit:.0f} s had passed; --limit sets this"}
            continue
        with part(sizes, "fast, compiled"):
            before = sizes.get("reference", {})
            sizes["fast, compiled"] = got = way_report(
                random_state(name, args),
                name,
                "fast",
                args,
                before=before,
                want=kept.get(name),
                compiled=True,
            )
            say(f"{name} fast, compiled: {json.dumps(got)}")
        free(args.device)
    report["seconds"] = round(time.perf_counter() - START, 1)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        say("done; --json prints the whole report")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
