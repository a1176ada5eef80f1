"""Figures of an evaluation: lines over numbers or groups, as PNG for the eye and CSV for whoever plots them anew."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vis.files import whole_file, write_text

__all__ = ["Line", "write_figure"]

WIDTH, HEIGHT = 960, 640
LEFT, RIGHT, TOP, BOTTOM = 90, 30, 60, 90
"""Margins of the plot, in pixels."""
COLOURS = ("#1769aa", "#c2571a", "#3f7d3f", "#7a4fa3")
INK, PALE = "#1b2330", "#dde3ea"


@dataclass(frozen=True, slots=True)
class Line:
    """Values over the figure's places."""

    name: str
    values: Sequence[float]
    """One for each place, in [0, 1]."""
    margins: Sequence[float] = ()
    """Half widths of intervals around the values, NaN for none; empty where the line has none at all."""


def write_figure(path: Path, lines: Sequence[Line], places: Sequence[Any], *, axes: tuple[str, str]) -> None:
    """``path`` with ``.csv`` and with ``.png``: all lines over the same places (numbers, or names of groups).

    ``axes``: what the places and what the values are. Values go from 0 to 1.
    """
    write_text(path.with_suffix(".csv"), _csv(lines, places, axes[0]))
    picture = _drawn(lines, places, axes)
    with whole_file(path.with_suffix(".png")) as part:
        picture.save(part, format="PNG")


def _csv(lines: Sequence[Line], places: Sequence[Any], name: str) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [[line.name, f"{line.name} margin"] if line.margins else [line.name] for line in lines]
    writer.writerow([name, *(head for some in heads for head in some)])
    for row, place in enumerate(places):
        cells: list[Any] = [place]
        for line in lines:
            cells.append(line.values[row])
            if line.margins:
                cells.append("" if math.isnan(line.margins[row]) else line.margins[row])
        writer.writerow(cells)
    return out.getvalue()


def _drawn(lines: Sequence[Line], places: Sequence[Any], axes: tuple[str, str]) -> Any:
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(picture)
    font: Any = ImageFont.load_default(size=18)
    across = _across(places)
    for tick in range(11):
        y = _down(tick / 10)
        draw.line((LEFT, y, WIDTH - RIGHT, y), fill=PALE if tick else INK)
        draw.text((LEFT - 12, y), f"{tick / 10:.1f}", fill=INK, font=font, anchor="rm")
    for x, place in zip(across, places, strict=True):
        draw.line((x, _down(0), x, _down(0) + 6), fill=INK)
        label = f"{place:g}" if isinstance(place, int | float) else str(place)[:12]
        draw.text((x, _down(0) + 12), label, fill=INK, font=font, anchor="ma")
    draw.line((LEFT, TOP, LEFT, _down(0)), fill=INK)
    draw.text((LEFT, TOP - 40), axes[1], fill=INK, font=font)
    draw.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 30), axes[0], fill=INK, font=font, anchor="ma")
    named = isinstance(places[0], str)
    for number, line in enumerate(lines):
        colour = COLOURS[number % len(COLOURS)]
        dots = [(x, _down(value)) for x, value in zip(across, line.values, strict=True)]
        if not named and len(dots) > 1:
            draw.line(dots, fill=colour, width=3)
        for (x, y), value, margin in zip(
            dots, line.values, line.margins or [math.nan] * len(dots), strict=True
        ):
            draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=colour)
            if not math.isnan(margin):
                draw.line((x, _down(value - margin), x, _down(value + margin)), fill=colour, width=2)
        draw.text((WIDTH - RIGHT - 260, _down(0) - 30 - 26 * number), line.name, fill=colour, font=font)
    return picture


def _down(value: float) -> float:
    """Pixels from the top of a value, which is held between 0 and 1."""
    return TOP + (1 - min(max(value, 0.0), 1.0)) * (HEIGHT - TOP - BOTTOM)


def _across(places: Sequence[Any]) -> list[float]:
    """Pixels from the left of each place: numbers to scale, names evenly."""
    named = isinstance(places[0], str)
    at = [float(row) for row in range(len(places))] if named else [float(place) for place in places]
    low, high = min(at), max(at)
    inset = 60 if named else 20
    span = WIDTH - LEFT - RIGHT - 2 * inset
    return [LEFT + inset + span * ((value - low) / (high - low) if high > low else 0.5) for value in at]
