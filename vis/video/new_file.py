"""A video file being written: under a temporary name until it was closed, read back and counted."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from vis.errors import OutputError
from vis.files import whole_file

__all__ = ["NewVideoFile"]

# Room that must be free before writing begins: a floor, and an upper guess of H.264 at crf 20.
_FLOOR_BYTES = 4 * 2**20
_BYTES_PER_PIXEL = 0.02


class NewVideoFile:
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
