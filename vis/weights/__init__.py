"""Where model weights come from: one table, one cache, the same bytes from any source.

::

    from vis import weights
    weights.path("mobile-sam")        # Path of the verified file; fetched on first use
    weights.WEIGHTS["mobile-sam"]     # name, file, sha256, bytes, licence, sources
    weights.MODELS["hq-tiny"]         # a refiner by name: size, weights, HQ head
    weights.HUB_MODELS["sam2.1-t"]    # one whose weights are a repository of a hub, or a folder like it

``table`` says what exists, ``cache`` where files lie and whether they are whole, ``fetch`` gets
them, ``hub`` gets and loads what transformers reads. Knows no network architecture: what a file
holds is the business of who loads it.
"""

from __future__ import annotations

from vis.weights.cache import cache_folder, cached, file_path, sha256_of
from vis.weights.fetch import add, fetch, offline_wanted, path
from vis.weights.table import HUB_MODELS, MODELS, QUICK, WEIGHTS, Weight, find

__all__ = [
    "HUB_MODELS",
    "MODELS",
    "QUICK",
    "WEIGHTS",
    "Weight",
    "add",
    "cache_folder",
    "cached",
    "fetch",
    "file_path",
    "find",
    "offline_wanted",
    "path",
    "sha256_of",
]
