"""The inner loops on run lengths in numpy: the same numbers as :mod:`vis.evaluation.native`.

Used where numba is missing, and by the tests as the second opinion.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.evaluation.runs import BadMaskError, Lifted, Text, TubeMasks

__all__ = ["erode", "from_runs", "from_text", "lift", "match", "overlap"]

Int64 = NDArray[np.int64]


def lift(text: bytes) -> Lifted | None:  # noqa: ARG001
    """See :class:`vis.evaluation.runs.Engine`. Lifts nothing: in Python the JSON parser is fastest."""
    return None


def from_text(text: Text, ends: Int64, size: tuple[int, int]) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    chars = np.frombuffer(text, np.uint8)
    parts = [np.zeros(0, np.int64)] * len(ends)
    for t, part in enumerate(np.split(chars, ends[:-1])):
        if not len(part):
            continue
        whole = part.min() >= 48 and part.max() < 112 and part[-1] < 80
        if not whole or np.diff(np.flatnonzero(part < 80), prepend=-1).max() > 7:
            raise BadMaskError(t)
        parts[t] = rle.unpack_text(part)
    return _collect(parts, size)


def from_runs(lengths: Int64, ends: Int64, size: tuple[int, int]) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    return _collect(np.split(lengths[: ends[-1] if len(ends) else 0], ends[:-1]), size)


def _collect(parts: list[Int64], size: tuple[int, int]) -> TubeMasks:
    pixels = size[0] * size[1]
    edges = [np.zeros(0, np.int64)] * len(parts)
    boxes = np.zeros((len(parts), 4), np.int32)
    for t, runs in enumerate(parts):
        if not len(runs):
            continue
        if runs.min() < 0 or runs.max() > pixels or runs.sum() != pixels:
            raise BadMaskError(t)
        mask = rle.from_runs(runs, size)
        edges[t] = _edges(rle.runs(mask))
        boxes[t] = rle.bounding_box(mask)
    return _join(size, edges, boxes)


def _edges(runs: Int64) -> Int64:
    return np.cumsum(runs)[: len(runs) // 2 * 2]


def _join(size: tuple[int, int], edges: list[Int64], boxes: NDArray[np.int32]) -> TubeMasks:
    offsets = np.cumsum([0] + [len(part) for part in edges])
    areas = np.array([(part[1::2] - part[0::2]).sum() for part in edges], np.int64)
    joined = np.concatenate([np.zeros(0, np.int64), *edges]).astype(np.int32)
    return TubeMasks(size, joined, offsets, areas, boxes)


def overlap(a: TubeMasks, b: TubeMasks, frames: int) -> int:
    """See :class:`vis.evaluation.runs.Engine`."""
    (a_start, a_stop), (b_start, b_stop) = _on_one_axis(a, frames), _on_one_axis(b, frames)
    whole = np.concatenate([[0], np.cumsum(b_stop - b_start)])
    stops = np.concatenate([[0], b_stop])

    def ones_before(positions: Int64) -> Int64:
        index = np.searchsorted(b_start, positions)
        counted: Int64 = whole[index] - np.maximum(stops[index] - positions, 0)
        return counted

    return int((ones_before(a_stop) - ones_before(a_start)).sum())


def _on_one_axis(masks: TubeMasks, frames: int) -> tuple[Int64, Int64]:
    """Interval starts and stops, each frame moved behind the one before it."""
    offsets = masks.offsets[: frames + 1]
    shift = np.arange(frames) * (masks.size[0] * masks.size[1])
    moved: Int64 = masks.edges[offsets[0] : offsets[-1]].astype(np.int64) + np.repeat(shift, np.diff(offsets))
    return moved[0::2], moved[1::2]


def erode(masks: TubeMasks, width: int) -> TubeMasks:
    """See :class:`vis.evaluation.runs.Engine`."""
    edges = [np.zeros(0, np.int64)] * len(masks)
    for t, (x0, y0, x1, y1) in enumerate(masks.boxes.tolist()):
        if min(x1 - x0, y1 - y0) > 2 * width:
            size = masks.size[0], x1 - x0
            shift = x0 * size[0]
            inner = masks.edges[masks.offsets[t] : masks.offsets[t + 1]].astype(np.int64) - shift
            crop = rle.from_runs(np.diff(inner, prepend=0, append=size[0] * size[1]), size)
            edges[t] = shift + _edges(rle.runs(rle.encode(rle.erode(rle.decode(crop), width))))
    return _join(masks.size, edges, masks.boxes)


def match(
    ious: NDArray[np.float64],
    order: Int64,
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
) -> Int64:
    """See :class:`vis.evaluation.runs.Engine`."""
    matched = np.full((len(order), len(thresholds), len(ious)), -1, np.int64)
    for a, truths in enumerate(order):
        for t, threshold in enumerate(np.minimum(thresholds, 1 - 1e-10)):
            free = np.ones(len(truths), bool)
            for d, row in enumerate(ious[:, truths]):
                able = (row >= threshold) & (free | crowd[truths])
                # Real truths come first: an ignored one counts only when no real one fits.
                real = able & ~ignored[a]
                pool = np.flatnonzero(real if real.any() else able)
                if len(pool):
                    best = pool[len(pool) - 1 - int(np.argmax(row[pool][::-1]))]  # the last of equals
                    free[best] = False
                    matched[a, t, d] = truths[best]
    return matched
