"""What do zero-shot edges score on BSDS500, and what does Canny?

    python -m benchmarks.edges [--data BSDS500] [--out runs/bsds] [--split test] [--model sam-h] [--thresholds 99]

The data folder holds ``images/`` and ``groundTruth/``, with folders of that split below or without. Makes the maps of
both (OUT/MODEL, OUT/canny), scores them, and goes on where it was stopped. Canny's map is the share of 24 limits at
which a pixel is an edge (Gaussian of 2 pixels, the lower limit 0.4 of the upper), so that a threshold of the benchmark
is a limit of Canny's. Paper (ViT-H, 200 images): ODS .768, OIS .786, AP .794, R50 .928.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from apps.cli import main as vistubes
from vis.files import whole_file
from vis.formats.images import png_bytes
from vis.video.images import list_images

LIMITS = np.arange(1, 25) * 20
SIGMA = 2.0


def write_canny(images: Path, out: Path) -> None:
    import cv2

    for path in list_images(images):
        target = out / f"{path.stem}.png"
        if target.exists():
            continue
        smooth = cv2.GaussianBlur(cv2.imread(str(path), cv2.IMREAD_GRAYSCALE), (0, 0), SIGMA)
        votes = sum(
            (cv2.Canny(smooth, 0.4 * limit, limit, L2gradient=True) > 0).astype(int) for limit in LIMITS
        )
        with whole_file(target) as part:
            part.write_bytes(png_bytes(np.rint(votes / len(LIMITS) * 65535).astype(np.uint16), bits=16))


def score(name: str, truth: Path, out: Path, thresholds: int) -> dict[str, Any]:
    words = ["eval", "edges", "--truth", truth, "--results", out / name, "--report", out / f"{name}-report"]
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        code = vistubes([str(word) for word in (*words, "--thresholds", thresholds, "--json")])
    if code:
        raise SystemExit(code)
    answer = json.loads(said.getvalue())
    return {"maps": name} | {key: round(answer[key], 4) for key in ("ods", "ois", "ap", "r50")}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data/bsds500"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--out", type=Path, default=Path("runs/bsds"))
    parser.add_argument("--model", default="sam-tiny")
    parser.add_argument("--thresholds", type=int, default=99)
    args = parser.parse_args()
    images, truth = (
        below if (below := args.data / name / args.split).is_dir() else args.data / name
        for name in ("images", "groundTruth")
    )
    model = Path(args.model).stem
    code = vistubes(["edges", str(images), "--out", str(args.out / model), "--model", args.model])
    if code:
        return code
    write_canny(images, args.out / "canny")
    for name in (model, "canny"):
        print(json.dumps(score(name, truth, args.out, args.thresholds)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
