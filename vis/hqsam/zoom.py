"""The former place of :mod:`vis.zoom`, for one version."""

import warnings

from vis.zoom import crop_around, zoom_refine

__all__ = ["crop_around", "zoom_refine"]

warnings.warn(
    "vis.hqsam.zoom is now vis.zoom; the former place goes in the next version",
    DeprecationWarning,
    stacklevel=2,
)
