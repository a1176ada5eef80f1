"""Dense motion between two pictures, and what it carries along.

Dense inverse search (Kroeger et al., ECCV 2016), both ways at twice the resolution of the logits. Where
going there and back does not end where it began, the picture was covered or uncovered, and what is
carried there counts for less. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.follow.grid import Grid

__all__ = ["Field", "FlowFinder", "compose", "warp"]

Float32 = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Field:
    """Motion from the cells of one picture to those of another, earlier or later one."""

    back: Float32
    """(rows, columns, 2): what to add to a cell's x, y to find it in the other picture, in cells."""
    trust: Float32
    """(rows, columns) in [0, 1]: how surely the cell is visible there."""


class FlowFinder:
    """Motion between grey pictures of one grid."""

    def __init__(self, grid: Grid) -> None:
        import cv2

        self.grid = grid
        self._search: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def grey(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The small grey picture that motion is looked for in: uint8 (2 rows, 2 columns)."""
        import cv2

        rows, columns = self.grid.valid
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        small: Any = cv2.resize(grey, (2 * columns, 2 * rows), interpolation=cv2.INTER_AREA)
        return np.asarray(small, np.uint8)

    def between(self, now: NDArray[np.uint8], before: NDArray[np.uint8]) -> tuple[Field, Field]:
        """From ``now`` back to ``before`` and the other way, both from :meth:`grey`."""
        back: Any = self._search.calc(now, before, None)
        ahead: Any = self._search.calc(before, now, None)
        return self._field(back, ahead), self._field(ahead, back)

    def _field(self, there: Float32, home: Float32) -> Field:
        """Motion ``there`` at the resolution of cells, trusted where ``home`` leads back."""
        import cv2

        error = _squared(there + warp(home, there))
        length = _squared(there)
        # Sundaram et al. (ECCV 2010): the return may miss by a share of the way, and a little always.
        trust = np.exp(-np.maximum(0.0, error - (0.02 * length + 1.0)) / 4.0).astype(np.float32)
        rows, columns = self.grid.valid
        small: Any = cv2.resize(there, (columns, rows), interpolation=cv2.INTER_AREA) / 2
        sure: Any = cv2.resize(trust, (columns, rows), interpolation=cv2.INTER_AREA)
        return Field(np.asarray(small, np.float32), np.asarray(sure, np.float32))


def _squared(motion: Float32) -> Float32:
    """Squared lengths (rows, columns); a sum over an axis of two is ten times slower."""
    x, y = motion[..., 0], motion[..., 1]
    return np.asarray(x * x + y * y)


def warp(values: Float32, back: Float32) -> Float32:
    """What lies in ``values`` (rows, columns[, C]) where ``back`` points; the border goes on outside."""
    import cv2

    second_map: Any = None
    moved: Any = cv2.remap(
        values, _places(*back.shape[:2]) + back, second_map, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.float32)


@lru_cache(maxsize=8)
def _places(rows: int, columns: int) -> Float32:
    """(rows, columns, 2): x, y of every cell."""
    places: Float32 = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).astype(np.float32)
    places.setflags(write=False)
    return places


def compose(near: Field, far: Field) -> Field:
    """Motion over two steps: ``near`` leads from here to a picture between, ``far`` from there on."""
    return Field(near.back + warp(far.back, near.back), np.minimum(near.trust, warp(far.trust, near.back)))
