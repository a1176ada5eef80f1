"""The lines of a batch's report while it runs, kept on the disk: ten thousand of them would fill memory."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vis.errors import OutputError

__all__ = ["Lines"]


class Lines:
    """One line per item, by its place among ``count`` items; in a nameless file in ``folder``."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder = folder
        self._offsets = array("q", [-1]) * count
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - open as long as this object is

    def add(self, item: int, line: Mapping[str, Any]) -> None:
        """The line of an item, in place of an earlier one; raises :class:`OutputError` when the disk is full."""
        try:
            self._offsets[item] = self._file.seek(0, 2)
            self._file.write(json.dumps(line).encode() + b"\n")
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"{self._folder}: cannot be written ({error.strerror}); free some space and run the same command again"
            ) from error

    def __len__(self) -> int:
        return sum(offset >= 0 for offset in self._offsets)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The lines in the order of the items."""
        for offset in self._offsets:
            if offset >= 0:
                self._file.seek(offset)
                yield json.loads(self._file.readline())

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
