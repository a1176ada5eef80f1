"""Edge maps and boundaries whose counts the reference implementation gave, and the script that asked it.

It writes ``edge_counts.json`` beside this file. In an environment of its own with pyEdgeEval 0.2.8, Pillow, scipy and
opencv-python-headless:

    python tests/evaluation/edge_maps.py shared/data/bsds500

Its solver draws at random, differently in every process and call: each count was taken three times.
"""

from __future__ import annotations

import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
SEEDS = (1, 2)
BSDS = ("100007", "102062", "157032")


def drawn(seed):
    """A soft map (240, 320) of noisy curves, and three people's boundaries of the same curves, each a bit different."""
    rng = np.random.default_rng(seed)
    height, width = 240, 320
    soft = np.round(0.35 * rng.random((height, width)) ** 6, 4)
    people = np.zeros((3, height, width), bool)
    along = np.arange(width * 4) / (width * 4)
    for curve in range(24):
        a, b, c, d = rng.random(4)
        y = height * (a + 0.25 * (b - 0.5) * np.sin(2 * math.pi * (c * 3 * along + d)))
        x = width * along
        if curve % 2:
            y, x = height * along, width * (a + 0.25 * (b - 0.5) * np.sin(2 * math.pi * (c * 3 * along + d)))
        strength = np.round(0.15 + 0.85 * rng.random(), 2)
        rows, columns = np.clip(np.rint([y, x]).astype(int), 0, [[height - 1], [width - 1]])
        soft[rows, columns] = np.maximum(soft[rows, columns], strength)
        for person in people:
            if rng.random() < 0.7:
                shift = rng.integers(-3, 4, 2)[:, None]
                person[tuple(np.clip(np.array([rows, columns]) + shift, 0, [[height - 1], [width - 1]]))] = (
                    True
                )
    return soft, list(people)


def canny(folder, name):
    """The share of eight limits at which Canny sees an edge (H, W), and the boundaries of a BSDS500 image."""
    import cv2
    from PIL import Image
    from scipy.io import loadmat

    with Image.open(folder / "images" / f"{name}.jpg") as image:
        grey = np.array(image.convert("L"))
    smooth = cv2.GaussianBlur(grey, (0, 0), 1.5)
    votes = sum(cv2.Canny(smooth, 0.4 * high, high) > 0 for high in range(40, 360, 40))
    cells = loadmat(folder / "groundTruth" / f"{name}.mat")["groundTruth"].ravel()
    return votes / 8, [cell["Boundaries"][0, 0] > 0 for cell in cells]


def digest(edges):
    """Tells whether another version of a library makes another map."""
    return hashlib.sha256(np.rint(edges * 10000).astype("<u2").tobytes()).hexdigest()


def main():
    from pyEdgeEval.common.binary_label.evaluate_boundaries import evaluate_boundaries_threshold_multiple_gts

    folder = Path(sys.argv[1])
    out = {
        "made_with": "tests/evaluation/edge_maps.py, pyEdgeEval 0.2.8",
        "thresholds": THRESHOLDS,
        "maps": {},
    }
    maps = {f"drawn {seed}": drawn(seed) for seed in SEEDS} | {name: canny(folder, name) for name in BSDS}
    for name, (edges, people) in maps.items():
        runs = [
            evaluate_boundaries_threshold_multiple_gts(np.array(THRESHOLDS), edges, people) for _ in range(3)
        ]
        rows = {
            "map_sha256": digest(edges),
            "matched_truth": [run[0].astype(int).tolist() for run in runs],
            "truth": runs[0][1].astype(int).tolist(),
            "matched_found": [run[2].astype(int).tolist() for run in runs],
            "found": runs[0][3].astype(int).tolist(),
        }
        out["maps"][name] = rows
    Path(__file__).with_name("edge_counts.json").write_text(json.dumps(out, indent=1) + "\n")


if __name__ == "__main__":
    main()
