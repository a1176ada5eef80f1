"""CSV: one row per object and frame, with the class's name, the box, and the mask's run lengths.

A cell of text that a spreadsheet would take for a formula (it begins with ``= + - @``, a tab or a line
break) gets an apostrophe in front, and so does one that begins with an apostrophe: reading takes exactly
one away. Numbers are written as numbers.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from vis import masks
from vis.errors import AnnotationError, UsageError
from vis.files import write_text
from vis.formats.gather import Gathered, video_result
from vis.formats.lines import integer, number, read_utf8
from vis.formats.losses import not_held
from vis.structures import VideoInfo, VideoResult

__all__ = ["COLUMNS", "read", "write"]

COLUMNS = (
    *("video", "frame", "pts_seconds", "tube", "class", "tube_score", "score"),
    *("x0", "y0", "x1", "y1", "area", "height", "width", "counts"),
)
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n", "'")


def write(path: str | Path, result: VideoResult) -> list[str]:
    """Write the table; returns what is lost, in sentences. ``area`` is the mask's, empty without one."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(COLUMNS)
    times = dict(zip(result.frames.tolist(), result.pts_seconds.tolist(), strict=True))
    height, width = result.video.size
    for tube in result.tubes:
        for row, frame in enumerate(tube.frames.tolist()):
            mask = None if tube.masks is None else tube.masks[row]
            table.writerow(
                [
                    _safe(result.video.name),
                    frame,
                    repr(times[frame]),
                    tube.id,
                    _safe(result.class_names[tube.label]),
                    repr(tube.score),
                    repr(float(tube.scores[row])),
                    *(repr(float(v)) for v in tube.boxes[row]),
                    "" if mask is None else masks.area(mask),
                    height,
                    width,
                    "" if mask is None else _safe(mask.counts.decode("ascii")),
                ]
            )
    write_text(path, out.getvalue())
    said = not_held(
        result,
        classes=True,
        tube_scores=True,
        frame_scores=True,
        boxes=True,
        needs_masks=False,
        empty_masks=True,
        covered=True,
        times=True,
    )
    unused = len(result.class_names) - len({tube.label for tube in result.tubes})
    empty = len(set(times) - {frame for tube in result.tubes for frame in tube.frames.tolist()})
    said += ["names of classes without tubes are lost"] if unused else []
    said += [f"{empty} frames without objects have no row"] if empty else []
    return said


def read(path: str | Path, *, fps: float | None = None) -> VideoResult:
    """The video of a table that :func:`write` wrote, or another with these columns.

    Frames are those that have a row. Raises :class:`UsageError` for a table without rows.
    """
    where = str(path)
    try:
        # strict: a quote in the wrong place is an error, not a guess.
        rows = list(csv.DictReader(io.StringIO(read_utf8(path), newline=""), strict=True))
    except csv.Error as error:
        raise AnnotationError(f"{where}: not a CSV table ({error})") from error
    if not rows:
        raise UsageError(f"{where}: holds no row, so the video's size is unknown")
    missing = [name for name in COLUMNS if name not in rows[0] or rows[0][name] is None]
    if missing:
        raise AnnotationError(f"{where}: the column {missing[0]!r} is missing; expected {', '.join(COLUMNS)}")
    size = (integer(rows[0]["height"], where), integer(rows[0]["width"], where))
    gathered = Gathered(where)
    classes: list[str] = []
    times: dict[int, float] = {}
    scores: dict[int, float] = {}
    for count, row in enumerate(rows, start=2):
        at = f"{where}: row {count}"
        if any(row[name] is None for name in COLUMNS) or None in row:
            raise AnnotationError(f"{at}: expected {len(COLUMNS)} cells")
        name = _plain(row["class"])
        if name not in classes:
            classes.append(name)
        frame, identity = integer(row["frame"], at), integer(row["tube"], at)
        times[frame] = number(row["pts_seconds"], at)
        scores[identity] = number(row["tube_score"], at)
        counts = _plain(row["counts"])
        gathered.add(
            identity,
            frame,
            label=classes.index(name),
            score=number(row["score"], at),
            box=np.array([number(row[key], at) for key in ("x0", "y0", "x1", "y1")]),
            mask=masks.from_coco({"size": list(size), "counts": counts}, size=size, where=at)
            if counts
            else None,
        )
    frames = np.array(sorted(times), np.int64)
    info = _info(where, _plain(rows[0]["video"]), size, int(frames[-1]) + 1, fps)
    pts = np.array([times[frame] for frame in frames.tolist()], np.float64)
    return video_result(where, info, classes, gathered.tubes(scores), frames, pts)


def _info(where: str, name: str, size: tuple[int, int], count: int, fps: float | None) -> VideoInfo:
    try:
        return VideoInfo(name, *size, num_frames=count, fps=fps)
    except ValueError as error:
        raise AnnotationError(f"{where}: {error}") from error


def _safe(text: str) -> str:
    return f"'{text}" if text.startswith(_DANGEROUS) else text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") else text
