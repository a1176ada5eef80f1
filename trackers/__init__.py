"""Association of boxes, masks and embeddings across frames. Imports ``vis`` only; never torch.

Every tracker meets ``vis.interfaces.Tracker``; its settings are keyword arguments of its class.
"""

from trackers.botsort import BotSortTracker
from trackers.bytetrack import ByteTracker
from trackers.iou import IouTracker
from trackers.mask_iou import MaskIouTracker
from trackers.native import NativeTracker
from trackers.ocsort import OcSortTracker
from trackers.query import QueryTracker
from trackers.sort import SortTracker

__all__ = ["TRACKERS"]

TRACKERS = {
    "iou": IouTracker,
    "sort": SortTracker,
    "bytetrack": ByteTracker,
    "ocsort": OcSortTracker,
    "botsort": BotSortTracker,
    "mask_iou": MaskIouTracker,
    "query": QueryTracker,
    "native": NativeTracker,
}
"""Name -> class."""
