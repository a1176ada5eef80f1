"""Two reports of ``vistubes eval tubes --report`` side by side, from their files alone."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from vis.errors import InputError
from vis.evaluation import bootstrap
from vis.evaluation.protocol import STATS
from vis.formats.fields import as_finite, shown

__all__ = ["FORMAT", "compare_reports", "comparison_table"]

FORMAT = "vis-tubes-evaluation"
KINDS = ("mask", "boundary")
MAX_THRESHOLDS = 62
"""Hits and misses of a report are bit masks over the thresholds."""
SETTINGS = (
    "mode",
    "annotation_key",
    "dilation_ratio",
    "class_agnostic",
    "videos",
    "truth_tubes",
    "thresholds",
)
"""What must be the same for a comparison to mean something."""


def compare_reports(a: Any, b: Any, names: tuple[str, str]) -> dict[str, Any]:
    """Two reports side by side: statistics, and the AP difference b - a with its interval.

    Raises :class:`InputError` for what is no report, for a report that is broken, and for two that do not
    measure the same thing.
    """
    for report, name in zip((a, b), names, strict=True):
        if (
            not isinstance(report, dict)
            or report.get("format") != FORMAT
            or report.get("format_version") != 1
        ):
            raise InputError(f"{name}: not a report; make one with 'vistubes eval tubes --report DIR'")
        if fault := _fault(report):
            raise InputError(f"{name}: broken report: {fault}; evaluate again")
    differing = [key for key in SETTINGS if a.get(key) != b.get(key)]
    if differing:
        raise InputError(
            f"{names[0]} and {names[1]} differ in {', '.join(differing)}: they do not measure the same thing; "
            "evaluate both with the same truth and options"
        )
    answer: dict[str, Any] = {"a": names[0], "b": names[1], "stats_order": list(STATS)}
    for kind in a["evidence"]:
        levels = len(a["thresholds"][kind])
        change = bootstrap.difference(a["evidence"][kind], b["evidence"][kind], levels)
        answer[kind] = {"a": a[kind], "b": b[kind], "ap_difference": asdict(change)}
    return answer


def comparison_table(answer: dict[str, Any]) -> str:
    """A comparison as text."""
    lines = [f"A: {answer['a']}", f"B: {answer['b']}"]
    for kind in KINDS:
        if kind not in answer:
            continue
        lines.append(f"{kind:<10}" + "".join(f"{name:>7}" for name in answer["stats_order"]))
        for side in "ab":
            cells = ("-" if v < 0 else f"{100 * v:.2f}" for v in answer[kind][side])
            lines.append(f"{side.upper():<10}" + "".join(f"{cell:>7}" for cell in cells))
        change = answer[kind]["ap_difference"]
        sure = "" if change["low"] <= 0 <= change["high"] else ", more than chance"
        lines.append(
            f"AP of B minus A: {100 * change['value']:+.2f}, 95 % interval over videos "
            f"{100 * change['low']:+.2f} to {100 * change['high']:+.2f}{sure}"
        )
    return "\n".join(lines)


# ---------------------------------------------------------------- checks


def _fault(report: dict[str, Any]) -> str:
    """What is wrong with the parts of a report that a comparison reads, '' if nothing is."""
    thresholds, evidence = report.get("thresholds"), report.get("evidence")
    if not isinstance(thresholds, dict) or not isinstance(evidence, dict):
        return "thresholds and evidence: expected objects"
    if not evidence or not set(evidence) <= set(KINDS) or set(evidence) != set(thresholds):
        return f"evidence and thresholds: expected both for {' and '.join(KINDS)}, or for one of them"
    for kind, rows in evidence.items():
        levels, stats = thresholds.get(kind), report.get(kind)
        if not isinstance(levels, list) or not 1 <= len(levels) <= MAX_THRESHOLDS:
            return f"thresholds of {kind}: expected a list of 1 to {MAX_THRESHOLDS}, got {shown(levels)}"
        if not isinstance(stats, list) or len(stats) != len(STATS) or None in map(as_finite, stats):
            return f"{kind}: expected {len(STATS)} numbers, got {shown(stats)}"
        if not isinstance(rows, list):
            return f"evidence of {kind}: expected a list, got {shown(rows)}"
        bad = next((i for i, row in enumerate(rows) if not _is_evidence(row, len(levels))), None)
        if bad is not None:
            return f"evidence of {kind}, row {bad}: expected [video, category, truths, scores, hits, misses]"
    return ""


def _is_evidence(row: Any, levels: int) -> bool:
    """Whether a row is as :func:`vis.evaluation.report.evidence` writes it."""
    if not isinstance(row, list) or len(row) != 6:
        return False
    numbers, columns = row[:3], row[3:]
    if not all(_is_int(number, 63) for number in numbers) or not 0 <= numbers[2] < 2**32:
        return False
    if not all(isinstance(column, list) and len(column) == len(columns[0]) for column in columns):
        return False
    bits = (*columns[1], *columns[2])
    return None not in map(as_finite, columns[0]) and all(
        _is_int(mask, levels) and mask >= 0 for mask in bits
    )


def _is_int(value: Any, bits: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value.bit_length() <= bits
