"""Copying a file's sound next to a new picture, without encoding it again."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from vis.errors import FallbackWarning, VideoError
from vis.video.container import open_container, start_seconds
from vis.video.limits import DEFAULT_LIMITS

__all__ = ["AudioCopy"]

# What MP4 holds and browsers play.
_CODECS = frozenset({"aac", "mp3", "opus", "flac", "ac3", "eac3", "alac"})


class AudioCopy:
    """The packets of one sound stream, copied bit by bit to another container as its picture grows."""

    def __init__(self, source: Any, stack: contextlib.ExitStack, target: Any) -> None:
        self._stack = stack
        self._target = target
        sound = source.streams.audio[0]
        self._stream = target.add_stream_from_template(sound)
        self._packets: Iterator[Any] = source.demux(sound)
        self._base: Fraction = sound.time_base
        # Times of frames count from the picture's start, so the sound's must too.
        self._origin = start_seconds(source.streams.video[0]) if source.streams.video else Fraction(0)
        self._held: Any = None

    @classmethod
    def open(cls, path: Path, target: Any) -> AudioCopy | None:
        """The sound of the file at ``path``, or None when it has none that MP4 holds."""
        if not path.is_file():
            return None
        stack = contextlib.ExitStack()
        try:
            source = stack.enter_context(open_container(path, DEFAULT_LIMITS))
        except VideoError as error:
            warnings.warn(f"no sound is copied: {error}", FallbackWarning, stacklevel=3)
            return None
        if not source.streams.audio:
            stack.close()
            return None
        codec = source.streams.audio[0].codec_context.name
        if codec not in _CODECS:
            stack.close()
            warnings.warn(
                f"{path}: its sound is {codec}, which MP4 players do not know; the video is written without "
                "sound. Convert it to AAC first to keep it",
                FallbackWarning,
                stacklevel=3,
            )
            return None
        return cls(source, stack, target)

    def copy_until(self, seconds: float, *, from_seconds: float) -> None:
        """Copy what begins before ``seconds``; ``from_seconds`` becomes time 0, what ends before goes."""
        from av.error import FFmpegError

        begin = self._origin + Fraction(from_seconds)
        end = self._origin + Fraction(seconds)
        while True:
            if self._held is None:
                try:
                    self._held = next(self._packets, None)
                except FFmpegError:
                    # A damaged source: the picture keeps the sound that there is.
                    self._packets = iter(())
            packet = self._held
            if packet is None:
                return
            if packet.pts is None:
                self._held = None
                continue
            start = packet.pts * self._base
            if start >= end:
                return
            self._held = None
            # An encoder's first packet ends where the sound begins; decoders want it all the same.
            if start + (packet.duration or 0) * self._base >= begin:
                shift = round(begin / self._base)
                packet.pts -= shift
                packet.dts = packet.pts
                packet.stream = self._stream
                self._target.mux(packet)

    def close(self) -> None:
        """Let go of the source."""
        self._stack.close()
