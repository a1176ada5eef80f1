"""The documentation says what the program does: the command page, the README's tree, the links."""

from __future__ import annotations

import ast
import importlib
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from apps.command_docs import markdown

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
OURS = ("vis", "trackers", "detectors", "apps")


def test_command_page_is_what_the_parsers_say() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert page == markdown(), "run: python -m apps.command_docs > docs/cli.md"


def tree_in_readme() -> dict[str, str]:
    """Path -> purpose, from the README's tree block (two spaces per level)."""
    block = re.search(r"```tree\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block, "the README has no ```tree block"
    entries: dict[str, str] = {}
    parents: list[str] = []
    for line in block[1].splitlines():
        match = re.match(r"^((?:  )*)(\S+)\s{2,}(.+)$", line)
        assert match, f"tree line without a purpose: {line!r}"
        depth = len(match[1]) // 2
        parents = [*parents[:depth], match[2].rstrip("/")]
        entries["/".join(parents)] = match[3]
    return entries


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listing.returncode:
        pytest.skip("not a git checkout")
    return [Path(line) for line in listing.stdout.splitlines()]


def test_readme_tree_is_the_real_one() -> None:
    told = set(tree_in_readme())
    files = tracked_files()
    real = {f.parts[0] for f in files if f.parts[0][0] != "."} - {"LICENSE", "README.md", "CHANGELOG.md"}
    for room in ("vis", "apps", "detectors", "trackers"):
        for f in files:
            listed = len(f.parts) > 2 or (f.suffix == ".py" and f.name != "__init__.py")
            if f.parts[0] == room and listed:
                real.add("/".join(f.parts[:2]))
    assert told - real == set(), "the README's tree names what is not there"
    assert real - told == set(), "the README's tree misses what is there"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)  # code holds no links
    for target in re.findall(r"\]\(([^)#\s]+)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_shell_commands_exist() -> None:
    """Every `vistubes VERB --option` in README and docs is one that the program takes."""
    from apps.cli import COMMANDS, build_parser

    for page in [README, *sorted((ROOT / "docs").glob("*.md"))]:
        for verb, rest in re.findall(
            r"^\s*(?:\$ )?vistubes ([a-z]+)([^\n`#]*)", page.read_text(encoding="utf-8"), re.MULTILINE
        ):
            assert verb in COMMANDS, f"{page.name}: vistubes {verb}"
            known = _options(build_parser(verb))
            for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", rest):
                assert option in known, f"{page.name}: vistubes {verb} has no {option}"


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda p: p.name)
def test_every_page_begins_with_what_it_is_for_and_something_to_run(page: Path) -> None:
    title, _, text = page.read_text(encoding="utf-8").partition("\n\n")
    assert title.startswith("# ")
    head = text.split("\n## ")[0]
    assert re.search(r"^```\w*\n.*?^```", head, re.DOTALL | re.MULTILINE), (
        "show a command before the first section"
    )


def commands(page: Path) -> Iterator[list[str]]:
    """The words of each command in the page's blocks: what explains it, after ``#`` or three blanks, is left out."""
    for block in re.findall(
        r"^ *```\w*\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    ):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            told = re.match(r"\s*(?:\$ )?vistubes ([a-z].*)", line)
            if told:
                yield shlex.split(re.split(r" {3,}(?=[^ -])| \| ", told[1])[0], comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_command_in_a_block_is_one_that_the_program_takes(page: Path) -> None:
    from apps.cli import build_parser

    for verb, *words in commands(page):
        # box-lines: the format that docs/extending.md adds; its own test runs these.
        if not {"--help", "box-lines"} & set(words):
            build_parser(verb).parse_args(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_in_the_docs_parses_and_imports_what_there_is(page: Path) -> None:
    for code in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and str(node.module).split(".")[0] in OURS:
                module = importlib.import_module(str(node.module))
                for name in node.names:
                    assert hasattr(module, name.name), f"{node.module} has no {name.name}"
            elif isinstance(node, ast.Import):
                for name in node.names:
                    if name.name.split(".")[0] in OURS:
                        importlib.import_module(name.name)


def _options(parser: object) -> set[str]:
    import argparse

    assert isinstance(parser, argparse.ArgumentParser)
    names: set[str] = set()
    parser.format_help()  # some parsers add their options when first used
    for action in parser._actions:
        names |= set(action.option_strings)
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                names |= _options(sub)
    return names
