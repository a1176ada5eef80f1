"""The working form of a tube's masks: run lengths as intervals, frame after frame.

Knows no file format. :mod:`vis.evaluation.native` and :mod:`vis.evaluation.plain` compute on it.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vis.errors import FallbackWarning

__all__ = [
    "LIST_MARK",
    "POLYGON_MARK",
    "TEXT_MARK",
    "TUBE_MARK",
    "BadMaskError",
    "Engine",
    "Lifted",
    "Polygons",
    "Text",
    "TubeMasks",
    "engine",
]


@dataclass(frozen=True, slots=True, eq=False)
class TubeMasks:
    """T masks of one size; a frame where the object is absent has no edges and area 0."""

    size: tuple[int, int]
    """(height, width) in pixels."""
    edges: NDArray[np.int32]
    """int32 (E,): start, stop, start, stop ... of the ones in column-major order, half-open."""
    offsets: NDArray[np.int64]
    """int64 (T + 1,): frame t holds ``edges[offsets[t]:offsets[t + 1]]``."""
    areas: NDArray[np.int64]
    """int64 (T,) pixels."""
    boxes: NDArray[np.int32]
    """int32 (T, 4): x0, y0, x1, y1, half-open; zeros where absent."""
    row: NDArray[np.int64] | None = None
    """What the compiled kernels know: addresses of the four arrays, and T. None: not looked up yet."""

    def __len__(self) -> int:
        return len(self.areas)

    def padded(self, length: int) -> TubeMasks:
        """The same with absent frames at the end, up to ``length``."""
        more = length - len(self)
        if more <= 0:
            return self
        offsets = np.concatenate([self.offsets, np.full(more, self.offsets[-1])])
        areas = np.concatenate([self.areas, np.zeros(more, np.int64)])
        return TubeMasks(self.size, self.edges, offsets, areas, np.pad(self.boxes, ((0, more), (0, 0))))


LIST_MARK, TEXT_MARK, TUBE_MARK, POLYGON_MARK = "#", "$", "%", "&"
"""Begin the strings that stand for what was lifted; compressed text never holds them."""
Text = bytes | NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Polygons:
    """The masks of a tube as polygons of at least three points."""

    points: NDArray[np.float64]
    """float64 (P,): x, y, x, y, ... in pixels, finite."""
    polygon_ends: NDArray[np.int64]
    """Polygon p ends at ``points[polygon_ends[p]]``."""
    mask_ends: NDArray[np.int64]
    """int64 (T,): mask t ends at polygon ``mask_ends[t]``; without a polygon the frame is absent."""


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """JSON text whose masks were taken out, and those masks."""

    text: bytes
    """The rest; list k became the string ``"#k"``, compressed text k ``"$k"``, all masks of a tube ``"%k"``,
    all polygons of a tube ``"&k"``, and unused boxes null."""
    lengths: NDArray[np.int64]
    """All lists in a row."""
    list_ends: NDArray[np.int64]
    """int64 (K + 1,): list k is ``lengths[list_ends[k]:list_ends[k + 1]]``."""
    chars: NDArray[np.uint8]
    """All compressed texts in a row."""
    text_ends: NDArray[np.int64]
    """int64 (K + 1,): text k is ``chars[text_ends[k]:text_ends[k + 1]]``."""
    tubes: list[TubeMasks]
    """The tubes, of the size that they state; (0, 0) when no frame has a mask."""
    polygons: list[Polygons]
    """The tubes made of polygons."""


class BadMaskError(Exception):
    """Run lengths of one mask are broken; ``index`` says which. Never leaves :mod:`vis.evaluation`."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class Engine(Protocol):
    """What both ways of computing offer, as a module."""

    def lift(self, text: bytes) -> Lifted | None:
        """Take masks out of JSON text, before a parser makes objects of every number.

        None when that is not possible: a string of the text looks like what would stand for them.
        """

    def from_text(self, text: Text, ends: NDArray[np.int64], size: tuple[int, int]) -> TubeMasks:
        """Masks from compressed texts in a row, text t up to ``ends[t]``; or :class:`BadMaskError`."""

    def from_runs(
        self, lengths: NDArray[np.int64], ends: NDArray[np.int64], size: tuple[int, int]
    ) -> TubeMasks:
        """Masks from run lengths in a row, mask t up to ``ends[t]``; or :class:`BadMaskError`."""

    def from_polygons(self, polygons: Polygons, size: tuple[int, int]) -> TubeMasks:
        """Masks as COCO's tools fill them; or :class:`BadMaskError` when outlines are too long to draw."""

    def sizes(self, tubes: Sequence[TubeMasks]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pixels of each tube over all frames, and its frames that have any."""

    def overlap(self, a: TubeMasks, b: TubeMasks, frames: int) -> NDArray[np.int64]:
        """Pixels that two tubes share in each of the first ``frames`` frames, which both cover."""

    def ious(
        self, a: Sequence[TubeMasks], b: Sequence[TubeMasks], spans: NDArray[np.int64], floor: float
    ) -> NDArray[np.float64]:
        """Mask tube IoU over the frames that both cover; 0 where it cannot reach ``floor``.

        Each row of ``spans`` int64 (N, 4) pairs every ``a[row[0]:row[1]]`` with every ``b[row[2]:row[3]]``; their
        values follow each other, row by row.
        """

    def erode(self, tubes: Sequence[TubeMasks], widths: Sequence[int]) -> list[TubeMasks]:
        """The tubes without their boundary bands, as wide as given; boxes are those of the masks."""

    def bands(
        self,
        a: Sequence[TubeMasks],
        a_inner: Sequence[TubeMasks],
        b: Sequence[TubeMasks],
        b_inner: Sequence[TubeMasks],
        pairs: NDArray[np.int64],
    ) -> NDArray[np.float64]:
        """Boundary tube IoU of each pair int64 (P, 2) of an ``a`` and a ``b``, from what :meth:`erode` made of them."""

    def match(
        self,
        ious: NDArray[np.float64],
        spans: NDArray[np.int64],
        ignored: NDArray[np.bool_],
        crowd: NDArray[np.bool_],
        thresholds: NDArray[np.float64],
        detections: int,
    ) -> NDArray[np.int64]:
        """COCO's greedy matching of D detections, best first in each group, to G truths.

        ``ious`` and ``spans`` as in :meth:`ious`; ``ignored`` (A, G) truths give way to those that count;
        ``crowd`` (G) may be matched often; ``thresholds`` (T). Returns (A, T, D): the truth's row or -1.
        """


@functools.cache
def engine(name: str = "auto") -> Any:
    """The :class:`Engine` called ``native`` or ``plain``; ``auto`` falls back with a warning.

    ``VISTUBES_ENGINE=plain`` in the environment makes ``auto`` mean ``plain``.
    """
    from vis.evaluation import plain

    if name == "auto" and os.environ.get("VISTUBES_ENGINE") == "plain":
        name = "plain"
    if name == "plain":
        return plain
    try:
        from vis.evaluation import kernel_store, native

        kernel_store.functions()
    except (ImportError, OSError, RuntimeError) as error:
        if name == "native":
            raise
        warnings.warn(
            f"no compiled kernels ({error}); the evaluator computes in numpy, same numbers but slower",
            FallbackWarning,
            stacklevel=2,
        )
        return plain
    return native
