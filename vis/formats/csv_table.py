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
from vis.formats.builder import ResultBuilder, tell, video_result
from vis.formats.lines import escaped, integer, number, read_utf8
from vis.formats.unsupported import dropped_fields
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
    said = dropped_fields(
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
    names = (result.video.name, *result.class_names)
    said += ["names that are no UTF-8 are written with \\udcXX"] if any(map(_changed, names)) else []
    return said


def read(path: str | Path, *, fps: float | None = None) -> VideoResult:
    """The video of a table that :func:`write` wrote, or another with these columns.

    Frames are those that have a row. Cells may lie between commas, semicolons or tabs, as the first line has
    them. Columns of other names are left out, which is told in an :class:`AnnotationWarning`. Raises
    :class:`UsageError` for a table without rows.
    """
    where = str(path)
    rows = _rows(read_utf8(path), where)
    if not rows:
        raise UsageError(f"{where}: holds no row, so the video's size is unknown")
    builder = ResultBuilder(where)
    at, first = rows[0]
    video = first["video"]
    size = (integer(first["height"], at), integer(first["width"], at))
    classes: dict[str, int] = {}
    times: dict[int, float] = {}
    scores: dict[int, float] = {}
    for at, row in rows:
        if row["video"] != video or (integer(row["height"], at), integer(row["width"], at)) != size:
            raise AnnotationError(
                f"{at}: is of video {row['video'][:40]!r} of {row['height']}x{row['width']}, the first row of "
                f"{video[:40]!r} of {size[0]}x{size[1]}; a table holds one video"
            )
        frame, object_id = integer(row["frame"], at), integer(row["tube"], at)
        _same(times, frame, number(row["pts_seconds"], at), f"{at}: pts_seconds of frame {frame}")
        _same(scores, object_id, number(row["tube_score"], at), f"{at}: tube_score of tube {object_id}")
        if not 0 <= scores[object_id] <= 1:
            raise AnnotationError(f"{at}: tube_score {scores[object_id]} is outside of 0 to 1")
        counts = _plain(row["counts"])
        builder.add(
            object_id,
            frame,
            label=classes.setdefault(_plain(row["class"]), len(classes)),
            score=number(row["score"], at),
            box=np.array([number(row[key], at) for key in ("x0", "y0", "x1", "y1")]),
            mask=masks.from_coco({"size": list(size), "counts": counts}, size=size, where=at)
            if counts
            else None,
            where=at,
        )
    frames = np.array(sorted(times), np.int64)
    info = _info(where, _plain(video), size, int(frames[-1]) + 1, fps)
    pts = np.array([times[frame] for frame in frames.tolist()], np.float64)
    return video_result(where, info, tuple(classes), builder.tubes(scores), frames, pts_seconds=pts)


def _rows(text: str, where: str) -> list[tuple[str, dict[str, str]]]:
    """(where the row ends, its cells by column) of each row that is not blank."""
    head = text[: 1 + text.find("\n")] or text
    mark = max(",;\t", key=head.count)
    # strict: a quote in the wrong place is an error, not a guess.
    table = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    rows: list[tuple[str, dict[str, str]]] = []
    try:
        columns = [name.strip() for name in next(table, [])]
        for cells in table:
            if cells:
                at = f"{where}: line {table.line_num}"
                if len(cells) != len(columns):
                    raise AnnotationError(f"{at}: expected {len(columns)} cells, got {len(cells)}")
                rows.append((at, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise AnnotationError(f"{where}: line {table.line_num}: not a CSV table ({error})") from error
    missing = [name for name in COLUMNS if name not in columns]
    if rows and missing:
        raise AnnotationError(f"{where}: the column {missing[0]!r} is missing; expected {', '.join(COLUMNS)}")
    twice = [name for name in COLUMNS if columns.count(name) > 1]
    if twice:
        raise AnnotationError(f"{where}: the column {twice[0]!r} is there twice")
    if unread := [name[:40] for name in columns if name not in COLUMNS]:
        tell(where, f"columns that this format does not have are left out: {', '.join(unread[:8])}")
    return rows


def _same(table: dict[int, float], key: int, value: float, what: str) -> None:
    """Note a value that several rows give; they must agree."""
    if table.setdefault(key, value) != value:
        raise AnnotationError(f"{what} is {value:g}, and {table[key]:g} in a row above; give one")


def _info(where: str, name: str, size: tuple[int, int], count: int, fps: float | None) -> VideoInfo:
    size = masks.checked_size(size, where)
    try:
        return VideoInfo(name, *size, num_frames=count, fps=fps)
    except ValueError as error:
        raise AnnotationError(f"{where}: {error}") from error


def _safe(text: str) -> str:
    text = escaped(text)
    return f"'{text}" if text.startswith(_DANGEROUS) else text


def _changed(text: str) -> bool:
    return escaped(text) != text


def _plain(text: str) -> str:
    return text[1:] if text.startswith("'") else text
