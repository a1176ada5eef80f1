"""The former place of :mod:`vis.hqsam.network.huggingface`, for one version."""

import warnings

from vis.hqsam.network.huggingface import from_transformers, to_transformers

__all__ = ["from_transformers", "to_transformers"]

warnings.warn(
    "vis.hqsam.huggingface is now vis.hqsam.network.huggingface; the former place goes in the next version",
    DeprecationWarning,
    stacklevel=2,
)
