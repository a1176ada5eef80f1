"""The gate: COCO's JSON forms, and the only way in for masks from outside."""

from __future__ import annotations

import array
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vis.errors import AnnotationError
from vis.masks.codec import Runs, canonical, pack, unpack_text
from vis.structures import MaskRLE

__all__ = ["MAX_OUTLINE", "MAX_PIXELS", "MAX_SIDE", "checked_size", "from_coco", "to_coco"]

MAX_SIDE = 65_535
"""Longest side that :func:`from_coco` accepts, in pixels."""
MAX_PIXELS = 2**27
"""Most pixels that :func:`from_coco` accepts: 134 million, a frame of 16384 x 8192."""
MAX_OUTLINE = 2**22
"""Longest total outline of one mask's polygons that :func:`from_coco` accepts, in pixels."""

_CHARS_PER_RUN = 7  # 35 bits in groups of 5: more than any run length needs


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
    packed = pack(canonical(lengths), size)
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
        return pack(np.array([height * width]), size)
    merged = rle_api.merge(rle_api.frPyObjects(points, height, width))
    return MaskRLE(size, bytes(merged["counts"]))


def _shown(value: Any) -> str:
    """A value in a few characters; neither deep nesting nor an int of thousands of digits is written out."""
    if isinstance(value, list | tuple):
        few = len(value) < 8 and not any(isinstance(item, list | tuple | Mapping) for item in value)
        return f"[{', '.join(map(_shown, value))}]"[:60] if few else f"{len(value)} items"
    if isinstance(value, int) and value.bit_length() > 128:
        return f"an int of {value.bit_length()} bits"
    text = "an object" if isinstance(value, Mapping) else repr(value)
    return text if len(text) < 60 else text[:57] + "..."
