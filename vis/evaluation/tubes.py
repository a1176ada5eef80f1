"""Tube mask AP and tube boundary AP of YouTube-VIS style results, in one pass over the data.

``official`` gives what the published evaluators give, digit for digit, their oddities included;
``strict`` is for new work: what they let pass is an error or done right. docs/evaluation.md lists
the differences one by one.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vis.errors import AnnotationError, EvaluationWarning, UsageError
from vis.evaluation import intervals
from vis.evaluation.loading import Source, read_results, read_truth
from vis.evaluation.matching import POOLED, GroupMatcher, Members, match_all
from vis.evaluation.protocol import (
    IMAGE_AREAS,
    IOU_THRESHOLDS,
    MAX_DETS,
    VIDEO_AREAS,
    AreaRanges,
    Matches,
    Summary,
    accumulate,
    summarize,
)
from vis.evaluation.records import ResultTube, Truth, TruthTube
from vis.evaluation.tube_masks import TubeMasks

__all__ = ["KINDS", "TubeEvaluation", "evaluate", "evaluate_images", "evaluate_tubes"]

Mode = Literal["official", "strict"]
Key = Literal["auto", "official", "refined", "raw"]
KINDS = ("mask", "boundary")
OFFICIAL_RESULT_RATIO = 0.02
IMAGE_RULES: dict[str, Any] = {"areas": IMAGE_AREAS, "crowd_as_share": True, "same_ratio": True}
"""What COCO does otherwise than the tube evaluators: options of :func:`evaluate`."""


@dataclass(frozen=True, slots=True, eq=False)
class TubeEvaluation:
    """All that an evaluation found, enough for every report."""

    mode: str
    """official or strict."""
    key: str
    """Which truth masks were used: official (mixed), refined or raw."""
    ratio: float
    """Boundary band as a share of the diagonal."""
    class_agnostic: bool
    """Whether classes were pooled."""
    truth: Truth
    """What was evaluated against."""
    results: list[ResultTube]
    """What was evaluated."""
    stats: dict[str, list[float]]
    """12 numbers per kind (mask, boundary), in the order of :data:`STATS`; -1: no truth."""
    summaries: dict[str, Summary]
    """Precision and recall per kind."""
    matches: dict[str, list[Matches]]
    """The matches per kind, ordered by video."""
    members: list[tuple[list[ResultTube], list[TruthTube]]]
    """The tubes behind each entry of ``matches``, in its order."""
    notes: dict[str, int] = field(default_factory=dict)
    """What was met on the way: counts by name."""


def evaluate_tubes(truth: Source, results: Source, **options: Any) -> TubeEvaluation:
    """Read both and evaluate; see :func:`evaluate` for the options."""
    return evaluate(*_read(truth, results, options), **options)


def evaluate_images(truth: Source, results: Source, **options: Any) -> TubeEvaluation:
    """COCO's mask AP and boundary AP: every image is a video of one frame.

    COCO's area ranges and its crowd rule; the options are those of :func:`evaluate`.
    """
    return evaluate(*_read(truth, results, options, images=True), **IMAGE_RULES | options)


def _read(
    truth: Source, results: Source, options: dict[str, Any], *, images: bool = False
) -> tuple[Truth, list[ResultTube]]:
    compute, strict = options.get("compute", intervals), options.get("mode", "official") == "strict"
    read = read_truth(truth, strict=strict, images=images, compute=compute)
    return read, read_results(results, read, images=images, compute=compute)


def evaluate(
    truth: Truth,
    results: list[ResultTube],
    *,
    mode: Mode = "official",
    key: Key = "auto",
    class_agnostic: bool = False,
    ratio: float = 0.02,
    pad_short: bool = False,
    kinds: Sequence[str] = KINDS,
    thresholds: NDArray[np.float64] = IOU_THRESHOLDS,
    areas: AreaRanges = VIDEO_AREAS,
    max_dets: tuple[int, ...] = MAX_DETS,
    crowd_as_share: bool | None = None,
    same_ratio: bool | None = None,
    federated: bool = False,
    floor: float | None = None,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    compute: ModuleType = intervals,
) -> TubeEvaluation:
    """Evaluate tubes.

    Args:
        truth: from :func:`vis.evaluation.loading.read_truth`.
        results: from :func:`vis.evaluation.loading.read_results`.
        mode: ``official`` or ``strict``.
        key: truth masks where annotations have refined ones (HQ-YTVIS). ``official`` takes refined ones
            for bands and raw ones for masks, ``refined`` and ``raw`` take one for both; ``auto`` is
            ``official`` in official mode, else ``refined``.
        class_agnostic: pool the classes of a video (the official ``useCats=0``).
        ratio: width of the boundary band as a share of the image diagonal.
        pad_short: in strict mode, take missing last frames as absent instead of an error.
        kinds: which of :data:`KINDS` to compute.
        thresholds: IoU thresholds, rising.
        areas: (low, high) per area range: all, small, medium, large.
        max_dets: three limits of detections per video and category, rising.
        crowd_as_share: compare with crowds by the share of the detection that lies in them, as COCO
            does; None is so in strict mode only: the official tube code uses plain IoU.
        same_ratio: use ``ratio`` for the bands of results too; None is so in strict mode only: the
            official tube code makes theirs with 0.02 whatever the ratio is.
        federated: LVIS' rule for classes that were not looked for everywhere. Results count only where their
            class has truth or is known to be absent, false ones not where its objects are not all annotated,
            and the largest limit holds for all classes of a video together. The truth must say so for
            every video.
        floor: IoUs below it may be left at 0; None is the lowest threshold, where it changes nothing.
        threads: how many parts of the data at a time; None is one per core, at most 8.
        progress: called with (groups done, groups); a group is a class in a video.
        compute: private; the tests put a plain implementation of :mod:`vis.evaluation.intervals` here.

    Raises :class:`AnnotationError` (strict mode: lengths, unknown categories) and
    :class:`UsageError`.
    """
    kinds = tuple(dict.fromkeys(kinds))
    _check_options(mode, kinds, max_dets, ratio)
    if pad_short and mode != "strict":
        raise UsageError(
            "pad_short is for mode strict: official mode compares the frames that both lists have"
        )
    if threads is not None and threads < 1:
        raise UsageError(f"threads: expected 1 or more, got {threads}")
    key = ("official" if mode == "official" else "refined") if key == "auto" else key
    strict = mode == "strict"
    notes: dict[str, int] = {}
    if federated:
        results = _verified(truth, results, max_dets[-1], notes)
    results = _checked(truth, results, notes, strict=strict, pad_short=pad_short)
    if pad_short:
        truth, results = _padded(truth, results)
    matcher = GroupMatcher(
        compute=compute,
        truth=truth,
        strict=strict,
        key=key,
        ratio=ratio,
        kinds=kinds,
        thresholds=np.asarray(thresholds, np.float64),
        areas=areas,
        limit=max_dets[-1],
        floor=float(thresholds[0]) if floor is None else floor,
        crowd_as_share=strict if crowd_as_share is None else crowd_as_share,
        result_ratio=ratio if (strict if same_ratio is None else same_ratio) else OFFICIAL_RESULT_RATIO,
        federated=federated,
    )
    groups = _groups(truth, results, class_agnostic=class_agnostic)
    matches = match_all(matcher, groups, threads, progress)
    # Categories without a tube on either side say nothing; some files list tens of thousands.
    categories = sorted({category for (_, category), _, _ in groups})
    summaries, stats = {}, {}
    for kind in matcher.kinds:
        summaries[kind] = accumulate(
            matches[kind], categories, thresholds=matcher.thresholds, areas=len(areas), max_dets=max_dets
        )
        stats[kind] = summarize(summaries[kind], literal_100=not (strict or federated))
    if not results:
        # The official code fails on an empty list; nothing found is nothing right.
        warnings.warn("there are no results: every AP is 0", EvaluationWarning, stacklevel=2)
    members = [(d[: max_dets[-1]], g) for _, d, g in groups]
    return TubeEvaluation(
        mode, key if _has_refined(truth) else "raw", ratio, class_agnostic, truth, results,
        stats, summaries, matches, members, notes,
    )  # fmt: skip


def _check_options(mode: str, kinds: tuple[str, ...], max_dets: tuple[int, ...], ratio: float) -> None:
    if mode not in ("official", "strict"):
        raise UsageError(f"mode: expected official or strict, got {mode!r}")
    if not kinds or not set(kinds) <= set(KINDS):
        raise UsageError(
            f"kinds: expected one or more of {', '.join(KINDS)}, got {', '.join(kinds) or 'none'}"
        )
    if len(max_dets) != 3 or list(max_dets) != sorted(set(max_dets)) or max_dets[0] < 1:
        raise UsageError(f"max_dets: expected three rising limits, got {max_dets}")
    if not 0 < ratio < 1:
        raise UsageError(f"ratio: expected a share of the diagonal between 0 and 1, got {ratio}")


def _has_refined(truth: Truth) -> bool:
    return any(tube.refined is not None for tube in truth.tubes)


# ---------------------------------------------------------------- checks


def _checked(
    truth: Truth,
    results: list[ResultTube],
    notes: dict[str, int],
    *,
    strict: bool,
    pad_short: bool,
) -> list[ResultTube]:
    """Count, warn about or refuse what the two modes see differently; strict drops empty tubes."""
    notes["unequal_lengths"] = _check_lengths(truth, results, strict=strict, pad_short=pad_short)
    unknown = [tube for tube in results if tube.category not in truth.categories]
    notes["unknown_categories"] = len(unknown)
    if unknown and strict:
        raise AnnotationError(
            f"result {unknown[0].index}: category {unknown[0].category} is not in the truth "
            f"({len(unknown)} results); map the classes first, ids differ between data sets"
        )
    if unknown:
        _warn(f"{len(unknown)} results of categories that the truth does not list are not used")
    if not strict and any(tube.id == 0 for tube in truth.tubes):
        _warn(
            "annotation id 0: the official evaluator counts its matches as false; number from 1 or use strict"
        )
    scores: dict[tuple[int, int], set[float]] = defaultdict(set)
    for tube in results:
        scores[tube.video, tube.category].add(tube.score)
    notes["score_ties"] = len(results) - sum(map(len, scores.values()))
    notes["empty_results"] = sum(tube.mask_area == 0 for tube in results)
    notes["area_mismatches"] = sum(
        tube.areas is not None and abs(tube.stated_area - tube.mask_area) > 0.5 for tube in truth.tubes
    )
    return [tube for tube in results if tube.mask_area] if strict else results


def _verified(truth: Truth, results: list[ResultTube], limit: int, notes: dict[str, int]) -> list[ResultTube]:
    """Results that the truth can judge, of the best ``limit`` of each video; LVIS (Gupta et al., CVPR 2019)."""
    silent = [video.id for video in truth.videos.values() if video.absent is None or video.open is None]
    if silent:
        raise AnnotationError(
            f"image or video {silent[0]}: neg_category_ids or not_exhaustive_category_ids is missing "
            f"({len(silent)} such); LVIS' rule needs both for every image"
        )
    by_video: dict[int, list[ResultTube]] = defaultdict(list)
    for tube in results:
        by_video[tube.video].append(tube)
    kept: set[int] = set()
    for some in by_video.values():
        kept.update(tube.index for tube in sorted(some, key=lambda tube: -tube.score)[:limit])
    judged = {(tube.video, tube.category) for tube in truth.tubes}
    judged |= {(video.id, category) for video in truth.videos.values() for category in video.absent or ()}
    notes["over_the_limit"] = len(results) - len(kept)
    chosen = [tube for tube in results if tube.index in kept]
    verified = [tube for tube in chosen if (tube.video, tube.category) in judged]
    notes["unverified_results"] = len(chosen) - len(verified)
    return verified


def _check_lengths(truth: Truth, results: list[ResultTube], *, strict: bool, pad_short: bool) -> int:
    wrong = []
    lengths = _lengths(truth)
    for name, video, masks in _listed(truth, results):
        expected, have = lengths[video], len(masks)
        if have != expected and not (pad_short and have < expected):
            wrong.append(f"{name}, video {video}: {have} frames, expected {expected}")
    if wrong and strict:
        raise AnnotationError(
            f"{wrong[0]} ({len(wrong)} such tubes); give one mask or null per frame of the video"
        )
    if wrong:
        _warn(
            f"{wrong[0]} ({len(wrong)} such tubes); the official evaluator compares the frames that both have"
        )
    return len(wrong)


def _listed(truth: Truth, results: list[ResultTube]) -> Iterator[tuple[str, int, TubeMasks]]:
    """Every list of masks, with its name and its video."""
    for tube in truth.tubes:
        yield f"annotation {tube.id}", tube.video, tube.masks
        if tube.refined is not None:
            yield f"annotation {tube.id}, refined", tube.video, tube.refined
    for result in results:
        yield f"result {result.index}", result.video, result.masks


def _lengths(truth: Truth) -> dict[int, int]:
    """Frames of each video; where the file does not say, those of its longest annotation."""
    lengths = {number: max(video.length, 0) for number, video in truth.videos.items()}
    for tube in truth.tubes:
        if truth.videos[tube.video].length < 0:
            lengths[tube.video] = max(lengths[tube.video], len(tube.masks))
    return lengths


def _padded(truth: Truth, results: list[ResultTube]) -> tuple[Truth, list[ResultTube]]:
    """All tubes as long as the longest of their video, absent in the frames that their lists lack.

    Frames beyond it hold nothing, so that the file's word for the video's length allocates nothing.
    """
    lengths: dict[int, int] = defaultdict(int)
    for _, video, masks in _listed(truth, results):
        lengths[video] = max(lengths[video], len(masks))
    tubes = [
        replace(
            tube,
            masks=tube.masks.padded(lengths[tube.video]),
            refined=None if tube.refined is None else tube.refined.padded(lengths[tube.video]),
        )
        for tube in truth.tubes
    ]
    results = [replace(tube, masks=tube.masks.padded(lengths[tube.video])) for tube in results]
    return replace(truth, tubes=tubes), results


def _warn(message: str) -> None:
    warnings.warn(message, EvaluationWarning, stacklevel=4)


# ---------------------------------------------------------------- groups


def _groups(truth: Truth, results: list[ResultTube], *, class_agnostic: bool) -> list[Members]:
    """((video, category), detections best first, truths) in rising order of video and category."""
    truths: dict[tuple[int, int], list[TruthTube]] = defaultdict(list)
    found: dict[tuple[int, int], list[ResultTube]] = defaultdict(list)
    for tube in truth.tubes:
        truths[tube.video, tube.category].append(tube)
    for result in results:
        if result.category in truth.categories:
            found[result.video, result.category].append(result)
    if class_agnostic:
        # Pooled in the order of categories, which decides ties of scores as in the official code.
        truths, found = _pool(truths), _pool(found)
    return [
        (place, sorted(found.get(place, ()), key=lambda tube: -tube.score), truths.get(place, []))
        for place in sorted(truths.keys() | found.keys())
    ]


def _pool(groups: dict[tuple[int, int], list[Any]]) -> dict[tuple[int, int], list[Any]]:
    pooled: dict[tuple[int, int], list[Any]] = defaultdict(list)
    for video, category in sorted(groups):
        pooled[video, POOLED] += groups[video, category]
    return pooled
