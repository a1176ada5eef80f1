"""``vistubes eval tubes --results A B``: two results against one truth, and what differs, class by class."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vis.evaluation import TubeEvaluation

__all__ = ["compare_results"]

KINDS = ("mask", "boundary")


def compare_results(
    evaluate: Callable[[Path], TubeEvaluation], results: tuple[Path, Path], folder: Path | None
) -> tuple[dict[str, Any], str]:
    """The numbers of both, the difference B - A with its 95 % interval over videos, overall and per class.

    With ``folder``: ``report.html``, one page of it, ``comparison.json``, and ``a.json`` and ``b.json``, which
    ``vistubes eval --compare`` reads.
    """
    from vis.evaluation import html_report
    from vis.evaluation.comparison import compare_reports, comparison_table
    from vis.files import write_json, write_text

    # One after the other: of the first its report is kept, not its masks.
    wholes = [html_report.full_report(evaluate(path)) for path in results]
    answer = compare_reports(wholes[0], wholes[1], names=(str(results[0]), str(results[1])))
    answer["classes"] = _classes(*wholes)
    text = f"{comparison_table(answer)}\n\n{_class_table(answer['classes'])}"
    if folder is not None:
        for name, whole in zip("ab", wholes, strict=True):
            write_json(folder / f"{name}.json", whole)
        write_json(folder / "comparison.json", answer)
        write_text(folder / "report.html", _page(answer))
        text += f"\nreport: {folder / 'report.html'}"
    answer["report"] = None if folder is None else str(folder)
    return answer, text


def _classes(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Per class the AP of both, and their difference with its interval; None where no truth is."""
    from vis.evaluation import bootstrap

    others = {row["category"]: row for row in b["classes"]}
    rows = []
    for row in a["classes"]:
        category, other = row["category"], others[row["category"]]
        told: dict[str, Any] = {"category": category, "name": row["name"], "truths": row["truths"]}
        for kind in a["evidence"]:
            one, two = row[f"{kind}_ap"], other[f"{kind}_ap"]
            told[kind] = {"a": one, "b": two, "difference": None}
            if one is not None and two is not None:
                first, second = ([r for r in whole["evidence"][kind] if r[1] == category] for whole in (a, b))
                change = bootstrap.difference(first, second, len(a["thresholds"][kind]))
                told[kind]["difference"] = asdict(change)
        rows.append(told)
    return rows


def _cells(row: Mapping[str, Any], kind: str) -> tuple[str, str, str]:
    """AP of A, of B, and the difference with its interval, in percent."""
    values = row[kind]
    change = values["difference"]
    if change is None:
        return "-", "-", "-"
    low, high = (100 * change[name] for name in ("low", "high"))
    return (
        f"{100 * values['a']:.2f}",
        f"{100 * values['b']:.2f}",
        f"{100 * change['value']:+.2f} ({low:+.2f} to {high:+.2f})",
    )


def _class_table(classes: list[dict[str, Any]]) -> str:
    lines = [f"{'class':<20}{'kind':<10}{'A':>8}{'B':>8}  B - A (95 % interval)"]
    for row in classes:
        for kind in (kind for kind in KINDS if kind in row):
            one, two, change = _cells(row, kind)
            lines.append(f"{row['name']:<20.20}{kind:<10}{one:>8}{two:>8}  {change}")
    return "\n".join(lines)


def _page(answer: Mapping[str, Any]) -> str:
    """The comparison as one page that loads nothing; every name is escaped."""
    kinds = [kind for kind in KINDS if kind in answer]
    overall = "".join(
        f"<tr><td>{kind} {side.upper()}</td>"
        + "".join(f"<td>{'-' if v < 0 else f'{100 * v:.2f}'}</td>" for v in answer[kind][side])
        + "</tr>"
        for kind in kinds
        for side in "ab"
    )
    changes = "".join(
        f"<li>{kind} AP, B minus A: <b>{100 * d['value']:+.2f}</b>, 95 % interval over videos "
        f"{100 * d['low']:+.2f} to {100 * d['high']:+.2f}</li>"
        for kind in kinds
        for d in [answer[kind]["ap_difference"]]
    )
    classes = "".join(
        f"<tr><td>{html.escape(row['name'])}</td><td>{kind}</td>"
        + "".join(f"<td>{cell}</td>" for cell in _cells(row, kind))
        + "</tr>"
        for row in answer["classes"]
        for kind in kinds
    )
    heads = "".join(f"<th>{name}</th>" for name in ("", *answer["stats_order"]))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>A and B</title><style>{STYLE}</style></head><body>
<h1>Two results, one truth</h1>
<p>A: {html.escape(answer["a"])}<br>B: {html.escape(answer["b"])}</p><ul>{changes}</ul>
<h2>Statistics, in percent</h2><table><tr>{heads}</tr>{overall}</table>
<h2>Classes</h2>
<table><tr><th>class</th><th>kind</th><th>A</th><th>B</th><th>B - A (95 % interval)</th></tr>{classes}</table>
</body></html>
"""


STYLE = """
:root { color-scheme: light dark } body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem }
table { border-collapse: collapse } th, td { padding: .2rem .7rem; text-align: right; border-bottom: 1px solid #8884 }
td { font-variant-numeric: tabular-nums } td:first-child { text-align: left }
"""
