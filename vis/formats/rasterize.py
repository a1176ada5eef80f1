"""One label per pixel: for formats whose masks may not overlap. Knows no file.

Where tubes overlap, the one with the higher score lies on top; of equal scores, the smaller id.
The pixels that the others lose are counted, so that a writer can say so.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from vis import masks
from vis.structures import Tube, VideoResult

__all__ = ["Rasterizer"]


class Rasterizer:
    """Paints a result's masks frame by frame, and counts what overlap costs.

    >>> raster = Rasterizer(result)              # doctest: +SKIP
    >>> for index, labels in raster.frames(): # doctest: +SKIP
    ...     ...                                # labels: int32 (H, W), 0 or a tube's place, from 1
    >>> raster.lost_pixels                    # doctest: +SKIP
    """

    def __init__(self, result: VideoResult) -> None:
        self._result = result
        self.lost_pixels: dict[int, int] = defaultdict(int)
        """Tube id -> pixels of it that lie under others, over all frames painted so far."""

    def frames(self) -> Iterator[tuple[int, NDArray[np.int32]]]:
        """(frame index, int32 (H, W) of places among the result's tubes from 1, 0 for background).

        Every processed frame comes, once. Ids may be too large to be painted, or to be an index.
        """
        by_frame: dict[int, list[tuple[int, Tube, int]]] = defaultdict(list)
        # Lowest first, so that the last painted lies on top.
        places = enumerate(self._result.tubes, start=1)
        for place, tube in sorted(places, key=lambda item: (item[1].score, -item[1].id)):
            if tube.masks is not None:
                for row, frame in enumerate(tube.frames.tolist()):
                    by_frame[frame].append((place, tube, row))
        for frame in self._result.frames.tolist():
            yield frame, self._paint(by_frame.get(frame, []))

    def said(self) -> list[str]:
        """The loss as a sentence, or nothing when there was none."""
        lost = sum(self.lost_pixels.values())
        if not lost:
            return []
        return [
            f"{lost} pixels of {len(self.lost_pixels)} tubes are lost to overlap "
            "(the higher score lies on top, of equal scores the smaller id)"
        ]

    def _paint(self, rows: list[tuple[int, Tube, int]]) -> NDArray[np.int32]:
        canvas = np.zeros(self._result.video.size, np.int32)
        for place, tube, row in rows:
            assert tube.masks is not None  # kept out above
            mask = masks.decode(tube.masks[row])
            covered = canvas[mask]
            for below, count in zip(*np.unique(covered[covered > 0], return_counts=True), strict=True):
                self.lost_pixels[self._result.tubes[int(below) - 1].id] += int(count)
            canvas[mask] = place
        return canvas
