"""What ``vistubes convert`` draws and writes beside its file: the pictures that it names, and overlays."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from apps.drawing import draw_pictures
from apps.frame_export import Export, export_frames, find_videos

__all__ = ["draw", "export", "overlays_of", "pictures_of"]


def pictures_of(out: Path) -> Path:
    """Where the pictures lie that ``out`` names."""
    return out.with_name(f"{out.stem}_frames")


def overlays_of(out: Path) -> Path:
    """Where the overlays of the videos in ``out`` lie."""
    return out.with_name(f"{out.stem}_overlay")


def export(videos: Path, exports: Sequence[Export], out: Path) -> dict[str, Any]:
    """Write the pictures; returns where they are and how many."""
    folder = pictures_of(out)
    count = export_frames(videos, exports, folder)
    print(f"{count} pictures written to {folder}/", file=sys.stderr)
    return {"folder": str(folder), "count": count}


def draw(videos: Path, exports: Sequence[Export], names: Sequence[str], out: Path) -> list[str]:
    """Overlay and contact sheet of every video: in one folder, or where there are several in one folder each."""
    folder = overlays_of(out)
    places = [folder / name for name in names] if len(names) > 1 else [folder]
    sources = find_videos(videos, exports)
    for place, wanted, (source, path) in zip(places, exports, sources, strict=True):
        draw_pictures(source, wanted.result, place, video=path, quiet=False)
    return [str(place) for place in places]
