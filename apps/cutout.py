"""Objects cut out of their video: their pixels, clear around them, as WebM, ProRes or a folder of PNG."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from apps.rendering import replayed
from vis.errors import InputError
from vis.formats.images import whole_folder
from vis.interfaces import FrameSource
from vis.structures import TrackedFrame, VideoResult

__all__ = ["SUFFIXES", "alpha_of", "write_cutout"]

SUFFIXES = {"webm": ".webm", "png": "", "prores": ".mov"}
"""Form -> suffix of the file; '' for a folder."""


class _Writer(Protocol):
    def write(self, image: NDArray[np.uint8], pts_seconds: float) -> None: ...


def write_cutout(
    source: FrameSource, result: VideoResult, out: Path, form: str, *, feather: float = 0.0
) -> int:
    """Write every processed frame with all of the result's objects, clear elsewhere; returns how many frames.

    ``form``: a key of :data:`SUFFIXES`. ``feather``: pixels over which alpha goes from 0 to 255, half of them on
    each side of the edge. What is written appears whole or not at all. Raises :class:`InputError` where the video
    does not have all frames of the result.
    """
    done = 0
    with _opened(out, form, result) as writer:
        for tracked in replayed(source, result, result.frames, dense=True):
            alpha = alpha_of(tracked, feather=feather)
            writer.write(np.dstack([tracked.frame.image, alpha]), tracked.frame.pts_seconds)
            done += 1
        if done < len(result.frames):
            raise InputError(
                f"{source.info.name}: {done} of the result's {len(result.frames)} frames are in it; give the video "
                "that it was made from"
            )
    return done


def alpha_of(tracked: TrackedFrame, *, feather: float = 0.0) -> NDArray[np.uint8]:
    """uint8 (H, W): 255 on the objects of a frame and 0 elsewhere, with a ramp of ``feather`` pixels between."""
    masks = tracked.detections.masks
    inside = np.zeros(tracked.frame.size, np.bool_)
    for mask in () if masks is None else masks:
        inside |= mask
    if feather <= 0 or not inside.any() or inside.all():
        return np.where(inside, 255, 0).astype(np.uint8)
    # Pixels to the edge, which lies half a pixel beyond the last pixel's middle.
    distance = np.where(inside, _depth(inside) - 0.5, 0.5 - _depth(~inside))
    return np.clip(np.rint(255 * (0.5 + distance / feather)), 0, 255).astype(np.uint8)


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Pixels from each pixel of the region to the nearest outside."""
    found = cv2.distanceTransform(region.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    return np.asarray(found, np.float64)


@contextlib.contextmanager
def _opened(out: Path, form: str, result: VideoResult) -> Iterator[_Writer]:
    from vis.video import AlphaVideoWriter, ProResWriter

    if form == "png":
        with whole_folder(out) as part:
            yield _PngFolder(part)
        return
    kind = {"webm": AlphaVideoWriter, "prores": ProResWriter}[form]
    with kind(out, result.video.size, _rate(result), expected_frames=len(result.frames)) as writer:
        yield writer


def _rate(result: VideoResult) -> float:
    """Frames per second of what is written; the times of its frames are kept beside it."""
    times = result.pts_seconds
    if len(times) > 1 and times[-1] > times[0] and result.video.fps is not None:
        step = int(np.median(np.diff(result.frames)))
        return result.video.fps / step
    return result.video.fps or 10.0


class _PngFolder:
    """``000000.png``, ``000001.png`` and so on, RGBA, without gaps: what editing programs take for a sequence."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._count = folder, 0

    def write(self, image: NDArray[np.uint8], pts_seconds: float) -> None:  # noqa: ARG002 - pictures have no times
        from PIL import Image

        Image.fromarray(image).save(self._folder / f"{self._count:06d}.png", compress_level=3)
        self._count += 1
