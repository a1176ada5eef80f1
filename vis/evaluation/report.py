"""What an evaluation says: plain values for JSON, a table for the terminal, rows for CSV.

The HTML page is made by :mod:`vis.evaluation.html_report`.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.evaluation.protocol import STATS, Matches
from vis.evaluation.tubes import TubeEvaluation

__all__ = ["category_rows", "evidence", "frequency_rows", "summary", "table", "to_csv", "video_rows"]

IOU50 = 0
"""Index of the lowest threshold."""


def summary(evaluation: TubeEvaluation) -> dict[str, Any]:
    """The statistics and what they were made from, as plain JSON values."""
    return {
        **evaluation.stats,
        "stats_order": list(STATS),
        "mode": evaluation.mode,
        "annotation_key": evaluation.key,
        "dilation_ratio": evaluation.ratio,
        "class_agnostic": evaluation.class_agnostic,
        "videos": len(evaluation.truth.videos),
        "truth_tubes": len(evaluation.truth.tubes),
        "result_tubes": len(evaluation.results),
        "notes": evaluation.notes,
    }


def table(evaluation: TubeEvaluation, *, unit: str = "videos") -> str:
    """The 12 statistics of each kind in percent, and how they were made; ``unit``: what the truth has several of."""
    kinds = list(evaluation.stats)
    limits = dict(
        zip(("AR1", "AR10", "AR100"), next(iter(evaluation.summaries.values())).max_dets, strict=True)
    )
    names = (f"AR{limits[name]}" if name in limits else name for name in STATS)
    lines = [" " * 10 + "".join(f"{name:>7}" for name in names)]
    for kind in kinds:
        cells = ("-" if value < 0 else f"{100 * value:.2f}" for value in evaluation.stats[kind])
        lines.append(f"{kind:<10}" + "".join(f"{cell:>7}" for cell in cells))
    lines.append(
        f"mode {evaluation.mode}, truth masks {evaluation.key}, band {evaluation.ratio:g} of the diagonal, "
        f"{'classes pooled' if evaluation.class_agnostic else 'per class'}; in percent, -: no truth"
    )
    lines.append(
        f"{len(evaluation.truth.videos)} {unit}, {len(evaluation.truth.tubes)} truths, "
        f"{len(evaluation.results)} results"
        + "".join(f", {count} {name.replace('_', ' ')}" for name, count in evaluation.notes.items() if count)
    )
    return "\n".join(lines)


def category_rows(evaluation: TubeEvaluation) -> list[dict[str, Any]]:
    """Per class: truths that count, results, and AP, AP50, AP75, AR of each kind (None: no truth)."""
    rows = []
    truths = Counter(tube.category for tube in evaluation.truth.tubes if not tube.crowd)
    found = Counter(tube.category for tube in evaluation.results)
    kind_summaries = evaluation.summaries
    first = next(iter(kind_summaries.values()))
    for k, category in enumerate(first.categories):
        known = None if evaluation.class_agnostic else evaluation.truth.categories.get(category)
        row: dict[str, Any] = {
            "category": category,
            "name": known.name if known else "all classes",
            "truths": truths[category] if known else sum(truths.values()),
            "results": found[category] if known else sum(found.values()),
        }
        for kind, values in kind_summaries.items():
            curve = values.precision[:, :, k, 0, -1]
            defined = bool((curve > -1).all())
            row[f"{kind}_ap"] = float(curve.mean()) if defined else None
            row[f"{kind}_ap50"] = float(curve[IOU50].mean()) if defined else None
            row[f"{kind}_ap75"] = float(curve[5].mean()) if defined and len(curve) > 5 else None
            recall = values.recall[:, k, 0, -1]
            row[f"{kind}_ar"] = float(recall.mean()) if defined else None
        rows.append(row)
    return rows


def frequency_rows(evaluation: TubeEvaluation) -> dict[str, dict[str, float]]:
    """AP of rare (r), common (c) and frequent (f) classes by kind, -1 without truth; {} when classes have none."""
    frequencies = {c.id: c.frequency for c in evaluation.truth.categories.values() if c.frequency}
    rows: dict[str, dict[str, float]] = {}
    for kind, values in evaluation.summaries.items() if frequencies else ():
        rows[kind] = {}
        for frequency in "rcf":
            chosen = [frequencies.get(category) == frequency for category in values.categories]
            curve = values.precision[:, :, chosen, 0, -1]
            curve = curve[curve > -1]
            rows[kind][frequency] = float(curve.mean()) if curve.size else -1.0
    return rows


def video_rows(evaluation: TubeEvaluation) -> list[dict[str, Any]]:
    """Per video: truths, results, and hits, false and missed tubes at the lowest threshold, by kind."""
    rows: dict[int, dict[str, Any]] = {
        number: {"video": number, "name": video.name, "truths": 0, "results": 0}
        for number, video in evaluation.truth.videos.items()
    }
    for kind, matches in evaluation.matches.items():
        for one in matches:
            row = rows[one.group.video]
            hits, false = int(one.hit[0, IOU50].sum()), int(one.miss[0, IOU50].sum())
            missed = int(one.positives[0]) - hits
            for name, count in (("hits", hits), ("false", false), ("missed", missed)):
                row[f"{kind}_{name}"] = row.get(f"{kind}_{name}", 0) + count
    for tube in evaluation.truth.tubes:
        rows[tube.video]["truths"] += not tube.crowd
    for result in evaluation.results:
        rows[result.video]["results"] += 1
    return list(rows.values())


def to_csv(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV text with a header."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def evidence(matches: Sequence[Matches]) -> list[list[Any]]:
    """What bootstrap and comparison need, compact: per group [video, category, truths that count,
    scores, hits, misses]; hits and misses are bit masks over the thresholds, all areas.
    """
    return [
        [
            one.group.video,
            one.group.category,
            int(one.positives[0]),
            [float(score) for score in one.group.scores],
            _bits(one.hit[0]),
            _bits(one.miss[0]),
        ]
        for one in matches
        if one.positives[0] or len(one.group.scores)
    ]


def _bits(rows: NDArray[np.bool_]) -> list[int]:
    """(T, D) as one int per detection."""
    weights = 1 << np.arange(len(rows))
    bits: list[int] = (weights[:, None] * rows).sum(axis=0).astype(int).tolist()
    return bits
