"""Association of boxes, masks and embeddings across frames. Imports ``vis`` only; never torch.

One file per tracker, imported when it is asked for; its settings are keyword arguments of its class::

    tracker = trackers.create("bytetrack", buffer_seconds=2.0)
    tracker.update(detections, frame.pts_seconds)  # -> the rows it keeps, each with an id
"""

from __future__ import annotations

from typing import Any

from vis.interfaces import Tracker
from vis.registry import Registry

__all__ = ["TRACKERS", "create", "names"]

TRACKERS = {
    "iou": "trackers.iou:IouTracker",
    "sort": "trackers.sort:SortTracker",
    "bytetrack": "trackers.bytetrack:ByteTracker",
    "ocsort": "trackers.ocsort:OcSortTracker",
    "botsort": "trackers.botsort:BotSortTracker",
    "mask_iou": "trackers.mask_iou:MaskIouTracker",
    "query": "trackers.query:QueryTracker",
    "native": "trackers.native:NativeTracker",
}
"""Name -> "module:Class"."""

_REGISTRY = Registry("tracker", TRACKERS, "vistubes.trackers", Tracker)


def names() -> tuple[str, ...]:
    """All names that :func:`create` knows: those of TRACKERS, then those that installed packages add."""
    return _REGISTRY.names()


def create(name: str, **settings: Any) -> Tracker:
    """The tracker of that name, with its settings as keyword arguments.

    Installed packages add names by entry points of the group ``vistubes.trackers``. Raises :class:`UsageError` for
    an unknown name or setting, :class:`DependencyError` for another package's tracker that cannot be used.
    """
    tracker: Tracker = _REGISTRY.create(name, settings)
    return tracker
