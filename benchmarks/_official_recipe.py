"""The published evaluators' recipe, written plainly from the definitions: the measure and the judge.

Every mask is decoded, padded, eroded, subtracted and encoded (OpenCV, pycocotools); pairs are compared
by merging run lengths; matching and accumulation are loops. Slow on purpose: the benchmark times
it, and the tests take its numbers as a second opinion. It shares no code with :mod:`vis`.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pycocotools import mask as rle_api

THRESHOLDS = list(np.linspace(0.5, 0.95, 10))
RECALLS = list(np.linspace(0, 1, 101))
AREAS = [(0, 1e10), (0, 128**2), (128**2, 256**2), (256**2, 1e10)]
MAX_DETS = (1, 10, 100)


def compressed(mask: Any, height: int, width: int) -> dict | None:
    if mask is None:
        return None
    if isinstance(mask, list):
        return rle_api.merge(rle_api.frPyObjects(mask, height, width))
    if isinstance(mask["counts"], list):
        return rle_api.frPyObjects(mask, height, width)
    return mask


def band(mask: dict, ratio: float = 0.02) -> dict:
    """Boundary of one mask, as run lengths."""
    dense = rle_api.decode(mask)
    height, width = dense.shape
    distance = max(1, round(ratio * (height**2 + width**2) ** 0.5))
    padded = cv2.copyMakeBorder(dense, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    eroded = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=distance)[1:-1, 1:-1]
    return rle_api.encode(np.asfortranarray(dense - eroded))


def empty_band(height: int, width: int) -> dict:
    """What the published code does for an absent frame: it builds an empty frame and encodes it."""
    return rle_api.encode(np.asfortranarray(np.zeros((height, width)), dtype=np.uint8))


def tube_iou(a: list[dict | None], b: list[dict | None]) -> float:
    common = total = 0.0
    for x, y in zip(a, b, strict=False):
        if x and y:
            common += float(rle_api.area(rle_api.merge([x, y], True)))
            total += float(rle_api.area(rle_api.merge([x, y], False)))
        elif x or y:
            total += float(rle_api.area(x or y))
    return common / total if total else 0.0


def prepare(
    truth: dict, results: list[dict], *, boundary: bool, absent: bool = False, ratio: float = 0.02
) -> tuple[list[dict], list[dict]]:
    """Tubes with run lengths, bands and areas."""
    sizes = {video["id"]: (video["height"], video["width"]) for video in truth["videos"]}
    out = []
    for entries in (truth["annotations"], results):
        tubes = []
        for index, entry in enumerate(entries):
            height, width = sizes[entry["video_id"]]
            masks = [compressed(mask, height, width) for mask in entry["segmentations"]]
            if "areas" in entry:
                areas = [a for a in entry["areas"] if a]
            else:
                areas = [int(rle_api.area(mask)) for mask in masks if mask]
                areas = [a for a in areas if a]
            tube = {
                "id": entry.get("id", index),
                "video": entry["video_id"],
                "category": entry["category_id"],
                "crowd": entry.get("iscrowd", 0),
                "score": entry.get("score"),
                "area": float(np.mean(areas)) if areas else 0.0,
                "masks": masks,
            }
            if boundary:
                tube["bands"] = [
                    band(mask, ratio) if mask else empty_band(height, width) if absent else None
                    for mask in masks
                ]
            tubes.append(tube)
        out.append(tubes)
    return out[0], out[1]


def similarity(detection: dict, truth: dict, *, boundary: bool) -> float:
    value = tube_iou(detection["masks"], truth["masks"])
    if boundary and not truth["crowd"]:
        value = min(value, tube_iou(detection["bands"], truth["bands"]))
    return value


def statistics(
    truths: list[dict], results: list[dict], categories: list[int], *, boundary: bool, pooled: bool = False
) -> list[float]:
    """The 12 official statistics."""
    groups: dict[tuple, tuple[list, list]] = defaultdict(lambda: ([], []))
    for side, tubes in ((0, results), (1, truths)):
        ordered = sorted(tubes, key=lambda tube: tube["category"]) if pooled else tubes
        for tube in ordered:
            if tube["category"] in categories:
                groups[tube["video"], 0 if pooled else tube["category"]][side].append(tube)
    precision, recall = {}, {}
    similarities = {}
    for found, _ in groups.values():
        found.sort(key=lambda tube: -tube["score"])
        del found[MAX_DETS[-1] :]
    for key, (found, wanted) in groups.items():
        similarities[key] = [[similarity(d, g, boundary=boundary) for g in wanted] for d in found]
    for category in [0] if pooled else categories:
        keys = sorted(key for key in groups if key[1] == category)
        for a, area in enumerate(AREAS):
            for threshold in THRESHOLDS:
                judged = [
                    judge(*groups[key], similarities[key], area=area, threshold=threshold) for key in keys
                ]
                for limit in MAX_DETS:
                    curve = average(judged, limit)
                    if curve:
                        precision[category, a, threshold, limit], recall[category, a, threshold, limit] = (
                            curve
                        )
    return summary(precision, recall)


def judge(
    found: list[dict],
    wanted: list[dict],
    ious: list[list[float]],
    *,
    area: tuple[float, float],
    threshold: float,
) -> tuple[list[tuple[float, str]], int]:
    """(score, verdict) of each detection of a video, and how many truths count."""
    low, high = area
    ignored = [bool(g["crowd"]) or not low <= g["area"] <= high for g in wanted]
    order = sorted(range(len(wanted)), key=lambda g: ignored[g])
    taken: set[int] = set()
    verdicts = []
    for d, detection in enumerate(found):
        best, match = min(threshold, 1 - 1e-10), None
        for g in order:
            if g in taken and not wanted[g]["crowd"]:
                continue
            if match is not None and not ignored[match] and ignored[g]:
                break
            if ious[d][g] >= best:
                best, match = ious[d][g], g
        if match is not None:
            taken.add(match)
        # The published code stores the matched id, so that id 0 looks like no match.
        matched = match is not None and wanted[match]["id"] != 0
        if (match is not None and ignored[match]) or (not matched and not low <= detection["area"] <= high):
            verdicts.append((detection["score"], "ignored"))
        else:
            verdicts.append((detection["score"], "hit" if matched else "miss"))
    return verdicts, ignored.count(False)


def average(judged: list[tuple[list, int]], limit: int) -> tuple[list[float], float] | None:
    """Precision at the 101 recalls, and the last recall; None without truth."""
    positives = sum(count for _, count in judged)
    if not positives:
        return None
    verdicts = sorted((v for found, _ in judged for v in found[:limit]), key=lambda v: -v[0])
    hits = misses = 0
    points = []
    for _, verdict in verdicts:
        hits += verdict == "hit"
        misses += verdict == "miss"
        points.append((hits / positives, hits / (hits + misses + np.spacing(1))))
    best = 0.0
    for i in range(len(points) - 1, -1, -1):
        best = max(best, points[i][1])
        points[i] = points[i][0], best
    curve = [next((p for r, p in points if r >= level), 0.0) for level in RECALLS]
    return curve, points[-1][0] if points else 0.0


def summary(precision: dict, recall: dict) -> list[float]:
    def mean(values: list) -> float:
        return float(np.mean(values)) if values else -1.0

    def ap(area: int, threshold: float | None = None) -> float:
        return mean(
            [
                curve
                for (_, a, t, limit), curve in precision.items()
                if a == area and limit == 100 and (threshold is None or abs(t - threshold) < 1e-9)
            ]
        )

    def ar(area: int, limit: int) -> float:
        return mean([value for (_, a, _, m), value in recall.items() if a == area and m == limit])

    return [
        ap(0),
        ap(0, 0.5),
        ap(0, 0.75),
        ap(1),
        ap(2),
        ap(3),
        ar(0, 1),
        ar(0, 10),
        ar(0, 100),
        ar(1, 100),
        ar(2, 100),
        ar(3, 100),
    ]


def run(
    truth_path: Path, results_path: Path, *, boundary: bool, absent: bool = False, pooled: bool = False
) -> dict:
    """From the files to the statistics; ``absent`` also makes the empty frames of absent objects."""
    cv2.setNumThreads(1)
    truth, results = json.loads(truth_path.read_bytes()), json.loads(results_path.read_bytes())
    truths, found = prepare(truth, results, boundary=boundary, absent=absent)
    categories = sorted(category["id"] for category in truth["categories"])
    stats = {"mask": statistics(truths, found, categories, boundary=False, pooled=pooled)}
    if boundary:
        stats["boundary"] = statistics(truths, found, categories, boundary=True, pooled=pooled)
    return stats


def say_peak() -> None:
    """Peak memory of this process in kB, as the last line of stderr. Linux."""
    with Path("/proc/self/status").open() as status:
        print("VmHWM", next(line.split()[1] for line in status if "VmHWM" in line), file=sys.stderr)


if __name__ == "__main__":
    print(json.dumps(run(Path(sys.argv[1]), Path(sys.argv[2]), boundary=sys.argv[3] == "both")))
    say_peak()
