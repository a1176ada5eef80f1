"""The inner loops on run lengths, for numba. :mod:`vis.evaluation.plain` has the same in numpy.

Only :mod:`vis.evaluation.native` imports this, and only once per machine: it keeps the machine code.
So the functions take bare pointers and lengths, allocate nothing and raise nothing.

A tube's masks are *edges*: for each frame the half-open intervals ``start, stop, start, stop, ...``
of its ones in COCO's column-major order, rising, never touching. ``offsets`` (T + 1) says where each
frame's edges lie; an absent frame has none. ``boxes`` (T, 4) are x0, y0, x1, y1, half-open.
"""

# mypy: ignore-errors

from __future__ import annotations

from numba import types

from vis.evaluation.mask_kernels import decode, erode, measure
from vis.evaluation.polygon_kernels import fill
from vis.evaluation.text_kernels import lift
from vis.evaluation.tube_kernels import bands, ious, match, overlap, sizes

__all__ = ["KERNELS"]

_u8, _i32, _i64, _f64 = (types.CPointer(t) for t in (types.uint8, types.int32, types.int64, types.float64))
_int = types.int64
_table = types.CPointer(_i32), types.CPointer(_i64), _i64
"""A table of tubes, as what points to ints, what points to longs, and the numbers themselves."""

KERNELS = {
    "lift": (
        lift,
        (
            *(_u8, _int, _u8, _u8, _u8, _i64, _i64, _u8, _i64),
            *(_i32, _i64, _i64, _i32, _i64, _f64, _i64, _i64, _i64, _i64),
        ),
    ),
    "decode": (decode, (_u8, _i64, _int, _int, _int, _i32, _i64, _i64, _i32)),
    "measure": (measure, (_i64, _i64, _int, _int, _int, _i32, _i64, _i64, _i32)),
    "fill": (
        fill,
        (
            *(_f64, _i64, _i64, _int, _int, _int, _int, _i32, _int, _i64, _i64, _i32),
            *(_i64, _i64, _i64, _i64, _i64, _i64, _i64),
        ),
    ),
    "erode": (
        erode,
        (*_table, _int, _i64, _i32, _int, _i64, _i64, _i64, _i32, _i32, _i32, _i64, _i32, _int, _i64, _i64),
    ),
    "sizes": (sizes, (*_table[1:], _int, _i64, _i64)),
    "overlap": (overlap, (*_table[:2], *_table[:2], _int, _i64)),
    "ious": (ious, (*_table, *_table, _i64, _int, _f64, _f64)),
    "bands": (bands, (*_table, *_table[:2], *_table, *_table[:2], _i64, _int, _f64)),
    "match": (match, (_f64, _i64, _int, _u8, _u8, _int, _int, _f64, _int, _int, _u8, _i64)),
}
