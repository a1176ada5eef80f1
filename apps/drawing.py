"""The pictures of a run folder, drawn from a saved result: one sees what the file says."""

from __future__ import annotations

import contextlib
from pathlib import Path

from apps.progress import progress
from vis.interfaces import FrameSink, FrameSource
from vis.pipeline import replay
from vis.structures import VideoResult

__all__ = ["draw"]


def draw(
    source: FrameSource,
    result: VideoResult,
    folder: Path,
    *,
    audio_from: Path | None = None,
    overlay: bool = True,
    quiet: bool = True,
) -> None:
    """contact_sheet.png and, if wanted, overlay.mp4 with the sound of ``audio_from``."""
    from vis.render import ContactSheet, OverlayWriter, Renderer

    renderer = Renderer(result.class_names)
    total = len(result.frames)
    sheet = ContactSheet(folder / "contact_sheet.png", renderer)
    sinks: list[FrameSink] = [sheet]
    with contextlib.ExitStack() as stack:
        if overlay:
            writer = OverlayWriter(
                folder / "overlay.mp4", result.video, renderer, audio_from=audio_from, expected_frames=total
            )
            sinks.append(stack.enter_context(writer))
        for tracked in progress(replay(source, result), what="overlay", total=total, quiet=quiet):
            for sink in sinks:
                sink.write(tracked)
    sheet.close()
