"""When every frame of a file is shown and where decoding may begin, read without decoding.

Only MP4 and Matroska are trusted with it: there one packet is one frame and carries its time. In MPEG-TS,
AVI and raw streams packets lack times or seeking lands elsewhere, and the frames have to be counted.
"""

from __future__ import annotations

import bisect
import contextlib
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["FirstStamps", "PacketIndex", "StampOrder", "demux_errors", "evenly_spaced", "has_packet_index"]

_REORDERED = 16


def has_packet_index(container: Any, stream: Any) -> bool:
    """Whether packets say exactly which frame they hold, and when it is shown.

    VP8 is left out: it stores frames that are never shown in packets of their own.
    """
    known = set(container.format.name.split(",")) & {"mp4", "matroska"}
    return bool(known) and stream.time_base is not None and stream.codec_context.name != "vp8"


def demux_errors() -> tuple[type[Exception], ...]:
    """What reading on in a damaged container raises."""
    from av.error import FFmpegError

    # PyAV does not find its way at the end where a stream turned up in the middle of the file.
    return FFmpegError, IndexError


class StampOrder:
    """Watches over the stamps of packets in storing order: frames are stored before others that are shown earlier.

    ::

        stored   I0 P4 B2 B1 B3  I8 B6 B5 B7 P12  ...      numbers are stamps, I is a key frame

    No frame is shown before one that was stored ahead of the last key frame (all of the first five lie before
    all later ones), nor a key frame before any that was stored ahead of it.
    """

    def __init__(self, stream: Any) -> None:
        self._context = stream.codec_context
        self.highest: int | None = None
        self._before_key: int | None = None

    def takes(self, stamp: int, *, key: bool) -> bool:
        """Whether this may be the next packet's stamp; one that repeats or falls back is not counted in."""
        bound = self.highest if key or not self._context.has_b_frames else self._before_key
        if bound is not None and stamp <= bound:
            return False
        if key:
            self._before_key = self.highest
        self.highest = stamp if self.highest is None else max(self.highest, stamp)
        return True


class FirstStamps:
    """The stamps of a stream's first packets."""

    def __init__(self) -> None:
        self.parts: list[list[int]] = [[]]
        """In storing order; a part for each of the joined streams."""
        self.count = 0
        self._order: StampOrder | None = None

    def add(self, packet: Any, stream: Any) -> None:
        """The next packet."""
        self.count += 1
        if packet.pts is None:
            return
        self._order = self._order or StampOrder(stream)
        part = self.parts[-1]
        if not self._order.takes(packet.pts, key=packet.is_keyframe) and packet.pts < max(part):
            self._order = StampOrder(stream)
            self._order.takes(packet.pts, key=True)
            self.parts.append([])
        self.parts[-1].append(packet.pts)

    def evenly_spaced(self, time_base: Fraction, *, all_read: bool) -> bool:
        """Whether frames follow one another at one rate, as far as packets tell."""
        parts = [sorted(part) for part in self.parts]
        if not all_read:
            # Of the last packets, neighbours that are shown earlier may not have been read yet.
            parts[-1] = parts[-1][:-_REORDERED]
        steps = [(part[-1] - part[0]) / (len(part) - 1) for part in parts if len(part) > _REORDERED]
        same = not steps or max(steps) - min(steps) <= 0.02 * max(steps)
        return same and all(evenly_spaced(part, time_base) for part in parts)


def evenly_spaced(stamps: list[int], time_base: Fraction) -> bool:
    """Whether rising stamps lie on an even grid, up to what rounding to a clock's ticks or milliseconds does."""
    if len(stamps) < 3:
        return True
    steps = np.diff(stamps)
    if steps.min() == 1 and time_base != Fraction(1, 1000):
        return bool(steps.max() == 1)  # the clock ticks once per frame: nothing is rounded
    step, begin = np.polyfit(np.arange(len(stamps)), np.array(stamps, np.float64) - stamps[0], 1)
    off = np.array(stamps, np.float64) - stamps[0] - begin - step * np.arange(len(stamps))
    # Rounding is off by half a tick to both sides, and the line through rounded points a little more.
    millisecond = float(Fraction(1, 1000) / time_base)
    return bool(np.ptp(off) <= max(1.25, min(1.25 * millisecond, step / 2), step / 50))


@dataclass(frozen=True, slots=True)
class PacketIndex:
    """Ticks of the stream's clock, rising. The position of a time in ``pts`` is its frame's index."""

    pts: list[int]
    """When each frame is shown."""
    keys: list[int]
    """When each key frame is shown: decoding may begin there."""
    closed: bool
    """Whether no frame shown before a key frame needs it (closed groups of pictures)."""
    exact: bool
    """Whether every packet has a stamp of its own that does not fall back: else frames have to be counted, and
    the stamps here are not all."""

    @classmethod
    def read(cls, container: Any, stream: Any) -> PacketIndex:
        """Go through all packets of ``stream``, which costs reading the file once."""
        times, keys, closed, exact = set[int](), set[int](), True, True
        order = StampOrder(stream)
        start = stream.start_time or 0  # now: FFmpeg thinks of another one when it has read on
        with contextlib.suppress(*demux_errors()):  # a file that is cut off: what was read is what there is
            key: int | None = None
            for packet in container.demux(stream):
                if not packet.size or packet.is_discard:
                    continue
                if (
                    packet.pts is None
                    or packet.pts in times
                    or not order.takes(packet.pts, key=packet.is_keyframe)
                ):
                    exact = False
                    break
                times.add(packet.pts)
                if packet.is_keyframe:
                    key = packet.pts
                    keys.add(key)
                # Stored after the key frame and shown before it: a leading picture of an open group.
                closed = closed and (key is None or packet.pts >= key)
        shown = sorted(times)
        return cls(shown, sorted(keys), closed, exact and shown[:1] >= [start])

    def key_before(self, pts: int) -> int | None:
        """The last key frame that is shown no later than ``pts``; None when there is none."""
        at = bisect.bisect_right(self.keys, pts)
        return self.keys[at - 1] if at else None

    def index_of(self, pts: int) -> int:
        """How many frames are shown before ``pts``: the index of the frame shown then."""
        return bisect.bisect_left(self.pts, pts)
