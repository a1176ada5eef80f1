"""All finished videos of a batch in one file, for the tools that take one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from apps.batch.item import Item
from vis.formats import tubes, ytvis_set
from vis.formats.registry import FORMATS
from vis.structures import DatasetIds

__all__ = ["write_merged"]


def write_merged(out: Path, items: Sequence[Item], name: str, *, sets: Sequence[Path] = ()) -> dict[str, Any]:
    """``coco.json`` or ``ytvis.json``: the videos that have a result, called as their run folders.

    Those of one set keep its ids. The answer says which videos are missing, and what the format cannot hold.
    """
    found, missing = [], []
    categories: dict[str, int] = {}
    if len(sets) == 1:
        categories = {name: number for number, name in ytvis_set.read_videos(sets[0])[1].items()}
    for item in items:
        saved = out / item.name / "tubes.json"
        if not saved.is_file():
            missing.append(item.name)
            continue
        result = tubes.read(saved)
        result = replace(result, video=replace(result.video, name=item.name))
        if item.video_id is not None and len(sets) == 1:
            result = replace(result, dataset=DatasetIds(item.video_id, categories))
        found.append(result)
    place = out / f"{name}{FORMATS[name].suffix}"
    lost = FORMATS[name].write(place, found)
    return {"file": str(place), "videos": len(found), "missing_videos": missing, "lost": lost}
