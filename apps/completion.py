"""Completion scripts of the command line for shells, made by the optional package ``shtab``.

The script is static: it holds every verb, option and name, so that pressing Tab starts no Python.
"""

from __future__ import annotations

import argparse
from collections.abc import Collection
from pathlib import Path
from typing import Any

from apps.option_types import file_path, path_text
from vis.errors import DependencyError, UsageError

__all__ = ["completion_script"]

PATH_TYPES = (Path, file_path, path_text)


def completion_script(parser: argparse.ArgumentParser, shell: str) -> str:
    """The script that completes the verbs, options and names of ``parser`` in a shell.

    Args:
        parser: of the whole command, with its verbs as subparsers; what completes each value is noted in it.
        shell: "bash", "zsh", "fish" or another one that ``shtab`` knows.

    Raises:
        DependencyError: the package ``shtab`` is not installed.
        UsageError: it knows no such shell.
    """
    try:
        import shtab
    except ImportError as error:
        raise DependencyError(
            "completion scripts are made by the package shtab, which is not installed: "
            "pip install 'vis-tubes[completion]'"
        ) from error
    if shell not in shtab.SUPPORTED_SHELLS:
        raise UsageError(
            f"--print-completion {shell}: no such shell; choose one of {', '.join(shtab.SUPPORTED_SHELLS)}"
        )
    _add_values(parser, _known_names(), shtab.FILE)
    script: str = shtab.complete(parser, shell)
    return script if script.endswith("\n") else f"{script}\n"


def _known_names() -> dict[str, Collection[str]]:
    """Option -> the names that it takes, where they are no ``choices`` because other packages may add to them."""
    import detectors
    import trackers
    from vis import engines, weights

    return {
        "detector": detectors.names(),
        "tracker": trackers.names(),
        "engine": engines.names(),
        "model": [*weights.MODELS, *weights.HUB_MODELS],
    }


def _add_values(parser: argparse.ArgumentParser, names: dict[str, Collection[str]], files: Any) -> None:
    """Say of each argument what completes its value: known names, or the names of files."""
    parser.format_help()  # some parsers add their options when first used
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for verb in action.choices.values():
                _add_values(verb, names, files)
        elif action.dest in names and action.nargs is None:
            action.choices = names[action.dest]
        elif action.type in PATH_TYPES:
            action.complete = files  # type: ignore[attr-defined]  # shtab reads this attribute
