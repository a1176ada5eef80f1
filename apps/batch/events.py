"""What the engine of a batch tells: one type, whether its workers are processes here or actors elsewhere."""

from __future__ import annotations

import errno
import shutil
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.batch.inputs import Item
from vis.errors import DependencyError, OutputError, VisError, WeightsError

if TYPE_CHECKING:
    from pathlib import Path

    from apps.batch.work import Tell, Worker

__all__ = ["Event", "attempt", "failure", "is_disk_full", "is_for_all", "no_space_left"]


LOW_SPACE_BYTES = 64 * 2**20
"""With less than this free, a failure to write is the disk's and not the video's."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a video."""

    kind: str
    """``start``, ``progress``, ``done`` or ``failed``."""
    item: int
    """Place among the items."""
    worker: str
    """Which worker, for the status table."""
    data: dict[str, Any] = field(default_factory=dict)
    """``progress``: stage, frames, expected. ``done``: the report's line. ``failed``: error, message."""


def attempt(worker: Worker, item: Item, tell: Tell) -> tuple[str, Any]:
    """Do one video, whatever comes: ("done", line), ("failed", reason), or ("stop", error) for all."""
    try:
        return "done", worker.process(item, tell)
    except Exception as error:
        if is_for_all(error) or no_space_left(error, worker.out):
            return "stop", error if isinstance(error, VisError) else str(error)
        return "failed", failure(error)


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
