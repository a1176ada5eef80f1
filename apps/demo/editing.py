"""What the visitor does on the picture and the timeline: looking around, and every edit.

What comes from the browser is a plain object that nobody has checked; edits are built by
:func:`vis.edits.from_json`, which does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from apps.demo import candidates
from apps.demo.labels import clean_text, sentence
from apps.demo.model_cache import ModelCache
from apps.demo.running import SHOW_SECONDS, Update, claim
from apps.demo.session import Session
from apps.demo.views import timeline, view
from vis import edits, engines
from vis import masks as rle
from vis.edits import Edit, Follow, History
from vis.errors import UsageError, VideoError
from vis.structures import Tube

ADDED = (
    " Press Follow (f) to carry it through the clip, or choose another mask first (c), or correct it with "
    "+ Click and − Click."
)

__all__ = ["act", "follow", "go_where_it_was_seen", "problems", "seek"]


def seek(session: Session, data: Mapping[str, Any]) -> Update:
    """Another frame: ``{"to": position}``, ``{"by": steps}``, ``{"go": "problem+" ...}``; or another object:
    ``{"tube": id}``, ``{"pick": steps}`` in the rows (of one ``"label"``), ``{"at": [x, y]}`` under a pixel of the
    shown frame.
    """
    if session.running or session.video is None:
        return Update()
    with session.lock:
        before = session.position, session.selected
        if "tube" in data:
            session.selected = _whole(data["tube"])
        elif "pick" in data:
            session.selected = _neighbour(session, _whole(data["pick"]), str(data.get("label", "")))
        elif "at" in data:
            session.selected = _under(session, data["at"])
        if "to" in data:
            session.position = _whole(data["to"])
        elif "by" in data:
            session.position += _whole(data["by"])
        elif "go" in data:
            session.position = _place(session, str(data["go"]))
        session.position = min(max(0, session.position), _last(session))
        if (session.position, session.selected) != before:
            session.clicks = None
        return Update(view(session), timeline(session))


def go_where_it_was_seen(session: Session, data: Mapping[str, Any]) -> None:
    """An edit is made on the frame that the visitor saw (``"on"``), whatever was asked for since."""
    if "on" in data and session.history is not None and not session.running:
        before = session.position
        session.position = min(max(0, _whole(data["on"])), _last(session))
        if session.position != before:
            session.clicks = None


def _neighbour(session: Session, steps: int, label: str) -> int | None:
    """The id of the object some rows further down (or up) the timeline, among those of a class where one is named."""
    if session.history is None:
        return session.selected
    result = session.history.result
    ids = [tube.id for tube in result.tubes if label in ("", result.class_names[tube.label])]
    if session.selected not in ids:
        return ids[0] if ids else session.selected
    return ids[min(max(0, ids.index(session.selected) + steps), len(ids) - 1)]


def _under(session: Session, point: object) -> int | None:
    """The id of the smallest object whose mask holds a pixel of the shown frame; else what was selected."""
    if session.history is None or not isinstance(point, list | tuple) or len(point) != 2:
        return session.selected
    (x, y), frame = map(_whole, point), _frame(session)
    height, width = session.history.result.video.size
    hits = []
    for tube in session.history.result.tubes:
        row = int(np.searchsorted(tube.frames, frame))
        if tube.masks is None or row == len(tube) or tube.frames[row] != frame:
            continue
        if 0 <= y < height and 0 <= x < width and rle.decode(tube.masks[row])[y, x]:
            hits.append((rle.area(tube.masks[row]), tube.id))
    return min(hits)[1] if hits else session.selected


def _last(session: Session) -> int:
    from apps.demo.model_cache import reader_of

    return (len(reader_of(session)) if session.history is None else len(session.history.result.frames)) - 1


def _place(session: Session, where: str) -> int:
    """The position that a word names."""
    if where in ("first", "last"):
        return 0 if where == "first" else _last(session)
    if session.history is None:
        return session.position
    if where in ("tube-", "tube+"):
        tube = _selected(session)
        place = np.searchsorted(session.history.result.frames, tube.frames)
        return int(place[0] if where == "tube-" else place[-1])
    found = problems(session)
    ahead = [p for p in found if p > session.position]
    behind = [p for p in found if p < session.position]
    if where == "problem+":
        return ahead[0] if ahead else session.position
    return behind[-1] if behind else session.position


def problems(session: Session) -> list[int]:
    """Positions worth a look: jumps, and where an unsure stretch or a gap begins."""
    found: set[int] = set()
    for row in timeline(session)["rows"]:
        found.update(row["jumps"])
        found.update(first for first, _ in row["low"])
        found.update(last + 1 for _, last, _ in row["bars"][:-1])
    return sorted(found)


def act(session: Session, model_cache: ModelCache, data: Mapping[str, Any]) -> Update:
    """One edit, or one step of undo or redo."""
    with session.lock:
        if session.running:
            raise UsageError("a run is going on; correct when it is done, or cancel it")
        history = session.history
        if history is None:
            raise UsageError("there is nothing to correct yet; press Run first")
        name = str(data.get("name", ""))
        go_where_it_was_seen(session, data)
        edit: Edit | None = None
        if name in ("undo", "redo"):
            text = _step(history, name)
            session.clicks = None
        else:
            if name == "candidate":
                edit = candidates.step(session, model_cache.decoder_of(session), _whole(data.get("step")))
            else:
                edit = _edit(session, history, name, data)
                decode = model_cache.decoder_of(session) if edits.needs_decode([edit]) else edits.NoDecoder()
                history.do(edit, decode=decode)
            _after(session, edit)
            text = sentence(edits.describe(edit))
            if isinstance(edit, edits.Add):
                text += ADDED
        ids = [tube.id for tube in history.result.tubes]
        if session.selected not in ids:
            session.selected = ids[0] if ids else None
        session.save()
        added = isinstance(edit, edits.Add)
        return Update({**view(session), "added": added}, timeline(session), text)


def follow(session: Session, model_cache: ModelCache, engine: str = engines.DEFAULT) -> Iterator[Update]:
    """Carry the selected object's mask on, both ways, up to frames that were set by hand; cancel keeps a part."""
    if engine not in engines.names():
        raise UsageError(f"no engine named {engine!r}; choose one of {', '.join(engines.names())}")
    with claim(session):
        history = session.history
        if history is None:
            raise UsageError("there is nothing to follow yet; press Run first")
        result, tube, frame = history.result, _selected(session), _frame(session)
        reach = replace(_reach(history, tube, frame), engine=engine)
        reached, lost, shown = [frame], 0, 0.0
        failure: VideoError | None = None
        try:
            for index, result in edits.follow(history.result, reach, decode=model_cache.decoder_of(session)):
                reached.append(index)
                lost += all(index not in t.frames for t in result.tubes if t.id == tube.id)
                session.position = int(np.searchsorted(result.frames, index))
                if time.perf_counter() - shown >= SHOW_SECONDS:
                    shown = time.perf_counter()
                    text = f"Following object {tube.id}: {len(reached) - 1} frames. Cancel keeps what was followed."
                    seen = {**view(session, result=result), "state": "running"}
                    yield Update(seen, timeline(session, result), text, len(reached) / len(result.frames))
                if session.cancel.is_set():
                    break
        except VideoError as error:  # what was followed before it is kept
            if len(reached) == 1:
                raise
            failure = error
        session.position = int(np.searchsorted(result.frames, frame))
        if len(reached) - 1 > lost:
            done = replace(reach, first=min(reached), last=max(reached))
            with session.lock:
                history.take(done, result)
                session.clicks = None
                session.save()
            text = f"Followed object {tube.id} over frames {done.first} to {done.last}"
            text += f"; not seen on {lost} of {len(reached)}." if lost else "."
        elif len(reached) == 1:
            text = f"There is no frame to follow object {tube.id} to: those beside this one were set by hand."
        else:
            text = (
                f"Object {tube.id} is not found on any other frame; correct its mask here, then follow again."
            )
        if failure is not None:
            text += f" Note: {clean_text(str(failure), session.spoken)}."
        last = Update(view(session), timeline(session), text)
    yield last  # after the claim: what the visitor does on seeing it is not refused


def _reach(history: History, tube: Tube, frame: int) -> Follow:
    """From a frame up to the next ones that were set by hand, or to the ends: what a person has set stays."""
    by_hand = {
        edit.frame
        for edit in history.edits
        if isinstance(edit, edits.Correct | edits.Brush | edits.Add) and edit.tube == tube.id
    } & set(tube.frames.tolist())
    frames = history.result.frames
    first = max((other + 1 for other in by_hand if other < frame), default=int(frames[0]))
    last = min((other - 1 for other in by_hand if other > frame), default=int(frames[-1]))
    return Follow(tube.id, frame, first, last)


def _step(history: History, name: str) -> str:
    if name == "undo":
        if not history.edits:
            return "Nothing to undo."
        text = f"Undone: {edits.describe(history.edits[-1])}."
        history.undo()
        return text
    if not history.undone:
        return "Nothing to redo."
    text = f"Done again: {edits.describe(history.undone[0])}."
    history.redo()
    return text


def _edit(session: Session, history: History, name: str, data: Mapping[str, Any]) -> Edit:
    """The edit that the browser asks for, with the frame and the object that the server knows."""
    frame = _frame(session)
    if name == "new":
        fresh = {
            "op": "add",
            "tube": _free_id(history),
            "frame": frame,
            "label": data.get("label") or "object",
        }
        return edits.from_json({**fresh, **_prompt(data)}, "new object")
    tube = _selected(session).id
    value: dict[str, Any] = {"tube": tube}
    if name == "click":
        value = {"op": "correct", **value, "frame": frame, **_clicks(session, tube, frame, data)}
    elif name == "box":
        value = {"op": "correct", **value, "frame": frame, "box": data.get("box")}
    elif name == "brush":
        stroke = {key: data.get(key) for key in ("stroke", "radius", "erase")}
        value = {"op": "brush", **value, "frame": frame, **stroke}
    elif name == "delete":
        scope = {"frame": (frame, frame), "onwards": (frame, None), "tube": (None, None)}
        first, last = scope.get(str(data.get("scope")), (frame, frame))
        value = {"op": "delete", **value, "first": first, "last": last}
    elif name == "split":
        value = {"op": "split", **value, "frame": frame, "new": _free_id(history)}
    elif name == "merge":
        # The selected object stays, the other becomes part of it.
        value = {"op": "merge", "tube": data.get("other"), "into": tube}
    elif name == "swap":
        value = {"op": "swap", **value, "other": data.get("other"), "frame": frame}
    elif name == "relabel":
        value = {"op": "relabel", **value, "label": data.get("label")}
    else:
        raise UsageError("the page asked for an edit that does not exist; reload it")
    return edits.from_json(value, name)


def _prompt(data: Mapping[str, Any]) -> dict[str, Any]:
    if "box" in data:
        return {"box": data["box"]}
    return {"points": [[data.get("x"), data.get("y")]], "point_labels": [1]}


def _clicks(session: Session, tube: int, frame: int, data: Mapping[str, Any]) -> dict[str, Any]:
    """All clicks of this correction, the new one last."""
    before: list[list[float]] = []
    if session.clicks is not None and session.clicks[:2] == (tube, frame):
        before = session.clicks[2]
    clicks: list[list[Any]] = [*before, [data.get("x"), data.get("y"), 1 if data.get("inside") else 0]]
    return {"points": [click[:2] for click in clicks], "point_labels": [click[2] for click in clicks]}


def _after(session: Session, edit: Edit) -> None:
    """Remember the clicks, and select what is new."""
    session.clicks = None
    if isinstance(edit, edits.Correct) and edit.points:
        marks = zip(edit.points, edit.point_labels, strict=True)
        session.clicks = (edit.tube, edit.frame, [[x, y, inside] for (x, y), inside in marks])
    if isinstance(edit, edits.Add):
        session.selected = edit.tube
        if edit.points:
            session.clicks = (edit.tube, edit.frame, [[x, y, 1] for x, y in edit.points])


def _selected(session: Session) -> Tube:
    assert session.history is not None
    for tube in session.history.result.tubes:
        if tube.id == session.selected:
            return tube
    raise UsageError("no object is selected; click its row in the timeline first")


def _frame(session: Session) -> int:
    assert session.history is not None
    return int(session.history.result.frames[session.position])


def _free_id(history: History) -> int:
    # Beyond every id that this history has used: an id never means two objects.
    used = [tube.id for tube in (*history.base.tubes, *history.result.tubes)]
    used += [getattr(edit, name, 0) for edit in history.edits for name in ("tube", "new")]
    return max(used, default=0) + 1


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError("the page sent something that is not a number; reload it")
    return int(max(-1e9, min(1e9, value)))
