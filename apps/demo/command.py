"""The words of the command line that a run of the page stands for. The page runs what these words say.

So "the exact command" is not a description made afterwards: parser, defaults and plan are the command
line's own.
"""

from __future__ import annotations

import contextlib
import io
import shlex
from typing import TYPE_CHECKING, Any

from apps.demo.session import Session
from apps.demo.words import slug
from vis.errors import UsageError

if TYPE_CHECKING:
    import argparse

    from apps.assemble import Plan

__all__ = ["commands", "parse", "plan_of", "words_of"]


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


def parse(source: str, words: list[str]) -> argparse.Namespace:
    """The command line's own parser; what it refuses is a :class:`UsageError`."""
    from apps.cli import build_parser

    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return build_parser("run").parse_args([source, *words])
    except SystemExit:
        last = said.getvalue().strip().splitlines()[-1:] or ["the options cannot be meant so"]
        raise UsageError(last[0].split("error: ")[-1]) from None


def plan_of(words: list[str]) -> Plan:
    """What will run."""
    from apps.assemble import Plan

    return Plan.from_args(parse("clip.mp4", words))


def commands(session: Session) -> str:
    """Lines that repeat this visitor's work on their own machine."""
    if session.history is None:
        return ""
    source, out = session.options["source"], f"runs/{slug(session.name)}"
    lines = [["vistubes", "run", source, *session.options["words"], "--out", out]]
    if session.history.edits:
        edit: list[Any] = ["vistubes", "edit", f"{out}/tubes.json", "edits.json", source]
        lines.append([*edit, "--out", f"{out}-edited/tubes.json"])
    return "\n".join(shlex.join(line) for line in lines)
