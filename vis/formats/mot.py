"""MOT text: boxes only, one line per object and frame, ``frame,id,x,y,w,h,conf,-1,-1,-1``.

Frames count from 1. x, y is the upper left corner in pixels; it is written as it is, from 0, as
TrackEval and CVAT read it (the first MOTChallenge data counts pixels from 1).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vis.errors import UsageError
from vis.files import write_text
from vis.formats.gather import Gathered, video_result
from vis.formats.lines import integer, number, split_lines
from vis.formats.losses import not_held
from vis.structures import VideoInfo, VideoResult

__all__ = ["read", "write"]


def write(path: str | Path, result: VideoResult) -> list[str]:
    """Write the boxes; returns what is lost, in sentences."""
    lines = []
    for tube in result.tubes:
        for frame, box, score in zip(tube.frames.tolist(), tube.boxes, tube.scores, strict=True):
            x0, y0, x1, y1 = (float(v) for v in box)
            # repr of a double reads back exactly; the width is a double, so x + w gives x1 again.
            values = ",".join(repr(v) for v in (x0, y0, x1 - x0, y1 - y0, float(score)))
            lines.append((frame + 1, tube.id, f"{frame + 1},{tube.id},{values},-1,-1,-1\n"))
    write_text(path, "".join(line for _, _, line in sorted(lines)))
    said = not_held(result, frame_scores=True, boxes=True, needs_masks=False, empty_masks=True)
    if any(tube.masks is not None for tube in result.tubes):
        said.insert(0, "masks are lost: the format holds boxes")
    return [*said, "the size of the video is lost: readers must be given it"]


def read(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
) -> VideoResult:
    """The boxes of a file. ``size`` (height, width) is needed: the format does not tell it.

    Lines with id -1 (detections that no tracker has seen) raise :class:`AnnotationError`. A negative
    confidence, which ground truth uses for "none", reads as 1, and one above 1 as 1.
    """
    if size is None:
        raise UsageError(f"{path}: MOT text does not tell the video's size; give size (height, width)")
    where = str(path)
    gathered = Gathered(where)
    for count, words in split_lines(path, 6, separator=","):
        at = f"{where}: line {count}"
        frame, identity = integer(words[0], at), integer(words[1], at)
        x, y, w, h = (number(word, at) for word in words[2:6])
        score = number(words[6], at) if len(words) > 6 else 1.0
        score = min(score, 1.0) if score >= 0 else 1.0
        gathered.add(identity, frame - 1, score=score, box=np.array([x, y, x + w, y + h]))
    frames = gathered.covered(num_frames)
    video = VideoInfo(Path(path).stem, *size, num_frames=len(frames), fps=fps)
    return video_result(where, video, ("object",), gathered.tubes(), frames)
