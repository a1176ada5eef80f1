"""What a run says of itself: the files of results, the run record, the table of tubes."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vis import masks
from vis.files import write_json
from vis.formats import tubes as tubes_format
from vis.formats import ytvis
from vis.structures import Tube, VideoResult
from vis.tube_checks import collapsed_frames

if TYPE_CHECKING:
    from apps.job import VideoJob
    from apps.plan import Selection

__all__ = ["costs", "run_record", "tube_table", "write_record", "write_results"]


def write_results(folder: Path, result: VideoResult) -> None:
    """tubes.json, and results.json unless there are tubes of boxes only: YTVIS results hold masks."""
    if all(tube.masks is not None for tube in result.tubes):
        ytvis.write_results(folder / "results.json", result)
    tubes_format.write(folder / "tubes.json", result)


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """run.json: written after the results, so that with it they are whole."""
    write_json(folder / "run.json", record, indent=2)


def run_record(
    job: VideoJob, result: VideoResult, source: Mapping[str, Any], selection: Selection, started: float
) -> dict[str, Any]:
    """Everything needed to repeat the run, and what it cost so far; ``source``: name and identity."""
    record = {
        **job.made_with(),
        "command": ["vistubes", *sys.argv[1:]],
        "source": dict(source),
        "video": {"height": result.video.height, "width": result.video.width, "frames": len(result.frames)},
        "selection": selection.record(),
        "tubes": len(result.tubes),
        **costs(job, result, started),
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cpus": os.cpu_count(),
            "torch": _version("torch"),
            "numpy": _version("numpy"),
        },
    }
    if job.refiner is not None:
        record["refiner"] = {
            **job.refiner.predictor.describe(),
            "kept_coarse": job.refiner.counts.kept_coarse,
        }
    return record


@cache
def _version(package: str) -> str:
    """Of an installed package; looking it up takes longer than a short video."""
    return importlib.metadata.version(package)


def costs(job: VideoJob, result: VideoResult, started: float) -> dict[str, Any]:
    """The part of a run record that grows while pictures are drawn: time and memory."""
    seconds = max(time.time() - started, 1e-3)
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(started)),
        "seconds": round(seconds, 3),
        "seconds_per_stage": job.watch.report(),
        "stages_beside": dict(job.watch.beside),
        "frames_per_second": round(len(result.frames) / seconds, 3),
        "peak_memory_bytes": peak_memory_bytes(),
    }


def peak_memory_bytes() -> int | None:
    """Peak resident memory of this process; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return int(peak if sys.platform == "darwin" else peak * 1024)


def tube_table(result: VideoResult) -> str:
    """One line per tube: id, label, score, frames, span, mean area; and where its mask falls to a part of it."""
    if not result.tubes:
        return _no_tubes(result)
    lines = [f"{'id':>4}  {'label':<16} {'score':>5}  {'frames':>6}  {'span':>13}  {'mean area':>9}"]
    for tube in result.tubes:
        span = f"{tube.frames[0]}-{tube.frames[-1]}"
        label = result.class_names[tube.label]
        lines.append(
            f"{tube.id:>4}  {label:<16.16} {tube.score:>5.2f}  {len(tube):>6}  {span:>13}  {_area(tube, result):>9}"
            + _collapse(tube, result)
        )
    return "\n".join(lines)


def _no_tubes(result: VideoResult) -> str:
    made = result.made_with.get("association", result.made_with)
    options = made.get("options", {})
    if options.get("detector") == "none":
        return (
            "no tubes: detector 'none' looks for nothing; point at objects with 'vistubes follow', or choose "
            "another --detector"
        )
    lower = "a lower --score, " if options.get("min_score") != 0 else ""
    return f"no tubes: no object was found on enough frames; try {lower}another --detector, or --min-frames 1"


def _collapse(tube: Tube, result: VideoResult) -> str:
    frames = collapsed_frames(tube, result.frames, result.video.size)
    if not len(frames):
        return ""
    count = f"{len(frames)} frames" if len(frames) > 1 else "1 frame"
    return f"  look: the mask falls to a part on {count}, from frame {frames[0]} on"


def _area(tube: Tube, result: VideoResult) -> str:
    if tube.masks is None:
        return "boxes"
    share = (
        sum(masks.area(mask) for mask in tube.masks) / len(tube) / (result.video.height * result.video.width)
    )
    return f"{100 * share:.2f} %"
