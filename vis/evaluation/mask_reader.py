"""From the masks of one JSON entry to run lengths, whatever their spelling, all of them checked.

The common spellings are read in bulk, past the JSON parser where the compiled kernels allow it.
"""

from __future__ import annotations

import array
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import AnnotationError
from vis.evaluation.runs import (
    LIST_MARK,
    POLYGON_MARK,
    TEXT_MARK,
    TUBE_MARK,
    BadMaskError,
    Engine,
    Lifted,
    Polygons,
    TubeMasks,
)

__all__ = ["MaskReader"]


class MaskReader:
    """Reads the masks of one tube after the other, all from one file."""

    def __init__(self, compute: Engine) -> None:
        self.compute = compute
        self.lifted: Lifted | None = None

    def lift(self, text: bytes) -> bytes:
        """Take the run lengths out of a file's text where that is possible."""
        self.lifted = self.compute.lift(text)
        return text if self.lifted is None else self.lifted.text

    def read(self, value: Any, size: tuple[int, int], where: str) -> TubeMasks:
        """The masks of one tube, all of ``size``; null is an absent frame.

        The common spellings are read in bulk. Whatever they refuse is gone through mask by mask,
        which finds the fault and names it.
        """
        if isinstance(value, str) and value[:1] == POLYGON_MARK and self.lifted is not None:
            polygons = self.lifted.polygons[int(value[1:])]
            try:
                return self.compute.from_polygons(polygons, size)
            except BadMaskError:
                value = _lists(polygons)
        elif isinstance(value, str) and value[:1] == TUBE_MARK and self.lifted is not None:
            tube = self.lifted.tubes[int(value[1:])]
            if tube.size == size:
                return tube
            if tube.size == (0, 0):  # no mask that could say its size
                return replace(tube, size=size)
            frame = int(np.flatnonzero(np.diff(tube.offsets) + tube.areas)[0]) if len(tube.edges) else 0
            raise AnnotationError(
                f"{where}, frame {frame}: size {list(tube.size)}, expected {list(size)} (height, width)"
            )
        if not isinstance(value, list):
            raise AnnotationError(f"{where}: segmentations: expected a list, got {type(value).__name__}")
        for bulk in (self._bulk_lifted, self._bulk_text, self._bulk_lists):
            try:
                return bulk(value, size)
            except (TypeError, LookupError, ValueError, OverflowError, AttributeError, BadMaskError):
                continue
        texts = [
            b"" if mask is None else rle.from_coco(self._whole(mask), size, f"{where}, frame {frame}").counts
            for frame, mask in enumerate(value)
        ]
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return self.compute.from_text(b"".join(texts), ends, size)

    def _bulk_lifted(self, value: list[Any], size: tuple[int, int]) -> TubeMasks:
        """Masks whose compressed texts were lifted, one after the other."""
        if self.lifted is None:
            raise ValueError
        wanted = list(size)
        numbers, first, number = [], -1, -1
        for mask in value:
            if mask is not None:
                counts = mask["counts"]
                if mask["size"] != wanted or counts[0] != TEXT_MARK:
                    raise ValueError
                number, before = int(counts[1:]), number
                if first < 0:
                    first = number
                elif number != before + 1:
                    raise ValueError
            numbers.append(number)
        # An absent frame ends where the one before it ended; before the first there is nothing.
        ends = self.lifted.text_ends[np.maximum(np.array(numbers, np.int64), first - 1) + 1]
        start = self.lifted.text_ends[max(first, 0)]
        chars = self.lifted.chars[start : ends[-1] if len(ends) else start]
        return self.compute.from_text(chars, ends - start, size)

    def _bulk_text(self, value: list[Any], size: tuple[int, int]) -> TubeMasks:
        wanted = list(size)
        texts, ends, end = [], [], 0
        for mask in value:
            if mask is not None:
                counts = mask["counts"]
                if mask["size"] != wanted or counts[:1] in ("", LIST_MARK, TEXT_MARK):
                    raise ValueError
                texts.append(counts)
                end += len(counts)
            ends.append(end)
        if end > 7 * (size[0] * size[1] + 1):  # one mask by one this may still be right
            raise ValueError
        return self.compute.from_text("".join(texts).encode("ascii"), np.array(ends, np.int64), size)

    def _bulk_lists(self, value: list[Any], size: tuple[int, int]) -> TubeMasks:
        wanted = list(size)
        runs, ends, end = [], [], 0
        for mask in value:
            if mask is not None:
                counts = self._list(mask["counts"])
                if mask["size"] != wanted or not len(counts):
                    raise ValueError
                runs.append(counts)
                end += len(counts)
            ends.append(end)
        lengths = np.concatenate(runs) if runs else np.zeros(0, np.int64)
        return self.compute.from_runs(lengths, np.array(ends, np.int64), size)

    def _list(self, counts: Any) -> NDArray[np.int64]:
        if type(counts) is list:
            # array() takes ints only, and nothing that does not fit 64 bits.
            return np.frombuffer(array.array("q", counts), np.int64)
        if type(counts) is str and counts[:1] == LIST_MARK and self.lifted is not None:
            k = int(counts[1:])
            return self.lifted.lengths[self.lifted.list_ends[k] : self.lifted.list_ends[k + 1]]
        raise ValueError

    def _whole(self, mask: Any) -> Any:
        """``mask`` with its lifted run lengths put back."""
        counts = mask.get("counts") if isinstance(mask, dict) else None
        if not isinstance(counts, str) or self.lifted is None:
            return mask
        if counts[:1] == LIST_MARK:
            return {**mask, "counts": self._list(counts).tolist()}
        if counts[:1] == TEXT_MARK:
            k = int(counts[1:])
            text = self.lifted.chars[self.lifted.text_ends[k] : self.lifted.text_ends[k + 1]]
            return {**mask, "counts": text.tobytes()}
        return mask


def _lists(polygons: Polygons) -> list[list[list[float]] | None]:
    """Polygons as JSON has them."""
    outlines = [part.tolist() for part in np.split(polygons.points, polygons.polygon_ends[:-1])]
    ends = polygons.mask_ends.tolist()
    return [outlines[start:end] or None for start, end in zip([0, *ends], ends, strict=False)]
