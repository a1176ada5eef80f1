"""Where things lie: frame pixels, the network's low-resolution cells, and its feature cells.

::

    frame (H, W)  --longer side to 4s, padded-->  square (4s, 4s)  --/4-->  cells (s, s)
                                                                   --/16->  features (s/4, s/4)

Logits live in cells; only the first ``valid`` rows and columns hold the picture, the rest is padding.
Knows no network, only the side of its logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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

        rows, columns = self.valid
        share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        out = np.full((self.side, self.side), -strength, np.float32)
        out[:rows, :columns] = (2 * share - 1) * strength
        return out

    def mask_of(self, logits: Float32) -> Bool:
        """The mask of the frame, bool (H, W), where logits (side, side), enlarged, are above 0."""
        return self.enlarged(logits) > 0

    def enlarged(self, logits: Float32) -> Float32:
        """Logits (side, side) at the frame's size, float32 (H, W)."""
        import cv2

        rows, columns = self.valid
        height, width = self.frame
        # The last cells may reach beyond the picture: enlarge them whole, and cut.
        size = round(4 * columns * width / self.kept[1]), round(4 * rows * height / self.kept[0])
        full = cv2.resize(logits[:rows, :columns], size, interpolation=cv2.INTER_LINEAR)
        return np.asarray(full[:height, :width])
