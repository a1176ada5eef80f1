"""What the evaluator computes on masks as intervals, on arrays of any origin; the loops are compiled by numba."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.evaluation import mask_kernels, polygon_kernels, tube_kernels
from vis.evaluation.tube_masks import BadMaskError, Packed, Polygons, TubeMasks, pack
from vis.masks import MAX_OUTLINE

__all__ = [
    "boundary_ious",
    "erode",
    "from_polygons",
    "from_runs",
    "from_text",
    "ious",
    "match",
    "overlap",
]

Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


def from_text(text: bytes, ends: Int64, size: tuple[int, int]) -> TubeMasks:
    """Masks from compressed texts in a row, text t up to ``ends[t]``; or :class:`BadMaskError`."""
    chars = np.frombuffer(text or b"0", np.uint8)  # numpy takes no empty buffer
    return _tube(size, mask_kernels.decode(chars, ends, size[0], size[0] * size[1]))


def from_runs(lengths: Int64, ends: Int64, size: tuple[int, int]) -> TubeMasks:
    """Masks from run lengths in a row, mask t up to ``ends[t]``; or :class:`BadMaskError`."""
    return _tube(size, mask_kernels.measure(lengths, ends, size[0], size[0] * size[1]))


def from_polygons(polygons: Polygons, size: tuple[int, int]) -> TubeMasks:
    """Masks as COCO's tools fill them; or :class:`BadMaskError` when outlines are too long to draw."""
    return _tube(
        size,
        polygon_kernels.fill(
            polygons.points, polygons.polygon_ends, polygons.mask_ends, size[0], size[1], MAX_OUTLINE
        ),
    )


def _tube(size: tuple[int, int], made: tuple[Any, ...]) -> TubeMasks:
    bad, *arrays = made
    if bad >= 0:
        raise BadMaskError(bad)
    return TubeMasks(size, *arrays)


def overlap(a: TubeMasks, b: TubeMasks, frames: int) -> Int64:
    """Pixels that two tubes share in each of the first ``frames`` frames, which both cover."""
    shared: Int64 = tube_kernels.overlap(pack([a]), pack([b]), frames)
    return shared


def ious(a: Packed, b: Packed, spans: Int64, floor: float) -> Float64:
    """Mask tube IoU over the frames that both cover; 0 where it cannot reach ``floor``.

    Each row of ``spans`` int64 (N, 4) pairs the tubes ``row[0]`` to ``row[1]`` of a with ``row[2]`` to ``row[3]`` of
    b; their values follow each other, row by row.
    """
    values: Float64 = tube_kernels.ious(a, b, spans, floor)
    return values


def erode(tubes: Packed, heights: Int64, widths: Int64) -> Packed:
    """The tubes without their boundaries; int64 (N,) height of the masks and width of the boundary, in pixels.

    Boxes are those of the masks.
    """
    edges, bounds, areas = mask_kernels.erode(tubes, heights, widths)
    return Packed(edges, bounds, areas, tubes.boxes, tubes.first)


def boundary_ious(a: Packed, a_inner: Packed, b: Packed, b_inner: Packed, pairs: Int64) -> Float64:
    """Boundary tube IoU of each pair int64 (P, 2) of an ``a`` and a ``b``, from what :func:`erode` made of them."""
    values: Float64 = tube_kernels.boundary_ious(a, a_inner, b, b_inner, pairs)
    return values


def match(
    ious: Float64,
    spans: Int64,
    ignored: NDArray[np.bool_],
    crowd: NDArray[np.bool_],
    thresholds: Float64,
    *,
    detections: int,
) -> Int64:
    """COCO's greedy matching of D detections, best first in each group, to G truths.

    ``ious`` and ``spans`` as in :func:`ious`; ``ignored`` (A, G) truths give way to those that count;
    ``crowd`` (G) may be matched often; ``thresholds`` (T). Returns (A, T, D): the truth's row or -1.
    """
    rows: Int64 = tube_kernels.match(
        ious, spans, np.ascontiguousarray(ignored), crowd, np.ascontiguousarray(thresholds), detections
    )
    return rows
