"""What the page's form asks for, as words of the command line. The page runs what these words say.

So "the exact command" is not a description made afterwards: parser, defaults and plan are the command
line's own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from apps.from_python import run_parser
from apps.options import plan_of, selection_of
from apps.plan import SPEEDS
from apps.presets import PRESETS
from vis.errors import UsageError

if TYPE_CHECKING:
    from apps.plan import Plan, Selection

__all__ = ["Form", "read_words"]


@dataclass(frozen=True, slots=True)
class Form:
    """What stands in the left column. ``start`` and ``end`` are seconds."""

    preset: str = "quick"
    detector: str | None = None
    tracker: str | None = None
    classes: Sequence[str] | None = ()
    text: str | None = ""
    score: float | None = None
    start: float | None = None
    end: float | None = None
    stride: float | None = 1
    speed: str | None = ""

    def words(self) -> list[str]:
        """As words of the command line; what is left at its default is left out."""
        words = ["--preset", self.preset]
        chosen = (("detector", self.detector), ("tracker", self.tracker), ("speed", self.speed))
        for name, value in chosen:
            words += [f"--{name}", value] if value else []
        # With '=' a text that begins with a dash stays a text.
        for name, value in (("classes", ",".join(self.classes or ())), ("text", self.text or "")):
            words += [f"--{name}={value.strip()}"] if value.strip() else []
        words += [] if self.score is None else ["--score", f"{self.score:g}"]
        words += ["--start", f"{self.start:g}s"] if self.start else []
        words += ["--end", f"{self.end:g}s"] if self.end else []
        words += ["--stride", str(int(self.stride))] if self.stride and int(self.stride) != 1 else []
        return words

    @classmethod
    def read(cls, note: object) -> Form | None:
        """The form that was saved as a mapping of its fields; None where the page cannot show it as it is."""
        import detectors
        import trackers

        # An earlier version had fewer fields.
        if not isinstance(note, dict) or not note.keys() <= {field.name for field in fields(cls)}:
            return None
        form = cls(**note)
        named = (
            form.preset in tuple(PRESETS)
            and form.detector in (None, "", *detectors.names())
            and form.tracker in (None, "", *trackers.names())
            and form.speed in (None, "", *SPEEDS)
        )
        classes = isinstance(form.classes, list) and all(isinstance(name, str) for name in form.classes)
        text = form.text is None or isinstance(form.text, str)
        numbers = all(map(_is_number_or_none, (form.score, form.start, form.end, form.stride)))
        return form if named and classes and text and numbers else None


def _is_number_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def read_words(words: list[str]) -> tuple[Plan, Selection]:
    """What will run. What the command line's own parser refuses is a :class:`UsageError`.

    So is a ``module:Class``: no visitor chooses what the server imports.
    """
    args = run_parser().parse_args(["clip.mp4", *words])
    plan = plan_of(args)
    if any(":" in name for name in (plan.detector, plan.tracker)):
        raise UsageError("a detector or tracker of one's own is for the command line; choose one of the list")
    return plan, selection_of(args)
