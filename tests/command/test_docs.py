"""The documentation says what the program does: the command page, the README's tree, the links."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from apps.command_docs import markdown

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"


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


@pytest.mark.parametrize(
    "page", [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))], ids=lambda p: p.name
)
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
