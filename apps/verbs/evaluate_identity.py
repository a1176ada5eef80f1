"""``vistubes eval identity``: HOTA, IDF1, switches and MOTSA of saved tubes."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from apps.verbs.evaluate_files import add_truth_and_results, truth_and_results

__all__ = ["add", "evaluate"]

SHOWN = ("hota", "det_a", "ass_a", "loc_a", "idf1", "mota", "smota", "id_switches", "fragments")


def add(parser: argparse.ArgumentParser) -> None:
    """Add the options, but ``--json``."""
    add_truth_and_results(parser)
    parser.description = (
        "Files are tubes.json, run folders, or YouTube-VIS annotations and results. "
        "Classes are not looked at."
    )


def evaluate(args: argparse.Namespace) -> tuple[dict[str, Any], str]:
    """The metrics of each video, and their mean over videos (counts: their sum); as JSON and as text."""
    from vis.evaluation.tracking_metrics import identity_metrics
    from vis.evaluation.video_results import paired_videos

    truth, (results,) = truth_and_results(args)
    rows: list[dict[str, Any]] = []
    for true, found in paired_videos(truth, results):
        metrics = identity_metrics(true, found)
        values = {field.name: getattr(metrics, field.name) for field in fields(metrics)}
        rows.append({"video": true.video.name, **values, "hota_curve": metrics.hota_curve.tolist()})
    means = {
        name: sum(row[name] for row in rows) / (1 if isinstance(rows[0][name], int) else len(rows))
        for name in (rows[0] if rows else {})
        if name not in ("video", "hota_curve")
    }
    lines = [f"{'video':<24}" + "".join(f"{name:>12}" for name in SHOWN)]
    for name, row in [*((row["video"], row) for row in rows), ("all", means)]:
        cells = (
            f"{row[key]:.3f}" if isinstance(row[key], float) else str(row[key]) for key in SHOWN if key in row
        )
        lines.append(f"{name:<24.24}" + "".join(f"{cell:>12}" for cell in cells))
    return {"videos": rows, **means}, "\n".join(lines)
