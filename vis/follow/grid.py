"""Where things lie: frame pixels, the network's low-resolution cells, and its feature cells.

::

    frame (H, W)  --longer side to 4s, padded-->  square (4s, 4s)  --/4-->  cells (s, s)
                                                                   --/16->  features (s/4, s/4)

Logits live in cells; only the first ``valid`` rows and columns hold the picture, the rest is padding.
Knows no network, only the side of its logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vis.masks import extent

__all__ = ["Grid"]

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Grid:
    """Geometry of one frame size in one network."""

    frame: tuple[int, int]
    """(height, width) in pixels."""
    side: int
    """Cells along one side of the logits, padding included: 256 for every published size."""

    @property
    def kept(self) -> tuple[int, int]:
        """(height, width) of the frame within the square, in quarters of a cell."""
        scale = 4 * self.side / max(self.frame)
        return max(1, int(self.frame[0] * scale + 0.5)), max(1, int(self.frame[1] * scale + 0.5))

    @property
    def valid(self) -> tuple[int, int]:
        """(rows, columns) of cells that hold the picture."""
        return -(-self.kept[0] // 4), -(-self.kept[1] // 4)

    @property
    def coarse(self) -> tuple[int, int]:
        """(rows, columns) of feature cells that hold the picture."""
        return -(-self.kept[0] // 16), -(-self.kept[1] // 16)

    def box(self, inside: Bool) -> Float32:
        """Frame pixels x0, y0, x1, y1 around the true cells of a (rows, columns) map; it has some."""
        ys, xs = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        edges = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32) * 4
        scale = np.array([self.frame[1] / self.kept[1], self.frame[0] / self.kept[0]] * 2, np.float32)
        limit = np.array([self.frame[1], self.frame[0]] * 2, np.float32)
        box: Float32 = np.minimum(edges * scale, limit)
        return box

    def logits_of(self, mask: Bool, strength: float = 8.0) -> Float32:
        """A mask of the frame, bool (H, W), as logits in cells (side, side): each cell's share of it."""
        import cv2

        out = np.full((self.side, self.side), -strength, np.float32)
        box = extent(mask)
        if box is None:
            return out
        part = np.ascontiguousarray(mask[box[1] : box[3], box[0] : box[2]]).view(np.uint8)
        sums = cv2.integral(part)  # of all pixels above and to the left
        columns, x = self._edges(box[0], box[2], 1)
        rows, y = self._edges(box[1], box[3], 0)
        at_edges = _lines_at(_lines_at(sums, y).T, x)
        share = np.diff(np.diff(at_edges, axis=0), axis=1).T * (np.prod(self.valid) / np.prod(self.frame))
        out[rows, columns] = (2 * share - 1) * strength
        return out

    def _edges(self, low: int, high: int, axis: int) -> tuple[slice, NDArray[np.float64]]:
        """The cells that pixels ``low`` to ``high`` touch along an axis, and these cells' edges from ``low`` on."""
        step = self.frame[axis] / self.valid[axis]
        first, stop = int(low / step), min(self.valid[axis], int(np.ceil(high / step)))
        return slice(first, stop), np.clip(np.arange(first, stop + 1) * step, low, high) - low

    def mask_of(self, logits: Float32, *, out: Bool | None = None) -> Bool:
        """The mask of the frame, bool (H, W), where logits (side, side), enlarged, are above 0.

        As of :meth:`enlarged`, but only around cells above 0: no other pixel can be. ``out``: an empty mask to draw in.
        """
        mask = np.zeros(self.frame, np.bool_) if out is None else out
        rows, columns = self.valid
        box = extent(logits[:rows, :columns] > 0)
        if box is None:
            return mask
        x, left, right = self._pixels(box[0], box[2], 1)
        y, above, below = self._pixels(box[1], box[3], 0)
        first = above.cells[0]
        cells = logits[first : below.cells[-1] + 1]
        across = cells[:, left.cells] * left.weights + cells[:, right.cells] * right.weights
        down = across[above.cells - first] * above.weights[:, None]
        down += across[below.cells - first] * below.weights[:, None]
        mask[y, x] = down > 0
        return mask

    def _pixels(self, first: int, stop: int, axis: int) -> tuple[slice, _Neighbours, _Neighbours]:
        """The frame's pixels that cells ``first`` to ``stop`` reach along an axis, and the two cells around each."""
        count = self.valid[axis]
        step = count / self._enlarged[axis]
        low = max(0, int((first - 0.5) / step - 0.5))
        high = min(self.frame[axis], int((stop + 0.5) / step + 0.5) + 1)
        at = np.clip((np.arange(low, high) + 0.5) * step - 0.5, 0, count - 1)
        before = at.astype(np.intp)
        share = (at - before).astype(np.float32)
        after = np.minimum(before + 1, count - 1)
        return slice(low, high), _Neighbours(before, 1 - share), _Neighbours(after, share)

    def enlarged(self, logits: Float32) -> Float32:
        """Logits (side, side) at the frame's size, float32 (H, W)."""
        import cv2

        rows, columns = self.valid
        height, width = self.frame
        full = cv2.resize(logits[:rows, :columns], self._enlarged[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(full[:height, :width])

    @property
    def _enlarged(self) -> tuple[int, int]:
        """(height, width) in pixels of all valid cells: the last may reach beyond the picture."""
        height, width = (
            round(4 * n * f / k) for n, f, k in zip(self.valid, self.frame, self.kept, strict=True)
        )
        return height, width


def _lines_at(values: NDArray[Any], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rows of ``values`` (n, m) at places in [0, n - 1], interpolated between whole ones."""
    whole = np.minimum(at.astype(np.intp), len(values) - 2)
    share = (at - whole)[:, None]
    return np.asarray(values[whole] * (1 - share) + values[whole + 1] * share)


class _Neighbours(NamedTuple):
    """Of each pixel along an axis a cell beside it, and how much that counts."""

    cells: NDArray[np.intp]
    weights: Float32
