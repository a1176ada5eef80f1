"""The one way from a path to frames. Knows which reader fits which path, and nothing more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vis.errors import UsageError, VideoError
from vis.structures import VideoInfo
from vis.video.decord_frames import DecordReader
from vis.video.folder import FolderReader
from vis.video.images import is_image_file, is_stack
from vis.video.options import DEFAULT_LIMITS, VideoLimits
from vis.video.reader import VideoReader

__all__ = ["READERS", "open_source", "probe"]

READERS = ("pyav", "decord")
"""Names of what can decode a video file."""


def open_source(
    path: str | Path,
    *,
    reader: str = "pyav",
    fps: float | None = None,
    value_range: tuple[float, float] | None = None,
    start_frame: int | None = None,
    end_frame: int | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    stride: int = 1,
    strict: bool = False,
    limits: VideoLimits = DEFAULT_LIMITS,
    ahead: int = 4,
) -> VideoReader | DecordReader | FolderReader:
    """A reader for a video file, a folder of images, or a TIFF file whose pages are frames.

    ``fps`` is the rate of images, and ``value_range`` what becomes black and white in those of more than 8 bits
    (see :class:`FolderReader`); both do nothing for a video file. ``reader``: "pyav", or "decord", which refuses
    what it does not read exactly (see :class:`vis.video.decord_frames.DecordReader`). The other options are those
    of :class:`VideoReader`.

    Raises :class:`VideoError` when the path holds no video, :class:`UsageError` when the options cannot be meant
    so.
    """
    given, path = str(path), Path(path)
    if reader not in READERS:
        raise UsageError(f"reader {reader!r} is unknown; choose one of {', '.join(READERS)}")
    if re.match(r"[a-z][a-z0-9+.-]+:/", given) and not path.exists():
        raise VideoError(f"{given}: an address on the network; download the video first and give the file")
    options: dict[str, Any] = {
        "start_frame": start_frame,
        "end_frame": end_frame,
        "start_seconds": start_seconds,
        "end_seconds": end_seconds,
        "stride": stride,
        "strict": strict,
        "limits": limits,
        "ahead": ahead,
    }
    if path.is_dir() or is_stack(path):
        if reader != "pyav":
            raise UsageError(
                f"{path}: reader {reader!r} is for video files, and these are images; leave it out"
            )
        return FolderReader(path, fps=fps, value_range=value_range, **options)
    try:
        return DecordReader(path, **options) if reader == "decord" else VideoReader(path, **options)
    except VideoError as error:
        if not (is_image_file(path) and path.is_file()):
            raise
        raise VideoError(
            f"{path}: one image is no video; give the folder of the video's frames, or a video file"
        ) from error


def probe(path: str | Path, *, limits: VideoLimits = DEFAULT_LIMITS) -> VideoInfo:
    """What the video (or folder of images) at ``path`` is; one frame is decoded, no more."""
    return open_source(path, limits=limits).info
