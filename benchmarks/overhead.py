"""What does the HQ head cost beside plain SAM? CPU seconds for a frame, in turns, one process.

    python -m benchmarks.overhead [--rounds 5] [--frames 12] [--threads 1] [--json]

MobileSAM with and without the packaged HQ head on the sample clip, 1280x720: embedding and full-size masks of
1 and of 10 boxes on one frame; then ``--frames`` whole frames of ``quick``, decoding, detector, association,
masks, overlay and contact sheet, all that ``vistubes run`` does once its networks are loaded. The mark, 8 %, is
of the whole frame.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from apps import rendering
from apps.job import Job
from apps.plan import Plan
from vis import weights
from vis.hqsam import Predictor, load_model
from vis.video import open_source

BOXES = {
    1: np.array([[400, 100, 900, 650]], np.float32),
    10: np.array([[100 + 80 * i, 100, 300 + 80 * i, 500] for i in range(10)], np.float32),
}
MODELS = ("sam-tiny", "hq-tiny")
FIRST = 60
"""Where the whole frames begin: the rabbit is out of its hole."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=12, help="whole frames of quick a round")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    image = next(iter(open_source(weights.path("sample")))).image
    predictors = {name: Predictor(load_model(name, device="cpu")) for name in MODELS}
    jobs = {name: Job(Plan.of("quick", model=name, speed="full"), device="cpu") for name in MODELS}
    rows = [
        compare(
            f"masks of {len(boxes)} {'box' if len(boxes) == 1 else 'boxes'}",
            {name: partial(masks, predictors[name], image, boxes) for name in MODELS},
            args.rounds,
        )
        for boxes in BOXES.values()
    ]
    whole = {name: partial(frames, jobs[name], args.frames) for name in MODELS}
    rows.append(compare("whole frame of quick", whole, args.rounds))
    if args.json:
        print(json.dumps(rows))
        return 0
    print(f"{'CPU seconds a frame':<25} {'SAM':>8} {'HQ-SAM':>8} {'best':>7} {'median':>7}")
    for row in rows:
        print(
            f"{row['what']:<25} {row['sam']:>6.3f} s {row['hq']:>6.3f} s {row['overhead_of_best']:>+7.1%} "
            f"{row['overhead_of_medians']:>+7.1%}"
        )
    return 0


def masks(predictor: Predictor, image: np.ndarray, boxes: np.ndarray) -> int:
    """Embed one frame and draw its masks; one frame done."""
    predictor.decode(predictor.embed(image), boxes=boxes)
    return 1


def frames(job: Job, count: int) -> int:
    """``count`` frames from the file to the overlay; so many frames done."""
    clip = weights.path("sample")
    source = open_source(clip, start_frame=FIRST, end_frame=FIRST + count)
    with tempfile.TemporaryDirectory() as folder:
        result = job.process(source)
        missing = rendering.draw(source, result, Path(folder), audio_from=clip)
    assert not missing, missing
    assert len(result.frames) == count
    assert result.tubes, "no object was refined: there is nothing to compare"
    return count


def compare(what: str, ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, object]:
    """CPU seconds a frame of plain SAM and of HQ-SAM, in turns; the first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, way in ways.items():
            begin = time.process_time()
            done = way()
            if turn:
                seconds[name].append((time.process_time() - begin) / done)
    sam, hq = (np.array(seconds[name]) for name in MODELS)
    return {
        "what": what,
        "sam": round(float(sam.min()), 3),
        "hq": round(float(hq.min()), 3),
        "overhead_of_best": round(float(hq.min() / sam.min() - 1), 4),
        "overhead_of_medians": round(float(np.median(hq) / np.median(sam) - 1), 4),
    }


if __name__ == "__main__":
    raise SystemExit(main())
