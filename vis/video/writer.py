"""Writing H.264 video that browsers play, whole or not at all. Knows nothing of what is in the pictures."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import OutputError, UsageError
from vis.files import whole_file
from vis.video.audio import AudioCopy

__all__ = ["VideoWriter"]

# Ticks per second of the output's clock, at least: other times are kept within 6 microseconds.
_CLOCK = 90_000

# Room that must be free before writing begins: a floor, and an upper guess of H.264 at crf 20.
_FLOOR_BYTES = 4 * 2**20
_BYTES_PER_PIXEL = 0.02


class VideoWriter:
    """An MP4 file of RGB pictures: H.264, 8-bit yuv420p (BT.709), index in front.

    ``size`` is (height, width). Odd sizes are padded to even ones by repeating the last row or column:
    H.264 wants that, and it changes the picture only. ``fps`` is kept as it is (29.97... stays
    30000/1001). With ``pts_seconds`` given to every ``write`` the frames keep these times, at a
    variable rate too; the first one becomes time 0.

    ``audio_from`` is the file whose sound is copied without encoding it again, cut to the frames
    written: from the first ``pts_seconds`` to the end of the last frame. Sound that MP4 cannot hold is
    left out with a :class:`FallbackWarning`; a file without sound is fine.

    The file has a temporary name in the same folder until ``close`` has written it, read it back and
    counted its frames. Use it in a ``with`` block: an exception inside leaves no file. A full disk is an
    :class:`OutputError`, and nothing stays behind.
    """

    def __init__(
        self,
        path: str | Path,
        size: tuple[int, int],
        fps: Fraction | float,
        *,
        audio_from: str | Path | None = None,
        crf: int = 20,
        preset: str = "veryfast",
        expected_frames: int | None = None,
    ) -> None:
        if min(size) < 1:
            raise UsageError(f"size: expected a positive (height, width), got {size}")
        if not 0.01 <= fps <= 1000:
            raise UsageError(f"fps: expected 0.01 to 1000, got {fps}")
        self.path = Path(path)
        self.size = size
        self.fps = Fraction(fps).limit_denominator(1001)
        # A multiple of the rate's numerator: every frame at the rate falls on a whole tick.
        self._clock = self.fps.numerator * -(-_CLOCK // self.fps.numerator)
        self._gap = int(self._clock / self.fps)  # ticks; the last frame is shown as long as the one before
        self.frames_written = 0
        self._timed: bool | None = None
        self._first = self._last = 0.0
        self._last_tick = -1
        self._audio: AudioCopy | None = None
        self._stack = contextlib.ExitStack()
        self._container: Any = None
        self._held: Any = None
        self._first_dts: int | None = None
        _check_space(self.path, size, expected_frames)
        self._part = self._stack.enter_context(whole_file(self.path))
        with self._nothing_left():
            self._open(crf, preset, audio_from)

    def write(self, image: NDArray[np.uint8], pts_seconds: float | None = None) -> None:
        """Add one picture, RGB uint8 (H, W, 3); ``pts_seconds`` with all of them or with none."""
        import av

        if self._container is None:
            raise OutputError(f"{self.path}: the writer is closed")
        if image.dtype != np.uint8 or image.shape != (*self.size, 3):
            raise ValueError(
                f"VideoWriter.write: expected uint8{[*self.size, 3]}, got {image.dtype}{list(image.shape)}"
            )
        if self._timed is None:
            self._timed, self._first = pts_seconds is not None, pts_seconds or 0.0
        if self._timed != (pts_seconds is not None):
            raise ValueError("VideoWriter.write: give pts_seconds with every picture or with none")
        now = self._first + float(self.frames_written / self.fps) if pts_seconds is None else pts_seconds
        tick = round((now - self._first) * self._clock)
        if tick <= self._last_tick:
            raise ValueError(f"VideoWriter.write: pts_seconds must rise, got {now} after {self._last}")
        if self._timed and self.frames_written:
            self._gap = tick - self._last_tick
        with self._nothing_left():
            picture = av.VideoFrame.from_ndarray(_even(image), format="rgb24")
            picture = picture.reformat(format="yuv420p", dst_colorspace="itu709", dst_color_range="MPEG")
            picture.pts, picture.time_base = tick, Fraction(1, self._clock)
            self._mux(self._stream.encode(picture))
            if self._audio is not None:
                self._audio.copy_until(now, from_seconds=self._first)
        self._last, self._last_tick = now, tick
        self.frames_written += 1

    def close(self) -> None:
        """Finish the file, check that it reads back whole, and give it its name."""
        if self._container is None:
            return
        if self.frames_written == 0:
            self.abort()
            raise OutputError(f"{self.path}: not one frame was written, so there is no video")
        with self._nothing_left():
            self._mux(self._stream.encode(None))
            self._mux_last()
            if self._audio is not None:
                self._audio.copy_until(self._last + self._gap / self._clock, from_seconds=self._first)
                self._audio.close()
            container, self._container = self._container, None
            container.close()
            _verify(self._part, self.path, self.frames_written)
            self._stack.close()

    def abort(self) -> None:
        """Throw the file away; what stood under its name before stays."""
        stop = _Aborted()
        with contextlib.suppress(_Aborted):
            self._throw_away(stop)

    def __enter__(self) -> VideoWriter:
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
        return (
            f"VideoWriter({str(self.path)!r}, {width}x{height}, {self.fps} fps, {self.frames_written} frames)"
        )

    def _open(self, crf: int, preset: str, audio_from: str | Path | None) -> None:
        import av

        # faststart moves the index to the front: a browser plays before it has everything.
        self._container = av.open(str(self._part), "w", format="mp4", options={"movflags": "+faststart"})
        options = {"crf": str(crf), "preset": preset}
        self._stream = self._container.add_stream("libx264", rate=self.fps, options=options)
        height, width = self.size
        self._stream.width, self._stream.height = width + width % 2, height + height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = self._stream.codec_context.time_base = Fraction(1, self._clock)
        context = self._stream.codec_context
        context.color_primaries = context.color_trc = context.colorspace = 1  # BT.709
        context.color_range = 1  # limited, as all players expect
        if audio_from is not None:
            self._audio = AudioCopy.open(Path(audio_from), self._container)

    def _mux(self, packets: list[Any]) -> None:
        """Pass packets on, holding back the newest: it may be the last."""
        for packet in packets:
            if self._first_dts is None:
                self._first_dts = packet.dts
            if packet.pts == self._last_tick:
                packet.duration = self._gap
            if self._held is not None:
                self._container.mux(self._held)
            self._held = packet

    def _mux_last(self) -> None:
        # The last packet in storing order need not be shown last, and MP4 takes the sum of durations in
        # storing order for the length of the video: the last one makes up what is missing.
        stored = self._held.dts - (self._first_dts or 0)
        self._held.duration = max(1, self._last_tick + self._gap - stored)
        self._container.mux(self._held)

    @contextlib.contextmanager
    def _nothing_left(self) -> Iterator[None]:
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

    def _throw_away(self, reason: BaseException) -> None:
        """Remove the temporary file. An OSError, a full disk above all, is raised as OutputError."""
        if self._audio is not None:
            self._audio.close()
        container, self._container = self._container, None
        if container is not None:
            # The disk may be what failed; there is nothing to save here.
            with contextlib.suppress(Exception):
                container.close()
        self._stack.__exit__(type(reason), reason, reason.__traceback__)


class _Aborted(Exception):
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


def _even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with its last row and column repeated where its height or width is odd."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    return np.ascontiguousarray(image)


def _verify(part: Path, path: Path, frames: int) -> None:
    """Read the finished file back: it must open, decode, and hold every frame."""
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(part), format="mp4") as container:
            stream = container.streams.video[0]
            found = sum(1 for packet in container.demux(stream) if packet.size)
            container.seek(0)
            next(container.decode(stream))
    except (FFmpegError, OSError, StopIteration, IndexError) as error:
        raise OutputError(
            f"{path}: the finished video does not read back ({error}); nothing was written"
        ) from error
    if found != frames:
        raise OutputError(f"{path}: {frames} frames were written and {found} read back; nothing was written")
