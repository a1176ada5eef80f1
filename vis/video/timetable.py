"""When every frame of a file is shown and where decoding may begin, read without decoding.

Only MP4 and Matroska are trusted with it: there one packet is one frame and carries its time. In MPEG-TS,
AVI and raw streams packets lack times or seeking lands elsewhere, and the frames have to be counted.
"""

from __future__ import annotations

import bisect
import contextlib
from dataclasses import dataclass
from typing import Any

__all__ = ["Timetable", "has_timetable"]


def has_timetable(container: Any, stream: Any) -> bool:
    """Whether packets say exactly which frame they hold, and when it is shown.

    VP8 is left out: it stores frames that are never shown in packets of their own.
    """
    known = set(container.format.name.split(",")) & {"mp4", "matroska"}
    return bool(known) and stream.time_base is not None and stream.codec_context.name != "vp8"


@dataclass(frozen=True, slots=True)
class Timetable:
    """Ticks of the stream's clock, rising. The position of a time in ``pts`` is its frame's index."""

    pts: list[int]
    """When each frame is shown."""
    keys: list[int]
    """When each key frame is shown: decoding may begin there."""
    closed: bool
    """Whether no frame shown before a key frame needs it (closed groups of pictures)."""

    @classmethod
    def read(cls, container: Any, stream: Any) -> Timetable:
        """Go through all packets of ``stream``, which costs reading the file once."""
        from av.error import FFmpegError

        times, keys, closed = set(), set(), True
        with contextlib.suppress(FFmpegError):  # a file that is cut off: what was read is what there is
            key: int | None = None
            for packet in container.demux(stream):
                if packet.pts is None or not packet.size or packet.is_discard:
                    continue
                times.add(packet.pts)
                if packet.is_keyframe:
                    key = packet.pts
                    keys.add(key)
                # Stored after the key frame and shown before it: a leading picture of an open group.
                closed = closed and (key is None or packet.pts >= key)
        return cls(sorted(times), sorted(keys), closed)

    def key_before(self, pts: int) -> int | None:
        """The last key frame that is shown no later than ``pts``; None when there is none."""
        at = bisect.bisect_right(self.keys, pts)
        return self.keys[at - 1] if at else None

    def index_of(self, pts: int) -> int:
        """How many frames are shown before ``pts``: the index of the frame shown then."""
        return bisect.bisect_left(self.pts, pts)
