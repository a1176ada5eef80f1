"""High dynamic range to 8-bit BT.709: the picture that a standard screen would show.

PQ and HLG code values mean light beyond what BT.709 holds. Per pixel:

    code values -> light in nits (BT.2100) -> highlights rolled off (BT.2390) -> BT.709 primaries (BT.2087)
    -> code values of a standard screen (BT.1886)

203 nits, the white of graphics and paper (BT.2408), become white; darker than about 90 nits nothing is
changed but the coding. Metadata of single videos (mastering display, MaxCLL, dynamic) is not used.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["HLG", "PQ", "to_standard_range"]

PQ, HLG = 16, 18
"""AVColorTransferCharacteristic of SMPTE ST 2084 and ARIB STD-B67."""

WHITE_NITS = 203.0
PEAK_NITS = 1000.0
"""Brightest light that is told apart: what most content is mastered for, and HLG's nominal peak."""
_STEPS = 4096
_TO_BT709 = np.array(  # linear light, BT.2020 primaries to BT.709's (BT.2087)
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593])  # of BT.2020 primaries
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32

Values = NDArray[np.float64]


def to_standard_range(image: NDArray[np.uint8], transfer: int) -> NDArray[np.uint8]:
    """RGB uint8 (H, W, 3) of PQ or HLG code values with BT.2020 primaries as RGB uint8 of BT.709."""
    import cv2

    nits = np.asarray(cv2.LUT(image, _light_of_codes(transfer)))
    if transfer == HLG:
        # The OOTF of a screen of PEAK_NITS: gamma 1.2 on the luminance of the scene.
        luminance = np.maximum(cv2.transform(nits, _LUMINANCE[None].astype(np.float32)), 1e-9)
        nits = nits * PEAK_NITS * (luminance**0.2).reshape(*image.shape[:2], 1)
    brightest = np.maximum(np.maximum(nits[..., 0], nits[..., 1]), nits[..., 2])
    step = np.sqrt(np.minimum(brightest, PEAK_NITS) * np.float32((_STEPS - 1) ** 2 / PEAK_NITS))
    scale = np.where(
        brightest > PEAK_NITS, WHITE_NITS / np.maximum(brightest, 1), _scales()[step.astype(np.int32)]
    )
    nits *= scale[..., None].astype(np.float32)
    light = np.asarray(cv2.transform(nits, (_TO_BT709 / WHITE_NITS).astype(np.float32)))
    codes = cv2.pow(np.clip(light, 0, 1, out=light), 1 / 2.4)
    return np.asarray(cv2.convertScaleAbs(codes, alpha=255), np.uint8)


@lru_cache(maxsize=2)
def _light_of_codes(transfer: int) -> NDArray[np.float32]:
    """float32 (256,): nits of PQ's code values; the scene's light in [0, 1] of HLG's."""
    codes = np.linspace(0, 1, 256)
    return (_pq_to_nits(codes) if transfer == PQ else _hlg_to_scene(codes)).astype(np.float32)


@lru_cache(maxsize=1)
def _scales() -> NDArray[np.float32]:
    """float32 (_STEPS,): what light is multiplied with to roll it off, by the root of its share of the peak."""
    nits = np.maximum(np.linspace(0, 1, _STEPS) ** 2 * PEAK_NITS, 1e-4)
    return (_rolled_off(nits) / nits).astype(np.float32)


def _pq_to_nits(codes: Values) -> Values:
    """BT.2100 table 4: the PQ EOTF."""
    root = codes ** (1 / _M2)
    return np.asarray(10_000 * (np.maximum(root - _C1, 0) / (_C2 - _C3 * root)) ** (1 / _M1))


def _nits_to_pq(nits: Values) -> Values:
    part = (nits / 10_000) ** _M1
    return np.asarray(((_C1 + _C2 * part) / (1 + _C3 * part)) ** _M2)


def _hlg_to_scene(codes: Values) -> Values:
    """BT.2100 table 5: the inverse of HLG's OETF."""
    a = 0.17883277
    b, c = 1 - 4 * a, 0.5 - a * np.log(4 * a)
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


def _rolled_off(nits: Values) -> Values:
    """BT.2390 section 5.4.1: from PEAK_NITS to WHITE_NITS by a Hermite spline above a knee, in PQ."""
    peak = _nits_to_pq(np.array(PEAK_NITS))
    most = float(_nits_to_pq(np.array(WHITE_NITS)) / peak)
    knee = 1.5 * most - 0.5
    code = _nits_to_pq(nits) / peak
    t = np.clip((code - knee) / (1 - knee), 0, 1)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee + (t**3 - 2 * t**2 + t) * (1 - knee) + (-2 * t**3 + 3 * t**2) * most
    )
    return _pq_to_nits(np.where(code < knee, code, spline) * peak)
