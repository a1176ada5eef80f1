"""What can be changed about a result: one small frozen type per operation, and its JSON.

An operation says what the user did, never what came out of it: clicks, boxes and brush strokes are
kept, masks are not. So a list of them is short, readable, and gives the same tubes again when
:func:`vis.edits.apply` plays it on the same result. Knows no page and no network.

Pixel coordinates are ``x, y`` in the video's own pixels; frames are source indices from 0.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vis.engines import DEFAULT
from vis.errors import AnnotationError
from vis.follow.prompts import CANDIDATES, Candidate
from vis.formats import fields

__all__ = [
    "OPERATIONS",
    "Add",
    "Brush",
    "Correct",
    "Delete",
    "Edit",
    "Follow",
    "Merge",
    "Relabel",
    "Split",
    "Swap",
    "describe",
    "from_json",
    "to_json",
]

Point = tuple[float, float]
Box = tuple[float, float, float, float]
MAX_POINTS = 10_000
MAX_NAME = 80


@dataclass(frozen=True, slots=True)
class Correct:
    """Ask for the tube's mask on one frame again, with clicks or a box."""

    tube: int
    frame: int
    points: tuple[Point, ...] = ()
    """All clicks made so far on this frame for this tube."""
    point_labels: tuple[int, ...] = ()
    """1 inside, 0 outside, one per point."""
    box: Box | None = None
    """x0, y0, x1, y1; a box starts afresh, clicks alone go on from the mask that is there."""
    candidate: Candidate | None = None
    """Which of SAM's masks of a single click it is; it starts afresh, too. None: the best, with what is there."""


@dataclass(frozen=True, slots=True)
class Brush:
    """Paint on a tube's mask, or rub it out, along one stroke."""

    tube: int
    frame: int
    stroke: tuple[Point, ...]
    radius: float
    """In pixels."""
    erase: bool = False


@dataclass(frozen=True, slots=True)
class Add:
    """A new tube, from clicks or a box on one frame."""

    tube: int
    """The new id."""
    frame: int
    label: str
    points: tuple[Point, ...] = ()
    point_labels: tuple[int, ...] = ()
    box: Box | None = None
    candidate: Candidate | None = None
    """Which of SAM's masks of a single click it is; None: the best one."""


@dataclass(frozen=True, slots=True)
class Follow:
    """Carry the mask that a tube has on ``frame`` on, frame by frame, to ``first`` and to ``last``.

    What the tube had on those frames is replaced; where the object is lost, it has nothing. ``engine``: a name of
    :mod:`vis.engines`.
    """

    tube: int
    frame: int
    first: int
    last: int
    engine: str = DEFAULT


@dataclass(frozen=True, slots=True)
class Delete:
    """Take a tube away on the frames ``first`` .. ``last`` (inclusive); None means to that end."""

    tube: int
    first: int | None = None
    last: int | None = None


@dataclass(frozen=True, slots=True)
class Merge:
    """Two tubes are one object: ``tube`` becomes part of ``into``. On shared frames masks are joined."""

    tube: int
    into: int


@dataclass(frozen=True, slots=True)
class Split:
    """From ``frame`` on, a tube is another object with the id ``new``."""

    tube: int
    frame: int
    new: int


@dataclass(frozen=True, slots=True)
class Swap:
    """From ``frame`` on, two tubes have each other's place: the ids were switched there."""

    tube: int
    other: int
    frame: int


@dataclass(frozen=True, slots=True)
class Relabel:
    """A tube gets another class name; a name not known yet is added to the result's."""

    tube: int
    label: str


Edit = Correct | Brush | Add | Follow | Delete | Merge | Split | Swap | Relabel

OPERATIONS: dict[str, type[Any]] = {
    "correct": Correct,
    "brush": Brush,
    "add": Add,
    "follow": Follow,
    "delete": Delete,
    "merge": Merge,
    "split": Split,
    "swap": Swap,
    "relabel": Relabel,
}
"""Name in JSON -> type."""

_NAMES = {kind: name for name, kind in OPERATIONS.items()}


def describe(edit: Edit) -> str:
    """One short line for a list of edits."""
    match edit:
        case Correct(tube, frame, points, _, box, candidate):
            how = "box" if box is not None else f"{len(points)} point{'s' * (len(points) != 1)}"
            return f"correct {tube} on frame {frame} ({how}{_said(candidate)})"
        case Brush(tube, frame, _, _, erase):
            return f"{'erase from' if erase else 'paint on'} {tube} on frame {frame}"
        case Add(tube, frame, label, candidate=candidate):
            return f"add {tube} ({label}{_said(candidate)}) on frame {frame}"
        case Follow(tube, _, first, last, engine):
            by = "" if engine == DEFAULT else f" by {engine}"
            return f"follow {tube} over frames {first} to {last}{by}"
        case Delete(tube, None, None):
            return f"delete {tube}"
        case Delete(tube, first, last):
            return f"delete {tube} from frame {0 if first is None else first} to {'the end' if last is None else last}"
        case Merge(tube, into):
            return f"merge {tube} into {into}"
        case Split(tube, frame, new):
            return f"split {tube} at frame {frame}, the rest is {new}"
        case Swap(tube, other, frame):
            return f"swap {tube} and {other} from frame {frame}"
        case Relabel(tube, label):
            return f"call {tube} {label}"


def _said(candidate: Candidate | None) -> str:
    return "" if candidate is None else f", {candidate}"


def to_json(edit: Edit) -> dict[str, Any]:
    """``{"op": name, ...}`` as plain JSON values; fields at their default are left out."""
    value: dict[str, Any] = {"op": _NAMES[type(edit)]}
    for field in dataclasses.fields(edit):
        item = getattr(edit, field.name)
        if item != field.default:
            value[field.name] = _plain(item)
    return value


def _plain(item: Any) -> Any:
    return [_plain(part) for part in item] if isinstance(item, tuple) else item


def from_json(value: Any, where: str = "edit") -> Edit:
    """Check one operation from outside and build it; raises :class:`AnnotationError` that names ``where``."""
    name = value.get("op") if isinstance(value, Mapping) else None
    if not isinstance(name, str) or name not in OPERATIONS:
        raise AnnotationError(f"{where}: expected an object whose 'op' is one of {', '.join(OPERATIONS)}")
    kind = OPERATIONS[value["op"]]
    known = {field.name: field for field in dataclasses.fields(kind)}
    unknown = [key[:40] for key in sorted(set(value) - set(known) - {"op"})[:8]]
    missing = sorted(
        name for name, field in known.items() if name not in value and field.default is dataclasses.MISSING
    )
    if unknown or missing:
        found = [f"unknown {', '.join(unknown)}"] * bool(unknown) + [f"missing {', '.join(missing)}"] * bool(
            missing
        )
        raise AnnotationError(f"{where}: {value['op']}: {'; '.join(found)}; expected {', '.join(known)}")
    checked = {name: _CHECKS[name](value[name], f"{where}: {name}") for name in known if name in value}
    edit: Edit = kind(**checked)
    _check_prompts(edit, where)
    return edit


def _check_prompts(edit: Edit, where: str) -> None:
    if isinstance(edit, Correct | Add):
        if len(edit.points) != len(edit.point_labels):
            raise AnnotationError(
                f"{where}: {len(edit.points)} points but {len(edit.point_labels)} point_labels; give one each"
            )
        if not edit.points and edit.box is None:
            raise AnnotationError(f"{where}: neither points nor a box; give at least one")
        if edit.candidate is not None and (edit.point_labels != (1,) or edit.box is not None):
            raise AnnotationError(
                f"{where}: candidate {edit.candidate!r} is of a single click; give one point, with label 1, and no box"
            )
    if isinstance(edit, Brush) and not edit.stroke:
        raise AnnotationError(f"{where}: the stroke has no point")


# ---------------------------------------------------------------- one check per field name


def _frame(value: Any, where: str) -> int:
    return _whole(value, where, fields.MAX_FRAME)


def _whole(value: Any, where: str, most: int) -> int:
    number = fields.as_whole(value)
    if number is None or not 0 <= number <= most:
        raise AnnotationError(f"{where}: expected a whole number from 0 to {most}, got {fields.shown(value)}")
    return number


def _optional_frame(value: Any, where: str) -> int | None:
    return None if value is None else _frame(value, where)


def _id(value: Any, where: str) -> int:
    number = _whole(value, where, fields.MAX_ID)
    if number == 0:
        raise AnnotationError(f"{where}: ids start at 1")
    return number


def _number(value: Any, where: str) -> float:
    number = fields.as_finite(value)
    if number is None or abs(number) > fields.MAX_COORDINATE:
        raise AnnotationError(f"{where}: expected a number, got {fields.shown(value)}")
    return number


def _points(value: Any, where: str) -> tuple[Point, ...]:
    ok = isinstance(value, list | tuple) and len(value) <= MAX_POINTS
    if not ok or not all(isinstance(p, list | tuple) and len(p) == 2 for p in value):
        raise AnnotationError(f"{where}: expected a list of at most {MAX_POINTS} points [x, y]")
    return tuple((_number(x, where), _number(y, where)) for x, y in value)


def _point_labels(value: Any, where: str) -> tuple[int, ...]:
    numbers = [fields.as_whole(n) for n in value] if isinstance(value, list | tuple) else [None]
    if len(numbers) > MAX_POINTS or not all(number in (0, 1) for number in numbers):
        raise AnnotationError(f"{where}: expected a list of 1 (inside) and 0 (outside)")
    return tuple(number for number in numbers if number is not None)


def _box(value: Any, where: str) -> Box | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 4:
        raise AnnotationError(f"{where}: expected [x0, y0, x1, y1]")
    x0, y0, x1, y1 = (_number(n, where) for n in value)
    if x1 <= x0 or y1 <= y0:
        raise AnnotationError(f"{where}: [{x0:g}, {y0:g}, {x1:g}, {y1:g}] is empty; x1 > x0 and y1 > y0")
    return x0, y0, x1, y1


def _candidate(value: Any, where: str) -> Candidate | None:
    if value is None:
        return None
    for candidate in CANDIDATES:
        if value == candidate:
            return candidate
    raise AnnotationError(f"{where}: expected one of {', '.join(CANDIDATES)}, got {fields.shown(value)}")


def _radius(value: Any, where: str) -> float:
    if not 0 < _number(value, where) <= 1000:
        raise AnnotationError(f"{where}: expected a number over 0, at most 1000")
    return float(value)


def _bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise AnnotationError(f"{where}: expected true or false")
    return value


def _name(value: Any, where: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_NAME or not value.isprintable():
        raise AnnotationError(f"{where}: expected a name of 1 to {MAX_NAME} printable characters")
    return value.strip()


_CHECKS: dict[str, Any] = {
    "tube": _id,
    "into": _id,
    "other": _id,
    "new": _id,
    "frame": _frame,
    "first": _optional_frame,
    "last": _optional_frame,
    "points": _points,
    "point_labels": _point_labels,
    "box": _box,
    "candidate": _candidate,
    "stroke": _points,
    "radius": _radius,
    "erase": _bool,
    "label": _name,
    "engine": _name,
}
