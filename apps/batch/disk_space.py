"""Whether a failure is the disk's: full, over a quota, or next to full."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

from vis.errors import OutputError

__all__ = ["is_disk_full", "no_space_left"]

LOW_SPACE_BYTES = 64 * 2**20
"""With less than this free, a failure to write is the disk's and not the video's."""


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
