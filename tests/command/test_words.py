"""README, docs, ``--help``, the page and the code use the field's words: former names of things are gone."""

from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.cli import top_parser, whole_parser

ROOT = Path(__file__).resolve().parents[2]

NAMES = re.findall(
    r"\S+",
    """
    TokensLook ImageLooks last_look draw_within rows_above best_of everything.py judge.py
    overlaps.py diagnosis.py decoding_process new_file SoughtFrames not_held birth_score LOOK_SECONDS _Crew
    taking_home take_home whole_or_part whole-or-part timetable shelve
    """,
)
"""Former identifiers that are no words of English: nowhere."""

WORDS = re.findall(
    r"\S+",
    """
    Asked Drawn Pieces Recorded Judge Verdict Leg Walk Followed Newest Fate Desk Engines excused bands gather
    painting taught pacing tone glance evidence columns assemble heap films correcting opening measuring wish
    attempt
    """,
)
"""Former identifiers that are everyday words: not as code, between backticks."""

IDENTIFIERS = set(
    re.findall(
        r"\w+",
        """
        Asked Drawn TokensLook ImageLooks last_look draw_within rows_above best_of Pieces Recorded Judge excused
        Verdict SoughtFrames not_held decoding_process new_file Pacing Leg Walk Followed Newest Fate birth_score
        Desk Engines shelve Crew LOOK_SECONDS taking_home whole_or_part
        """,
    )
)
"""Former names in Python, whatever underscores they begin with."""

STILL_TAKEN = {
    ("trackers/base.py", "birth_score"),
    ("trackers/bytetrack.py", "birth_score"),
    ("vis/prompt_policies.py", "whole_or_part"),
}
"""What works for one version more, with a warning."""

PHRASES = (
    r"graphics processor",
    r"processor (seconds|time|core)",
    r"\bhold(s|ing)? better\b",
    r"\b(take|takes|taken|took|taking)( \w+){0,4} home\b",
    r"\bcomes? home\b",
)
"""Phrases, whatever their case."""


def texts() -> Iterator[tuple[str, str]]:
    """(place, text) of what users read. The changelog names what things were called before."""
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "examples" / "quickstart.ipynb"):
        if path.name != "CHANGELOG.md":
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")
    yield "vistubes --help", top_parser().format_help() + "".join(helps(whole_parser()))
    for path in (ROOT / "apps" / "demo").rglob("*.*"):
        if path.suffix in (".html", ".js"):
            yield f"the page's {path.name}", path.read_text(encoding="utf-8")
        elif path.suffix == ".py":
            yield f"the page's {path.name}", "\n".join(sentences(path.read_text(encoding="utf-8")))


def helps(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The help of a parser and of all below it."""
    yield parser.format_help()
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                yield from helps(verb)


def sentences(source: str) -> Iterator[str]:
    """The texts in a module that have a blank in them, and so are for people; no docstrings."""
    tree = ast.parse(source)
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield from [node.value] if " " in node.value else []


def former(text: str) -> set[str]:
    """Which of the former names, words as code, and phrases a text has."""
    found = {name for name in NAMES if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text)}
    found |= {word for word in WORDS if f"`{word}`" in text}
    return found | {phrase for phrase in PHRASES if re.search(phrase, text, re.IGNORECASE)}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("`--whole-or-part` and `TokensLook`", {"whole-or-part", "TokensLook"}),
        ("It judged the pieces that it was asked about.", set()),
        ("a `Judge` of `evidence`", {"Judge", "evidence"}),
        ("Take your clip home", {PHRASES[3]}),
    ],
)
def test_former_words_are_found(text: str, found: set[str]) -> None:
    assert former(text) == found


def test_what_users_read_uses_the_fields_words() -> None:
    there = {(place, word) for place, text in texts() for word in former(" ".join(text.split()))}
    assert there == set(), "former names; write today's"


def identifiers(source: str) -> set[str]:
    """What a module defines, takes or uses, without the underscores it begins with; no keywords of calls."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.alias(name=name):
                found.add(name)
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
    return {name.lstrip("_") for name in found}


def test_former_identifiers_are_found() -> None:
    source = "class Judge:\n    def f(self, _Crew): return self.best_of(Leg)\nrenamed(Walk='Pass')"
    assert identifiers(source) & IDENTIFIERS == {"Judge", "Crew", "best_of", "Leg"}


def test_python_uses_the_fields_words() -> None:
    rooms = ("vis", "trackers", "detectors", "apps")
    there = {
        (path.relative_to(ROOT).as_posix(), name)
        for room in rooms
        for path in (ROOT / room).rglob("*.py")
        for name in identifiers(path.read_text(encoding="utf-8")) & IDENTIFIERS
    }
    assert there == STILL_TAKEN
