"""What does the HQ head cost beside plain SAM? Processor seconds for a frame, in turns, one process.

    python -m benchmarks.overhead [--rounds 7] [--threads 1] [--json]

MobileSAM with and without the packaged HQ head on one frame of the sample clip, 1280x720: embedding, and
full-size masks of 1 and of 10 boxes. What a whole frame of ``quick`` costs besides (video, detector,
association, drawing) is not counted, so the share of a real frame is smaller. The mark is 8 %.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch

from vis import weights
from vis.hqsam import Predictor, load_model
from vis.video import open_source

BOXES = {
    1: np.array([[400, 100, 900, 650]], np.float32),
    10: np.array([[100 + 80 * i, 100, 300 + 80 * i, 500] for i in range(10)], np.float32),
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    image = next(iter(open_source(weights.path("sample")))).image
    predictors = {name: Predictor(load_model(name, device="cpu")) for name in ("sam-tiny", "hq-tiny")}
    seconds: dict[tuple[str, int], list[float]] = {}
    for turn in range(args.rounds + 1):
        for name, predictor in predictors.items():
            for count, boxes in BOXES.items():
                begin = time.process_time()
                predictor.decode(predictor.embed(image), boxes=boxes)
                if turn:  # the first one warms up
                    seconds.setdefault((name, count), []).append(time.process_time() - begin)
    rows = []
    for count in BOXES:
        sam, hq = (np.array(seconds[name, count]) for name in predictors)
        rows.append(
            {
                "boxes": count,
                "sam": round(float(sam.min()), 3),
                "hq": round(float(hq.min()), 3),
                "overhead_of_best": round(float(hq.min() / sam.min() - 1), 4),
                "overhead_of_medians": round(float(np.median(hq) / np.median(sam) - 1), 4),
            }
        )
    if args.json:
        print(json.dumps(rows))
        return 0
    print(f"{'boxes':>5} {'SAM':>8} {'HQ-SAM':>8} {'best':>7} {'median':>7}")
    for row in rows:
        print(
            f"{row['boxes']:>5} {row['sam']:>6.3f} s {row['hq']:>6.3f} s {row['overhead_of_best']:>+7.1%} "
            f"{row['overhead_of_medians']:>+7.1%}"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
