"""Association of boxes, masks and embeddings across frames. Imports ``vis`` only; never torch.

Every tracker meets ``vis.interfaces.Tracker``; its settings are keyword arguments of its class.
"""

from trackers.bytetrack import ByteTracker
from trackers.iou import IouTracker
from trackers.mask_iou import MaskIouTracker
from trackers.native import NativeTracker

__all__ = ["TRACKERS"]

TRACKERS = {
    "iou": IouTracker,
    "bytetrack": ByteTracker,
    "mask_iou": MaskIouTracker,
    "native": NativeTracker,
}
"""Name -> class."""
