"""Edits with undo and redo, and the file that keeps them.

::

    {"format": "vis-tubes-edits", "format_version": 1,
     "base_sha256": "...",              of the result the edits belong to; may be left out, then it is not checked
     "model": "hq-tiny",                what decodes the prompts
     "edits": [{"op": "correct", "tube": 2, "frame": 40, "points": [[310, 96]], "point_labels": [0]}, ...]}
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vis.edits.apply import Decode, apply
from vis.edits.operations import Edit, from_json, to_json
from vis.errors import AnnotationError, AnnotationWarning
from vis.files import read_json, write_json
from vis.formats import fields
from vis.formats import tubes as tubes_format
from vis.structures import VideoResult

__all__ = ["EditFile", "History", "fingerprint", "read", "sealed", "write"]

FORMAT = "vis-tubes-edits"
VERSION = 1
MAX_EDITS = 100_000
MAX_BYTES = 64 * 2**20


class History:
    """A result and the edits on it; any number of steps back and forward.

    Every state is kept. States share the tubes that did not change, so a step costs one tube's run
    lengths, and going back computes nothing.
    """

    def __init__(self, base: VideoResult) -> None:
        self._states = [base]
        self._edits: list[Edit] = []
        self._at = 0

    @property
    def base(self) -> VideoResult:
        """The result before any edit."""
        return self._states[0]

    @property
    def result(self) -> VideoResult:
        """The result as it is now."""
        return self._states[self._at]

    @property
    def edits(self) -> tuple[Edit, ...]:
        """The edits that led here; undone ones are not among them."""
        return tuple(self._edits[: self._at])

    @property
    def undone(self) -> tuple[Edit, ...]:
        """The edits that ``redo`` would bring back, the next one first."""
        return tuple(self._edits[self._at :])

    def do(self, edit: Edit, *, decode: Decode) -> VideoResult:
        """Apply an edit; what was undone before is forgotten. On an error nothing changes."""
        return self.take(edit, apply(self.result, edit, decode=decode))

    def take(self, edit: Edit, result: VideoResult) -> VideoResult:
        """Note an edit whose result is already known, as :func:`vis.edits.follow` gives it."""
        self._states[self._at + 1 :] = [result]
        self._edits[self._at :] = [edit]
        self._at += 1
        return result

    def undo(self) -> VideoResult:
        """One step back; at the start it stays."""
        self._at = max(0, self._at - 1)
        return self.result

    def redo(self) -> VideoResult:
        """One step forward; at the end it stays."""
        self._at = min(len(self._edits), self._at + 1)
        return self.result


@dataclass(frozen=True, slots=True)
class EditFile:
    """What an edits file holds."""

    base_sha256: str | None
    """None: written by hand, for whatever result it is played on."""
    model: str | None
    edits: tuple[Edit, ...]

    def check_base(self, base: VideoResult, where: str = "edits") -> None:
        """Raise :class:`AnnotationError` unless the edits were made on ``base``; without a checksum warn."""
        if self.base_sha256 is None:
            warnings.warn(
                f"{where}: has no base_sha256, so nothing was checked: the edits may be of another result. "
                f'That of this one is "{fingerprint(base)}"',
                AnnotationWarning,
                stacklevel=2,
            )
        elif self.base_sha256 != fingerprint(base):
            raise AnnotationError(
                f"{where}: these edits were made on another result (its checksum starts with "
                f"{self.base_sha256[:12]}, this one's with {fingerprint(base)[:12]}); "
                "give the tubes.json from before the edits"
            )


def fingerprint(result: VideoResult) -> str:
    """sha256 of the result as JSON: equal exactly when ``tubes.json`` would be."""
    text = json.dumps(tubes_format.to_json(result), separators=(",", ":"), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "backslashreplace")).hexdigest()


def sealed(result: VideoResult, base: VideoResult, edits: Sequence[Edit], model: str | None) -> VideoResult:
    """The edited result with a note of its edits in ``made_with``; without edits it stays as it is."""
    if not edits:
        return result
    text = json.dumps([to_json(edit) for edit in edits], separators=(",", ":"), sort_keys=True)
    note = {
        "count": len(edits),
        "sha256": hashlib.sha256(text.encode()).hexdigest(),
        "base_sha256": fingerprint(base),
        "model": model,
    }
    return replace(result, made_with={**result.made_with, "edits": note})


def write(path: str | Path, base: VideoResult, edits: Sequence[Edit], *, model: str | None = None) -> None:
    """Write the edits made on ``base``; whole, or :class:`vis.errors.OutputError`."""
    value = {
        "format": FORMAT,
        "format_version": VERSION,
        "base_sha256": fingerprint(base),
        "model": model,
        "edits": [to_json(edit) for edit in edits],
    }
    write_json(path, value, indent=1)


def read(path: str | Path) -> EditFile:
    """Read and check what ``write`` wrote; :class:`AnnotationError` names file and edit."""
    value = read_json(path, limit_bytes=MAX_BYTES)
    where = Path(path).name
    if not isinstance(value, Mapping) or value.get("format") != FORMAT:
        raise AnnotationError(f"{where}: not an edits file of vis-tubes; the page's 'edits.json' is one")
    if value.get("format_version") != VERSION:
        raise AnnotationError(
            f"{where}: format version {fields.shown(value.get('format_version'))}, this program reads {VERSION}"
        )
    edits: Any = value.get("edits")
    model, base = value.get("model"), value.get("base_sha256")
    if not isinstance(edits, list) or len(edits) > MAX_EDITS:
        raise AnnotationError(f"{where}: 'edits' must be a list of at most {MAX_EDITS:,}")
    if not all(text is None or isinstance(text, str) for text in (base, model)):
        raise AnnotationError(f"{where}: 'base_sha256' and 'model' must be text, or left out")
    return EditFile(
        base, model, tuple(from_json(item, f"{where}: edit {n + 1}") for n, item in enumerate(edits))
    )
