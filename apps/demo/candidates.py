"""SAM's three masks of the visitor's last click, to step through: whole, part, subpart. Knows no Gradio."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from apps.demo.session import Session
from vis import edits
from vis import masks as rle
from vis.errors import UsageError
from vis.follow.prompts import CANDIDATES, Prompt

__all__ = ["label", "step"]


def label(session: Session) -> str:
    """Which of the masks is shown, as '2 of 3: part'; empty where no single click was the last edit here."""
    edit = _click(session)
    if edit is None:
        return ""
    if edit.candidate is None:
        return f"best of {len(CANDIDATES)}"
    return f"{CANDIDATES.index(edit.candidate) + 1} of {len(CANDIDATES)}: {edit.candidate}"


def step(session: Session, decode: edits.Decode, by: int) -> edits.Correct | edits.Add:
    """Replace the last edit, a single click, by the same with the next mask (``by`` 1) or the one before (-1).

    Raises :class:`UsageError` where the last edit is something else; then nothing changes.
    """
    edit, history = _click(session), session.history
    if edit is None or history is None:
        raise UsageError("there is no click to choose a mask of; click once on an object, then step")
    places = len(CANDIDATES)
    place = _place(session, edit, decode)
    place = (place + by) % places if place is not None else (0 if by > 0 else places - 1)
    chosen = replace(edit, candidate=CANDIDATES[place])
    history.undo()
    try:
        history.do(chosen, decode=decode)
    except BaseException:
        history.redo()
        raise
    return chosen


def _click(session: Session) -> edits.Correct | edits.Add | None:
    """The last edit, where it is a single click inside of the selected object on the shown frame."""
    history = session.history
    if history is None or not history.edits:
        return None
    edit = history.edits[-1]
    if not isinstance(edit, edits.Correct | edits.Add) or edit.box is not None or edit.point_labels != (1,):
        return None
    here = edit.tube == session.selected and edit.frame == history.result.frames[session.position]
    return edit if here else None


def _place(session: Session, edit: edits.Correct | edits.Add, decode: edits.Decode) -> int | None:
    """Which of the three the shown mask is; None where it is another, as one that went on from the mask before."""
    if edit.candidate is not None:
        return CANDIDATES.index(edit.candidate)
    assert session.history is not None
    tube = next(tube for tube in session.history.result.tubes if tube.id == edit.tube)
    assert tube.masks is not None
    shown = rle.decode(tube.masks[int(np.searchsorted(tube.frames, edit.frame))])
    for place, candidate in enumerate(CANDIDATES):
        mask = decode(edit.frame, Prompt(edit.points, edit.point_labels, candidate=candidate))
        if np.array_equal(mask, shown):
            return place
    return None
