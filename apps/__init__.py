"""The only room that parses arguments, prints, or shows a page; and :func:`run`, the whole job in one call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from vis.structures import VideoResult

__all__ = ["run"]


def run(path: str | Path, preset: str = "quick", **options: Any) -> VideoResult:
    """What ``vistubes run`` does: find, track and refine the objects of one video.

    Args:
        path: a video file, a folder of images, or "sample".
        preset: "quick", "balanced", "best", "concept" or "paper".
        options: those of ``vistubes run`` (docs/cli.md), with underscores: ``detector="yolox"``, ``stride=2``,
            ``end="9s"``, ``classes=["dog", "cat"]``, ``link=False``; None is as if it were not given. Nothing is
            written but the run folder ``out``, if that is given, and nothing is printed unless ``quiet=False``.

    Raises :class:`UsageError` for an option that there is not, which names the nearest, or a value that it cannot
    have; everything else is an error of ``vis.errors`` too.
    """
    from apps.from_python import run_video

    return run_video(path, preset, options)
