"""Areas, boxes, overlaps and unions of run lengths, without a dense mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vis.masks.codec import Runs, canonical, intervals, pack, runs
from vis.structures import MaskRLE

__all__ = ["area", "bounding_box", "intersection", "iou", "union"]


def area(mask: MaskRLE) -> int:
    """Pixels of the mask."""
    return int(runs(mask)[1::2].sum())


def bounding_box(mask: MaskRLE) -> NDArray[np.float32]:
    """x0, y0, x1, y1 in pixels, half-open, float32 (4,); all 0 for an empty mask."""
    starts, stops = intervals(runs(mask))
    if not len(starts):
        return np.zeros(4, np.float32)
    (x_first, y_first), (x_last, y_last) = (np.divmod(at, mask.size[0]) for at in (starts, stops - 1))
    # A run that goes on into the next column touches the bottom and the top.
    spans = bool((x_first != x_last).any())
    y0, y1 = (0, mask.size[0]) if spans else (int(y_first.min()), int(y_last.max()) + 1)
    return np.array([x_first[0], y0, x_last[-1] + 1, y1], np.float32)


def intersection(a: MaskRLE, b: MaskRLE) -> int:
    """Pixels that both masks hold."""
    _same_size(a, b)
    starts, stops = intervals(runs(a))
    return int((_ones_before(b, stops) - _ones_before(b, starts)).sum())


def iou(a: MaskRLE, b: MaskRLE) -> float:
    """Intersection over union; 0 when both are empty."""
    common = intersection(a, b)
    total = area(a) + area(b) - common
    return common / total if total else 0.0


def union(masks: Sequence[MaskRLE]) -> MaskRLE:
    """Pixels that any of the masks holds; at least one mask, all of one size."""
    if not masks:
        raise ValueError("union: expected at least one mask")
    pairs = []
    for mask in masks:
        _same_size(masks[0], mask)
        pairs.append(intervals(runs(mask)))
    starts, stops = (np.concatenate(side) for side in zip(*pairs, strict=True))
    order = np.argsort(starts, kind="stable")
    starts, reach = starts[order], np.maximum.accumulate(stops[order])
    new = np.flatnonzero(starts[1:] > reach[:-1]) + 1
    height, width = masks[0].size
    if not len(starts):
        return masks[0]
    edges = np.empty(2 * len(new) + 2, np.int64)
    edges[0::2] = starts[np.concatenate([[0], new])]
    edges[1::2] = reach[np.concatenate([new - 1, [len(reach) - 1]])]
    return pack(canonical(np.diff(edges, prepend=0, append=height * width)), masks[0].size)


def _ones_before(mask: MaskRLE, positions: Runs) -> Runs:
    """How many ones of the mask lie before each position of the column-major order."""
    starts, stops = intervals(runs(mask))
    whole = np.concatenate([[0], np.cumsum(stops - starts)])
    index = np.searchsorted(starts, positions, side="left")
    # Runs before `index` began earlier; the last of them may reach beyond the position.
    beyond = np.maximum(np.concatenate([[0], stops])[index] - positions, 0)
    counted: Runs = whole[index] - beyond
    return counted


def _same_size(a: MaskRLE, b: MaskRLE) -> None:
    if a.size != b.size:
        raise ValueError(f"masks of different sizes: {a.size} and {b.size}")
