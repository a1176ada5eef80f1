"""The folder for what can be fetched or made again: weights, compiled loops."""

from __future__ import annotations

import os
import sys
from pathlib import Path

__all__ = ["cache_folder"]


def cache_folder() -> Path:
    """``$VISTUBES_CACHE``, else the user's cache folder of this system."""
    if chosen := os.environ.get("VISTUBES_CACHE"):
        return Path(chosen).expanduser()
    platform: str = sys.platform
    if (
        platform == "linux"
    ):  # what platformdirs says, without its import, which takes longer than many a command
        stated = os.environ.get("XDG_CACHE_HOME", "")
        return (Path(stated) if stated.strip() else Path("~/.cache").expanduser()) / "vistubes"
    import platformdirs

    return platformdirs.user_cache_path("vistubes", appauthor=False)
