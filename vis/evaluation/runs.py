"""The working form of a tube's masks: run lengths as intervals, frame after frame.

Knows no file format. :mod:`vis.evaluation.native` and :mod:`vis.evaluation.plain` compute on it.
"""

from __future__ import annotations

import functools
import os
import warnings
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from vis.errors import FallbackWarning

__all__ = ["LIST_MARK", "TEXT_MARK", "BadMaskError", "Engine", "Lifted", "Text", "TubeMasks", "engine"]


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


LIST_MARK, TEXT_MARK = "#", "$"
"""Begin the strings that stand for lifted run lengths; compressed text never holds them."""
Text = bytes | NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """JSON text whose run lengths were taken out, and those run lengths."""

    text: bytes
    """The rest; list k became the string ``"#k"``, compressed text k became ``"$k"``."""
    lengths: NDArray[np.int64]
    """All lists in a row."""
    list_ends: NDArray[np.int64]
    """int64 (K + 1,): list k is ``lengths[list_ends[k]:list_ends[k + 1]]``."""
    chars: NDArray[np.uint8]
    """All compressed texts in a row."""
    text_ends: NDArray[np.int64]
    """int64 (K + 1,): text k is ``chars[text_ends[k]:text_ends[k + 1]]``."""


class BadMaskError(Exception):
    """Run lengths of one mask are broken; ``index`` says which. Never leaves :mod:`vis.evaluation`."""

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class Engine(Protocol):
    """What both ways of computing offer, as a module."""

    def lift(self, text: bytes) -> Lifted | None:
        """Take run lengths out of JSON text, before a parser makes objects of every number.

        None when that is not possible: a string of the text looks like what would stand for them.
        """

    def from_text(self, text: Text, ends: NDArray[np.int64], size: tuple[int, int]) -> TubeMasks:
        """Masks from compressed texts in a row, text t up to ``ends[t]``; or :class:`BadMaskError`."""

    def from_runs(
        self, lengths: NDArray[np.int64], ends: NDArray[np.int64], size: tuple[int, int]
    ) -> TubeMasks:
        """Masks from run lengths in a row, mask t up to ``ends[t]``; or :class:`BadMaskError`."""

    def overlap(self, a: TubeMasks, b: TubeMasks, frames: int) -> int:
        """Pixels that two tubes share over the first ``frames`` frames."""

    def erode(self, masks: TubeMasks, width: int) -> TubeMasks:
        """The masks without their boundary band; boxes are those of the masks."""

    def match(
        self,
        ious: NDArray[np.float64],
        order: NDArray[np.int64],
        ignored: NDArray[np.bool_],
        crowd: NDArray[np.bool_],
        thresholds: NDArray[np.float64],
    ) -> NDArray[np.int64]:
        """COCO's greedy matching of D detections, best first, to G truths.

        ``ious`` (D, G); ``order`` (A, G) lists the truths with the ``ignored`` (A, G, in that order)
        last; ``crowd`` (G); ``thresholds`` (T). Returns (A, T, D): the truth's index or -1.
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
        from vis.evaluation import native

        native.functions()
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
