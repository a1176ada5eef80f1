"""What the engine of a batch tells: one type, whether its workers are processes here or actors elsewhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apps.batch.failures import failure, is_for_all, no_space_left
from apps.batch.item import Item
from vis.errors import VisError

if TYPE_CHECKING:
    from apps.batch.compute import ReportProgress
    from apps.batch.work import Worker

__all__ = ["Event", "run_item"]


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


def run_item(worker: Worker, item: Item, report_progress: ReportProgress) -> tuple[str, Any]:
    """Do one video, whatever comes: ("done", line), ("failed", reason), or ("stop", error) for all."""
    try:
        return "done", worker.process(item, report_progress)
    except Exception as error:
        if is_for_all(error) or no_space_left(error, worker.out):
            return "stop", error if isinstance(error, VisError) else str(error)
        return "failed", failure(error)
