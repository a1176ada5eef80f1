"""What an error in one video means: how it is told, and whether it would meet every other video too."""

from __future__ import annotations

import errno
import shutil
import traceback
from pathlib import Path
from typing import Any

from vis.errors import DependencyError, OutputError, VisError, WeightsError

__all__ = ["failure", "is_disk_full", "is_for_all", "no_space_left"]

LOW_SPACE_BYTES = 64 * 2**20
"""With less than this free, a failure to write is the disk's and not the video's."""


def failure(error: BaseException) -> dict[str, Any]:
    """An exception as plain values: its kind, its message, and for a fault of ours where it was raised."""
    told: dict[str, Any] = {"error": type(error).__name__, "message": str(error)}
    if not isinstance(error, VisError):
        last = traceback.extract_tb(error.__traceback__)[-4:]
        told["where"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in last]
    return told


def is_for_all(error: BaseException) -> bool:
    """Whether the error would meet every other video too, so that the batch must stop."""
    return isinstance(error, WeightsError | DependencyError) or is_disk_full(error)


def no_space_left(error: BaseException, out: Path) -> bool:
    """Whether writing failed while next to nothing is free: it was refused before the disk was full."""
    try:
        return isinstance(error, OutputError) and shutil.disk_usage(out).free < LOW_SPACE_BYTES
    except OSError:
        return False


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a full disk (or quota) is at the bottom of it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        error = error.__cause__ or error.__context__
    return False
