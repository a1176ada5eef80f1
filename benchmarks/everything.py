"""Does everything mode find the masks of the released generator, and how much sooner?

    python -m benchmarks.everything IMAGE [IMAGE ...] [--json]
    python -m benchmarks.everything --folder coco/val2017 --count 3 --keep reference.json

Same weights (MobileSAM with the packaged HQ head; ``--plain`` for MobileSAM alone), same 32 x 32 grid, the
released generator's defaults. For each of its masks the best IoU among ours counts; the mark is 0.95 for at
least 95 % of them. One process, one thread, CPU seconds: on a busy machine wall seconds tell of the others.
The reference takes minutes per image; ``--keep FILE`` writes its masks and times there, and reads them again.
It needs segment-anything-hq 0.3, timm and torchvision.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.refiner import state_for
from vis import masks as rle
from vis.automatic_masks import find_everything
from vis.files import whole_file
from vis.hqsam import Predictor, build_model, hq_parameter_names
from vis.structures import MaskRLE

MARK = 0.95


def make_reference(state: dict[str, Any], plain: bool, grid: int) -> Callable[[np.ndarray], list[Any]]:
    """The released generator, as run lengths."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import timm.models

        sys.modules.setdefault("timm.models.registry", timm.models._registry)
        import segment_anything_hq as package
        from segment_anything_hq.build_sam_baseline import MaskDecoder, TwoWayTransformer

    model = package.sam_model_registry["vit_tiny"]()
    if plain:
        transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
        model.mask_decoder = MaskDecoder(
            transformer_dim=256, transformer=transformer, num_multimask_outputs=3
        )
    model.load_state_dict(state, strict=True)
    model.train()  # its TinyViT gathers the attention biases on the change to evaluation
    generator = package.SamAutomaticMaskGenerator(model.eval(), points_per_side=grid)

    def run(image: np.ndarray) -> list[Any]:
        return [
            (rle.encode(found["segmentation"]), found["predicted_iou"]) for found in generator.generate(image)
        ]

    return run


def make_ours(state: dict[str, Any], mode: str, grid: int) -> Callable[[np.ndarray], list[Any]]:
    predictor = Predictor(build_model(state, mode=mode))

    def run(image: np.ndarray) -> list[Any]:
        found = find_everything(predictor, image, points_per_side=grid)
        return [(one.mask, one.predicted_iou) for one in found]

    return run


def timed(run: Callable[[np.ndarray], list[Any]], image: np.ndarray) -> dict[str, Any]:
    wall, cpu = time.perf_counter(), time.process_time()
    found = run(image)
    return {
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "wall_seconds": round(time.perf_counter() - wall, 2),
        "masks": [mask for mask, _ in found],
    }


def best_iou(ours: list[MaskRLE], theirs: list[MaskRLE]) -> list[float]:
    """For each of ``theirs`` the best IoU among ``ours``."""
    if not ours or not theirs:
        return [0.0] * len(theirs)
    have = np.stack([rle.decode(mask).ravel() for mask in ours]).astype(np.float32)
    want = np.stack([rle.decode(mask).ravel() for mask in theirs]).astype(np.float32)
    inter = want @ have.T
    union = want.sum(1)[:, None] + have.sum(1) - inter
    best: list[float] = (inter / np.maximum(union, 1)).max(1).tolist()
    return best


class Kept:
    """The reference's results on disk, by image and settings."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.rows: dict[str, Any] = json.loads(path.read_text()) if path and path.is_file() else {}

    def get(self, key: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        if key not in self.rows:
            made = make()
            masks = [{"size": list(mask.size), "counts": mask.counts.decode()} for mask in made["masks"]]
            self.rows[key] = made | {"masks": masks}
            if self.path is not None:
                with whole_file(self.path) as temporary:
                    Path(temporary).write_text(json.dumps(self.rows))
        row = self.rows[key]
        masks = [MaskRLE(tuple(one["size"]), one["counts"].encode()) for one in row["masks"]]
        return dict(row) | {"masks": masks}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", nargs="*", type=Path)
    parser.add_argument("--folder", type=Path, help="take the first --count pictures of this folder")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--points", type=int, default=32, help="points per side of the grid")
    parser.add_argument("--modes", nargs="+", default=["fast"], help="ours: exact, fast, fastest")
    parser.add_argument(
        "--plain", action="store_true", help="MobileSAM without HQ head: three masks per point"
    )
    parser.add_argument("--keep", type=Path, help="file for the reference's results")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    args = parser.parse_args()
    import torch
    from PIL import Image

    torch.set_num_threads(args.threads)
    images = args.images or (sorted(args.folder.glob("*.jpg"))[: args.count] if args.folder else [])
    if not images:
        parser.error("give images, or --folder")
    state = state_for("vit_tiny")
    if args.plain:
        state = {key: value for key, value in state.items() if key not in hq_parameter_names("vit_tiny")}
    kept = Kept(args.keep)
    reference: Any = None
    ours = {mode: make_ours(state, mode, args.points) for mode in args.modes}
    rows: list[dict[str, Any]] = []
    for path in images:
        image = np.array(Image.open(path).convert("RGB"))

        def run_reference(image: np.ndarray = image) -> dict[str, Any]:
            nonlocal reference
            reference = reference or make_reference(state, args.plain, args.points)
            return timed(reference, image)

        want = kept.get(f"{path.name} {args.points} {'sam' if args.plain else 'hq'}", run_reference)
        for mode, run in ours.items():
            have = timed(run, image)
            ious = best_iou(have["masks"], want["masks"])
            back = best_iou(want["masks"], have["masks"])
            row = {
                "image": path.name,
                "mode": mode,
                "reference_masks": len(want["masks"]),
                "our_masks": len(have["masks"]),
                f"share_at_{MARK}": round(float(np.mean(np.array(ious) >= MARK)), 4) if ious else None,
                "mean_iou": round(float(np.mean(ious)), 4) if ious else None,
                f"ours_found_there_at_{MARK}": round(float(np.mean(np.array(back) >= MARK)), 4)
                if back
                else None,
                "reference_cpu_seconds": want["cpu_seconds"],
                "our_cpu_seconds": have["cpu_seconds"],
                "times_faster_cpu": round(want["cpu_seconds"] / have["cpu_seconds"], 2),
            }
            rows.append(row | {"ious": ious})
            print(json.dumps(row), file=sys.stderr, flush=True)
    report: dict[str, Any] = {
        "grid": f"{args.points} x {args.points}",
        "network": "SAM" if args.plain else "HQ-SAM",
    }
    for mode in args.modes:
        mine = [row for row in rows if row["mode"] == mode]
        ious = np.array([iou for row in mine for iou in row["ious"]])
        report[mode] = {
            "images": len(mine),
            "reference_masks": len(ious),
            f"share_at_{MARK}": round(float((ious >= MARK).mean()), 4) if len(ious) else None,
            "times_faster_cpu": round(
                sum(row["reference_cpu_seconds"] for row in mine)
                / sum(row["our_cpu_seconds"] for row in mine),
                2,
            ),
        }
    report["rows"] = [{key: value for key, value in row.items() if key != "ious"} for row in rows]
    print(json.dumps(report, indent=2) if args.json else json.dumps(report | {"rows": len(rows)}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
