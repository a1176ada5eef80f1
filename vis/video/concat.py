"""One MP4 file from parts that were encoded one by one: what lets a long drawing go on in the middle.

Nothing is encoded again. Every part begins with a key frame and needs no other (x264 closes its groups), so
their packets can follow one another; only times are set anew.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from vis.errors import OutputError
from vis.video.audio import AudioCopy
from vis.video.mp4 import ENCODING, PictureTrack, container_options
from vis.video.picture_writer import AtomicVideoOutput
from vis.video.timestamps import OutputTimestamps, RisingTicks

__all__ = ["concat_parts", "encoder_name", "is_part"]


def concat_parts(
    parts: Sequence[str | Path],
    path: str | Path,
    fps: Fraction | float,
    *,
    starts: Sequence[float] | None = None,
    audio_from: str | Path | None = None,
) -> None:
    """Write the MP4 files ``parts`` behind one another to ``path``; the parts stay.

    All must come from :class:`vis.video.VideoWriter` with the same size, ``fps`` and options. ``starts`` are
    the ``pts_seconds`` of each part's first frame, where their frames have times of their own; without them
    the parts follow each other at the rate. ``audio_from`` is as of ``VideoWriter``.

    The same parts give the same bytes. Raises :class:`OutputError` when a part does not read or does not fit
    the others, and as ``VideoWriter`` does; a file appears whole or not at all.
    """
    path, timestamps = Path(path), OutputTimestamps(fps)
    files = [_Part.read(Path(part), timestamps) for part in parts]
    if not files:
        raise OutputError(f"{path}: not one part was given, so there is no video")
    origin = starts[0] if starts is not None else 0.0
    ticks, begin = RisingTicks(timestamps.clock), 0
    for number, part in enumerate(files):
        if starts is not None:
            begin = round((starts[number] - origin) * timestamps.clock)
        part.begin = ticks.next(begin)
        ticks.last = part.begin + max(part.pts)
        begin = ticks.last + timestamps.gap
        if (part.header, part.size) != (files[0].header, files[0].size):
            raise OutputError(f"{part.path}: was encoded in another way than {files[0].path}; write it again")
    shown = sorted(part.begin + pts for part in files for pts in part.pts)
    gap = shown[-1] - shown[-2] if starts is not None and len(shown) > 1 else timestamps.gap
    file = AtomicVideoOutput(path, format="mp4", options=container_options(timestamps), size=files[0].size)
    with file.guarded():
        stream = None
        audio: AudioCopy | None = None
        stored = _storing_times(shown, [part.begin + pts for part in files for pts in part.pts])
        for part in files:
            for packet in part.packets():
                if stream is None:
                    stream = file.container.add_stream_from_template(packet.stream)
                    stream.time_base = timestamps.time_base
                    track = PictureTrack(file.container)
                    if audio_from is not None:
                        audio = AudioCopy.open(Path(audio_from), file.container)
                    if audio is not None:
                        file.on_discard(audio.close)
                packet.pts, packet.dts = part.begin + packet.pts, next(stored)
                packet.duration = gap if packet.pts == shown[-1] else timestamps.gap
                packet.stream = stream
                if audio is not None:
                    audio.copy_until(origin + max(0, packet.dts) / timestamps.clock, from_seconds=origin)
                track.add(packet)
        track.finish(shown[-1] + gap)
        if audio is not None:
            audio.copy_until(origin + (shown[-1] + gap) / timestamps.clock, from_seconds=origin)
        file.finish(len(shown))


def is_part(path: str | Path, fps: Fraction | float, frames: int) -> bool:
    """Whether a part of so many frames at this rate is there and reads."""
    if not Path(path).is_file():
        return False
    try:
        return len(_Part.read(Path(path), OutputTimestamps(fps)).pts) == frames
    except OutputError:
        return False


def encoder_name() -> str:
    """What parts that are to be joined must have in common, for the name of their folder."""
    import av

    versions = [".".join(map(str, av.library_versions[name])) for name in ("libavcodec", "libavformat")]
    return "-".join(["h264", ENCODING, *versions])


class _Part:
    """One file: when its pictures are shown, in the order in which they are stored."""

    def __init__(self, path: Path, size: tuple[int, int], header: bytes, pts: list[int]) -> None:
        self.path, self.size, self.header, self.pts = path, size, header, pts
        self.begin = 0

    @classmethod
    def read(cls, path: Path, timestamps: OutputTimestamps) -> _Part:
        import av
        from av.error import FFmpegError

        try:
            with av.open(str(path), format="mp4") as container:
                stream = container.streams.video[0]
                context = stream.codec_context
                pts = [int(packet.pts or 0) for packet in container.demux(stream) if packet.size]
                if stream.time_base != timestamps.time_base or not pts or min(pts) != 0:
                    raise OutputError(
                        f"{path}: is no part of a video at {timestamps.fps} fps; write it again"
                    )
                return cls(path, (context.height, context.width), context.extradata or b"", pts)
        except (FFmpegError, OSError, IndexError) as error:
            raise OutputError(f"{path}: this part does not read ({error}); write it again") from error

    def packets(self) -> Iterator[Any]:
        import av

        with av.open(str(self.path), format="mp4") as container:
            stream = container.streams.video[0]
            yield from (packet for packet in container.demux(stream) if packet.size)


def _storing_times(shown: list[int], stored: list[int]) -> Iterator[int]:
    """When each packet is to be decoded: rising, and never later than its picture is shown.

    ::

        shown    0  1  2  3  4  5        sorted times of showing
        stored   0  4  2  1  3  5        times of showing in storing order
        late     0 -3  0  2  1  0        place in storing order - place in showing order
        times   -2 -1  0  1  2  3        what is shown, late.max() places earlier

    The first ones lie so far ahead that the sum of all steps is the length of the video.
    """
    place = {pts: number for number, pts in enumerate(shown)}
    delay = max(number - place[pts] for number, pts in enumerate(stored))
    ahead = max(delay, stored[-1] - shown[len(shown) - 1 - delay])
    yield from (shown[0] - ahead + ahead * number // delay for number in range(delay))
    yield from shown[: len(shown) - delay]
