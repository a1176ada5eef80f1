"""The prompts of ``vistubes follow``: how they are spelled, and what makes them wrong."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import InputError, UsageError
from vis.follow.prompts import Prompt

if TYPE_CHECKING:
    from vis.structures import VideoInfo

__all__ = [
    "FollowedFrames",
    "Given",
    "Place",
    "Request",
    "build_request",
    "class_names",
    "labelled",
    "parse",
    "parse_all",
    "parse_labels",
]

MAX_ID = 65_535
NUMBER = r"[-+]?[0-9]{1,9}(?:\.[0-9]{0,12})?"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a prompt was put: ``@frame`` and ``#id``; None where it is silent."""

    frame: int | None
    seconds: float | None
    object_id: int | None


@dataclass(frozen=True, slots=True)
class Given:
    """One prompt option as it was given."""

    kind: str
    """point, not-point, box, mask or text."""
    spelled: str
    """For messages: the option and its value."""
    place: Place
    numbers: tuple[float, ...] = ()
    """x, y of a point; x0, y0, x1, y1 of a box."""
    text: str = ""
    """Path of a mask, words of a text."""


@dataclass(frozen=True, slots=True)
class FollowedFrames:
    """The frames on which objects will be followed."""

    first: int
    stop: int
    """Exclusive."""
    stride: int
    index_at: Callable[[float], int]
    """Seconds to frame."""

    def check(self, given: Given) -> int:
        """The frame of a prompt; :class:`UsageError` when it is not among those followed."""
        place = given.place
        frame = self.first if place.frame is None else place.frame
        if place.seconds is not None:
            frame = self.index_at(place.seconds)
        if not self.first <= frame < self.stop:
            raise UsageError(
                f"{given.spelled}: frame {frame} is not among the frames {self.first} to {self.stop - 1} "
                "that are followed; choose one of them, or change --start and --end"
            )
        if (frame - self.first) % self.stride:
            near = frame - (frame - self.first) % self.stride
            raise UsageError(
                f"{given.spelled}: frame {frame} is passed over by --stride {self.stride}; "
                f"the nearest before it is {near}"
            )
        return frame


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """What is to be followed."""

    prompts: Mapping[int, Mapping[int, Prompt]]
    """Object id -> frame -> prompt."""
    labels: Mapping[int, str]
    """Object id -> class name."""


def parse_all(options: Sequence[tuple[str, str]]) -> list[Given]:
    """Options by kind and value, parsed; :class:`UsageError` where there is none."""
    if not options:
        raise UsageError(
            "nothing to follow: give --point x,y@frame, --box x0,y0,x1,y1@frame, --mask FILE@frame or --text"
        )
    return [parse(kind, value) for kind, value in options]


def parse_labels(options: Sequence[str]) -> dict[int | None, str]:
    """``NAME`` or ``NAME#ID``, each once, as id -> name; None is every object without a name of its own."""
    names: dict[int | None, str] = {}
    for text in options:
        match = re.fullmatch(r"(.*?)(?:#([0-9]{1,5}))?", text.strip(), re.DOTALL)
        name = match[1].strip() if match else ""
        object_id = int(match[2]) if match and match[2] else None
        if not name or "#" in name or (object_id is not None and not 1 <= object_id <= MAX_ID):
            raise UsageError(f"--label {text[:60]}: expected a name, then #id if wanted, like dog or dog#2")
        if object_id in names:
            whose = "all objects" if object_id is None else f"object {object_id}"
            raise UsageError(f"--label {text[:60]}: {whose} has a name already, {names[object_id]!r}")
        names[object_id] = name
    return names


def labelled(request: Request, options: Sequence[str]) -> Request:
    """The request with the names of ``--label``; :class:`UsageError` for an id that no prompt has."""
    names = parse_labels(options)
    if unknown := [one for one in names if one is not None and one not in request.prompts]:
        raise UsageError(
            f"--label {names[unknown[0]]}#{unknown[0]}: no object has this id; they are "
            f"{', '.join(map(str, list(request.prompts)[:20]))}"
        )
    default = {} if None not in names else dict.fromkeys(request.prompts, names[None])
    own = {object_id: name for object_id, name in names.items() if object_id is not None}
    return replace(request, labels={**default, **request.labels, **own})


def class_names(request: Request) -> tuple[str, ...]:
    """Names of the objects, each once; 'object' first, where one has no other."""
    unnamed = ["object"] if any(object_id not in request.labels for object_id in request.prompts) else []
    return tuple(dict.fromkeys([*unnamed, *request.labels.values()]))


def parse(kind: str, value: str) -> Given:
    """One option's value: ``x,y``, ``x0,y0,x1,y1``, a path or words, then ``@frame`` and ``#id``."""
    spelled = f"--{kind} {value}"
    body, place = _place(value, spelled, literal=kind == "mask")
    if kind in ("mask", "text"):
        if not body.strip():
            raise UsageError(f"{spelled}: says nothing before @; give {_SHAPES[kind]}")
        if kind == "text" and place.object_id is not None:
            raise UsageError(f"{spelled}: a text may find several objects, so it takes no #id")
        return Given(kind, spelled, place, text=body)
    if not re.fullmatch(rf"{NUMBER}(,{NUMBER})*", body):
        raise UsageError(f"{spelled}: expected {_SHAPES[kind]}, then @frame and #id if wanted")
    numbers = tuple(float(part) for part in body.split(","))
    if len(numbers) != (4 if kind == "box" else 2):
        raise UsageError(f"{spelled}: expected {_SHAPES[kind]}, got {len(numbers)} numbers")
    return Given(kind, spelled, place, numbers)


_SHAPES = {
    "point": "x,y in pixels",
    "not-point": "x,y in pixels",
    "box": "x0,y0,x1,y1 in pixels (corners)",
    "mask": "the path of a PNG",
    "text": "words",
}


def _place(value: str, spelled: str, *, literal: bool) -> tuple[str, Place]:
    # A file may bear an @ or # in its name; if there is one of the whole name, that is meant.
    try:
        if literal and Path(value).is_file():
            return value, Place(None, None, None)
    except (OSError, ValueError) as error:
        raise UsageError(f"{spelled}: no file can have this name ({error})") from error
    match = re.fullmatch(r"(.*?)(?:@([^@#]*))?(?:#([^@#]*))?", value, re.DOTALL)
    assert match is not None  # every part is optional
    body, moment, object_id = match.groups()
    frame = seconds = None
    if moment is not None:
        if re.fullmatch(r"[0-9]{1,9}", moment):
            frame = int(moment)
        elif re.fullmatch(r"[0-9]{1,9}(\.[0-9]{0,12})?s", moment):
            seconds = float(moment[:-1])
        else:
            raise UsageError(f"{spelled}: after @ a frame like 120 or seconds like 4.5s, got {moment!r}")
    if object_id is not None and not (
        re.fullmatch(r"[0-9]{1,5}", object_id) and 1 <= int(object_id) <= MAX_ID
    ):
        raise UsageError(f"{spelled}: after # an id from 1 to {MAX_ID}, got {object_id!r}")
    return body, Place(frame, seconds, None if object_id is None else int(object_id))


def build_request(
    given: Sequence[Given],
    info: VideoInfo,
    followed: FollowedFrames,
    *,
    find: Callable[[str, int], list[tuple[tuple[float, float, float, float], str]]],
) -> Request:
    """All options as prompts by object and frame, checked against the video.

    An option without ``#id`` begins an object of its own; options with the same id on the same frame
    are one prompt. ``find(words, frame)`` gives boxes with names for a text.

    Raises:
        UsageError: a frame that is not followed, a point or box outside the picture, prompts that
            contradict one another.
        InputError: a mask that cannot be read, is empty, or has another size.
    """
    frames = [followed.check(item) for item in given]
    prompts: dict[int, dict[int, Prompt]] = defaultdict(dict)
    labels: dict[int, str] = {}
    taken = {item.place.object_id for item in given if item.place.object_id is not None}
    masks: dict[int, dict[int, NDArray[np.bool_]]] = {}
    for row, item in enumerate(given):
        if item.kind == "mask":
            masks[row] = _masks(item, info)
            taken |= set(masks[row])

    def fresh() -> int:
        object_id = next(n for n in range(1, MAX_ID + 2) if n not in taken)
        taken.add(object_id)
        return object_id

    for row, (item, frame) in enumerate(zip(given, frames, strict=True)):
        if item.kind == "mask":
            for value, mask in masks[row].items():
                object_id = value or item.place.object_id or fresh()
                _put(prompts[object_id], frame, item, mask=mask)
        elif item.kind == "text":
            found = find(item.text, frame)
            if not found:
                raise InputError(
                    f"{item.spelled}: nothing of that name was found on frame {frame}; "
                    "try other words, another frame, or --text-score"
                )
            for box, name in found:
                object_id = fresh()
                _put(prompts[object_id], frame, item, box=box)
                labels[object_id] = name
        else:
            _check_inside(item, info)
            object_id = item.place.object_id or fresh()
            values: Any = item.numbers
            if item.kind == "box":
                _put(prompts[object_id], frame, item, box=values)
            else:
                _put(prompts[object_id], frame, item, point=values)
    _check_positive(prompts)
    return Request({object_id: dict(at) for object_id, at in sorted(prompts.items())}, labels)


def _check_positive(prompts: Mapping[int, Mapping[int, Prompt]]) -> None:
    for object_id, at in prompts.items():
        for frame, prompt in at.items():
            if prompt.points and 1 not in prompt.point_labels and prompt.box is None and prompt.mask is None:
                raise UsageError(
                    f"object {object_id} has only --not-point on frame {frame}; add a --point, --box or --mask "
                    f"with @{frame}#{object_id} that says where it is"
                )


def _put(
    at: dict[int, Prompt],
    frame: int,
    item: Given,
    *,
    point: tuple[float, float] | None = None,
    box: tuple[float, float, float, float] | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> None:
    old = at.get(frame, Prompt())
    if (box is not None and old.box is not None) or (mask is not None and old.mask is not None):
        raise UsageError(f"{item.spelled}: this object has a {item.kind} on frame {frame} already")
    if point is not None:
        old = replace(
            old,
            points=(*old.points, point),
            point_labels=(*old.point_labels, int(item.kind == "point")),
        )
    at[frame] = replace(old, box=box or old.box, mask=mask if mask is not None else old.mask)


def _check_inside(item: Given, info: VideoInfo) -> None:
    size = f"the picture of {info.width}x{info.height} pixels"
    if item.kind == "box":
        x0, y0, x1, y1 = item.numbers
        if x1 <= x0 or y1 <= y0:
            raise UsageError(f"{item.spelled}: the box is empty; give corners with x0 < x1 and y0 < y1")
        if x0 < 0 or y0 < 0 or x1 > info.width or y1 > info.height:
            raise UsageError(f"{item.spelled}: the box reaches out of {size}")
        return
    x, y = item.numbers
    if not (0 <= x < info.width and 0 <= y < info.height):
        raise UsageError(f"{item.spelled}: the point lies outside {size}")


def _masks(item: Given, info: VideoInfo) -> dict[int, NDArray[np.bool_]]:
    """Value -> mask of a label image; a mask of 0 and 255 (or 0 and 1) alone has the value 0: no id said."""
    from vis.formats.images import read_labels

    labels, mode = read_labels(Path(item.text))
    if labels.shape != info.size:
        raise InputError(
            f"{item.spelled}: the mask is {labels.shape[1]}x{labels.shape[0]}, the video "
            f"{info.width}x{info.height} pixels; they must be equal"
        )
    values = [int(value) for value in np.unique(labels) if value]
    if not values:
        raise InputError(f"{item.spelled}: the mask is empty: every pixel is 0")
    # DAVIS: 254 and 255 are void beside other labels; alone, 255 is the one object.
    if mode in ("L", "1") and len(values) == 1:
        return {item.place.object_id or 0: labels == values[0]}
    values = [value for value in values if mode.startswith("I") or value < 254] or values
    if item.place.object_id is not None:
        if len(values) > 1:
            raise UsageError(
                f"{item.spelled}: the image holds {len(values)} objects, so their values are their ids; leave #id"
            )
        return {item.place.object_id: labels == values[0]}
    return {value: labels == value for value in values}
