"""The report of edge maps: one dictionary, tables, and one self-contained HTML page."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vis.evaluation.html_report import curve_plot, page, table
from vis.evaluation.report import to_csv
from vis.files import write_json, write_text

__all__ = ["write_report"]


def write_report(folder: Path, answer: Mapping[str, Any]) -> None:
    """Write images.csv, curve.csv, report.html and report.json, which is last, of what ``eval edges`` answers."""
    curve = answer["curve"]
    images = [{"image": name, **row} for name, row in answer["per_image"].items()]
    points = [dict(zip(curve, row, strict=True)) for row in zip(*curve.values(), strict=True)]
    write_text(folder / "images.csv", to_csv(images))
    write_text(folder / "curve.csv", to_csv(points))
    write_text(folder / "report.html", _page(answer, images))
    write_json(folder / "report.json", dict(answer))


def _page(answer: Mapping[str, Any], images: list[dict[str, Any]]) -> str:
    title = f"Edges: {answer['results']}"
    made = (
        f"{len(images)} images, {answer['thresholds']} thresholds, matched within {answer['max_distance']:g} of the "
        f"diagonal; in percent"
    )
    curve = answer["curve"]
    whole = np.array(curve["recall"]) > 0  # no line to where nothing is left
    line = np.array(curve["recall"])[whole], np.array(curve["precision"])[whole]
    rows = [
        {**row, "threshold": f"{row['threshold']:.3f}"} for row in sorted(images, key=lambda row: row["f"])
    ]
    return page(
        title,
        [
            f"<h1>{html.escape(title)}</h1><p class=note>{html.escape(made)}</p>",
            table([{name.upper(): answer[name] for name in ("ods", "ois", "ap", "r50")}]),
            f"<p>ODS at threshold {answer['ods_threshold']:.3f}: recall {100 * answer['ods_recall']:.2f}, precision "
            f"{100 * answer['ods_precision']:.2f}</p>",
            curve_plot("precision over recall", {"all images": line}),
            "<h2>Images, each at its best threshold, the worst first</h2>",
            table(rows),
        ],
    )
