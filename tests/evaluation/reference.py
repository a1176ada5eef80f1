"""A second opinion on :mod:`vis.evaluation.intervals`: the same functions in plain numpy, slow and short."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import AnnotationError
from vis.evaluation.tube_masks import BadMaskError, Packed, Polygons, TubeMasks, pack

Int64 = NDArray[np.int64]


def from_text(text: bytes, ends: Int64, size: tuple[int, int]) -> TubeMasks:
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
    return _collect(np.split(lengths[: ends[-1] if len(ends) else 0], ends[:-1]), size)


def from_polygons(polygons: Polygons, size: tuple[int, int]) -> TubeMasks:
    outlines = np.split(polygons.points, polygons.polygon_ends[:-1])
    texts, start = [], 0
    for t, end in enumerate(polygons.mask_ends.tolist()):
        try:
            mask = (
                rle.from_coco([part.tolist() for part in outlines[start:end]], size) if end > start else None
            )
        except AnnotationError:
            raise BadMaskError(t) from None
        texts.append(mask.counts if mask else b"")
        start = end
    return from_text(b"".join(texts), np.cumsum([len(text) for text in texts], dtype=np.int64), size)


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


def overlap(a: TubeMasks, b: TubeMasks, frames: int) -> Int64:
    (a_start, a_stop), (b_start, b_stop) = _on_one_axis(a, frames), _on_one_axis(b, frames)
    whole = np.concatenate([[0], np.cumsum(b_stop - b_start)])
    stops = np.concatenate([[0], b_stop])

    def ones_before(positions: Int64) -> Int64:
        index = np.searchsorted(b_start, positions)
        counted: Int64 = whole[index] - np.maximum(stops[index] - positions, 0)
        return counted

    shared = np.concatenate([[0], np.cumsum(ones_before(a_stop) - ones_before(a_start))])
    per_frame: Int64 = np.diff(shared[(a.offsets[: frames + 1] - a.offsets[0]) // 2])
    return per_frame


def _unpacked(tubes: Packed, heights: Int64 | None = None) -> list[TubeMasks]:
    """The tubes one by one; of a size that only ``heights`` tells, or none."""
    out = []
    for k, (start, stop) in enumerate(itertools.pairwise(tubes.first.tolist())):
        bounds = tubes.bounds[start : stop + 1]
        size = (1, 1) if heights is None else (int(heights[k]), 1)
        edges = tubes.edges[bounds[0] : bounds[-1]]
        out.append(
            TubeMasks(size, edges, bounds - bounds[0], tubes.areas[start:stop], tubes.boxes[start:stop])
        )
    return out


def ious(a: Packed, b: Packed, spans: Int64, floor: float) -> NDArray[np.float64]:
    a, b = _unpacked(a), _unpacked(b)
    return np.array(
        [_iou(x, y, floor) for i, j, k, m in spans.tolist() for x in a[i:j] for y in b[k:m]], np.float64
    )


def _iou(a: TubeMasks, b: TubeMasks, floor: float) -> float:
    frames = min(len(a), len(b))
    a_areas, b_areas = a.areas[:frames], b.areas[:frames]
    total = int(a_areas.sum() + b_areas.sum())
    # No intersection is larger than the smaller mask of each frame.
    most = int(np.minimum(a_areas, b_areas).sum())
    if most == 0 or most / (total - most) < floor:
        return 0.0
    common = int(overlap(a, b, frames).sum())
    return common / (total - common)


def boundary_ious(
    a: Packed, a_inner: Packed, b: Packed, b_inner: Packed, pairs: Int64
) -> NDArray[np.float64]:
    a, a_inner, b, b_inner = map(_unpacked, (a, a_inner, b, b_inner))
    return np.array(
        [_boundary_iou(a[i], a_inner[i], b[j], b_inner[j]) for i, j in pairs.tolist()], np.float64
    )


def _boundary_iou(a: TubeMasks, a_inner: TubeMasks, b: TubeMasks, b_inner: TubeMasks) -> float:
    frames = min(len(a), len(b))
    common = overlap(a, b, frames) - overlap(a, b_inner, frames)
    common += overlap(a_inner, b_inner, frames) - overlap(a_inner, b, frames)
    areas = [int(tube.areas[:frames].sum()) for tube in (a, a_inner, b, b_inner)]
    union = areas[0] - areas[1] + areas[2] - areas[3] - int(common.sum())
    return int(common.sum()) / union if union else 0.0


def _on_one_axis(masks: TubeMasks, frames: int) -> tuple[Int64, Int64]:
    """Interval starts and stops, each frame moved behind the one before it."""
    offsets = masks.offsets[: frames + 1]
    shift = np.arange(frames) * rle.MAX_PIXELS
    moved: Int64 = masks.edges[offsets[0] : offsets[-1]].astype(np.int64) + np.repeat(shift, np.diff(offsets))
    return moved[0::2], moved[1::2]


def erode(tubes: Packed, heights: Int64, widths: Int64) -> Packed:
    each = zip(_unpacked(tubes, heights), widths.tolist(), strict=True)
    return pack([_eroded(tube, width) for tube, width in each])


def _eroded(masks: TubeMasks, width: int) -> TubeMasks:
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
    spans: Int64,
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    *,
    detections: int,
) -> Int64:
    matched = np.full((len(ignored), len(thresholds), detections), -1, np.int64)
    first = 0
    for d0, d1, g0, g1 in spans.tolist():
        values = ious[first : first + (d1 - d0) * (g1 - g0)].reshape(d1 - d0, g1 - g0)
        first += values.size
        if values.size:
            found = matched[:, :, d0:d1]
            _match_group(values, ignored[:, g0:g1], crowd[g0:g1], thresholds, found)
            found[found >= 0] += g0
    return matched


def _match_group(
    ious: NDArray[np.float64],
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: NDArray[np.float64],
    matched: Int64,
) -> None:
    """Fill ``matched`` (A, T, D) with columns of ``ious`` (D, G)."""
    for a, t in np.ndindex(*matched.shape[:2]):
        free = np.ones(len(crowd), bool)
        for d, row in enumerate(ious):
            able = (row >= min(thresholds[t], 1 - 1e-10)) & (free | crowd)
            # Real truths come first: an ignored one counts only when no real one fits.
            real = able & ~ignored[a]
            pool = np.flatnonzero(real if real.any() else able)
            if len(pool):
                best = pool[len(pool) - 1 - int(np.argmax(row[pool][::-1]))]  # the last of equals
                free[best] = False
                matched[a, t, d] = best
