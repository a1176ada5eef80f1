"""The report of an evaluation: one dictionary, and one self-contained HTML page.

The page loads nothing from anywhere: curves are inline SVG, pictures are embedded.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.evaluation import bootstrap, report
from vis.evaluation.comparison import FORMAT
from vis.evaluation.error_analysis import MEANINGS, ErrorAnalysis, analyze_errors
from vis.evaluation.protocol import RECALLS
from vis.evaluation.records import ResultTube, TruthTube
from vis.evaluation.tube_masks import TubeMasks
from vis.evaluation.tubes import TubeEvaluation

__all__ = ["curve_plot", "full_report", "losses_table", "page", "render", "table"]

WORST = 12
PICTURE_WIDTH = 330


def full_report(evaluation: TubeEvaluation, frames: Path | None = None) -> dict[str, Any]:
    """Everything that is said about an evaluation, as plain JSON values.

    ``frames``: folder that the truth's file names are relative to; gives the worst tubes a picture.
    """
    proofs = {kind: report.evidence(matches) for kind, matches in evaluation.matches.items()}
    thresholds = {kind: values.thresholds.tolist() for kind, values in evaluation.summaries.items()}
    found = {kind: analyze_errors(evaluation, kind) for kind in evaluation.matches}
    worst = _worst(evaluation, next(iter(found.values())), frames)
    return {
        "format": FORMAT,
        "format_version": 1,
        **report.summary(evaluation),
        "intervals": {
            kind: asdict(bootstrap.interval(proofs[kind], len(thresholds[kind]))) for kind in proofs
        },
        "losses": {kind: {"ap50": d.ap50, "counts": d.counts, "costs": d.costs} for kind, d in found.items()},
        "classes": report.category_rows(evaluation),
        "videos_table": report.video_rows(evaluation),
        "worst": worst,
        "thresholds": thresholds,
        "evidence": proofs,
    }


def losses_table(data: dict[str, Any]) -> str:
    """Reasons, counts and costs as text."""
    lines = []
    for kind, losses in data["losses"].items():
        spread = data["intervals"][kind]
        lines.append(
            f"{kind} AP {100 * spread['value']:.2f}, 95 % interval over videos "
            f"{100 * spread['low']:.2f} to {100 * spread['high']:.2f}; AP50 {100 * losses['ap50']:.2f} lost to:"
        )
        for reason in sorted(losses["costs"], key=lambda name: -losses["costs"][name]):
            lines.append(
                f"  {reason:<16}{losses['counts'][reason]:>6} tubes{100 * losses['costs'][reason]:>8.2f}"
            )
    return "\n".join(lines)


# ---------------------------------------------------------------- worst tubes


def _worst(evaluation: TubeEvaluation, found: ErrorAnalysis, frames: Path | None) -> list[dict[str, Any]]:
    """Missed truths, largest first, then false results that should have been a truth, best score first."""
    rows: list[dict[str, Any]] = []

    def add(truth: TruthTube, reason: str, found: ResultTube | None = None, **more: Any) -> None:
        video, category = evaluation.truth.videos[truth.video], evaluation.truth.categories[truth.category]
        frame = int(np.argmax(truth.masks.areas)) if len(truth.masks) else 0
        row = {
            "video": video.name,
            "annotation": truth.id,
            "class": category.name,
            "reason": reason,
            "frame": frame,
        }
        picture = _picture(evaluation, truth, found, frame, frames)
        rows.append(row | more | ({"picture": picture} if picture else {}))

    for truth in found.missed[: WORST // 2]:
        add(truth, "missed")
    for error in found.errors:
        if len(rows) >= WORST:
            break
        if error.truth is not None and error.type != "duplicate":
            add(
                error.truth,
                error.type,
                error.result,
                result=error.result.index,
                found_as=evaluation.truth.categories[error.result.category].name,
                iou=error.iou,
                score=error.result.score,
            )
    return rows


def _picture(
    evaluation: TubeEvaluation,
    truth: TruthTube,
    result: ResultTube | None,
    frame: int,
    frames: Path | None,
) -> str | None:
    """The frame with the truth outlined in green, a result in orange, as an embedded JPEG; None without the file."""
    files = evaluation.truth.videos[truth.video].files
    if frames is None or frame >= len(files):
        return None
    import cv2

    path = frames / files[frame]
    try:
        # File names come from the truth: they may not lead out of the folder that the user named.
        if not path.resolve().is_relative_to(frames.resolve()) or not path.is_file():
            return None
        image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, ValueError, cv2.error):  # no such file, a name that no file can have, or no image
        return None
    if image is None or image.shape[:2] != truth.masks.size:
        return None
    height, width = truth.masks.size
    for tube, colour in ((truth.masks, (0, 255, 0)), (result.masks if result else None, (0, 140, 255))):
        if tube is not None and frame < len(tube):
            outlines, _ = cv2.findContours(_dense(tube, frame), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(image, outlines, -1, colour, max(2, width // 300))
    small = cv2.resize(
        image, (PICTURE_WIDTH, max(1, round(height * PICTURE_WIDTH / width))), interpolation=cv2.INTER_AREA
    )
    done, data = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 80])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii") if done else None


def _dense(masks: TubeMasks, frame: int) -> NDArray[np.uint8]:
    """One mask as 0 and 1, (H, W)."""
    height, width = masks.size
    flat = np.zeros(height * width, np.uint8)
    at, end = masks.offsets[frame : frame + 2]
    for start, stop in masks.edges[at:end].reshape(-1, 2):
        flat[start:stop] = 1
    return np.ascontiguousarray(flat.reshape(width, height).T)


# ---------------------------------------------------------------- the page

STYLE = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b2330}
table{border-collapse:collapse;margin:.5rem 0 1.5rem;font-variant-numeric:tabular-nums}
th,td{padding:.2rem .7rem;text-align:right;border-bottom:1px solid #dde3ea}
th:first-child,td:first-child,.word{text-align:left}
h2{margin-top:2.2rem}.note{color:#5b6675}svg{background:#f7f9fb;margin-right:1rem}
figure{display:inline-block;margin:.4rem;vertical-align:top;width:330px}figcaption{font-size:13px}
details>div{max-height:30rem;overflow:auto}
"""
COLOURS = ("#1769aa", "#c2571a", "#3f7d3f")


def render(data: dict[str, Any], evaluation: TubeEvaluation, title: str) -> str:
    """The page as HTML text."""
    made = (
        f"mode {data['mode']}, truth masks {data['annotation_key']}, band {data['dilation_ratio']:g} of the "
        f"diagonal, {'classes pooled' if data['class_agnostic'] else 'per class'}; {data['videos']} videos, "
        f"{data['truth_tubes']} truths, {data['result_tubes']} results; in percent, –: no truth"
    )
    stats = [
        {"": kind} | dict(zip(data["stats_order"], data[kind], strict=True)) for kind in evaluation.stats
    ]
    parts = [
        f"<h1>{html.escape(title)}</h1><p class=note>{html.escape(made)}</p>",
        table(stats),
        *(
            f"<p>{kind} AP {100 * s['value']:.2f}, 95&nbsp;% interval over videos {100 * s['low']:.2f} to "
            f"{100 * s['high']:.2f}</p>"
            for kind, s in data["intervals"].items()
        ),
        "<h2>Precision and recall</h2>",
        *(_curves(evaluation, kind) for kind in evaluation.summaries),
        "<h2>Where AP50 was lost</h2>",
        "<p class=note>Gain in AP50 if only the errors of that reason were put right; every false result has one."
        "</p>",
        *(_losses(kind, losses) for kind, losses in data["losses"].items()),
        "<h2>Classes</h2>",
        table(data["classes"]),
        "<h2>Worst tubes</h2>",
        f"<p class=note>{_worst_note(data['worst'])}</p>",
        *map(_figure, data["worst"]),
        "<h2>Videos</h2><details><summary>all videos, at IoU 0.5</summary><div>",
        table(data["videos_table"]),
        "</div></details>",
    ]
    return page(title, parts)


def page(title: str, parts: list[str]) -> str:
    """A whole HTML page of these parts; the title is escaped, the parts are HTML."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{STYLE}</style>\n" + "\n".join(parts) + "</html>\n"
    )


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "–" if value < 0 else f"{100 * value:.2f}"
    return "–" if value is None else html.escape(str(value))


def table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as an HTML table; floats in percent, a negative one or None as a dash."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    words = {name for name in names if any(isinstance(row.get(name), str) for row in rows)}
    kind = {name: " class=word" if name in words else "" for name in names}
    head = "".join(f"<th{kind[name]}>{html.escape(_heading(name))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td{kind[name]}>{_cell(row.get(name))}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _heading(name: str) -> str:
    return " ".join(w.upper() if w.rstrip("0123456789") in ("ap", "ar") else w for w in name.split("_"))


def _worst_note(worst: list[dict[str, Any]]) -> str:
    if not worst:
        return "None: nothing was missed, and no false result should have been a truth."
    said = (
        "Missed truths, largest first, then false results that should have been a truth, best score first. "
    )
    if any("picture" in row for row in worst):
        return said + "Green: the truth; orange: the result; in the frame where the truth is largest."
    return said + "Give --frames DIR, the folder of the truth's file_names, to see them."


def _losses(kind: str, losses: dict[str, Any]) -> str:
    rows = [
        {
            f"{kind} (AP50 {100 * losses['ap50']:.2f})": reason,
            "tubes": losses["counts"][reason],
            "gain": cost,
            "what it means": MEANINGS[reason],
        }
        for reason, cost in sorted(losses["costs"].items(), key=lambda item: -item[1])
    ]
    return table(rows) if rows else f"<p>{kind}: nothing was lost.</p>"


def _curves(evaluation: TubeEvaluation, kind: str) -> str:
    """Precision over recall, mean over classes, at three thresholds, as SVG."""
    values = evaluation.summaries[kind]
    lines: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]] = {}
    for threshold in (0.5, 0.75, 0.9):
        row = np.flatnonzero(np.isclose(values.thresholds, threshold))
        if not len(row):
            continue
        curves = values.precision[row[0], :, :, 0, -1]
        curves = curves[:, (curves > -1).all(axis=0)]
        if curves.size:
            lines[f"IoU {threshold:g}"] = RECALLS, curves.mean(axis=1)
    return curve_plot(f"{kind}: precision over recall", lines)


def curve_plot(title: str, lines: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> str:
    """Lines in the unit square, by their label (recall, precision), as SVG."""
    drawn: list[str] = []
    labels: list[str] = []
    for place, (label, (recalls, precisions)) in enumerate(lines.items()):
        colour = COLOURS[place % len(COLOURS)]
        points = " ".join(
            f"{40 + 300 * r:.1f},{310 - 300 * p:.1f}" for r, p in zip(recalls, precisions, strict=True)
        )
        drawn.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{points}"/>')
        at = 28 + 16 * place
        labels.append(f'<text x="270" y="{at}" fill="{colour}">{html.escape(label)}</text>')
    axes = '<path d="M40 10H340V310M40 160H340M190 10V310" fill="none" stroke="#dde3ea"/>'
    axes += '<path d="M40 10V310H340" fill="none" stroke="#8a95a3"/>'
    ticks = "".join(
        f'<text x="{40 + 300 * v:.0f}" y="326" text-anchor="middle">{v:g}</text>'
        f'<text x="34" y="{314 - 300 * v:.0f}" text-anchor="end">{v:g}</text>'
        for v in (0, 0.5, 1)
    )
    return (
        f'<svg width="360" height="350" font-size="12" role="img" aria-label="{html.escape(title)}">'
        f"{axes}{ticks}{''.join(drawn)}{''.join(labels)}"
        f'<text x="190" y="344" text-anchor="middle">{html.escape(title)}</text></svg>'
    )


def _figure(row: dict[str, Any]) -> str:
    said = f"{row['reason']}: {row['class']} in {row['video']}, annotation {row['annotation']}, frame {row['frame']}"
    if "iou" in row:
        other = f" found as {row['found_as']}" if row["found_as"] != row["class"] else ""
        said += (
            f"; result {row['result']}{other}, score {row['score']:.3g}, mask IoU {100 * row['iou']:.1f} %"
        )
    image = f'<img alt="" src="{row["picture"]}">' if "picture" in row else ""
    return f"<figure>{image}<figcaption>{html.escape(said)}</figcaption></figure>"
