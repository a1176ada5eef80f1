"""The former place of :mod:`vis.automatic_masks`, for one version."""

import warnings

from vis.automatic_masks import FoundMask, crop_boxes, find_everything, point_grid, remove_small_regions

__all__ = ["FoundMask", "crop_boxes", "find_everything", "point_grid", "remove_small_regions"]

warnings.warn(
    "vis.hqsam.everything is now vis.automatic_masks; the former place goes in the next version",
    DeprecationWarning,
    stacklevel=2,
)
