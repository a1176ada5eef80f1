"""docs/cli.md from the parsers themselves: ``python -m apps.command_docs > docs/cli.md``."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from apps.cli import COMMAND_GROUPS, COMMANDS, EXIT_CODES, build_parser

__all__ = ["markdown"]

HEAD = """\
# The command line

Every verb and option of `vistubes`:

```text
vistubes --help
vistubes run --help
```

Made from the program itself by `python -m apps.command_docs`; a test holds it to the program.

Results that programs read go to stdout (`--json`: exactly one JSON object); progress, tables and
warnings go to stderr. Without a terminal there are no bars and no control characters.

## Completion with the Tab key

After `pip install 'vis-tubes[completion]'` a script completes verbs, options, names of detectors, trackers and models,
and files. Make it again after an update of vis-tubes:

```sh
vistubes --print-completion bash > ~/.local/share/bash-completion/completions/vistubes
vistubes --print-completion zsh > ~/.zfunc/_vistubes           # with fpath+=(~/.zfunc) before compinit in ~/.zshrc
vistubes --print-completion fish > ~/.config/fish/completions/vistubes.fish
```
"""


def markdown() -> str:
    """The whole page."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    verbs = "".join(
        f"| {task} | {', '.join(f'[`{verb}`](#vistubes-{verb})' for verb in group)} |\n"
        for task, group in COMMAND_GROUPS.items()
    )
    parts = [
        HEAD,
        f"## The verbs by task\n\n| task | verbs |\n|---|---|\n{verbs}",
        f"## Exit codes\n\n| code | meaning |\n|---|---|\n{codes}",
    ]
    for verb in COMMANDS:
        parts += _section(build_parser(verb), depth=2)
    return "\n".join(parts)


def _section(parser: argparse.ArgumentParser, depth: int) -> Iterator[str]:
    parser.format_help()  # some parsers add their options when first used
    yield f"{'#' * depth} `{parser.prog}`\n\n{_cell(parser.description or '')}\n"
    rows = [
        action
        for action in parser._actions
        if not isinstance(action, argparse._SubParsersAction) and action.help != argparse.SUPPRESS
    ]
    lines = [f"| {_names(action)} | {_cell(_help(parser, action))} |" for action in rows]
    yield "| argument | meaning |\n|---|---|\n" + "\n".join(lines) + "\n"
    if parser.epilog:
        yield f"```text\n{parser.epilog.strip()}\n```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from _section(sub, depth + 1)


def _names(action: argparse.Action) -> str:
    if not action.option_strings:
        return f"`{action.metavar or action.dest}`"
    value = ""
    if action.nargs != 0:
        names = action.metavar or "/".join(map(str, action.choices or [action.dest.upper()]))
        value = " " + (names if isinstance(names, str) else " ".join(names))
    return ", ".join(f"`{name}{value}`" for name in action.option_strings)


def _help(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    text = action.help or ""
    return text % {**vars(action), "prog": parser.prog} if "%" in text else text


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    print(markdown(), end="")
