"""The shown result against a truth file: tube AP and boundary AP, classes pooled.

Classes are pooled because a truth's names are rarely the detector's. The evaluator is the one behind
``vistubes eval``, in its strict mode.
"""

from __future__ import annotations

import html
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from apps.demo.session import Session
from vis.errors import AnnotationError, UsageError
from vis.files import read_json
from vis.formats import tubes as tubes_format
from vis.formats import ytvis, ytvis_set
from vis.structures import VideoResult

__all__ = ["measure"]

MAX_TRUTH_BYTES = 2**27
SHOWN = ("AP", "AP50", "AP75", "AR10")


def measure(session: Session, file: Path) -> str:
    """A table as HTML. ``file``: YTVIS annotations of one video (or of several, one of this clip's name), or a
    ``tubes.json``.

    Raises :class:`AnnotationError` when it is something else or of another length.
    """
    from vis.evaluation import STATS, evaluate_tubes

    history = session.history
    if history is None:
        raise UsageError("there is nothing to measure yet; press Run first")
    result = history.result
    truth = _truth(read_json(file, limit_bytes=MAX_TRUTH_BYTES), result)
    video, category = truth["videos"][0], truth["categories"][0]["id"]
    entries = [{**entry, "category_id": category} for entry in ytvis.results_entries(result, video["id"])]
    found = evaluate_tubes(truth, entries, mode="strict", class_agnostic=True)
    rows = []
    for kind, name in (("mask", "tube mask"), ("boundary", "tube boundary")):
        stats = dict(zip(STATS, found.stats[kind], strict=True))
        cells = "".join(f"<td>{'–' if stats[s] < 0 else f'{100 * stats[s]:.1f}'}</td>" for s in SHOWN)
        rows.append(f"<tr><td>{name}</td>{cells}</tr>")
    head = "".join(f"<th scope='col'>{name}</th>" for name in ("percent", *SHOWN))
    about = f"{len(found.truth.tubes)} truth tubes, {len(result.tubes)} found; classes pooled, strict mode"
    return (
        f"<table class='vt-table'><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
        f"<p class='vt-muted'>{html.escape(about)}</p>"
    )


def _truth(value: Any, result: VideoResult) -> dict[str, Any]:
    """YTVIS annotations of one video, of as many frames as were processed."""
    if isinstance(value, Mapping) and value.get("format") == tubes_format.FORMAT:
        with tempfile.TemporaryDirectory() as place:
            written = Path(place) / "truth.json"
            ytvis_set.write_truth(written, [tubes_format.from_json(value, where="the truth file")])
            value = read_json(written)
    videos = value.get("videos") if isinstance(value, Mapping) else None
    annotations = value.get("annotations") if isinstance(value, Mapping) else None
    if not (isinstance(videos, list) and isinstance(annotations, list) and value.get("categories")):
        raise AnnotationError("the truth file is neither YTVIS annotations nor a tubes.json")
    if len(videos) > 1:
        videos = [video for video in videos if _stem(video) == result.video.name]
    if len(videos) != 1:
        raise AnnotationError(
            f"the truth file holds {len(videos)} videos called {result.video.name!r}; give one with this clip alone"
        )
    length = videos[0].get("length")
    if length != len(result.frames):
        raise AnnotationError(
            f"the truth is of {length} frames, the result of {len(result.frames)}; process the same frames of the clip"
        )
    own = [item for item in annotations if item.get("video_id") == videos[0].get("id")]
    return {**value, "videos": videos, "annotations": own}


def _stem(video: Mapping[str, Any]) -> str:
    names = video.get("file_names") or [""]
    return str(names[0]).split("/", 1)[0]
