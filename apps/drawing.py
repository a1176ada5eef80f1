"""overlay.mp4 and contact_sheet.png of a result that is saved already, for the verbs that only change tubes."""

from __future__ import annotations

import sys
from pathlib import Path

from apps.plan import source_path
from vis.errors import OutputError
from vis.interfaces import FrameSource
from vis.structures import VideoResult

__all__ = ["PICTURES", "check_pictures", "draw_pictures"]

PICTURES = ("overlay.mp4", "contact_sheet.png")


def check_pictures(folder: Path, *, overwrite: bool) -> None:
    """Raise :class:`OutputError` where pictures are in the way; called before any work is done."""
    there = [name for name in PICTURES if (folder / name).exists()]
    if there and not overwrite:
        raise OutputError(
            f"{folder / there[0]}: exists; add --overwrite to replace it, or choose another folder with --out"
        )


def draw_pictures(
    source: FrameSource, result: VideoResult, folder: Path, *, video: str, quiet: bool
) -> list[str]:
    """Draw both and say where they are; returns their names. ``video``: whose sound the overlay gets.

    Raises :class:`OutputError` with the reason where one cannot be drawn.
    """
    from apps import rendering

    folder.mkdir(parents=True, exist_ok=True)
    path = source_path(video)
    missing = rendering.draw(source, result, folder, audio_from=path if path.is_file() else None, quiet=quiet)
    for name, error in missing.items():
        raise OutputError(f"{folder / name}: could not be drawn: {rendering.reason(error)}") from error
    if not quiet:
        print(f"{' and '.join(PICTURES)} drawn in {folder}/", file=sys.stderr)
    return list(PICTURES)
