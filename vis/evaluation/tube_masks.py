"""The working form of a tube's masks: run lengths as intervals, frame after frame. Knows no file format.

Masks lie column by column, as COCO's run lengths do; an interval holds the positions of neighbouring ones::

    height 4      column  0  1  2             positions
                        . .  .  .              0  4  8
                        . X  X  .     edges    1  5  9       edges = [5, 7, 9, 10]:
                        . X  .  .              2  6 10       5 to 7 and 9 to 10, half-open
                        . .  .  .              3  7 11
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["BadMaskError", "Packed", "Polygons", "TubeMasks", "pack"]


@dataclass(frozen=True, slots=True, eq=False)
class TubeMasks:
    """T masks of one size; a frame where the object is absent has no edges and area 0."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    edges: NDArray[np.int32]
    """int32 (E,): start, stop, start, stop ... of the ones in column-major order, half-open, rising."""
    offsets: NDArray[np.int64]
    """int64 (T + 1,) from 0 to E: frame t holds ``edges[offsets[t]:offsets[t + 1]]``."""
    areas: NDArray[np.int64]
    """int64 (T,) pixels."""
    boxes: NDArray[np.int32]
    """int32 (T, 4): x0, y0, x1, y1, half-open; zeros where absent."""

    def __len__(self) -> int:
        return len(self.areas)

    def mean_area(self) -> float:
        """Mean pixels over the frames where the object is, 0 when it never is."""
        return int(self.areas.sum()) / max(int(np.count_nonzero(self.areas)), 1)

    def padded(self, length: int) -> TubeMasks:
        """The same with absent frames at the end, up to ``length``."""
        more = length - len(self)
        if more <= 0:
            return self
        offsets = np.concatenate([self.offsets, np.full(more, self.offsets[-1])])
        areas = np.concatenate([self.areas, np.zeros(more, np.int64)])
        return TubeMasks(self.size, self.edges, offsets, areas, np.pad(self.boxes, ((0, more), (0, 0))))


class Packed(NamedTuple):
    """N tubes with F frames in all, one behind the other: what the compiled loops over many tubes take."""

    edges: NDArray[np.int32]
    """int32 (E,) of all tubes."""
    bounds: NDArray[np.int64]
    """int64 (F + 1,): frame f holds ``edges[bounds[f]:bounds[f + 1]]``."""
    areas: NDArray[np.int64]
    """int64 (F,)"""
    boxes: NDArray[np.int32]
    """int32 (F, 4)"""
    first: NDArray[np.int64]
    """int64 (N + 1,): tube k has the frames ``first[k]`` to ``first[k + 1]``."""


def pack(tubes: Sequence[TubeMasks]) -> Packed:
    """The tubes one behind the other."""
    frames = np.array([0] + [len(tube) for tube in tubes])
    edges = np.array([0] + [len(tube.edges) for tube in tubes])
    # A tube's offsets count from its first edge; before that lie the edges of the tubes before it.
    before = np.repeat(np.cumsum(edges)[:-1], frames[1:])
    stops = np.concatenate([np.zeros(0, np.int64), *[tube.offsets[1:] for tube in tubes]])
    return Packed(
        np.concatenate([np.zeros(0, np.int32), *[tube.edges for tube in tubes]]),
        np.concatenate([np.zeros(1, np.int64), stops + before]),
        np.concatenate([np.zeros(0, np.int64), *[tube.areas for tube in tubes]]),
        np.concatenate([np.zeros((0, 4), np.int32), *[tube.boxes for tube in tubes]]),
        np.cumsum(frames),
    )


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The masks of a tube as polygons of at least three points."""

    points: NDArray[np.float64]
    """float64 (P,): x, y, x, y, ... in pixels, finite."""
    polygon_ends: NDArray[np.int64]
    """Polygon p ends at ``points[polygon_ends[p]]``."""
    mask_ends: NDArray[np.int64]
    """int64 (T,): mask t ends at polygon ``mask_ends[t]``; without a polygon the frame is absent."""


class BadMaskError(Exception):
    """Run lengths of one mask are broken; ``index`` says which. Never leaves :mod:`vis.evaluation`."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index
