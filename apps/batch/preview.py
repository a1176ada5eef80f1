"""What a batch would do with each video, told by what is saved: no model is loaded, no frame read, nothing written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from apps import rendering
from apps.batch.identity import digest, identity
from apps.batch.item import Item, is_address
from apps.batch.summary import read_failures
from apps.batch.work import Settings, plan_for, work_keys
from apps.identity import read_record
from apps.job import model_checksums
from vis.errors import VisError

__all__ = ["preview"]


def preview(
    items: Sequence[Item], settings: Settings, out: Path, *, retry_failed: bool = False
) -> list[dict[str, Any]]:
    """Per video ``name``, ``path``, ``state`` and ``why``.

    States: ``new``; ``kept``, nothing to do; ``resume``, saved chunks go on; ``draw``, pictures are missing; ``again``,
    the video or an option is another; ``retry``, it failed before; ``skip``, ``retry_failed`` leaves it out. Weights
    count as those that were used before.
    """
    failed = {(line["name"], line["path"]): str(line.get("message", "")) for line in read_failures(out)}
    rows = []
    for item in items:
        message = failed.get((item.name, item.path))
        if message is not None:
            state, why = "retry", f"failed: {message}"
        elif retry_failed:
            state, why = "skip", "did not fail"
        else:
            state, why = _state(item, settings, out)
        rows.append({"name": item.name, "path": item.path, "state": state, "why": why})
    return rows


def _state(item: Item, settings: Settings, out: Path) -> tuple[str, str]:
    record = read_record(out / item.name / "run.json")
    if not record.get("work"):
        chunks = len(list((out / ".batch" / "chunks" / digest(item.name)).glob("*/*.json")))
        return ("resume", f"{chunks} chunks are saved") if chunks else ("new", "")
    keys = _keys(item, settings, record)
    if keys is None or record["work"].get("result") != keys["result"]:
        return "again", _difference(record, settings, item)
    if record["work"] != keys or not rendering.are_drawn(record):
        return "draw", "the results are there"
    return "kept", ""


def _keys(item: Item, settings: Settings, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The keys that the work would have; None where the video cannot be read."""
    plan = plan_for(item, settings)
    made_with = {
        "program": record.get("program"),
        "options": plan.record(),
        "found_by": record.get("found_by"),
        "weights_sha256": record.get("weights_sha256", {}),
    }
    try:
        source = record.get("source", {}) if is_address(item.path) else identity(item, record)
        refiner = {} if plan.model is None else model_checksums(plan.model)
        return work_keys(source, settings, made_with, refiner)
    except (VisError, OSError):
        return None


def _difference(record: Mapping[str, Any], settings: Settings, item: Item) -> str:
    """Which options differ, as far as run.json has them."""
    now, before = json.loads(json.dumps(plan_for(item, settings).record())), record.get("options", {})
    names = [name for name in now if now[name] != before.get(name)]
    names += [
        name
        for name, value in settings.selection.record().items()
        if value != record.get("selection", {}).get(name)
    ]
    return f"other options: {', '.join(names)}" if names else "another video, version or selection of frames"
