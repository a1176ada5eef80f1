"""One video of a batch, by name and place."""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = ["Item", "is_address"]


@dataclass(frozen=True, slots=True)
class Item:
    """One video of a batch."""

    name: str
    """Run folder below --out, with / between its parts; unique in the batch."""
    path: str
    """File, folder of images, or address."""
    images: tuple[str, ...] | None = None
    """The frames, where a set lists them one by one."""
    video_id: int | None = None
    """Id in the set that it comes from."""


def is_address(text: str) -> bool:
    """Whether this is an address (s3://bucket/clip.mp4) and not a path."""
    return re.match(r"[a-z][a-z0-9+.-]*://", text) is not None
