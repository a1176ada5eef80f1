"""YouTube-VIS JSON: results written from a :class:`VideoResult`, and both kinds of file streamed in.

Truth: ``{"videos": [...], "categories": [...], "annotations": [{"id", "video_id", "category_id",
"iscrowd", "segmentations": [mask | null, ...], "areas": [...]}]}``. Results: a list of
``{"video_id", "category_id", "score", "segmentations": [mask | null, ...]}``. One entry per frame.

Category ids start at 1: our label + 1. HQ-YTVIS, OVIS, LV-VIS and UVO share the layout. This file
yields plain dictionaries; :mod:`vis.evaluation.loading` checks them and measures.
"""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import Any

from vis import masks
from vis.errors import AnnotationError, UsageError
from vis.files import whole_file, write_json
from vis.formats.json_stream import items, open_json
from vis.structures import VideoResult

__all__ = ["results_entries", "write_results", "write_server_zip"]


def results_entries(result: VideoResult, video_id: int = 1) -> list[dict[str, Any]]:
    """One results entry per tube of ``result``: a mask or None for each frame of ``result.frames``.

    Raises :class:`UsageError` for a tube of boxes only, which the format cannot hold.
    """
    row = {int(frame): index for index, frame in enumerate(result.frames)}
    entries = []
    for tube in result.tubes:
        if tube.masks is None:
            raise UsageError(f"tube {tube.id} has boxes only, results need masks; refine the tubes first")
        segmentations: list[dict[str, Any] | None] = [None] * len(row)
        for frame, mask in zip(tube.frames, tube.masks, strict=True):
            segmentations[row[int(frame)]] = masks.to_coco(mask)
        entries.append(
            {
                "video_id": video_id,
                "category_id": tube.label + 1,
                "score": float(tube.score),
                "segmentations": segmentations,
            }
        )
    return entries


def write_results(path: str | Path, result: VideoResult, video_id: int = 1) -> None:
    """Write the results of one video whole, or raise :class:`vis.errors.OutputError`."""
    write_json(path, results_entries(result, video_id))


def write_server_zip(path: str | Path, results: str | Path) -> int:
    """Pack a results file as the challenge servers want it: ``results.json`` at the top of a zip.

    Checks that the file is a list of results entries first; returns how many. Raises
    :class:`AnnotationError` for another file and :class:`vis.errors.OutputError`.
    """
    count = 0
    for key, entry in items(results):
        fields = ("video_id", "category_id", "score", "segmentations")
        missing = [name for name in fields if not isinstance(entry, dict) or name not in entry]
        if key != "" or missing:
            raise AnnotationError(
                f"{results}: result {count}: not a results entry, {missing[:1] or [key]} is wrong; "
                "give the results.json of 'vistubes run', or a list in the YouTube-VIS layout"
            )
        count += 1
    # The same date for the same results, so that packing twice gives the same bytes.
    member = zipfile.ZipInfo("results.json")
    member.compress_type = zipfile.ZIP_DEFLATED
    with (
        open_json(results) as (source, _),
        whole_file(path) as part,
        zipfile.ZipFile(part, "w") as archive,
        archive.open(member, "w", force_zip64=True) as target,
    ):
        shutil.copyfileobj(source, target, 2**20)
    return count
