"""What writing a video of pictures is, whatever the codec: checks, times, whole or not at all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from vis.errors import OutputError, UsageError
from vis.video.new_file import NewVideoFile
from vis.video.pacing import Pacing

if TYPE_CHECKING:
    from typing import Self  # Python 3.11

__all__ = ["PictureWriter"]


class PictureWriter(ABC):
    """A video file of uint8 pictures (H, W, C) of one size, in a ``with`` block.

    A subclass opens ``_file`` and says how a picture is encoded and how the encoder is emptied; both
    happen under ``_file.guarded()``.
    """

    channels: ClassVar[int]
    """C: 3 for RGB, 4 for RGBA."""
    _file: NewVideoFile

    def __init__(self, path: str | Path, size: tuple[int, int], fps: Fraction | float) -> None:
        if min(size) < 1:
            raise UsageError(f"size: expected a positive (height, width), got {size}")
        self.path = Path(path)
        self.size = size
        self.frames_written = 0
        self._pacing = Pacing(fps)

    @abstractmethod
    def _encode(self, image: NDArray[np.uint8], tick: int) -> None:
        """Give the encoder a checked picture that is shown at ``tick`` of the pacing."""

    @abstractmethod
    def _empty(self) -> None:
        """Write what the encoder still holds."""

    @property
    def fps(self) -> Fraction:
        """The rate of the file."""
        return self._pacing.fps

    def write(self, image: NDArray[np.uint8], pts_seconds: float | None = None) -> None:
        """Add one picture, uint8 (H, W, C); ``pts_seconds`` with all of them or with none."""
        if not self._file.is_open:
            raise OutputError(f"{self.path}: the writer is closed")
        if image.dtype != np.uint8 or image.shape != (*self.size, self.channels):
            raise ValueError(
                f"{type(self).__name__}.write: expected uint8{[*self.size, self.channels]}, "
                f"got {image.dtype}{list(image.shape)}"
            )
        tick = self._pacing.next_tick(pts_seconds)
        with self._file.guarded():
            self._encode(image, tick)
        self.frames_written += 1

    def close(self) -> None:
        """Finish the file, check that it reads back whole, and give it its name."""
        if not self._file.is_open:
            return
        if self.frames_written == 0:
            self.abort()
            raise OutputError(f"{self.path}: not one frame was written, so there is no video")
        with self._file.guarded():
            self._empty()
            self._file.finish(self.frames_written)

    def abort(self) -> None:
        """Throw the file away; what stood under its name before stays."""
        self._file.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __repr__(self) -> str:
        height, width = self.size
        frames = f"{self.frames_written} frames"
        return f"{type(self).__name__}({str(self.path)!r}, {width}x{height}, {self.fps} fps, {frames})"
