"""The inner loops on run lengths as machine code; :mod:`vis.evaluation.plain` has the same in numpy."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.evaluation.kernel_store import address, functions
from vis.evaluation.runs import (
    LIST_MARK,
    POLYGON_MARK,
    TEXT_MARK,
    TUBE_MARK,
    BadMaskError,
    Lifted,
    Polygons,
    Text,
    TubeMasks,
)
from vis.masks import MAX_OUTLINE

__all__ = [
    "bands",
    "erode",
    "from_polygons",
    "from_runs",
    "from_text",
    "ious",
    "lift",
    "match",
    "overlap",
    "sizes",
]

_WORDS = np.frombuffer(b'"counts""segmentations""segmentations_refined""size""bboxes"', np.uint8)
_MARKS = np.frombuffer(f"{LIST_MARK}{TEXT_MARK}{TUBE_MARK}{POLYGON_MARK}".encode(), np.uint8)


def lift(text: bytes) -> Lifted | None:
    """See :class:`vis.evaluation.runs.Engine`."""
    size = len(text)
    # Memory that is never written costs nothing, so every buffer has room for the worst text.
    out, chars = np.empty(2 * size + 64, np.uint8), np.empty(size, np.uint8)
    lengths = np.empty(size // 2 + 1, np.int64)
    list_ends, text_ends = (np.empty(size // 11 + 2, np.int64) for _ in range(2))
    edges, offsets = np.empty(size + 2, np.int32), np.empty(size // 3 + 8, np.int64)
    areas, boxes = np.empty(size // 4 + 8, np.int64), np.empty((size // 4 + 8, 4), np.int32)
    table, outlines = np.empty((size // 16 + 2, 6), np.int64), np.empty((size // 16 + 2, 3), np.int64)
    points, polygon_ends = np.empty(size // 2 + 2), np.empty(size // 12 + 2, np.int64)
    mask_ends, counts = np.empty(size // 4 + 2, np.int64), np.zeros(4, np.int64)
    used = functions()["lift"](
        np.frombuffer(text, np.uint8), size, out, _MARKS, _WORDS, lengths, list_ends, chars, text_ends,
        edges, offsets, areas, boxes, table, points, polygon_ends, mask_ends, outlines, counts,
    )  # fmt: skip
    if used < 0:
        return None
    lists, texts, tubes, outlined = counts.tolist()
    begins = outlines[: outlined + 1].tolist()
    return Lifted(
        out[:used].tobytes(),
        lengths[: list_ends[lists]],
        list_ends[: lists + 1],
        chars[: text_ends[texts]],
        text_ends[: texts + 1],
        _lifted_tubes(table[:tubes], edges, offsets, areas, boxes),
        [
            Polygons(points[x:x_end], polygon_ends[p:p_end], mask_ends[m:m_end])
            for (m, p, x), (m_end, p_end, x_end) in itertools.pairwise(begins)
        ],
    )


def _lifted_tubes(
    table: NDArray[np.int64],
    edges: NDArray[np.int32],
    offsets: NDArray[np.int64],
    areas: NDArray[np.int64],
    boxes: NDArray[np.int32],
) -> list[TubeMasks]:
    """The tubes as views into the buffers."""
    frame, start, frames = table[:, 0], table[:, 1], table[:, 2]
    at = frame + np.arange(len(table))
    rows = np.stack(
        [
            address(edges) + 4 * start,
            address(offsets) + 8 * at,
            address(areas) + 8 * frame,
            address(boxes) + 16 * frame,
            frames,
        ],
        axis=1,
    )
    return [
        TubeMasks(
            (height, width),
            edges[e : e + n],
            offsets[k + f : k + f + t + 1],
            areas[f : f + t],
            boxes[f : f + t],
            row,
        )
        for k, ((f, e, t, n, height, width), row) in enumerate(zip(table.tolist(), rows, strict=True))
    ]


def from_text(text: Text, ends: NDArray[np.int64], size: tuple[int, int]) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    chars = np.frombuffer(text if len(text) else b"0", np.uint8)
    return _tube("decode", chars, ends, len(text), size)


def from_runs(lengths: NDArray[np.int64], ends: NDArray[np.int64], size: tuple[int, int]) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    return _tube("measure", lengths, ends, len(lengths), size)


def _tube(
    kernel: str, values: NDArray[Any], ends: NDArray[np.int64], runs: int, size: tuple[int, int]
) -> TubeMasks:
    masks = len(ends)
    edges = np.empty(runs + 1, np.int32)
    offsets, areas = np.zeros(masks + 1, np.int64), np.empty(masks, np.int64)
    boxes = np.empty((masks, 4), np.int32)
    bad = functions()[kernel](values, ends, masks, size[0], size[0] * size[1], edges, offsets, areas, boxes)
    if bad >= 0:
        raise BadMaskError(bad)
    return TubeMasks(size, edges[: offsets[-1]].copy(), offsets, areas, boxes)


def from_polygons(polygons: Polygons, size: tuple[int, int]) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    masks = len(polygons.mask_ends)
    offsets, areas = np.empty(masks + 1, np.int64), np.empty(masks, np.int64)
    boxes, counts = np.empty((masks, 4), np.int32), np.empty(max(size) + 3, np.int64)
    room = 4 * size[1] * masks + 1024
    while True:
        edges, scratch = np.empty(room, np.int32), [np.empty(room, np.int64) for _ in range(6)]
        bad = functions()["fill"](
            polygons.points, polygons.polygon_ends, polygons.mask_ends, masks, *size, MAX_OUTLINE,
            edges, room, offsets, areas, boxes, *scratch, counts,
        )  # fmt: skip
        if bad == -1:
            return TubeMasks(size, edges[: offsets[-1]].copy(), offsets, areas, boxes)
        if bad >= 0:
            raise BadMaskError(bad)
        room *= 2


def sizes(tubes: Sequence[TubeMasks]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """See :class:`vis.evaluation.runs.Engine`."""
    totals, present = (np.empty(len(tubes), np.int64) for _ in range(2))
    _, longs, numbers = _table(tubes)
    functions()["sizes"](longs, numbers, len(tubes), totals, present)
    return totals, present


def overlap(a: TubeMasks, b: TubeMasks, frames: int) -> NDArray[np.int64]:
    """See :class:`vis.evaluation.runs.Engine`."""
    out = np.empty(frames, np.int64)
    functions()["overlap"](*_table([a])[:2], *_table([b])[:2], frames, out)
    return out


def ious(
    a: Sequence[TubeMasks], b: Sequence[TubeMasks], spans: NDArray[np.int64], floor: float
) -> NDArray[np.float64]:
    """See :class:`vis.evaluation.runs.Engine`."""
    out = np.empty(int(((spans[:, 1] - spans[:, 0]) * (spans[:, 3] - spans[:, 2])).sum()))
    functions()["ious"](*_table(a), *_table(b), spans, len(spans), np.array([floor]), out)
    return out


def bands(
    a: Sequence[TubeMasks],
    a_inner: Sequence[TubeMasks],
    b: Sequence[TubeMasks],
    b_inner: Sequence[TubeMasks],
    pairs: NDArray[np.int64],
) -> NDArray[np.float64]:
    """See :class:`vis.evaluation.runs.Engine`."""
    out = np.empty(len(pairs))
    functions()["bands"](
        *_table(a), *_table(a_inner)[:2], *_table(b), *_table(b_inner)[:2], pairs, len(pairs), out
    )
    return out


def _table(tubes: Sequence[TubeMasks]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where the kernels find each tube's arrays, three times: as they read it."""
    rows = np.array([tube.row if tube.row is not None else _row(tube) for tube in tubes], np.int64)
    return rows, rows, rows


def _row(tube: TubeMasks) -> list[int]:
    arrays: tuple[NDArray[Any], ...] = (tube.edges, tube.offsets, tube.areas, tube.boxes)
    return [*(address(values) for values in arrays), len(tube)]


def erode(tubes: Sequence[TubeMasks], widths: Sequence[int]) -> list[TubeMasks]:
    """See :class:`vis.evaluation.runs.Engine`."""
    if not tubes:
        return []
    columns = max(tube.size[1] for tube in tubes)
    rows = max(int(np.diff(tube.offsets).max(initial=0)) for tube in tubes) + 2 * columns
    frames = sum(map(len, tubes))
    ends, offsets = np.empty(len(tubes), np.int64), np.empty(frames + len(tubes), np.int64)
    areas = np.empty(frames, np.int64)
    sizes = np.array([(tube.size[0], width) for tube, width in zip(tubes, widths, strict=True)], np.int64)
    scratch = [np.empty(rows + 2, np.int32) for _ in range(3)]
    first = np.empty(columns + 1, np.int64)
    span = [np.empty(2 * max(widths) + 1, np.int64) for _ in range(2)]
    out_room, suffix_room = sum(len(tube.edges) for tube in tubes) + 2 * columns + 64, 4 * rows + 64
    while True:
        out, suffix = np.empty(out_room, np.int32), np.empty(suffix_room, np.int32)
        bad = functions()["erode"](
            *_table(tubes), len(tubes), sizes, out, out_room, ends, offsets, areas,
            *scratch, first, suffix, suffix_room, *span,
        )  # fmt: skip
        if not bad:
            break
        out_room, suffix_room = 2 * out_room, 2 * suffix_room
    eroded, start, at = [], 0, 0
    for k, (tube, end) in enumerate(zip(tubes, ends.tolist(), strict=True)):
        until = at + len(tube)
        eroded.append(
            TubeMasks(tube.size, out[start:end], offsets[at + k : until + k + 1], areas[at:until], tube.boxes)
        )
        start, at = end, until
    return eroded


def match(
    ious: NDArray[np.float64],
    spans: NDArray[np.int64],
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    detections: int,
) -> NDArray[np.int64]:
    """See :class:`vis.evaluation.runs.Engine`."""
    ranges, truths = ignored.shape
    matched = np.empty((ranges, len(thresholds), detections), np.int64)
    functions()["match"](
        ious, spans, len(spans), np.ascontiguousarray(ignored), crowd, truths, ranges,
        thresholds, len(thresholds), detections, np.empty(truths, np.uint8), matched,
    )  # fmt: skip
    return matched
