"""Corrections of a result by hand: a list of operations that can be undone, saved and replayed.

::

    history = History(result)
    history.do(Correct(tube=2, frame=40, points=((310, 96),), point_labels=(0,)), decode=decode)
    history.do(Merge(tube=5, into=2), decode=decode)
    history.undo()
    write("edits.json", history.base, history.edits, model="hq-tiny")

``operations`` says what there is, ``apply`` what each does, ``history`` keeps them, ``decoder`` turns
prompts into masks. Knows no page.
"""

from __future__ import annotations

from vis.edits.apply import Decode, Prompt, apply, follow, needs_decode, replay
from vis.edits.decoder import FrameDecoder, NoDecoder
from vis.edits.history import EditFile, History, fingerprint, read, sealed, write
from vis.edits.operations import (
    OPERATIONS,
    Add,
    Brush,
    Correct,
    Delete,
    Edit,
    Follow,
    Merge,
    Relabel,
    Split,
    Swap,
    describe,
    from_json,
    to_json,
)

__all__ = [
    "OPERATIONS",
    "Add",
    "Brush",
    "Correct",
    "Decode",
    "Delete",
    "Edit",
    "EditFile",
    "Follow",
    "FrameDecoder",
    "History",
    "Merge",
    "NoDecoder",
    "Prompt",
    "Relabel",
    "Split",
    "Swap",
    "apply",
    "describe",
    "fingerprint",
    "follow",
    "from_json",
    "needs_decode",
    "read",
    "replay",
    "sealed",
    "to_json",
    "write",
]
