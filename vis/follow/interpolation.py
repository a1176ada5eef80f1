"""Pictures that the network does not see: objects carried to them from the pictures on either side.

::

    seen    |-----+-----+-----+-----|  seen         + a flow step: motion alone
            k0 -----------> j <---- k1

Each side counts by its nearness in time and by how surely the motion from it is known. Knows no network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vis.follow.grid import Grid
from vis.follow.motion import Field, compose, warp

__all__ = ["LIMIT", "FlowStep", "blend", "carry", "doubt", "doubt_within", "ways_ahead"]

Float32 = NDArray[np.float32]

LIMIT = 8.0
"""Logits are cut off here before they are carried or mixed."""


@dataclass(frozen=True, slots=True, eq=False)
class FlowStep:
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
    return doubt_within(carry(logits, field, grid) > 0, field)


def doubt_within(inside: NDArray[np.bool_], field: Field) -> float:
    """As :func:`doubt`, of cells (rows, columns) that the object was carried to."""
    return float(1 - field.trust[inside].mean()) if inside.any() else 1.0


def ways_ahead(steps: list[FlowStep]) -> list[Field]:
    """From each picture but the last to the last one."""
    out: list[Field] = []
    for step in reversed(steps[1:]):
        out.append(compose(step.ahead, out[-1]) if out else step.ahead)
    return out[::-1]


def blend(sides: Iterable[tuple[Float32, Field, float]], grid: Grid) -> Float32:
    """Logits (side, side) on a picture between others.

    ``sides``: of each picture on which the object was seen its logits (side, side) there, the motion that leads to it,
    and its weight in (0, 1), which is its nearness in time.
    """
    rows, columns = grid.valid
    total = np.full((rows, columns), 1e-6, np.float32)
    mixed = np.zeros((rows, columns), np.float32)
    for logits, field, near in sides:
        weight = near * (0.05 + field.trust)
        mixed += weight * carry(logits, field, grid)
        total += weight
    out = np.full((grid.side, grid.side), -LIMIT, np.float32)
    out[:rows, :columns] = mixed / total
    return out
