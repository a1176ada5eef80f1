"""What an evaluation over many images has finished, one file per image: the same command, run again, goes on."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vis.errors import UsageError
from vis.files import read_json, write_json

__all__ = ["FinishedImages"]


class FinishedImages:
    """Plain JSON values by image, in a folder that remembers what they were made with."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        """``settings``: all that the values depend on, as JSON values.

        Raises :class:`UsageError` where the folder's values were made with other settings.
        """
        self._folder = folder / "images"
        self._record = folder / "settings.json"
        self._settings = json.loads(json.dumps(settings))
        if not self._record.is_file():
            return
        before = read_json(self._record)
        if before != self._settings:
            known = before if isinstance(before, dict) else {}
            names = {*known, *self._settings}
            differ = sorted(name for name in names if known.get(name) != self._settings.get(name))
            raise UsageError(
                f"{folder} holds an evaluation with another {' and '.join(differ) or 'record'}; choose another "
                "folder with --out, or delete this one"
            )

    def get(self, name: str) -> Any:
        """What is kept of an image; None where it is not finished."""
        file = self._file(name)
        return read_json(file)["value"] if file.is_file() else None

    def put(self, name: str, value: Any) -> None:
        """Keep the value of an image; it is there whole, or not at all."""
        if not self._record.is_file():  # not before: a command that finishes no image leaves nothing
            write_json(self._record, self._settings, indent=1)
        write_json(self._file(name), {"image": name, "value": value})

    def _file(self, name: str) -> Path:
        # Names of images may hold folders, any letter and any number of them.
        return self._folder / f"{hashlib.sha256(os.fsencode(name)).hexdigest()[:24]}.json"
