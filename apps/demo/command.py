"""The words of the command line that a run of the page stands for. The page runs what these words say.

So "the exact command" is not a description made afterwards: parser, defaults and plan are the command
line's own.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from apps.demo.labels import slug
from apps.demo.session import Session
from apps.from_python import run_parser
from apps.options import plan_of, selection_of

if TYPE_CHECKING:
    from apps.plan import Plan, Selection

__all__ = ["commands", "read_words", "words_of"]


def words_of(
    *,
    preset: str = "quick",
    detector: str | None = None,
    tracker: str | None = None,
    classes: str = "",
    text: str = "",
    score: float | None = None,
    start: float | None = None,
    end: float | None = None,
    stride: int = 1,
) -> list[str]:
    """Options as words; what is left at its default is left out. ``start`` and ``end`` are seconds."""
    words = ["--preset", preset]
    for name, value in (("detector", detector), ("tracker", tracker)):
        if value:
            words += [f"--{name}", value]
    # With '=' a text that begins with a dash stays a text.
    words += [f"--classes={classes.strip()}"] if classes.strip() else []
    words += [f"--text={text.strip()}"] if text.strip() else []
    words += [] if score is None else ["--score", f"{score:g}"]
    words += ["--start", f"{start:g}s"] if start else []
    words += ["--end", f"{end:g}s"] if end else []
    words += ["--stride", str(int(stride))] if stride and int(stride) != 1 else []
    return words


def read_words(words: list[str]) -> tuple[Plan, Selection]:
    """What will run; what the command line's own parser refuses is a :class:`UsageError`."""
    args = run_parser().parse_args(["clip.mp4", *words])
    return plan_of(args), selection_of(args)


def commands(session: Session) -> str:
    """Lines that repeat this visitor's work on their own machine, COCO and cut-out included."""
    if session.history is None:
        return ""
    source, out = session.options["source"], f"runs/{slug(session.name)}"
    lines = [["vistubes", "run", source, *session.options["words"], "--out", out]]
    if session.history.edits:
        edit: list[Any] = ["vistubes", "edit", f"{out}/tubes.json", "edits.json", source]
        lines.append([*edit, "--out", f"{out}-edited/tubes.json"])
        out = f"{out}-edited/tubes.json"
    name = slug(session.name)
    lines.append(["vistubes", "convert", out, f"{name}.json", "--to", "coco"])
    lines.append(["vistubes", "cutout", out, source, "--out", f"{name}-cutout.webm"])
    return "\n".join(shlex.join(line) for line in lines)
