"""Between dense masks and run lengths in COCO's compressed text: vectorised numpy, pycocotools' bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.structures import MaskRLE

__all__ = [
    "Runs",
    "blank",
    "canonical",
    "decode",
    "decode_crop",
    "decode_many",
    "encode",
    "encode_many",
    "extent",
    "from_runs",
    "intervals",
    "pack",
    "runs",
    "unpack_text",
]

Runs = NDArray[np.int64]


def extent(mask: NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    """x0, y0, x1, y1 of a dense (H, W) mask's pixels, half-open; None when it has none."""
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return None
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    return int(columns[0]), y0, int(columns[-1]) + 1, y1


def blank(size: tuple[int, int]) -> MaskRLE:
    """The mask of that (height, width) without a pixel."""
    return pack(np.array([size[0] * size[1]]), size)


def encode(mask: NDArray[np.bool_]) -> MaskRLE:
    """Run lengths of a bool (H, W) mask.

    Works on the mask's bounding box only, so a small object in a big frame costs microseconds.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise ValueError(f"mask: expected bool (H, W) with H, W > 0, got {mask.dtype}{list(mask.shape)}")
    height, width = mask.shape
    box = extent(mask)
    if box is None:
        return blank((height, width))
    x0, y0, x1, y1 = box
    # Where a pixel differs from the one above it, a row of background above the crop and one below it included.
    # Rows are compared as they lie in memory: only the few places of a change are put in the columns' order.
    padded = np.zeros((y1 - y0 + 2, x1 - x0), np.bool_)
    padded[1:-1] = mask[y0:y1, x0:x1]
    row, column = np.divmod(np.flatnonzero(padded[1:] != padded[:-1]), x1 - x0)
    edges = np.sort((column + x0) * height + row + y0)
    if y1 - y0 == height:
        # A run that reaches the frame's lower edge goes on at the next column's top: there it has no edge.
        edges = edges[(np.diff(edges, prepend=-1) > 0) & (np.diff(edges, append=-1) != 0)]
    if edges[-1] == height * width:
        edges = edges[:-1]
    return pack(np.diff(edges, prepend=0, append=height * width), (height, width))


def encode_many(masks: NDArray[np.bool_]) -> tuple[MaskRLE, ...]:
    """Run lengths of each mask of a bool (N, H, W) stack."""
    return tuple(encode(mask) for mask in masks)


def decode(mask: MaskRLE) -> NDArray[np.bool_]:
    """The dense bool (H, W) mask, C-contiguous."""
    dense = np.zeros(mask.size, np.bool_)
    _decode_into(dense, mask)
    return dense


def decode_many(masks: Sequence[MaskRLE], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Dense masks, bool (N, H, W), all of the given (height, width)."""
    out = np.zeros((len(masks), *size), np.bool_)
    for target, mask in zip(out, masks, strict=True):
        if mask.size != tuple(size):
            raise ValueError(f"mask of size {mask.size} among masks of size {tuple(size)}")
        _decode_into(target, mask)
    return out


def decode_crop(mask: MaskRLE) -> tuple[int, int, NDArray[np.bool_]]:
    """x0, y0 and the dense mask from there on, bool (h, w), C-contiguous: its bounding box; (0, 0) when it is empty."""
    height = mask.size[0]
    starts, stops = intervals(runs(mask))
    if not len(starts):
        return 0, 0, np.zeros((0, 0), np.bool_)
    column, top = np.divmod(starts, height)
    last_column, bottom = np.divmod(stops - 1, height)
    x0, x1 = int(column[0]), int(last_column[-1]) + 1
    y0, y1 = int(top.min()), int(bottom.max()) + 1
    if (column != last_column).any():  # a run goes from one column into the next
        y0, y1 = 0, height
    begin = (column - x0) * (y1 - y0) + top - y0
    edges = np.empty(2 * len(begin) + 1, np.int64)
    edges[:-1:2], edges[1:-1:2], edges[-1] = begin, begin + stops - starts, (x1 - x0) * (y1 - y0)
    values = (np.arange(len(edges)) & 1).astype(np.bool_)
    columns = np.repeat(values, np.diff(edges, prepend=0)).reshape(x1 - x0, y1 - y0)
    return x0, y0, np.ascontiguousarray(columns.T)


def _decode_into(dense: NDArray[np.bool_], mask: MaskRLE) -> None:
    """Set the mask's pixels in a blank (H, W) one."""
    x0, y0, crop = decode_crop(mask)
    dense[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]] = crop


def runs(mask: MaskRLE) -> Runs:
    """Run lengths, int64 (R,), alternating 0 and 1 from 0; they sum to height * width."""
    return unpack_text(np.frombuffer(mask.counts, np.uint8))


def from_runs(lengths: NDArray[np.integer[Any]], size: tuple[int, int]) -> MaskRLE:
    """The mask of run lengths >= 0 that sum to height * width; empty inner runs are merged."""
    whole: Runs = np.asarray(lengths, np.int64)
    if whole.ndim != 1 or (whole < 0).any() or int(whole.sum()) != size[0] * size[1]:
        raise ValueError(f"runs: expected lengths >= 0 that sum to {size[0]} x {size[1]}")
    return pack(canonical(whole), size)


def canonical(lengths: Runs) -> Runs:
    """Merge runs around empty ones, so that only the first may be empty."""
    if (lengths[1:] > 0).all():
        return lengths
    value = (np.arange(len(lengths)) & 1)[lengths > 0]
    lengths = lengths[lengths > 0]
    start = np.flatnonzero(np.diff(value, prepend=-1))
    merged: Runs = np.add.reduceat(lengths, start)
    return np.concatenate([[0], merged]) if value[0] else merged


def intervals(lengths: Runs) -> tuple[Runs, Runs]:
    """Half-open [start, stop) of each run of ones, as positions in the column-major mask."""
    ends = np.cumsum(lengths)
    stops = ends[1::2]
    return ends[0::2][: len(stops)], stops


# A run is written in groups of 5 bits, lowest first, as two's complement; a group is one character
# 48 + bits, plus 32 when another group follows. From the fourth run on, the difference to the run
# before the last is written: neighbouring columns are alike, so it is short.


def pack(lengths: Runs, size: tuple[int, int]) -> MaskRLE:
    """The mask of run lengths that are canonical and sum to height * width; unchecked."""
    values = lengths.astype(np.int64)
    values[3:] -= lengths[1:-2]
    groups = np.ones(len(values), np.int64)
    for bits in range(4, 34, 5):
        longer = (values >= 1 << bits) | (values < -(1 << bits))
        if not longer.any():
            break
        groups += longer
    ends = np.cumsum(groups)
    text = np.empty(int(ends[-1]), np.uint8)
    at = ends - groups
    while len(values):
        more = groups > 1
        text[at] = 48 + (values & 31) + 32 * more
        values, groups, at = values[more] >> 5, groups[more] - 1, at[more] + 1
    return MaskRLE(size, text.tobytes())


def unpack_text(text: NDArray[np.uint8]) -> Runs:
    """Run lengths of compressed text, uint8 (C,), that is whole groups of valid characters; unchecked."""
    bits = text - np.uint8(48)
    last = np.flatnonzero(bits < 32)
    first = np.concatenate([[0], last[:-1] + 1])
    values = (bits[first] & 31).astype(np.int64)
    groups = last - first + 1
    for k in range(1, int(groups.max(initial=0))):
        longer = np.flatnonzero(groups > k)
        values[longer] |= (bits[first[longer] + k] & 31).astype(np.int64) << (5 * k)
    negative = bits[last] & 16 > 0
    values[negative] -= np.int64(1) << (5 * groups[negative])
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    lengths: Runs = values
    return lengths
