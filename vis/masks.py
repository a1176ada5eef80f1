"""Run-length masks: encode, decode, area, overlap, boundary band, and the gate for foreign ones.

A mask is stored as COCO does: pixels column by column, as lengths of runs that alternate between 0
and 1 (the first run is of 0 and may be empty), written in COCO's compressed text. Everything here
is vectorised numpy and gives pycocotools' bytes and numbers; unlike it, nothing that comes in through
:func:`from_coco` can crash, hang or read memory that nobody wrote.

Knows no file and no network. Dense masks are bool ``(H, W)``; sizes are ``(height, width)``.
"""

from __future__ import annotations

import array
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import AnnotationError
from vis.structures import MaskRLE

__all__ = [
    "area",
    "boundary",
    "boundary_width",
    "bounding_box",
    "checked_size",
    "decode",
    "decode_many",
    "encode",
    "encode_many",
    "erode",
    "from_coco",
    "from_runs",
    "intersection",
    "iou",
    "runs",
    "to_coco",
    "union",
    "unpack_text",
]

Runs = NDArray[np.int64]

MAX_SIDE = 65_535
"""Longest side that :func:`from_coco` accepts, in pixels."""
MAX_PIXELS = 2**27
"""Most pixels that :func:`from_coco` accepts: 134 million, a frame of 16384 x 8192."""
MAX_OUTLINE = 2**22
"""Longest total outline of one mask's polygons that :func:`from_coco` accepts, in pixels."""

_CHARS_PER_RUN = 7  # 35 bits in groups of 5: more than any run length needs


# ---------------------------------------------------------------- dense <-> run lengths


def encode(mask: NDArray[np.bool_]) -> MaskRLE:
    """Run lengths of a bool (H, W) mask.

    Works on the mask's bounding box only, so a small object in a big frame costs microseconds.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2 or mask.dtype != np.bool_ or 0 in mask.shape:
        raise ValueError(f"mask: expected bool (H, W) with H, W > 0, got {mask.dtype}{list(mask.shape)}")
    height, width = mask.shape
    rows = np.flatnonzero(mask.any(axis=1))
    if not len(rows):
        return _pack(np.array([height * width]), (height, width))
    y0, y1 = int(rows[0]), int(rows[-1]) + 1
    columns = np.flatnonzero(mask[y0:y1].any(axis=0))
    x0, x1 = int(columns[0]), int(columns[-1]) + 1

    # The crop, column after column, with a 0 before the first pixel and after each column:
    #   0 c0c0c0 0 c1c1c1 0 ...      a change at p lies at column p // step, row p % step.
    # A crop as tall as the frame gets no separators: there a run goes on into the next column.
    full = y1 - y0 == height
    step = height if full else y1 - y0 + 1
    flat = np.zeros(1 + (x1 - x0) * step + full, np.uint8)
    block = flat[1 : 1 + (x1 - x0) * step].reshape(x1 - x0, step)
    block[:, : y1 - y0] = mask[y0:y1, x0:x1].T
    change = np.flatnonzero(flat[1:] != flat[:-1])
    column, row = np.divmod(change, step)
    edges = (column + x0) * height + row + y0
    if edges[-1] == height * width:
        edges = edges[:-1]
    return _pack(np.diff(edges, prepend=0, append=height * width), (height, width))


def encode_many(masks: NDArray[np.bool_]) -> tuple[MaskRLE, ...]:
    """Run lengths of each mask of a bool (N, H, W) stack."""
    return tuple(encode(mask) for mask in masks)


def decode(mask: MaskRLE) -> NDArray[np.bool_]:
    """The dense bool (H, W) mask, C-contiguous."""
    height, width = mask.size
    dense = np.zeros((height, width), np.bool_)
    lengths = runs(mask)
    starts, stops = _intervals(lengths)
    if len(starts):
        # Only the columns that the object touches are expanded and transposed.
        x0, x1 = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
        lengths = lengths[: 2 * len(starts)].copy()
        lengths[0] -= x0 * height
        lengths = np.append(lengths, x1 * height - stops[-1])
        values = np.arange(len(lengths), dtype=np.uint8) & 1
        dense[:, x0:x1] = np.repeat(values, lengths).reshape(x1 - x0, height).T
    return dense


def decode_many(masks: Sequence[MaskRLE], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Dense masks, bool (N, H, W), all of the given (height, width)."""
    out = np.empty((len(masks), *size), np.bool_)
    for target, mask in zip(out, masks, strict=True):
        if mask.size != tuple(size):
            raise ValueError(f"mask of size {mask.size} among masks of size {tuple(size)}")
        target[...] = decode(mask)
    return out


def runs(mask: MaskRLE) -> Runs:
    """Run lengths, int64 (R,), alternating 0 and 1 from 0; they sum to height * width."""
    return unpack_text(np.frombuffer(mask.counts, np.uint8))


def from_runs(lengths: NDArray[np.integer[Any]], size: tuple[int, int]) -> MaskRLE:
    """The mask of run lengths >= 0 that sum to height * width; empty inner runs are merged."""
    whole: Runs = np.asarray(lengths, np.int64)
    if whole.ndim != 1 or (whole < 0).any() or int(whole.sum()) != size[0] * size[1]:
        raise ValueError(f"runs: expected lengths >= 0 that sum to {size[0]} x {size[1]}")
    return _pack(_canonical(whole), size)


def _canonical(lengths: Runs) -> Runs:
    """Merge runs around empty ones, so that only the first may be empty."""
    if (lengths[1:] > 0).all():
        return lengths
    value = (np.arange(len(lengths)) & 1)[lengths > 0]
    lengths = lengths[lengths > 0]
    start = np.flatnonzero(np.diff(value, prepend=-1))
    merged: Runs = np.add.reduceat(lengths, start)
    return np.concatenate([[0], merged]) if value[0] else merged


def _intervals(lengths: Runs) -> tuple[Runs, Runs]:
    """Half-open [start, stop) of each run of ones, as positions in the column-major mask."""
    ends = np.cumsum(lengths)
    stops = ends[1::2]
    return ends[0::2][: len(stops)], stops


# ---------------------------------------------------------------- compressed text
#
# A run is written in groups of 5 bits, lowest first, as two's complement; a group is one character
# 48 + bits, plus 32 when another group follows. From the fourth run on, the difference to the run
# before the last is written: neighbouring columns are alike, so it is short.


def _pack(lengths: Runs, size: tuple[int, int]) -> MaskRLE:
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


# ---------------------------------------------------------------- measures


def area(mask: MaskRLE) -> int:
    """Pixels of the mask."""
    return int(runs(mask)[1::2].sum())


def bounding_box(mask: MaskRLE) -> NDArray[np.float32]:
    """x0, y0, x1, y1 in pixels, half-open, float32 (4,); all 0 for an empty mask."""
    starts, stops = _intervals(runs(mask))
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
    starts, stops = _intervals(runs(a))
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
        pairs.append(_intervals(runs(mask)))
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
    return _pack(_canonical(np.diff(edges, prepend=0, append=height * width)), masks[0].size)


def _ones_before(mask: MaskRLE, positions: Runs) -> Runs:
    """How many ones of the mask lie before each position of the column-major order."""
    starts, stops = _intervals(runs(mask))
    whole = np.concatenate([[0], np.cumsum(stops - starts)])
    index = np.searchsorted(starts, positions, side="left")
    # Runs before `index` began earlier; the last of them may reach beyond the position.
    beyond = np.maximum(np.concatenate([[0], stops])[index] - positions, 0)
    counted: Runs = whole[index] - beyond
    return counted


def _same_size(a: MaskRLE, b: MaskRLE) -> None:
    if a.size != b.size:
        raise ValueError(f"masks of different sizes: {a.size} and {b.size}")


# ---------------------------------------------------------------- boundary


def boundary_width(size: tuple[int, int], ratio: float = 0.02) -> int:
    """Pixels of the boundary band: ``max(1, round(ratio * diagonal))`` (Boundary IoU, section 4)."""
    return max(1, round(ratio * math.hypot(*size)))


def boundary(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """The band of a bool (H, W) mask: its pixels within Chebyshev distance ``width`` of a 0.

    What lies outside of the image counts as 0. Equal to the mask minus ``width`` erosions with a
    3 x 3 square after padding by one zero pixel (Boundary IoU, arXiv 2103.16562).
    """
    band: NDArray[np.bool_] = mask & ~erode(mask, width)
    return band


def erode(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Pixels of a bool (H, W) mask farther than ``width`` (Chebyshev) from every 0 and the outside."""
    if mask.ndim != 2 or mask.dtype != np.bool_ or width < 0:
        raise ValueError(
            f"expected a bool (H, W) mask and a width >= 0, got {mask.dtype}{list(mask.shape)}, {width}"
        )
    out = np.zeros_like(mask)
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    if not len(rows):
        return out
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    kept = _erode_down(_erode_down(mask[box], width).T, width).T
    out[box] = kept
    return out


def _erode_down(mask: NDArray[np.bool_], width: int) -> NDArray[np.bool_]:
    """Keep a pixel when all pixels up to ``width`` above and below it are set."""
    height = len(mask)
    out = np.zeros_like(mask)
    if height > 2 * width:
        count = np.zeros((height + 1, mask.shape[1]), np.int32)
        np.cumsum(mask, axis=0, out=count[1:])
        window = 2 * width + 1
        out[width : height - width] = count[window:] - count[:-window] == window
    return out


# ---------------------------------------------------------------- the border: COCO's JSON forms


def to_coco(mask: MaskRLE) -> dict[str, Any]:
    """``{"size": [h, w], "counts": text}``, as JSON files and pycocotools take it."""
    return {"size": list(mask.size), "counts": mask.counts.decode("ascii")}


def from_coco(value: Any, size: tuple[int, int] | None = None, where: str = "mask") -> MaskRLE:
    """The one gate for masks from outside: run lengths (text, bytes or list) or polygons.

    Args:
        value: ``{"size", "counts"}``, or a list of polygons ``[x, y, x, y, ...]`` in pixels, which
            need ``size``.
        size: (height, width) that the mask must have; None takes the one it states.
        where: names the source in errors.

    Raises:
        AnnotationError: for whatever is not a whole, in-range mask of that size.
    """
    if isinstance(value, Mapping):
        stated = checked_size(value.get("size"), where)
        if size is not None and stated != tuple(size):
            raise AnnotationError(f"{where}: size {list(stated)}, expected {list(size)} (height, width)")
        return _from_counts(value.get("counts"), stated, where)
    if isinstance(value, list):
        if size is None:
            raise AnnotationError(f"{where}: polygons need the image's size")
        return _from_polygons(value, checked_size(size, where), where)
    raise AnnotationError(
        f"{where}: expected run lengths {{'size', 'counts'}} or a list of polygons, got {type(value).__name__}"
    )


def checked_size(size: Any, where: str) -> tuple[int, int]:
    """(height, width) as ints from 1 within the limits, or :class:`AnnotationError` naming ``where``."""
    ok = (
        isinstance(size, list | tuple)
        and len(size) == 2
        and all(isinstance(n, int | np.integer) and not isinstance(n, bool) for n in size)
        and all(1 <= n <= MAX_SIDE for n in size)
    )
    if not ok:
        raise AnnotationError(
            f"{where}: size: expected [height, width], ints from 1 to {MAX_SIDE}, got {_shown(size)}"
        )
    height, width = int(size[0]), int(size[1])
    if height * width > MAX_PIXELS:
        raise AnnotationError(
            f"{where}: {height} x {width} pixels are over the limit of {MAX_PIXELS:,}; scale the mask down"
        )
    return height, width


def _from_counts(counts: Any, size: tuple[int, int], where: str) -> MaskRLE:
    pixels = size[0] * size[1]
    text: bytes | None = None
    if isinstance(counts, str | bytes):
        text, lengths = _checked_text(counts, pixels, where)
    elif isinstance(counts, list | tuple):
        lengths = _checked_list(counts, where)
    else:
        raise AnnotationError(f"{where}: counts: expected text or a list of ints, got {_shown(counts)}")
    if int(lengths.min(initial=0)) < 0 or int(lengths.max(initial=0)) > pixels:
        raise AnnotationError(f"{where}: counts: a run length is negative or longer than the mask")
    if (total := int(lengths.sum())) != pixels:
        raise AnnotationError(
            f"{where}: counts: runs sum to {total}, expected {size[0]} x {size[1]} = {pixels}"
        )
    canonical = _canonical(lengths)
    packed = _pack(canonical, size)
    # Equal text shares one object; text that was not the shortest form becomes it.
    return MaskRLE(size, text) if text == packed.counts else packed


def _checked_text(counts: str | bytes, pixels: int, where: str) -> tuple[bytes, Runs]:
    if len(counts) == 0 or len(counts) > _CHARS_PER_RUN * (pixels + 1):
        raise AnnotationError(f"{where}: counts: {len(counts)} characters for a mask of {pixels} pixels")
    try:
        text = counts.encode("ascii") if isinstance(counts, str) else bytes(counts)
    except UnicodeEncodeError as error:
        raise AnnotationError(f"{where}: counts: not ASCII at character {error.start}") from None
    chars = np.frombuffer(text, np.uint8)
    if chars.min() < 48 or chars.max() > 111:
        bad = int(np.flatnonzero((chars < 48) | (chars > 111))[0])
        raise AnnotationError(f"{where}: counts: character {bad} is outside of '0'..'o'")
    if chars[-1] >= 80:
        raise AnnotationError(f"{where}: counts: the text is cut off inside a run length")
    last = np.flatnonzero(chars < 80)
    if int(np.diff(last, prepend=-1).max()) > _CHARS_PER_RUN:
        raise AnnotationError(f"{where}: counts: a run length has more than {_CHARS_PER_RUN} characters")
    return text, unpack_text(chars)


def _checked_list(counts: Sequence[Any], where: str) -> Runs:
    try:
        lengths = np.array(counts)
    except (ValueError, OverflowError):
        lengths = np.array(None)
    if lengths.ndim != 1 or lengths.dtype != np.int64 or not len(lengths):
        raise AnnotationError(f"{where}: counts: expected a list of ints, got {_shown(counts)}")
    return lengths


def _from_polygons(polygons: Iterable[Any], size: tuple[int, int], where: str) -> MaskRLE:
    """Rasterise and unite polygons with pycocotools, whose rule defines COCO's polygon masks."""
    from pycocotools import mask as rle_api

    height, width = size
    low, high = (-width, -height), (2 * width, 2 * height)
    points: list[list[float]] = []
    outline = 0.0
    for polygon in polygons:
        try:
            flat = np.frombuffer(array.array("d", polygon))
        except (TypeError, ValueError, OverflowError):
            flat = np.zeros(0)
        if len(flat) < 6 or len(flat) % 2 or not np.isfinite(flat).all():
            raise AnnotationError(
                f"{where}: polygon {len(points)}: expected at least 3 points as finite numbers "
                f"[x, y, x, y, ...], got {_shown(polygon)}"
            )
        # Far-away points, or very many, make the rasteriser allocate and run without bound.
        xy = flat.reshape(-1, 2)
        if (xy < low).any() or (xy > high).any():
            xy = np.clip(xy, low, high)
        length = 3.0 * max(size) * len(xy)  # at most; measured only where that could be too much
        if outline + length > MAX_OUTLINE:
            length = float(np.abs(np.diff(xy, axis=0, append=xy[:1])).max(axis=1).sum())
        outline += length
        if outline > MAX_OUTLINE:
            raise AnnotationError(f"{where}: polygons: outlines are longer than {MAX_OUTLINE:,} pixels")
        points.append(xy.reshape(-1).tolist())
    if not points:
        return _pack(np.array([height * width]), size)
    merged = rle_api.merge(rle_api.frPyObjects(points, height, width))
    return MaskRLE(size, bytes(merged["counts"]))


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, list | tuple) or len(value) < 8 else f"{len(value)} items"
    return text if len(text) < 60 else text[:57] + "..."
