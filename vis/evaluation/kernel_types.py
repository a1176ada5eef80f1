"""The numba types of what kernels take. Arrays are C-contiguous, and only read.

An array that may be written is taken where only reading is asked for, but not inside of a tuple.
"""

from __future__ import annotations

from typing import Any

import numba

from vis.evaluation.tube_masks import Packed

__all__ = ["BOOLS", "BOOLS_2D", "BYTES", "FLOAT", "FLOATS", "INT", "INTS", "INTS_2D", "PACKED"]


types: Any = numba.types


def _array(item: Any, dimensions: int = 1, *, readonly: bool = True) -> Any:
    return types.Array(item, dimensions, "C", readonly=readonly)


INT, FLOAT = types.int64, types.float64
BYTES, INTS, INTS_2D = _array(types.uint8), _array(types.int64), _array(types.int64, 2)
FLOATS, BOOLS, BOOLS_2D = _array(types.float64), _array(types.boolean), _array(types.boolean, 2)
PACKED = types.NamedTuple(
    tuple(
        _array(item, dimensions, readonly=False)
        for item, dimensions in (
            (types.int32, 1),
            (types.int64, 1),
            (types.int64, 1),
            (types.int32, 2),
            (types.int64, 1),
        )
    ),
    Packed,
)
