"""MOT text: boxes only, one line per object and frame, ``frame,id,x,y,w,h,conf,-1,-1,-1``.

Frames and ids count from 1; files of others, which count from 0, write numbers as floats (``1.0``) or put
spaces between them, are read too. x, y is the upper left corner in pixels; it is written as it is, from 0, as
TrackEval and CVAT read it (the first MOTChallenge data counts pixels from 1).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vis.errors import AnnotationError, UsageError
from vis.files import write_text
from vis.formats.builder import ResultBuilder, tell, video_result
from vis.formats.lines import integer, number, split_lines
from vis.formats.unsupported import dropped_fields
from vis.masks import checked_size
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
    said = dropped_fields(result, frame_scores=True, boxes=True, needs_masks=False, empty_masks=True)
    if any(tube.masks is not None for tube in result.tubes):
        said.insert(0, "masks are lost: the format holds boxes")
    return [*said, "the size of the video is lost: readers must be given it"]


def read(
    path: str | Path,
    *,
    size: tuple[int, int] | None = None,
    num_frames: int | None = None,
    fps: float | None = None,
    first_frame: int | None = None,
) -> VideoResult:
    """The boxes of a file. ``size`` (height, width) is needed: the format does not tell it.

    ``first_frame``: number of the video's first frame; None takes 0 where a line names frame 0, else 1. Lines
    with id -1 (detections that no tracker has seen) raise :class:`AnnotationError`. A confidence of -1, which
    ground truth uses for "none", reads as 1. Others outside of 0 to 1 read as 1 too, and that is told in an
    :class:`AnnotationWarning`, as are columns after the confidence that are not -1, and a count from 0.
    """
    if size is None:
        raise UsageError(f"{path}: MOT text does not tell the video's size; give size (height, width)")
    where = str(path)
    size = checked_size(size, where)
    lines = [(f"{where}: line {count}", words) for count, words in split_lines(path, 6, guess=True)]
    numbers = [integer(words[0], at) for at, words in lines]
    if first_frame is None:
        first_frame = 0 if 0 in numbers else 1
        if first_frame == 0:
            tell(where, "frames are taken to count from 0: a line names frame 0")
    builder = ResultBuilder(where)
    wild = unread = 0
    for (at, words), frame in zip(lines, numbers, strict=True):
        if frame < first_frame:
            raise AnnotationError(
                f"{at}: frame {frame}: frames must lie at {first_frame} or after, where they count from"
            )
        x, y, w, h = (number(word, at) for word in words[2:6])
        score = number(words[6], at) if len(words) > 6 else 1.0
        wild += not 0 <= score <= 1 and score != -1
        unread += any(word.strip() not in ("", "-1", "-1.0") for word in words[7:])
        builder.add(
            integer(words[1], at),
            frame - first_frame,
            score=score if 0 <= score <= 1 else 1.0,
            box=np.array([x, y, x + w, y + h]),
            where=at,
        )
    if wild:
        tell(where, f"{wild} confidences outside of 0 to 1 are read as 1")
    if unread:
        tell(
            where,
            f"columns after the confidence (class, visibility, position) of {unread} lines are left out",
        )
    frames = builder.covered(num_frames)
    video = VideoInfo(Path(path).stem, *size, num_frames=len(frames), fps=fps)
    return video_result(where, video, ("object",), builder.tubes(), frames)
