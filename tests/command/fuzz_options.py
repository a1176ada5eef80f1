"""Run by test_options.py in a process of its own: hostile values for every option of every verb, by the thousand.

    python tests/command/fuzz_options.py COUNT SEED

Every value must be refused by the parser in a short sentence (exit code 2), or be within bounds. Some of the verbs are
run too, on inputs of a few pixels: they must end with a documented exit code. Prints one JSON object.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apps.cli import COMMANDS, EXIT_CODES, build_parser, main
from vis.errors import UsageError

NUMBERS = (
    *("0", "-1", "1", "2", "-0", "+3", "1.5", "-3", "1e3", "1e308", "1e309", "-1e400", "nan", "-nan", "inf", "-inf"),
    *("infs", "nans", "-4s", "1e400s", "4.5s", "1e-320", "9" * 20, "9" * 5000, "1_000", " 7 ", "0x10", "²", "³s"),
    *("٣", "１２", "½", "1,5", "1e", "e1", "--5", "+-1", "0.0", "2147483648", "9223372036854775808", "1" + "0" * 18),
)  # fmt: skip
TEXTS = (
    *("", " ", "\0", "a\0b", "\udce9", "caf\udce9.mp4", "\U0010ffff", "\n", "-", "--", "=", "@", "#", "a" * 256),
    *("x" * 5000, "é" * 200, "nowhere/" + "b" * 300, "/".join(["d"] * 3000), "..", "~", "con", "%s%n{}", "a,b,,c"),
    *("3=dog,²=cat", "1080x1920", "9999999x1", "²x2", "points:²", "points:9999999999", "1,2", "-10,30,40,60", "1,2@²"),
    *("1,2@9999999999s#1", "1,2,3,4@1#0", "nan,nan", "none", "motion", "iou", "hq-tiny", "auto", "cuda:²", "true"),
)  # fmt: skip
MESSAGE_BYTES = 20_000  # the usage of a verb with 40 options, and a sentence


class Parsers:
    """The parsers of all verbs and sub-verbs, with what each must be given."""

    def __init__(self) -> None:
        self.rows: list[tuple[tuple[str, ...], argparse.ArgumentParser, argparse.Action]] = []
        self.parsers: dict[str, argparse.ArgumentParser] = {}
        self.needed: dict[tuple[str, ...], list[str]] = {}
        for verb in COMMANDS:
            self.parsers[verb] = build_parser(verb)
            self._add((verb,), self.parsers[verb])

    def _add(self, words: tuple[str, ...], parser: argparse.ArgumentParser) -> None:
        parser.format_help()  # some parsers add their options when first used
        needed: list[str] = []
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, sub in action.choices.items():
                    self._add((*words, name), sub)
                continue
            if action.nargs == 0 or isinstance(action, argparse._HelpAction | argparse._VersionAction):
                continue
            self.rows.append((words, parser, action))
            if action.required and action.nargs not in ("?", "*"):
                count = action.nargs if isinstance(action.nargs, int) else 1
                value = str(next(iter(action.choices))) if action.choices else "1"
                needed += [*action.option_strings[:1], *[value] * count]
        self.needed[words] = needed

    def parse(
        self, words: tuple[str, ...], option: str | None, value: str
    ) -> tuple[argparse.Namespace | None, str]:
        """What the words become, None where they are refused, and what was said."""
        given = [value] if option is None else [f"{option}={value}"]
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            try:
                return self.parsers[words[0]].parse_args(
                    [*words[1:], *self.needed[words], *given]
                ), said.getvalue()
            except SystemExit as stop:
                if stop.code != 2:
                    raise ValueError(f"exit code {stop.code}") from stop
                return None, said.getvalue()
            except UsageError as error:  # options of an earlier version say so themselves
                return None, str(error)


def check(value: Any) -> None:
    """Fail unless a parsed value is within bounds."""
    if isinstance(value, list | tuple):
        for one in value:
            check(one)
    elif isinstance(value, int):
        assert abs(value) < 2**63, value
    elif isinstance(value, float):
        assert math.isfinite(value), value
        assert abs(value) <= 1e9, value
    elif isinstance(value, Path):
        assert "\0" not in str(value)
        assert all(len(os.fsencode(part)) <= 255 for part in value.parts), str(value)[:80]


def inputs(place: Path) -> dict[str, list[str]]:
    """Words of verbs that run on a few pixels, without any network."""
    (place / "film").mkdir()
    for k in range(3):
        Image.fromarray(np.full((8, 10, 3), 40 * k, np.uint8)).save(place / "film" / f"{k}.png")
        for folder in ("truth", "found"):
            (place / folder / "clip").mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(8, 10, dtype=np.uint8)).save(place / folder / "clip" / f"{k}.png")
    mask = {"size": [8, 10], "counts": [10, 4, 66]}
    truth = {
        "videos": [{"id": 1, "height": 8, "width": 10, "length": 3, "file_names": ["a/0", "a/1", "a/2"]}],
        "categories": [{"id": 1, "name": "a"}],
        "annotations": [
            {
                "id": 1,
                "video_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "areas": [4] * 3,
                "segmentations": [mask] * 3,
            }
        ],
    }
    results = [{"video_id": 1, "category_id": 1, "score": 0.5, "segmentations": [mask] * 3}]
    (place / "truth.json").write_text(json.dumps(truth))
    (place / "results.json").write_text(json.dumps(results))
    run = ["film", "--detector", "none", "--no-overlay", "--quiet", "--overwrite", "--out", "ran"]
    with contextlib.redirect_stderr(io.StringIO()):
        assert main(["run", *run, "--model", "none"]) == 0
        assert main(["convert", "truth.json", "tubes.json", "--from", "ytvis", "--to", "tubes"]) == 0
    set_words = [
        "--min-score",
        "0",
        "--min-stability",
        "0",
        "--min-frames",
        "1",
        "--min-area",
        "0",
        "--quiet",
    ]
    scores = ["--truth", "truth.json", "--results", "results.json"]
    return {
        "run": ["run", *run, "--model", "none"],
        "track": ["track", *run],
        "link": ["link", "tubes.json", "film", "--out", "linked", "--overwrite"],
        "label": ["label", "tubes.json", "film", "--out", "set", "--overwrite", *set_words],
        "convert": ["convert", "tubes.json", "out.json", "--to", "ytvis", "--overwrite"],
        "eval tubes": ["eval", "tubes", *scores],
        "eval coco": ["eval", "coco", *scores],
        "eval davis": ["eval", "davis", "--truth", "truth", "--results", "found"],
        "eval zip": ["eval", "zip", "--results", "results.json", "--out", "server.zip"],
    }


def values(dice: random.Random) -> str:
    """A value that nobody checked."""
    kind = dice.random()
    if kind < 0.45:
        return dice.choice(NUMBERS)
    if kind < 0.85:
        return dice.choice(TEXTS)
    return "".join(dice.choice("-+.,0123456789ensx@#=²é\udc80/ ") for _ in range(dice.randrange(1, 12)))


def fuzz(count: int, seed: int) -> dict[str, Any]:
    dice, counts = random.Random(seed), Counter[str]()
    parsers = Parsers()
    runnable = inputs(Path())
    every = [(row, value) for row in parsers.rows for value in (*NUMBERS, *TEXTS)]
    dice.shuffle(every)
    for turn in range(count):
        (words, _, action), value = (
            every[turn] if turn < len(every) else (dice.choice(parsers.rows), values(dice))
        )
        option = action.option_strings[-1] if action.option_strings else None
        if option is None and value.startswith("-"):
            value = f"x{value}"
        try:
            found, said = parsers.parse(words, option, value)
            assert len(said) < MESSAGE_BYTES, f"{len(said)} bytes of message"
            counts["refused" if found is None else "parsed"] += 1
            if found is not None:
                check(getattr(found, action.dest, None))
            base = runnable.get(" ".join(words))
            # Where something is written is not left to chance. What was refused is refused there too: seldom.
            tried = option is not None and option not in ("--out", "--report") and base is not None
            if tried and turn % (40 if found is None else 4) == 0:
                counts["run"] += 1
                with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
                    try:
                        code = main([*(base or ()), f"{option}={value}"])
                    except SystemExit as stop:
                        code = int(stop.code or 0)
                assert code in EXIT_CODES, code
        except Exception as error:
            spelled = f"{' '.join(words)} {option} {value!r:.80}"
            raise AssertionError(f"turn {turn}: {spelled}: {type(error).__name__}: {error}") from error
    return {**counts, "options": len(parsers.rows)}


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    os.environ.update(VISTUBES_OFFLINE="1", OMP_NUM_THREADS="1")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        answer = fuzz(int(sys.argv[1]), int(sys.argv[2]))
        os.chdir("/")
    print(json.dumps(answer))
