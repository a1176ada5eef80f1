"""How good the tubes of results are, against those of a truth: AP and AR by name.

The evaluator of whole YTVIS files (:mod:`vis.evaluation.tubes`), asked about :class:`VideoResult` objects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vis import masks
from vis.errors import UsageError
from vis.evaluation.tracking_metrics import IdentityMetrics, identity_metrics
from vis.evaluation.tubes import evaluate_tubes
from vis.formats import ytvis_set
from vis.formats.results import read_results
from vis.structures import Tube, VideoResult

__all__ = ["AveragePrecision", "TubeScores", "evaluate_results", "paired_videos"]

Saved = VideoResult | str | Path


@dataclass(frozen=True, slots=True)
class AveragePrecision:
    """The 12 numbers of COCO's protocol in their order, each in [0, 1]; -1 where no truth counts.

    Sizes go by a tube's mean area: small to 128 x 128 pixels, medium to 256 x 256, large above.
    """

    ap: float
    """Mean over IoU thresholds from .50 to .95."""
    ap50: float
    """At an IoU of .50."""
    ap75: float
    """At an IoU of .75."""
    ap_small: float
    ap_medium: float
    ap_large: float
    ar1: float
    """Average recall with at most one tube of each class in a video."""
    ar10: float
    """With at most 10."""
    ar100: float
    """With at most 100."""
    ar_small: float
    ar_medium: float
    ar_large: float


@dataclass(frozen=True, slots=True, eq=False)
class TubeScores:
    """Scores of tubes by what is compared."""

    mask: AveragePrecision
    """By the IoU of the masks over all frames (tube mask AP)."""
    boundary: AveragePrecision
    """By the smaller of that and the IoU of the masks' boundary bands (tube boundary AP)."""
    identity: tuple[IdentityMetrics, ...]
    """Of each video: HOTA, IDF1, switches and the rest, by mask IoU. Classes are not looked at."""


def evaluate_results(
    truth: Saved | Sequence[Saved], results: Saved | Sequence[Saved], **options: Any
) -> TubeScores:
    """Tube mask AP, tube boundary AP and identity metrics of results against the truth.

    Args:
        truth: the true tubes of one video (a :class:`VideoResult`, a ``tubes.json`` or a folder with one), or of
            several videos; each frame that it covers counts. Also YouTube-VIS annotations, of all their videos.
        results: the found tubes of the same videos, in the same order; beside annotations also a YouTube-VIS results
            file. A frame that is not covered counts as without objects.
        options: of :func:`vis.evaluation.evaluate`, such as ``class_agnostic=True`` or ``mode="strict"``.

    Classes are told by their names; results of a class that no truth names are not counted in official mode, which
    warns, and are an error in strict mode.

    Raises :class:`UsageError` for videos that do not match and for tubes of boxes only.
    """
    pairs = paired_videos(truth, results)
    true, found = [one for one, _ in pairs], [other for _, other in pairs]
    names = {name: None for result in true for name in result.class_names}
    numbers = {name: number for number, name in enumerate(names, 1)}
    for name in [name for result in found for name in result.class_names]:
        numbers.setdefault(name, len(numbers) + 1)
    videos: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for number, (one, other) in enumerate(zip(true, found, strict=True), 1):
        if one.video.size != other.video.size:
            raise UsageError(
                f"{other.video.name}: the result is of {other.video.size} (height, width), the truth "
                f"({one.video.name}) of {one.video.size}; give results of the same video"
            )
        frames = one.frames.tolist()
        height, width = one.video.size
        videos.append({"id": number, "height": height, "width": width, "length": len(frames)})
        for tube in one.tubes:
            entry = _entry(tube, number, numbers[one.class_names[tube.label]], frames)
            annotations.append({"id": len(annotations) + 1, "iscrowd": 0, **entry})
        for tube in other.tubes:
            entry = _entry(tube, number, numbers[other.class_names[tube.label]], frames)
            entries.append({"score": tube.score, **entry})
    categories = [{"id": numbers[name], "name": name} for name in names]
    data = {"videos": videos, "categories": categories, "annotations": annotations}
    stats = evaluate_tubes(data, entries, **options, kinds=("mask", "boundary")).stats
    identity = tuple(identity_metrics(one, other) for one, other in zip(true, found, strict=True))
    return TubeScores(AveragePrecision(*stats["mask"]), AveragePrecision(*stats["boundary"]), identity)


def paired_videos(
    truth: Saved | Sequence[Saved], results: Saved | Sequence[Saved]
) -> list[tuple[VideoResult, VideoResult]]:
    """Truth and result of each video, of what :func:`evaluate_results` takes; raises as it does."""
    true = _all(truth)
    found = _all(results, truth if isinstance(truth, str | Path) else None)
    if len(true) != len(found):
        raise UsageError(
            f"{len(true)} videos of truth but {len(found)} of results; give one result per truth"
        )
    return list(zip(true, found, strict=True))


def _all(given: Saved | Sequence[Saved], truth: str | Path | None = None) -> list[VideoResult]:
    each = [given] if isinstance(given, VideoResult | str | Path) else list(given)
    return [result for one in each for result in _videos(one, truth)]


def _videos(given: Saved, truth: str | Path | None) -> list[VideoResult]:
    """The videos of one argument. Files are told apart by how they begin."""
    if isinstance(given, VideoResult):
        return [given]
    path = Path(given)
    if not path.is_file():
        return [read_results(path)]
    with path.open("rb") as file:
        head = file.read(200).lstrip()
    if head.startswith(b"["):
        if truth is None:
            raise UsageError(
                f"{path}: YouTube-VIS results name no video; give their annotations' path as truth"
            )
        return ytvis_set.read_results(path, truth)
    return [read_results(path)] if b'"vis-tubes"' in head else ytvis_set.read_truth(path)


def _entry(tube: Tube, video: int, category: int, frames: list[int]) -> dict[str, Any]:
    """A tube as an entry of a YTVIS file: a mask or None for each of ``frames``."""
    if tube.masks is None:
        raise UsageError(f"tube {tube.id} has boxes only, and masks are compared; refine the tubes first")
    drawn = dict(zip(tube.frames.tolist(), tube.masks, strict=True))
    listed = [masks.to_coco(drawn[frame]) if frame in drawn else None for frame in frames]
    return {"video_id": video, "category_id": category, "segmentations": listed}
