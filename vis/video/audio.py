"""Copying a file's sound next to a new picture, without encoding it again.

Sound is an extra: whatever is wrong with it, the picture is written, and a :class:`FallbackWarning` says what
was left out.
"""

from __future__ import annotations

import contextlib
import errno
import io
import warnings
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, islice
from pathlib import Path
from typing import Any

from vis.errors import FallbackWarning, VideoError
from vis.video.container import open_container, start_seconds, video_stream
from vis.video.images import is_image_file
from vis.video.options import DEFAULT_LIMITS
from vis.video.packet_index import demux_errors
from vis.video.timestamps import RisingTicks, RisingTimes

__all__ = ["AudioCopy"]

# What MP4 holds and players know, by the names of FFmpeg's codecs (its decoders have others: mp3float).
_CODECS = frozenset({"aac", "mp3", "mp2", "opus", "flac", "ac3", "eac3", "alac"})

# FFmpeg's own errors have larger numbers than the system's.
_FFMPEG_ERRORS = 10_000

# Packets that a trial in memory is made with: enough for a muxer to read all that it needs.
_TRIED = 12


class AudioCopy:
    """The packets of one sound stream, copied bit by bit to another container as its picture grows.

    Times that repeat or fall back are made to rise, as the picture's are; a packet that the container refuses is
    left out.
    """

    def __init__(self, path: Path, sound: Any, packets: Iterator[Any], origin: Fraction, target: Any) -> None:
        self._path, self._packets, self._origin, self._target = path, packets, origin, target
        self._base: Fraction = sound.time_base
        self._rate = int(sound.codec_context.sample_rate)
        self._stream = target.add_stream_from_template(sound)
        self._times = RisingTimes(Fraction(sound.codec_context.frame_size or 1024, self._rate))
        self._ticks: RisingTicks | None = None
        self._held: tuple[Fraction, Any] | None = None
        self._refused = False
        self._close = contextlib.ExitStack()

    @classmethod
    def open(cls, path: Path, target: Any) -> AudioCopy | None:
        """The first sound of the file at ``path`` that MP4 holds, or None when there is none; that is told."""
        if not path.is_file() or is_image_file(path):
            return None
        reasons: list[str] = []
        number, count = 0, 1
        while number < count:
            with contextlib.ExitStack() as stack:
                try:
                    source = stack.enter_context(open_container(path, DEFAULT_LIMITS))
                except VideoError as error:
                    warnings.warn(f"no sound is copied: {error}", FallbackWarning, stacklevel=3)
                    return None
                count = len(source.streams.audio)
                if not count:
                    return None
                sound = source.streams.audio[number]
                number += 1
                packets = (packet for packet in _packets(source, sound) if packet.size)
                first = list(islice(packets, _TRIED))
                reason = _why_not(sound, first)
                if reason is None:
                    copy = cls(path, sound, chain(first, packets), _origin(path, source), target)
                    copy._close = stack.pop_all()
                    return copy
                reasons.append(reason)
        warnings.warn(
            f"{path}: its sound {'; '.join(dict.fromkeys(reasons))}; the video is written without sound",
            FallbackWarning,
            stacklevel=3,
        )
        return None

    def copy_until(self, seconds: float, *, from_seconds: float) -> None:
        """Copy what begins before ``seconds``; ``from_seconds`` becomes time 0, what ends before goes."""
        begin, end = Fraction(from_seconds), Fraction(seconds)
        while True:
            if self._held is None:
                packet = next(self._packets, None)
                if packet is None:
                    return
                self._held = self._time_of(packet), packet
            start, packet = self._held
            if start >= end:
                return
            self._held = None
            # An encoder's first packet ends where the sound begins; decoders want it all the same.
            if start + (packet.duration or 0) * self._base >= begin:
                self._mux(packet, start - begin)

    def close(self) -> None:
        """Let go of the source."""
        self._close.close()

    def _time_of(self, packet: Any) -> Fraction:
        """Seconds from the picture's start."""
        stamp = packet.dts if packet.pts is None else packet.pts
        return self._times.next(None if stamp is None else stamp * self._base - self._origin)

    def _mux(self, packet: Any, start: Fraction) -> None:
        from av.error import FFmpegError

        tick = round(start * self._rate)
        if self._ticks is None:
            self._ticks = RisingTicks(self._rate)
            self._ticks.last = tick - 1
        duration = round((packet.duration or 0) * self._base * self._rate)
        packet.pts = packet.dts = self._ticks.next(tick)
        packet.duration, packet.time_base = duration, Fraction(1, self._rate)
        packet.stream = self._stream
        try:
            self._target.mux(packet)
        except FFmpegError as error:
            # The system's errors are of the file that is written, a full disk above all; FFmpeg's own, and "invalid
            # argument", are of the packet.
            if (error.errno or 0) < _FFMPEG_ERRORS and error.errno != errno.EINVAL:
                raise
            if not self._refused:
                self._refused = True
                warnings.warn(
                    f"{self._path}: a part of its sound is damaged ({error.strerror}) and is left out of the video",
                    FallbackWarning,
                    stacklevel=5,
                )


def _packets(source: Any, sound: Any) -> Iterator[Any]:
    """The packets of one stream, up to where the file is damaged."""
    # The picture keeps the sound that there is.
    with contextlib.suppress(*demux_errors()):
        yield from source.demux(sound)


def _origin(path: Path, source: Any) -> Fraction:
    """Times of frames count from the picture's start, so the sound's must too."""
    try:
        return start_seconds(video_stream(path, source, DEFAULT_LIMITS))
    except VideoError:
        return Fraction(0)


def _why_not(sound: Any, first: list[Any]) -> str | None:
    """What keeps a sound stream, of which these are the first packets, out of an MP4 file; None: nothing."""
    import av
    from av.error import FFmpegError

    if sound.codec_context is None:
        return "is of an unknown codec"
    name = sound.codec_context.codec.canonical_name
    if name not in _CODECS:
        return f"is {name}, which MP4 players do not know (convert it to AAC first to keep it)"
    if not first:
        return f"is an empty track of {name}"
    if not sound.codec_context.sample_rate or not sound.time_base:
        return f"is {name} that does not tell its rate"
    times = RisingTicks(int(sound.codec_context.sample_rate))
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as trial:
            stream = trial.add_stream_from_template(sound)
            for packet in first:
                copied = av.Packet(bytes(packet))
                copied.pts = copied.dts = times.next(times.last + 1024)
                copied.time_base, copied.stream = Fraction(1, times.clock), stream
                trial.mux(copied)
    except (FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        return (
            f"is {name} of a kind that does not fit into MP4 ({reason}; convert it to AAC first to keep it)"
        )
    return None
