"""How values of more than 8 bits become 8-bit pictures: by one range for all images of a video.

Knows no file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import UsageError

__all__ = ["ValueRange", "check_value_range", "range_of", "to_8_bits"]

ValueRange = tuple[float, float]
"""What becomes black, and what becomes white."""

# A picture of floats is thought to use its full scale when its brightest value is above this share of it.
_SHARE = 1 / 16


def check_value_range(value_range: ValueRange) -> ValueRange:
    """Two finite numbers, the first below the second; raises :class:`UsageError` else."""
    low, high = value_range
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise UsageError(
            f"value_range: expected two numbers, black before white (0 and 4095, say), got {low} and {high}"
        )
    return float(low), float(high)


def range_of(sample: Iterable[NDArray[Any]]) -> ValueRange:
    """The range of a video of which these are some images, one array at least.

    ======================  ========================================================================
    values                  range
    ======================  ========================================================================
    whole numbers from 0    0 to 2^k - 1, k bits being what the largest needs, but not less than 8
    floats from 0           the same or 0 to 1, whichever is the smallest that holds the largest; 0 to the
                            largest where that is small against it
    negative ones too       the smallest to the largest
    ======================  ========================================================================
    """
    low, high, whole = math.inf, -math.inf, True
    for values in sample:
        whole = whole and values.dtype.kind in "ui"
        finite = values if values.dtype.kind in "ui" else values[np.isfinite(values)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return 0.0, 1.0 if not whole else 65535.0  # nothing at all, or nothing but NaN
    if low < 0:
        return low, high if high > low else low + 1
    full = 2.0 ** max(8, math.ceil(high).bit_length()) - 1
    if whole:
        return 0.0, full
    full = 1.0 if high <= 1 else full
    return 0.0, full if high > full * _SHARE or not high else high


def to_8_bits(values: NDArray[Any], value_range: ValueRange) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) of values (H, W) or (H, W, 3): the range becomes 0 to 255, what lies beyond is cut.

    NaN becomes black.
    """
    low, high = value_range
    # A float32 holds 24 bits: whole numbers beyond them are brought near first.
    precise = values.dtype.itemsize > 2 and values.dtype != np.float32
    scaled: NDArray[Any] = values.astype(np.float64 if precise else np.float32)
    scaled -= low
    scaled *= 255 / (high - low)
    grey = np.rint(np.nan_to_num(scaled.clip(0, 255), nan=0.0)).astype(np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2) if grey.ndim == 2 else grey
