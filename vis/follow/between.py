"""Pictures that the network does not see: objects carried to them from the pictures on either side.

::

    seen    |-----+-----+-----+-----|  seen         + a glance: motion alone
            k0 -----------> j <---- k1

Each side counts by its nearness in time and by how surely the motion from it is known. Knows no network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis.follow.grid import Grid
from vis.follow.motion import Field, compose, warp

__all__ = ["LIMIT", "Glance", "blend", "carry", "doubt", "ways_ahead"]

Float32 = NDArray[np.float32]

LIMIT = 8.0
"""Logits are cut off here before they are carried or mixed."""


@dataclass(frozen=True, slots=True, eq=False)
class Glance:
    """The motion to one picture."""

    grey: NDArray[np.uint8]
    """The picture as motion is looked for in it."""
    back: Field
    """From it back to the last picture that the network saw."""
    ahead: Field
    """To it from the picture before it."""


def carry(logits: Float32, field: Field, grid: Grid) -> Float32:
    """Logits (rows, columns) that ``field`` leads to in ``logits`` (side, side)."""
    rows, columns = grid.valid
    return warp(np.clip(logits[:rows, :columns], -LIMIT, LIMIT), field.back)


def doubt(logits: Float32, field: Field, grid: Grid) -> float:
    """Share in [0, 1] of a carried object whose motion cannot be trusted; 1 where nothing of it is left."""
    inside = carry(logits, field, grid) > 0
    return float(1 - field.trust[inside].mean()) if inside.any() else 1.0


def ways_ahead(glances: list[Glance]) -> list[Field]:
    """From each picture but the last to the last one."""
    out: list[Field] = []
    for glance in reversed(glances[1:]):
        out.append(compose(glance.ahead, out[-1]) if out else glance.ahead)
    return out[::-1]


def blend(
    before: Float32 | None, after: Float32 | None, back: Field, ahead: Field, share: float, grid: Grid
) -> Float32:
    """Logits (side, side) on a picture between two others.

    ``before`` and ``after`` are logits (side, side) on either side, None where the object was lost there;
    ``back`` and ``ahead`` lead to them; ``share`` in (0, 1) is how far on the way the picture lies.
    """
    rows, columns = grid.valid
    total = np.full((rows, columns), 1e-6, np.float32)
    mixed = np.zeros((rows, columns), np.float32)
    for logits, field, near in ((before, back, 1 - share), (after, ahead, share)):
        if logits is not None:
            weight = near * (0.05 + field.trust)
            mixed += weight * carry(logits, field, grid)
            total += weight
    out = np.full((grid.side, grid.side), -LIMIT, np.float32)
    out[:rows, :columns] = mixed / total
    return out
