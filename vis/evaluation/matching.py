"""Compares and matches the tubes of many groups at a time: a group is a class in a video.

Boundaries are made only for pairs whose mask IoU reaches the lowest threshold: the smaller IoU counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from vis.evaluation.iou import boundary_ious
from vis.evaluation.protocol import AreaRanges, Group, Matches, match_groups
from vis.evaluation.records import ResultTube, Truth, TruthTube
from vis.evaluation.tube_masks import TubeMasks, pack
from vis.masks import boundary_width

__all__ = ["POOLED", "GroupMatcher", "Members", "match_all"]

Members = tuple[tuple[int, int], list[ResultTube], list[TruthTube]]
"""((video, category), detections best first, truths) of one group."""
POOLED = -1
"""Category id when classes are pooled."""
PART = 64
"""Groups that are compared at a time."""


def match_all(
    matcher: GroupMatcher,
    groups: list[Members],
    threads: int | None,
    progress: Callable[[int, int], None] | None,
) -> dict[str, list[Matches]]:
    """The matches of every group, by kind, in order; see :func:`vis.evaluation.tubes.evaluate`."""
    threads = min(os.cpu_count() or 1, 8) if threads is None else threads
    parts = [groups[i : i + PART] for i in range(0, len(groups), PART)]
    matches: dict[str, list[Matches]] = {kind: [] for kind in matcher.kinds}

    def collect(stream: Iterable[list[list[Matches]]]) -> None:
        done = 0
        for part, by_kind in zip(parts, stream, strict=True):
            for kind, some in zip(matcher.kinds, by_kind, strict=True):
                matches[kind] += some
            done += len(part)
            if progress:
                progress(done, len(groups))

    if threads > 1 and len(parts) > 1:
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(threads) as pool:
            collect(pool.map(matcher, parts))
    else:
        collect(map(matcher, parts))
    return matches


@dataclass(frozen=True, slots=True)
class GroupMatcher:
    """Matches groups by mask and by boundary; holds what all groups share."""

    compute: ModuleType
    truth: Truth
    strict: bool
    key: str
    ratio: float
    kinds: tuple[str, ...]
    thresholds: NDArray[np.float64]
    areas: AreaRanges
    limit: int
    floor: float
    crowd_as_share: bool
    result_ratio: float
    federated: bool

    def __call__(self, groups: list[Members]) -> list[list[Matches]]:
        """The matches of several groups, by kind."""
        found = [tube for _, some, _ in groups for tube in some[: self.limit]]
        truths = [tube for _, _, some in groups for tube in some]
        counts = np.array([(min(len(d), self.limit), len(g)) for _, d, g in groups], np.int64)
        ends = np.cumsum(counts, axis=0)
        spans = np.stack([ends - counts, ends], axis=2).reshape(-1, 4)
        crowd = np.array([tube.crowd for tube in truths], bool)
        together = Group(
            category=POOLED,
            video=-1,
            scores=np.array([tube.score for tube in found], np.float64),
            detection_areas=np.array([self._size(tube) for tube in found], np.float64),
            truth_areas=np.array([self._area(tube) for tube in truths], np.float64),
            crowd=crowd,
            truth_ignored=crowd | np.array([self.strict and tube.ignore for tube in truths], bool),
            uncounted=np.array([not self.strict and tube.id == 0 for tube in truths], bool),
            detection_ignored=self._open(found),
        )
        detections = [tube.masks for tube in found]
        for_masks = [self._masks(tube, refined=self.key == "refined") for tube in truths]
        mask: NDArray[np.float64] = self.compute.ious(pack(detections), pack(for_masks), spans, self.floor)
        pairs = _pairs(spans)
        if self.crowd_as_share:
            self._crowd_shares(mask, pairs, detections, for_masks, crowd)
        by_kind = {"mask": mask}
        if "boundary" in self.kinds:
            able = np.flatnonzero((mask >= max(self.floor, 1e-300)) & ~crowd[pairs[:, 1]])
            sizes = [self.truth.videos[video].size for (video, _), _, _ in groups]
            by_kind["boundary"] = mask.copy()
            by_kind["boundary"][able] = np.minimum(
                mask[able],
                boundary_ious(
                    detections,
                    [self._masks(tube, refined=self.key != "raw") for tube in truths],
                    pairs[able],
                    np.repeat([boundary_width(size, self.result_ratio) for size in sizes], counts[:, 0]),
                    np.repeat([boundary_width(size, self.ratio) for size in sizes], counts[:, 1]),
                    compute=self.compute,
                ),
            )
        return match_groups(
            [place for place, _, _ in groups],
            spans,
            together,
            [by_kind[kind] for kind in self.kinds],
            self.compute,
            areas=self.areas,
            thresholds=self.thresholds,
        )

    def _open(self, found: list[ResultTube]) -> NDArray[np.bool_]:
        if not self.federated:
            return np.zeros(len(found), bool)
        videos = self.truth.videos
        return np.array([tube.category in (videos[tube.video].open or ()) for tube in found], bool)

    def _masks(self, tube: TruthTube, *, refined: bool) -> TubeMasks:
        return tube.refined if refined and tube.refined is not None else tube.masks

    def _size(self, tube: ResultTube) -> float:
        if not self.strict and tube.box_area is not None:
            return tube.box_area
        return tube.mask_area

    def _area(self, tube: TruthTube) -> float:
        if not self.strict and tube.areas is not None:
            return tube.stated_area
        refined = self.key == "refined" and tube.refined is not None
        return tube.refined_area if refined else tube.mask_area

    def _crowd_shares(
        self,
        ious: NDArray[np.float64],
        pairs: NDArray[np.int64],
        detections: list[TubeMasks],
        truths: list[TubeMasks],
        crowd: NDArray[np.bool_],
    ) -> None:
        """COCO's rule for crowds: the share of the detection that lies in the region."""
        for k in np.flatnonzero(crowd[pairs[:, 1]]):
            detection, truth = detections[pairs[k, 0]], truths[pairs[k, 1]]
            area = int(detection.areas.sum())
            common = int(self.compute.overlap(detection, truth, min(len(detection), len(truth))).sum())
            ious[k] = common / area if area else 0.0


def _pairs(spans: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 (P, 2): the detection and the truth of each value that ``intervals.ious`` gives for ``spans``."""
    sizes = spans[:, 1::2] - spans[:, 0::2]
    counts = sizes[:, 0] * sizes[:, 1]
    group = np.repeat(np.arange(len(spans)), counts)
    place = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(place, np.maximum(sizes[group, 1], 1))
    return np.stack([spans[group, 0] + row, spans[group, 2] + column], axis=1)
