"""Which of SAM's masks should a tube take? Its single one, the best of three, or of whole and part.

    python -m benchmarks.choice --data FOLDER [--clips camel,dog] [--boxes true,detected] [--json]

FOLDER holds DAVIS's JPEGImages/480p and Annotations/480p. Boxes are the true object's, or those of the tube of
``quick`` that fits the truth best; every frame of them is refined, in order. IoU and boundary IoU are with the
truth; "holds" is the mean IoU of a mask with the tube's mask one frame before: what moves lowers it for all ways
alike, what flickers only for one. The mean is over clips.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.job import Job
from apps.plan import Plan
from benchmarks.davis import truth_of, tube_iou
from vis.hqsam import ImageEmbedding, Predictor, load_model
from vis.masks import dense_boundary_iou, dense_iou
from vis.prompt_policies import HQSamRefiner
from vis.structures import Detections
from vis.training.prompts import tight_box
from vis.video import open_source

CHOICES = ("single", "best of three", "whole or part, frame by frame", "whole or part, running mean")
"""Those of the reference, and the refiner's, without and with memory: the last is ``quick``'s."""
MODELS = {"SAM": "sam-tiny", "HQ-SAM": "hq-tiny"}
WAYS = {f"{name}, {choice}": (model, choice) for name, model in MODELS.items() for choice in CHOICES}
COLUMNS = ("IoU", "boundary", "holds")


class OncePerFrame:
    """HQ-SAM embeds a frame once, whoever asks; plain SAM takes the same without the HQ part."""

    def __init__(self) -> None:
        self.predictors = {name: Predictor(load_model(name)) for name in MODELS.values()}
        self._last: tuple[NDArray[np.uint8], ImageEmbedding] | None = None

    def refiner(self, model: str, choice: str) -> HQSamRefiner:
        """The refiner of that model and choice."""
        predictor = self.predictors[model]
        best = {"best_of_three": True} if choice == "best of three" else {}
        stand_in: Any = SimpleNamespace(
            embed=lambda image: self.embedding(image, model), decode=partial(predictor.decode, **best)
        )
        return HQSamRefiner(stand_in, multimask_selection="tube" if choice.startswith("whole") else "single")

    def embedding(self, image: NDArray[np.uint8], model: str) -> ImageEmbedding:
        if self._last is None or self._last[0] is not image:
            self._last = image, self.predictors["hq-tiny"].embed(image)
        whole = self._last[1]
        return whole if model == "hq-tiny" else replace(whole, hq_features=None)


@dataclass
class Scores:
    """One way's masks of one tube, as they come."""

    rows: list[tuple[float, float]] = field(default_factory=list)
    holds: list[float] = field(default_factory=list)
    last: NDArray[np.bool_] | None = None

    def add(self, mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        self.rows.append((dense_iou(mask, truth), dense_boundary_iou(mask, truth)))
        if self.last is not None:
            self.holds.append(dense_iou(mask, self.last))
        self.last = mask

    def means(self) -> list[float]:
        iou, boundary = np.mean(self.rows, axis=0)
        return [float(iou), float(boundary), float(np.mean(self.holds))]


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/davis16"))
    parser.add_argument("--clips", help="default: all")
    parser.add_argument("--boxes", default="true,detected")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    networks = OncePerFrame()
    finder = Job(Plan.of("quick", model="none", speed="full"))
    clips = (
        args.clips.split(",")
        if args.clips
        else sorted(path.name for path in (args.data / "JPEGImages" / "480p").iterdir())
    )
    found = {}
    for clip in clips:
        found[clip] = measure(args.data, clip, args.boxes.split(","), networks, finder)
        print(f"{clip}: done", file=sys.stderr)
    if args.json:
        print(json.dumps(found))
        return 0
    for kind in args.boxes.split(","):
        print(f"\n{kind + ' boxes, per cent':<40}" + "".join(f"{name:>10}" for name in COLUMNS))
        for way in WAYS:
            means = np.mean([found[clip][kind][way] for clip in clips], axis=0)
            print(f"{way:<40}" + "".join(f"{100 * value:>10.2f}" for value in means))
    return 0


def measure(
    data: Path, clip: str, kinds: list[str], networks: OncePerFrame, finder: Job
) -> dict[str, dict[str, list[float]]]:
    """Per kind of box and way: mean IoU, boundary IoU and how well the mask holds."""
    truth = truth_of(data, clip)
    boxes = {"true": {i: tight_box(mask) for i, mask in enumerate(truth) if mask.any()}}
    if "detected" in kinds:
        boxes["detected"] = detected(data, clip, finder, truth)
    ways = [(kind, way) for kind in kinds for way in WAYS]
    refiners = {(kind, way): networks.refiner(*WAYS[way]) for kind, way in ways}
    scores = {way: Scores() for way in ways}
    for frame in open_source(data / "JPEGImages" / "480p" / clip):
        index = frame.index
        for kind, way in ways:
            if index in boxes[kind]:
                one = Detections(
                    boxes=np.asarray(boxes[kind][index], np.float32)[None],
                    scores=np.ones(1, np.float32),
                    labels=np.zeros(1, np.int64),
                    track_ids=np.ones(1, np.int64) if "mean" in way else None,
                )
                refined = refiners[kind, way].refine(frame.image, one)
                scores[kind, way].add(refined.masks[0], truth[index])
    return {kind: {way: scores[kind, way].means() for way in WAYS} for kind in kinds}


def detected(data: Path, clip: str, finder: Job, truth: list[NDArray[np.bool_]]) -> dict[int, Any]:
    """Frame -> box of the tube of ``quick`` that fits the truth best."""
    result = finder.process(open_source(data / "JPEGImages" / "480p" / clip))
    best = max(result.tubes, key=lambda tube: tube_iou(tube, result, truth), default=None)
    if best is None:
        raise SystemExit(f"{clip}: quick finds nothing there; leave it out with --clips")
    return dict(zip(best.frames.tolist(), best.boxes, strict=True))


if __name__ == "__main__":
    raise SystemExit(main())
