"""Writing a video of pictures, whatever the codec: checks, times, and a file that appears whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vis.errors import OutputError, UsageError
from vis.files import whole_file
from vis.video.timestamps import OutputTimestamps

if TYPE_CHECKING:
    from typing import Self  # Python 3.11

__all__ = ["AtomicVideoOutput", "PictureWriter"]

# Room that must be free before writing begins: a floor, and an upper guess of H.264 at crf 20.
_FLOOR_BYTES = 4 * 2**20
_BYTES_PER_PIXEL = 0.05


class AtomicVideoOutput:
    """An opened ``av`` output whose file appears under ``path`` when :meth:`finish` is done, or never.

    Everything that may fail happens in ``with file.guarded():``. A failure there removes the temporary
    file, leaves what stood under ``path``, and is told as :class:`OutputError` when the encoder or the
    disk is to blame. Free space is looked at before anything is made.
    """

    def __init__(
        self,
        path: Path,
        *,
        format: str,
        options: Mapping[str, str] | None = None,
        size: tuple[int, int],
        expected_frames: int | None = None,
    ) -> None:
        self.path = path
        self._format = format
        self._stack = contextlib.ExitStack()
        self.container: Any = None
        _check_space(path, size, expected_frames)
        self.part = self._stack.enter_context(whole_file(path))
        with self.guarded():
            import av

            self.container = av.open(str(self.part), "w", format=format, options=dict(options or {}))

    @property
    def is_open(self) -> bool:
        """Whether something can still be written."""
        return self.container is not None

    def on_discard(self, close: Any) -> None:
        """Call ``close()`` too when the file is finished or thrown away."""
        self._stack.callback(close)

    @contextlib.contextmanager
    def guarded(self) -> Iterator[None]:
        """On any failure throw the file away, and tell an encoder's error as ours."""
        from av.error import FFmpegError

        try:
            yield
        except FFmpegError as error:
            self._throw_away(error)
            raise OutputError(f"{self.path}: the video could not be encoded ({error.strerror})") from error
        except BaseException as error:
            self._throw_away(error)
            raise

    def finish(self, frames: int) -> None:
        """Close the file, check that it opens, decodes and holds ``frames`` frames, and give it its name."""
        container, self.container = self.container, None
        container.close()
        self._verify(frames)
        self._stack.close()

    def discard(self) -> None:
        """Throw the file away; what stood under its name before stays."""
        stop = _Discarded()
        with contextlib.suppress(_Discarded):
            self._throw_away(stop)

    def _throw_away(self, reason: BaseException) -> None:
        """Remove the temporary file. An OSError, a full disk above all, is raised as OutputError."""
        container, self.container = self.container, None
        if container is not None:
            # The disk may be what failed; there is nothing to save here.
            with contextlib.suppress(Exception):
                container.close()
        self._stack.__exit__(type(reason), reason, reason.__traceback__)

    def _verify(self, frames: int) -> None:
        import av
        from av.error import FFmpegError

        try:
            with av.open(str(self.part), format=self._format) as container:
                stream = container.streams.video[0]
                found = sum(1 for packet in container.demux(stream) if packet.size)
                container.seek(0)
                next(container.decode(stream))
        except (FFmpegError, OSError, StopIteration, IndexError) as error:
            raise OutputError(
                f"{self.path}: the finished video does not read back ({error}); nothing was written"
            ) from error
        if found != frames:
            raise OutputError(
                f"{self.path}: {frames} frames were written and {found} read back; nothing was written"
            )


class _Discarded(Exception):
    """Tells the temporary file to go."""


def _check_space(path: Path, size: tuple[int, int], frames: int | None) -> None:
    """Refuse early what cannot end well, instead of after an hour of work."""
    folder = next(parent for parent in path.resolve().parents if parent.exists())
    wanted = _FLOOR_BYTES + int((frames or 0) * size[0] * size[1] * _BYTES_PER_PIXEL)
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise OutputError(
            f"{path}: about {wanted / 2**20:,.0f} MiB are needed and {free / 2**20:,.0f} MiB are free; "
            "free some space or choose another folder with --out"
        )


class PictureWriter(ABC):
    """A video file of uint8 pictures (H, W, C) of one size, in a ``with`` block.

    A subclass opens ``_file`` and says how a picture is encoded and how the encoder is emptied; both
    happen under ``_file.guarded()``.
    """

    channels: ClassVar[int]
    """C: 3 for RGB, 4 for RGBA."""
    _file: AtomicVideoOutput

    def __init__(self, path: str | Path, size: tuple[int, int], fps: Fraction | float) -> None:
        if min(size) < 1:
            raise UsageError(f"size: expected a positive (height, width), got {size}")
        self.path = Path(path)
        self.size = size
        self.frames_written = 0
        self._timestamps = OutputTimestamps(fps)

    @abstractmethod
    def _encode(self, image: NDArray[np.uint8], tick: int) -> None:
        """Give the encoder a checked picture that is shown at ``tick`` of the timestamps."""

    @abstractmethod
    def _empty(self) -> None:
        """Write what the encoder still holds."""

    @property
    def fps(self) -> Fraction:
        """The rate of the file."""
        return self._timestamps.fps

    def write(self, image: NDArray[np.uint8], pts_seconds: float | None = None) -> None:
        """Add one picture, uint8 (H, W, C); ``pts_seconds`` with all of them or with none."""
        if not self._file.is_open:
            raise OutputError(f"{self.path}: the writer is closed")
        if image.dtype != np.uint8 or image.shape != (*self.size, self.channels):
            raise ValueError(
                f"{type(self).__name__}.write: expected uint8{[*self.size, self.channels]}, "
                f"got {image.dtype}{list(image.shape)}"
            )
        tick = self._timestamps.next_tick(pts_seconds)
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

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self.abort()

    def __repr__(self) -> str:
        height, width = self.size
        frames = f"{self.frames_written} frames"
        return f"{type(self).__name__}({str(self.path)!r}, {width}x{height}, {self.fps} fps, {frames})"
