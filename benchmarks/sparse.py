"""Does a detector have to see every frame? Masks from boxes of every Nth frame against boxes of every frame.

    python -m benchmarks.sparse --davis FOLDER [--every 10] [--clips dog cows] [--frames 60] [--json]

DAVIS clips (JPEGImages/480p, Annotations/480p), the true box standing for the detector's. With boxes of every
frame each mask is HQ-SAM's for its box. With boxes of every Nth frame those masks are the same, and
``vis.follow.fill_gaps`` carries them through the frames between. J is the mean over the frames of a clip that
show the object, from the first to the last frame with a box. The last column is what is left of the quality.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vis import masks as rle
from vis.evaluation.davis import region_j
from vis.follow import Follower, fill_gaps
from vis.hqsam import Predictor, load_model
from vis.structures import Frame, Tube, VideoInfo, VideoResult


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--davis", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--clips", nargs="*", default=[])
    parser.add_argument("--every", type=int, default=10, metavar="N")
    parser.add_argument("--frames", type=int, help="only the first so many frames of each clip")
    parser.add_argument("--model", default="hq-tiny")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    predictor = Predictor(load_model(args.model))
    root = args.davis / "JPEGImages" / "480p"
    rows: dict[str, dict[str, float]] = {}
    for clip in args.clips or sorted(path.name for path in root.iterdir()):
        rows[clip] = measure(args.davis, clip, predictor, args.every, args.frames)
        print(f"{clip:<16} {line(rows[clip])}", file=sys.stderr, flush=True)
    mean = {name: float(np.mean([row[name] for row in rows.values()])) for name in ("dense", "sparse")}
    mean["kept"] = mean["sparse"] / mean["dense"]
    if args.json:
        print(json.dumps({"every": args.every, "clips": rows, "mean": mean}))
        return
    print(f"{'clip':<16} boxes of every frame   of every {args.every}th   kept")
    for clip, row in rows.items():
        print(f"{clip:<16} {line(row)}")
    print(f"{'mean':<16} {line(mean)}")


def measure(davis: Path, clip: str, predictor: Predictor, every: int, most: int | None) -> dict[str, float]:
    """Mean J of one clip, both ways."""
    clip_frames = Frames(davis, clip, most)
    seen = [index for index in range(len(clip_frames)) if clip_frames.truth(index).any()]
    sparse = [index for index in seen if index % every == 0]
    span = [index for index in seen if sparse[0] <= index <= sparse[-1]]
    masks = {}
    for index in span:
        box = rle.bounding_box(rle.encode(clip_frames.truth(index)))
        found = predictor.decode(predictor.embed(clip_frames[index].image), boxes=box[None])
        masks[index] = rle.encode(found.masks[0])
    tube = Tube(
        id=1,
        label=0,
        score=1.0,
        frames=np.array(sparse, np.int64),
        boxes=np.array([rle.bounding_box(masks[index]) for index in sparse], np.float32),
        scores=np.ones(len(sparse), np.float32),
        masks=tuple(masks[index] for index in sparse),
    )
    times = np.array(sparse, np.float64) / 24
    result = VideoResult(clip_frames.info, ("object",), (tube,), tube.frames, times)
    filled = fill_gaps(
        result, clip_frames, lambda: Follower(predictor), backwards=clip_frames.backwards, cut_below=0.0
    )
    (whole,) = filled.tubes
    assert whole.masks is not None
    carried = dict(zip(whole.frames.tolist(), whole.masks, strict=True))
    blank = rle.encode(np.zeros(clip_frames.info.size, np.bool_))

    def mean_j(by_frame: dict[int, Any]) -> float:
        pairs = [(rle.decode(by_frame.get(index, blank)), clip_frames.truth(index)) for index in span]
        return float(np.mean([region_j(found, truth) for found, truth in pairs]))

    dense, sparse_j = mean_j(masks), mean_j(carried)
    return {"dense": dense, "sparse": sparse_j, "kept": sparse_j / dense}


class Frames:
    """One clip's frames and true masks, by index."""

    def __init__(self, davis: Path, clip: str, most: int | None) -> None:
        self._images = sorted((davis / "JPEGImages" / "480p" / clip).glob("*.jpg"))[:most]
        self._truth = davis / "Annotations" / "480p" / clip
        height, width = self[0].image.shape[:2]
        self.info = VideoInfo(clip, height, width)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> Frame:
        with Image.open(self._images[index]) as opened:
            return Frame(index, index / 24, np.asarray(opened.convert("RGB"), np.uint8))

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(len(self)))

    def backwards(self, high: int, low: int) -> Iterator[Frame]:
        return (self[index] for index in range(high, low - 1, -1))

    def truth(self, index: int) -> NDArray[np.bool_]:
        with Image.open(self._truth / f"{self._images[index].stem}.png") as opened:
            return np.asarray(opened.convert("L")) > 127


def line(row: dict[str, float]) -> str:
    return f"{row['dense']:20.3f} {row['sparse']:14.3f} {100 * row['kept']:7.1f} %"


if __name__ == "__main__":
    main()
