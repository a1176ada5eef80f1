"""The one way from a path to frames. Knows which reader fits which path, and nothing more."""

from __future__ import annotations

import re
from pathlib import Path

from vis.errors import VideoError
from vis.structures import VideoInfo
from vis.video.folder import FolderReader
from vis.video.limits import DEFAULT_LIMITS, VideoLimits
from vis.video.reader import VideoReader

__all__ = ["open_source", "probe"]


def open_source(
    path: str | Path,
    *,
    fps: float | None = None,
    start_frame: int | None = None,
    end_frame: int | None = None,
    start_seconds: float | None = None,
    end_seconds: float | None = None,
    stride: int = 1,
    strict: bool = False,
    limits: VideoLimits = DEFAULT_LIMITS,
    ahead: int = 4,
) -> VideoReader | FolderReader:
    """A reader for a video file or a folder of images; ``fps`` is the rate of a folder's images.

    The other options are those of :class:`VideoReader`. Raises :class:`VideoError` when the path holds
    no video, :class:`UsageError` when the options cannot be meant so.
    """
    given, path = str(path), Path(path)
    if re.match(r"[a-z][a-z0-9+.-]+:/", given) and not path.exists():
        raise VideoError(f"{given}: an address on the network; download the video first and give the file")
    if path.is_dir():
        return FolderReader(
            path,
            fps=fps,
            start_frame=start_frame,
            end_frame=end_frame,
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            stride=stride,
            strict=strict,
            limits=limits,
            ahead=ahead,
        )
    return VideoReader(
        path,
        start_frame=start_frame,
        end_frame=end_frame,
        start_seconds=start_seconds,
        end_seconds=end_seconds,
        stride=stride,
        strict=strict,
        limits=limits,
        ahead=ahead,
    )


def probe(path: str | Path, *, limits: VideoLimits = DEFAULT_LIMITS) -> VideoInfo:
    """What the video (or folder of images) at ``path`` is; one frame is decoded, no more."""
    return open_source(path, limits=limits).info
