"""What does the HQ head add to plain SAM? Mean IoU and boundary IoU for boxes, points, coarse masks.

    python -m benchmarks.head --davis FOLDER [--stride 6] [--head FILE] [--prompts box points1 ...] [--best] [--json]
    python -m benchmarks.head --coco JSON IMAGES [--last N] [--prompts box points1 points3 mask] [--json]

Plain SAM and SAM + HQ share the encoder's pass on every frame. On DAVIS (JPEGImages/480p,
Annotations/480p) the mean is over clips, on COCO over objects. The prompt ``detected`` is the box of
the quick preset's own detector: its best detection. ``--best`` adds, for either, the best of SAM's three masks
by SAM's own estimate in place of the single one: what ``quick`` draws.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import hqsam, weights
from vis.hqsam.network.checkpoints import build_model, read_state
from vis.training.datasets import MaskedImage, coco_instances
from vis.training.evaluate import Score, evaluate
from vis.training.export import read_head
from vis.training.frozen import with_head

PACKAGED = Path(hqsam.__file__).parent / "heads" / "hq_tiny.safetensors"
COLUMNS = {"plain": "SAM", "sum": "SAM+HQ", "hq": "HQ", "plain_best": "SAM of 3", "best": "SAM of 3+HQ"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--davis", type=Path, metavar="FOLDER")
    parser.add_argument("--coco", nargs=2, type=Path, metavar=("JSON", "IMAGES"))
    parser.add_argument("--last", type=int, default=0, help="only the last N images of the COCO file")
    parser.add_argument("--stride", type=int, default=6, help="every how many frames of DAVIS")
    parser.add_argument("--clips", nargs="*", default=[])
    parser.add_argument("--head", type=Path, default=PACKAGED)
    parser.add_argument("--model", default="sam-tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--prompts", nargs="+", default=["box"])
    parser.add_argument("--best", action="store_true", help="the best of three too")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    state = read_state(weights.path(weights.MODELS[args.model].weights))
    model = with_head(state, read_head(args.head), device=args.device)
    plain = build_model(state, mode="exact").to(model.device)
    groups = (
        davis(args.davis, args.stride, args.clips) if args.davis else {"coco": coco(args.coco, args.last)}
    )
    detect = detector() if "detected" in args.prompts else None
    rows = {
        name: evaluate(model, images, plain=plain, kinds=args.prompts, detect=detect, best_of_three=args.best)
        for name, images in groups.items()
    }
    report(rows, args.prompts, as_json=args.json)


def davis(folder: Path, stride: int, only: Sequence[str]) -> dict[str, list[MaskedImage]]:
    """Every ``stride``-th frame of each clip that has an object."""
    clips = sorted(path.name for path in (folder / "JPEGImages" / "480p").iterdir())
    groups = {}
    for clip in only or clips:
        frames = sorted((folder / "JPEGImages" / "480p" / clip).glob("*.jpg"))[::stride]
        truth = folder / "Annotations" / "480p" / clip
        groups[clip] = [MaskedImage(frame, truth / f"{frame.stem}.png") for frame in frames]
    return groups


def coco(paths: Sequence[Path], last: int) -> list[MaskedImage]:
    """Objects of at least 40 x 40 pixels; the last N images by id are those that training leaves out."""
    records = json.loads(paths[0].read_text("utf-8"))["images"]
    held = {record["file_name"] for record in sorted(records, key=lambda r: int(r["id"]))[-last:]}
    return [item for item in coco_instances(*paths) if not last or item.path.name in held]


def detector() -> Callable[[NDArray[np.uint8]], NDArray[np.float32] | None]:
    """The main object's box as the quick preset's detector finds it in one image by itself."""
    from detectors.salient import Salient

    salient = Salient()

    def best(image: NDArray[np.uint8]) -> NDArray[np.float32] | None:
        salient.reset()
        found = salient.detect([image])[0]
        return found.boxes[0] if len(found) else None

    return best


def report(rows: dict[str, dict[str, dict[str, Score]]], prompts: Sequence[str], *, as_json: bool) -> None:
    columns = [column for column in COLUMNS if column in next(iter(rows.values()))[prompts[0]]]
    means = {
        kind: {
            column: [
                float(np.mean([getattr(row[kind][column], field) for row in rows.values()]))
                for field in ("iou", "boundary_iou")
            ]
            for column in columns
        }
        for kind in prompts
    }
    if as_json:
        groups: dict[str, Any] = {
            name: {kind: {c: asdict(s) for c, s in scores.items()} for kind, scores in row.items()}
            for name, row in rows.items()
        }
        print(json.dumps({"groups": groups, "mean": means}))
        return
    print("IoU / boundary IoU, per cent")
    print(f"{'group':<16} {'prompt':<9} {'n':>4} " + "".join(f"{COLUMNS[c]:>15}" for c in columns))
    for name, row in rows.items():
        for kind, scores in row.items():
            cells = [f"{100 * scores[c].iou:.1f} / {100 * scores[c].boundary_iou:.1f}" for c in columns]
            print(f"{name:<16} {kind:<9} {scores['sum'].objects:>4} " + "".join(f"{c:>15}" for c in cells))
    for kind, mean in means.items():
        cells = [f"{100 * mean[c][0]:.2f} / {100 * mean[c][1]:.2f}" for c in columns]
        print(f"{'mean':<16} {kind:<9}      " + "".join(f"{c:>15}" for c in cells))


if __name__ == "__main__":
    main()
