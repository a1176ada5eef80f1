"""One edit on one result gives another result. Pure: the old result stays as it was.

Only edits that ask for a mask call ``decode``, and only for the frames they name; every other tube,
and every other frame of the same tube, is the very same object as before. That is all there is to
"only what became dirty is computed again".
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.edits.operations import (
    Add,
    Box,
    Brush,
    Correct,
    Delete,
    Edit,
    Follow,
    Merge,
    Relabel,
    Split,
    Swap,
)
from vis.engines import DEFAULT
from vis.errors import AnnotationError, PromptError
from vis.follow.prompts import Prompt
from vis.structures import MaskRLE, Tube, VideoResult

__all__ = ["Decode", "Prompt", "apply", "follow", "needs_decode", "replay"]

Bool = NDArray[np.bool_]


class Decode(Protocol):
    """Prompts to masks. Deterministic, or a replay cannot equal the original."""

    def __call__(self, index: int, prompt: Prompt, /) -> Bool:
        """The mask (H, W) of one prompt on a frame."""
        ...

    def carry(
        self, index: int, mask: Bool, onto: Sequence[int], engine: str = DEFAULT, /
    ) -> Iterator[tuple[int, Bool | None, float]]:
        """The object that has ``mask`` on frame ``index``, on the frames ``onto``, one after another.

        ``engine``: a name of :mod:`vis.engines`, given where it is not the default.
        (frame, mask, score): the mask is None where the object is lost. What is found on a frame depends on
        the frames from ``index`` to it alone.
        """
        ...


def replay(result: VideoResult, edits: Iterable[Edit], *, decode: Decode) -> VideoResult:
    """All edits, one after another; an edit that does not fit is an error that names its place."""
    for place, edit in enumerate(edits):
        try:
            result = apply(result, edit, decode=decode)
        except (AnnotationError, PromptError) as error:
            raise type(error)(f"edit {place + 1}: {error}") from error
    return result


def needs_decode(edits: Iterable[Edit]) -> bool:
    """Whether any of them asks for a mask, so that the video and a model are needed."""
    return any(isinstance(edit, Correct | Add | Follow) for edit in edits)


def apply(result: VideoResult, edit: Edit, *, decode: Decode) -> VideoResult:
    """The result after ``edit``.

    Raises:
        AnnotationError: the edit names a tube or frame that is not there.
        PromptError: the clicks or the box give an empty mask.
    """
    match edit:
        case Correct():
            return _correct(result, edit, decode)
        case Brush():
            return _brush(result, edit)
        case Add():
            return _add(result, edit, decode)
        case Follow():
            steps = deque(follow(result, edit, decode=decode), maxlen=1)
            return steps[0][1] if steps else result
        case Delete(number, first, last):
            tube = _tube(result, number)
            gone = np.ones(len(tube), np.bool_)
            gone &= True if first is None else tube.frames >= first
            gone &= True if last is None else tube.frames <= last
            if not gone.any():
                raise AnnotationError(f"tube {number} has no frame from {first} to {last}; nothing to delete")
            return _with(result, [number], [] if gone.all() else [_rows(tube, ~gone)])
        case Merge(number, into):
            return _merge(result, number, into)
        case Split(number, frame, new):
            tube = _tube(result, number)
            _free(result, new)
            head, tail = _cut(tube, frame)
            if head is None or tail is None:
                raise AnnotationError(
                    f"tube {number} spans frames {tube.frames[0]} to {tube.frames[-1]}; split it inside of that"
                )
            return _with(result, [number], [head, replace(tail, id=new)])
        case Swap(number, other, frame):
            return _swap(result, number, other, frame)
        case Relabel(number, label):
            names, index = _label(result, label)
            tube = replace(_tube(result, number), label=index)
            return _with(replace(result, class_names=names), [number], [tube])


def follow(result: VideoResult, edit: Follow, *, decode: Decode) -> Iterator[tuple[int, VideoResult]]:
    """Each followed frame and the result after it, so that it can be shown and stopped on the way.

    Forwards first, then backwards from the same frame. Where the object is lost the tube has no mask; it may
    be found again later.
    """
    tube = _tube(result, edit.tube)
    _row(tube, edit.frame)
    mask = _mask(tube, edit.frame, result)
    engine = () if edit.engine == DEFAULT else (edit.engine,)
    for way in (1, -1):
        for index, found, score in decode.carry(edit.frame, mask, _frames_from(result, edit, way), *engine):
            if found is None:
                result = _without(result, edit.tube, index)
            else:
                result = _put(result, edit.tube, index, found, score)
            yield index, result


def _frames_from(result: VideoResult, edit: Follow, way: int) -> list[int]:
    ahead = result.frames > edit.frame if way > 0 else result.frames < edit.frame
    inside = (result.frames >= edit.first) & (result.frames <= edit.last)
    frames: list[int] = result.frames[ahead & inside].tolist()
    return frames[::way]


def _without(result: VideoResult, number: int, frame: int) -> VideoResult:
    """The result without this frame of the tube; the tube has others."""
    tube = _tube(result, number)
    keep = tube.frames != frame
    return result if keep.all() else _with(result, [number], [_rows(tube, keep)])


# ---------------------------------------------------------------- masks


def _correct(result: VideoResult, edit: Correct, decode: Decode) -> VideoResult:
    tube = _tube(result, edit.tube)
    prompt = Prompt(edit.points, edit.point_labels, edit.box, candidate=edit.candidate)
    if edit.box is None and edit.candidate is None and edit.frame in tube.frames:
        # Clicks go on from what is there; a box, or one of the masks of a click, starts afresh.
        mask = _mask(tube, edit.frame, result)
        if mask.any():
            prompt = replace(prompt, mask=mask)
    return _put(result, edit.tube, edit.frame, _decoded(decode, edit.frame, prompt))


def _add(result: VideoResult, edit: Add, decode: Decode) -> VideoResult:
    _covered(result, edit.frame)
    _free(result, edit.tube)
    prompt = Prompt(edit.points, edit.point_labels, edit.box, candidate=edit.candidate)
    mask = _decoded(decode, edit.frame, prompt)
    names, label = _label(result, edit.label)
    tube = Tube(
        id=edit.tube,
        label=label,
        score=1.0,
        frames=np.array([edit.frame], np.int64),
        boxes=np.array([_box_of(mask)], np.float32),
        scores=np.ones(1, np.float32),
        masks=(rle.encode(mask),),
    )
    return _with(replace(result, class_names=names), [], [tube])


def _brush(result: VideoResult, edit: Brush) -> VideoResult:
    tube = _tube(result, edit.tube)
    painted = _stroke(edit, result.video.size)
    if edit.frame in tube.frames:
        mask = _mask(tube, edit.frame, result)
        painted = mask & ~painted if edit.erase else mask | painted
    elif edit.erase:
        raise AnnotationError(f"tube {edit.tube} has no mask on frame {edit.frame}; nothing to erase")
    if not painted.any():
        raise PromptError("nothing is left of the mask; delete the object on this frame instead")
    return _put(result, edit.tube, edit.frame, painted)


def _stroke(edit: Brush, size: tuple[int, int]) -> Bool:
    """The pixels whose centre lies within the radius of the stroke's line."""
    ys, xs = np.mgrid[0 : size[0], 0 : size[1]]
    painted = np.zeros(size, np.bool_)
    stops = [*edit.stroke[1:], edit.stroke[-1]]
    for (ax, ay), (bx, by) in zip(edit.stroke, stops, strict=True):
        x0, x1 = sorted((ax, bx))
        y0, y1 = sorted((ay, by))
        part = np.s_[
            max(0, int(y0 - edit.radius)) : max(0, int(y1 + edit.radius) + 2),
            max(0, int(x0 - edit.radius)) : max(0, int(x1 + edit.radius) + 2),
        ]
        px, py = xs[part] - ax, ys[part] - ay
        length = (bx - ax) ** 2 + (by - ay) ** 2
        share = np.clip((px * (bx - ax) + py * (by - ay)) / length, 0, 1) if length else 0.0
        distance = (px - share * (bx - ax)) ** 2 + (py - share * (by - ay)) ** 2
        painted[part] |= distance <= edit.radius**2
    return painted


def _decoded(decode: Decode, frame: int, prompt: Prompt) -> Bool:
    mask = decode(frame, prompt)
    if not mask.any():
        raise PromptError(
            "these clicks give an empty mask; click inside of the object, or drag a box around it"
        )
    return mask


def _put(result: VideoResult, number: int, frame: int, mask: Bool, score: float = 1.0) -> VideoResult:
    """The result with this mask on this frame of the tube; a row is made where there was none.

    The score is 1 where a person has looked at the frame.
    """
    _covered(result, frame)
    tube = _tube(result, number)
    masks = list(_masks(tube, result))
    row = int(np.searchsorted(tube.frames, frame))
    frames, boxes, scores = tube.frames, tube.boxes.copy(), tube.scores.copy()
    if row == len(frames) or frames[row] != frame:
        frames = np.insert(frames, row, frame)
        boxes = np.insert(boxes, row, 0, axis=0)
        scores = np.insert(scores, row, 1.0)
        masks.insert(row, rle.encode(mask))
    masks[row] = rle.encode(mask)
    boxes[row] = rle.bounding_box(masks[row])
    scores[row] = score
    edited = replace(tube, frames=frames, boxes=boxes, scores=scores, masks=tuple(masks))
    return _with(result, [number], [edited])


def _mask(tube: Tube, frame: int, result: VideoResult) -> Bool:
    return rle.decode(_masks(tube, result)[_row(tube, frame)])


def _masks(tube: Tube, result: VideoResult) -> Sequence[MaskRLE]:
    """A tube of boxes only counts as one of empty masks: "not known yet"."""
    if tube.masks is not None:
        return tube.masks
    return [rle.encode(np.zeros(result.video.size, np.bool_))] * len(tube)


def _box_of(mask: Bool) -> Box:
    x0, y0, x1, y1 = rle.bounding_box(rle.encode(mask)).tolist()
    return x0, y0, x1, y1


# ---------------------------------------------------------------- tubes


def _merge(result: VideoResult, number: int, into: int) -> VideoResult:
    if number == into:
        raise AnnotationError(f"tube {number} cannot be merged into itself")
    part, whole = _tube(result, number), _tube(result, into)
    own = ~np.isin(part.frames, whole.frames)
    merged = _joined(into, whole.label, [whole, *([_rows(part, own)] if own.any() else [])], result)
    masks = None if merged.masks is None else list(merged.masks)
    boxes = merged.boxes.copy()
    for frame in part.frames[~own].tolist():
        row, other = _row(merged, frame), _row(part, frame)
        boxes[row, :2] = np.minimum(boxes[row, :2], part.boxes[other, :2])
        boxes[row, 2:] = np.maximum(boxes[row, 2:], part.boxes[other, 2:])
        if masks is not None:
            masks[row] = rle.union([masks[row], _masks(part, result)[other]])
    merged = replace(merged, boxes=boxes, masks=None if masks is None else tuple(masks))
    return _with(result, [number, into], [merged])


def _swap(result: VideoResult, number: int, other: int, frame: int) -> VideoResult:
    if number == other:
        raise AnnotationError(f"tube {number} cannot be swapped with itself")
    a, b = _tube(result, number), _tube(result, other)
    (head_a, tail_a), (head_b, tail_b) = _cut(a, frame), _cut(b, frame)
    if tail_a is None and tail_b is None:
        raise AnnotationError(f"neither {number} nor {other} goes on at frame {frame}; nothing to swap")
    tubes = []
    for owner, pieces in ((a, (head_a, tail_b)), (b, (head_b, tail_a))):
        kept = [piece for piece in pieces if piece is not None]
        if kept:
            tubes.append(_joined(owner.id, owner.label, kept, result))
    return _with(result, [number, other], tubes)


def _joined(number: int, label: int, pieces: list[Tube], result: VideoResult) -> Tube:
    """Pieces that share no frame as one tube; its score is the mean over frames."""
    frames = np.concatenate([piece.frames for piece in pieces])
    order = np.argsort(frames)
    masks: tuple[MaskRLE, ...] | None = None
    if any(piece.masks is not None for piece in pieces):
        loose = [mask for piece in pieces for mask in _masks(piece, result)]
        masks = tuple(loose[row] for row in order)
    return Tube(
        id=number,
        label=label,
        score=float(np.average([p.score for p in pieces], weights=[len(p) for p in pieces])),
        frames=frames[order],
        boxes=np.concatenate([piece.boxes for piece in pieces])[order],
        scores=np.concatenate([piece.scores for piece in pieces])[order],
        masks=masks,
    )


def _cut(tube: Tube, frame: int) -> tuple[Tube | None, Tube | None]:
    """What lies before ``frame``, and what lies from it on."""
    tail = tube.frames >= frame
    return (
        None if tail.all() else _rows(tube, ~tail),
        None if not tail.any() else _rows(tube, tail),
    )


def _rows(tube: Tube, keep: Bool) -> Tube:
    masks = tube.masks
    return replace(
        tube,
        frames=tube.frames[keep],
        boxes=tube.boxes[keep],
        scores=tube.scores[keep],
        masks=None if masks is None else tuple(masks[row] for row in np.flatnonzero(keep)),
    )


def _with(result: VideoResult, without: list[int], tubes: list[Tube]) -> VideoResult:
    """The result without some ids and with some tubes, sorted by id."""
    kept = [tube for tube in result.tubes if tube.id not in without]
    return replace(result, tubes=tuple(sorted([*kept, *tubes], key=lambda tube: tube.id)))


def _tube(result: VideoResult, number: int) -> Tube:
    for tube in result.tubes:
        if tube.id == number:
            return tube
    known = ", ".join(str(tube.id) for tube in result.tubes[:20]) or "none"
    raise AnnotationError(f"there is no object {number}; the objects are: {known}")


def _row(tube: Tube, frame: int) -> int:
    row = int(np.searchsorted(tube.frames, frame))
    if row == len(tube) or tube.frames[row] != frame:
        raise AnnotationError(f"object {tube.id} is not on frame {frame}; go to a frame that has it")
    return row


def _covered(result: VideoResult, frame: int) -> None:
    if frame not in result.frames:
        raise AnnotationError(f"frame {frame} was not processed; choose one that the result covers")


def _free(result: VideoResult, number: int) -> None:
    if any(tube.id == number for tube in result.tubes):
        raise AnnotationError(f"the id {number} is taken; choose another")


def _label(result: VideoResult, name: str) -> tuple[tuple[str, ...], int]:
    """Class names that hold ``name``, and its index."""
    if name in result.class_names:
        return result.class_names, result.class_names.index(name)
    return (*result.class_names, name), len(result.class_names)
