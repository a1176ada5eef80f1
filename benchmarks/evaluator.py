"""How much faster is the evaluator than the published recipe, cold, from files to report?

The recipe: decode, pad, erode, subtract and encode every mask (pycocotools, OpenCV), then compare
pairs by merging run lengths; one thread, one core. It runs on the first ``--videos`` videos and is scaled
by their share of the masks; ``--videos 0`` runs it whole. "With absent frames" adds what the published
code does for frames without the object: it makes and encodes an empty float64 frame each.

Ours: the command ``vistubes eval tubes`` as a new process on one thread: start, imports, JSON, both APs,
table. Both sides pay for their start and imports, in a new process each time; both find their files in the
system's cache, their Python compiled to byte code and the kernels compiled to machine code, as on any machine
where they ran before. CPU seconds, and runs of both sides in turn, so that a busy machine disturbs the ratio
less; best of ``--repeat``.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import _official_recipe as recipe
from benchmarks import _synthetic_ytvis as synthetic
from vis.masks import boundary_width

RUN = """
import sys
from apps.cli import main
sys.argv[:1] = ["vistubes", "eval"]
code = main()
print("VmHWM", next(line.split()[1] for line in open("/proc/self/status") if "VmHWM" in line), file=sys.stderr)
sys.exit(code)
"""
"""``vistubes eval``, and its peak memory in kB at the end (wait4 would count the parent's too). Linux."""
BYTE_CODE = Path(tempfile.gettempdir()) / "vistubes-benchmark-byte-code"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the synthetic set: 50 videos x 30 frames x 720p"
    )
    parser.add_argument("--data", type=Path, help="folder with gt.json and pred.json instead of a new set")
    parser.add_argument("--videos", type=int, default=6, help="videos that the recipe runs on, 0: all")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        answer = measure(Path(folder), args)
    print(json.dumps(answer) if args.json else table(answer))
    return 0


def measure(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    if args.data:
        truth, results = json_pair((args.data / "gt.json", args.data / "pred.json"))
    else:
        truth, results = synthetic.make_set(args.seed, 50, [(1280, 720)], (30, 30))
    whole = write(folder / "whole", truth, results)
    videos = min(args.videos, len(truth["videos"])) or len(truth["videos"])
    part = write(folder / "part", *first_videos(truth, results, videos))
    masks = [count_masks(*json_pair(paths)) for paths in (whole, part)]
    share = masks[0]["present"] / masks[1]["present"]

    first = cold(whole, [])  # on a machine of its own this one compiles the kernels
    ours, theirs = {}, {}
    peaks = []
    code = "import benchmarks._official_recipe as r; r.say_peak()"
    start = min(spawn(["-c", code])["cpu_seconds"] for _ in range(args.repeat))
    for name in ("mask", "both"):
        # Interleaved, so that a busy spell falls on both.
        runs, recipes = [], []
        # Masks alone take a second: the whole set, and no scaling.
        paths, factor = (whole, 1.0) if name == "mask" else (part, share)
        for turn in range(args.repeat):
            runs.append(cold(whole, ["--kinds", "mask"] if name == "mask" else []))
            if name == "mask" or turn < 2:
                recipes.append(spawn(["-m", "benchmarks._official_recipe", *map(str, paths), name]))
        done = min(recipes, key=lambda run: run["cpu_seconds"])
        theirs[name] = start + (done["cpu_seconds"] - start) * factor
        peaks.append(done["peak_mb"])
        ours[name] = min(runs, key=lambda run: run["cpu_seconds"])
    stats = json.loads(done["output"])
    started = time.process_time()
    for _ in range(20):
        recipe.empty_band(720, 1280)
    empty = (time.process_time() - started) / 20
    theirs["both_with_absent_frames"] = theirs["both"] + empty * (masks[0]["all"] - masks[0]["present"])
    bands = cache_costs(whole[0])
    same = json.loads(cold(part, [])["output"])
    worst = max(abs(a - b) for kind in stats for a, b in zip(stats[kind], same[kind], strict=True))
    return {
        "masks": masks[0]["present"],
        "absent_frames": masks[0]["all"] - masks[0]["present"],
        "recipe_videos": videos,
        "recipe_scaled_by": share,
        "recipe_cpu_seconds": theirs,
        "ours_cold_cpu_seconds": {name: ours[name]["cpu_seconds"] for name in ("both", "mask")},
        "ours_cold_wall_seconds": {name: ours[name]["wall_seconds"] for name in ("both", "mask")},
        "ours_first_run_cpu_seconds": first["cpu_seconds"],
        "ratio_both": theirs["both"] / ours["both"]["cpu_seconds"],
        "ratio_both_with_absent_frames": theirs["both_with_absent_frames"] / ours["both"]["cpu_seconds"],
        "ratio_mask": theirs["mask"] / ours["mask"]["cpu_seconds"],
        "peak_mb": {"ours": ours["both"]["peak_mb"], "recipe_at_least": max(peaks)},
        "largest_difference": worst,
        "erode_truths_cpu_seconds": bands[0],
        "hash_truths_cpu_seconds": bands[1],
        "published_evaluator": "464 s in one process on another machine for seed 0, absent frames included",
    }


def cache_costs(truth: Path) -> tuple[float, float]:
    """CPU seconds to erode every truth, and only to hash them, as a cache of boundaries on disk would have to."""
    from vis.evaluation import intervals
    from vis.evaluation.loading import read_truth
    from vis.evaluation.tube_masks import pack

    tubes = [tube.masks for tube in read_truth(truth).tubes]
    packed, heights = pack(tubes), np.array([tube.size[0] for tube in tubes])
    widths = np.array([boundary_width(tube.size) for tube in tubes])
    best = [float("inf")] * 2
    for _ in range(5):
        started = time.thread_time()
        intervals.erode(packed, heights, widths)
        eroded = time.thread_time()
        for tube in tubes:
            hashlib.sha256(tube.edges).digest()
        best = [min(best[0], eroded - started), min(best[1], time.thread_time() - eroded)]
    return best[0], best[1]


def first_videos(truth: dict, results: list, count: int) -> tuple[dict, list]:
    kept = {video["id"] for video in truth["videos"][:count]}
    fewer = truth | {
        "videos": truth["videos"][:count],
        "annotations": [a for a in truth["annotations"] if a["video_id"] in kept],
    }
    return fewer, [entry for entry in results if entry["video_id"] in kept]


def write(folder: Path, truth: dict, results: list) -> tuple[Path, Path]:
    folder.mkdir()
    paths = folder / "gt.json", folder / "pred.json"
    for path, value in zip(paths, (truth, results), strict=True):
        path.write_text(json.dumps(value, separators=(",", ":")))
    return paths


def json_pair(paths: tuple[Path, Path]) -> tuple[dict, list]:
    return json.loads(paths[0].read_bytes()), json.loads(paths[1].read_bytes())


def count_masks(truth: dict, results: list) -> dict[str, int]:
    frames = [mask for entry in [*truth["annotations"], *results] for mask in entry["segmentations"]]
    return {"all": len(frames), "present": sum(mask is not None for mask in frames)}


def cold(paths: tuple[Path, Path], more: list[str]) -> dict[str, Any]:
    """One run of our command in a new process."""
    words = ["tubes", "--truth", str(paths[0]), "--results", str(paths[1]), "--threads", "1", "--json", *more]
    return spawn(["-c", RUN, *words])


def spawn(words: list[str]) -> dict[str, Any]:
    """CPU and wall seconds, peak memory and output of a new Python process on one thread."""
    environment = os.environ | dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
    )
    # Byte code is kept, as after every installation, even where the environment says otherwise.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    environment["PYTHONPYCACHEPREFIX"] = str(BYTE_CODE)
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    )
    assert process.stdout
    assert process.stderr
    output, said = process.stdout.read(), process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{words[:2]} ended with {process.returncode}")
    return {
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "wall_seconds": wall,
        "peak_mb": int(said.rpartition(b"VmHWM ")[2] or 0) / 1024,
        "output": output,
    }


def table(answer: dict[str, Any]) -> str:
    recipe_seconds, ours = answer["recipe_cpu_seconds"], answer["ours_cold_cpu_seconds"]
    scaled = f", scaled from {answer['recipe_videos']} videos" if answer["recipe_scaled_by"] > 1 else ""
    return "\n".join(
        [
            f"{answer['masks']} masks, {answer['absent_frames']} absent frames; CPU seconds on one core{scaled}",
            f"{'':<34}{'recipe':>9}{'ours, cold':>12}{'ratio':>8}",
            f"{'mask + boundary':<34}{recipe_seconds['both']:>9.1f}{ours['both']:>12.2f}{answer['ratio_both']:>8.0f}",
            f"{'mask + boundary, absent frames too':<34}{recipe_seconds['both_with_absent_frames']:>9.1f}"
            f"{ours['both']:>12.2f}{answer['ratio_both_with_absent_frames']:>8.0f}",
            f"{'mask':<34}{recipe_seconds['mask']:>9.1f}{ours['mask']:>12.2f}{answer['ratio_mask']:>8.1f}",
            f"peak memory: ours {answer['peak_mb']['ours']:.0f} MB, "
            f"recipe at least {answer['peak_mb']['recipe_at_least']:.0f} MB (masks alone)",
            f"first run (compiles the kernels): {answer['ours_first_run_cpu_seconds']:.2f}",
            f"boundaries of all truths: {1e3 * answer['erode_truths_cpu_seconds']:.0f} ms; hashing the masks, as a "
            f"cache on disk would have to: {1e3 * answer['hash_truths_cpu_seconds']:.0f} ms",
            f"largest difference of any statistic: {answer['largest_difference']:.1e}",
        ]
    )


if __name__ == "__main__":
    raise SystemExit(main())
