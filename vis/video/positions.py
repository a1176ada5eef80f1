"""Which frame of the file a decoded picture is, and when it is shown.

Three ways, by what the container's packets tell:

==========================  ===================================================================================
:class:`ByStamp`            MP4, Matroska: one packet is one frame and carries its time. A picture's index is the
                            number of packets that are shown earlier, exact even when neighbours do not decode
:class:`BySlot`             AVI: frames follow at one rate, and an empty chunk repeats the frame before it. A
                            picture's index is the number of its chunk
:class:`ByCount`            everything else: pictures are counted as they come out of the decoder
==========================  ===================================================================================
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol

from vis.video.container import start_seconds
from vis.video.packet_index import StampOrder, has_packet_index
from vis.video.timestamps import RisingTimes

__all__ = ["Placed", "Positions", "positions_of"]


@dataclass(frozen=True, slots=True)
class Placed:
    """A picture and its place in the file."""

    index: int
    pts_seconds: float
    """From the stream's start, rising."""
    picture: Any


class Positions(Protocol):
    """Fed with the stream's packets and pictures in the order in which they come."""

    @property
    def leading(self) -> int:
        """Frames before the first one that have no picture, and that no decoder can give."""

    def saw(self, packet: Any) -> None:
        """A packet that goes to the decoder now."""

    def place(self, picture: Any) -> Iterable[Placed]:
        """The frames that a picture stands for; none for one that comes too late to be shown."""

    def rest(self) -> Iterable[Placed]:
        """What is shown after the last picture."""


def positions_of(container: Any, stream: Any, fps: float | None) -> ByStamp | BySlot | ByCount:
    """The way that fits the container."""
    if container.format.name == "avi" and stream.time_base:
        return BySlot(stream)
    if has_packet_index(container, stream):
        return ByStamp(stream, fps)
    return ByCount(stream, fps)


class ByCount:
    """Pictures are counted, and their stamps are made to rise."""

    leading = 0

    def __init__(self, stream: Any, fps: float | None) -> None:
        self._stream = stream
        self._next = 0
        self._origin = start_seconds(stream)
        # The one place where a rate stands in for a clock: raw streams without times, and stamps that repeat.
        self._times = RisingTimes(1 / Fraction(fps or 25.0))

    def saw(self, packet: Any) -> None:
        """Nothing is learnt from it."""

    def place(self, picture: Any) -> Iterable[Placed]:
        """The next frame."""
        self._next += 1
        return (Placed(self._next - 1, self._seconds(picture), picture),)

    def rest(self) -> Iterable[Placed]:
        """Nothing."""
        return ()

    def _seconds(self, picture: Any) -> float:
        if picture.pts is None:
            return float(self._times.next(None))
        stamp = picture.pts * self._stream.time_base - self._origin
        return float(self._times.next(stamp if self._times.begun else max(stamp, Fraction(0))))


class ByStamp(ByCount):
    """The stamps of packets tell which frame a picture is, as long as they are fit for it.

    From a packet on whose stamp is missing or falls back, pictures are counted.
    """

    def __init__(self, stream: Any, fps: float | None) -> None:
        super().__init__(stream, fps)
        self._fit = True
        self._waiting: list[int] = []
        self._order = StampOrder(stream)
        self._first: int | None = None
        self._last: int | None = None

    def begin_at(self, index: int, pts: int) -> None:
        """Decoding begins at the key frame that is number ``index`` and shown at ``pts``."""
        self._next, self._first = index, pts

    def saw(self, packet: Any) -> None:
        """Its stamp will be a picture's."""
        if not packet.size or packet.is_discard:
            return
        if packet.pts is None or not self._order.takes(packet.pts, key=packet.is_keyframe):
            self._fit = False
        elif self._first is None or packet.pts >= self._first:
            heapq.heappush(self._waiting, packet.pts)

    def is_leading(self, picture: Any) -> bool:
        """Whether it is shown before the key frame that decoding began at, so cannot be whole."""
        return self._first is not None and picture.pts is not None and picture.pts < self._first

    def place(self, picture: Any) -> Iterable[Placed]:
        """The frame whose packet has the picture's stamp."""
        if self._fit and picture.pts is not None:
            if self._last is not None and picture.pts < self._last:
                return ()  # damage can cause it
            self._last = picture.pts
            while self._waiting and self._waiting[0] < picture.pts:
                heapq.heappop(self._waiting)
                self._next += 1
            if self._waiting and self._waiting[0] == picture.pts:
                heapq.heappop(self._waiting)
        return super().place(picture)


class BySlot:
    """AVI. The demuxer passes over empty chunks and counts them in ``dts``: gaps in it are repeats.

    ::

        chunks   I P - - P B - P        - is empty
        dts      0 1     4 5   7
        frames   I P P P P B B P        indices 0 to 7

    Where the codec stores frames in another order than it shows them, the n-th picture that comes out takes the
    n-th filled slot.
    """

    def __init__(self, stream: Any) -> None:
        self._base: Fraction = stream.time_base
        self._promised = int(stream.frames)
        self._reordered = bool(stream.codec_context.has_b_frames)
        self._filled: deque[int] = deque()
        self._first: int | None = None
        self._shown: tuple[int, Any] | None = None
        self.whole = False
        """Whether the file is known not to be cut off: then empty chunks at its end count, too."""

    @property
    def leading(self) -> int:
        """Empty chunks before the first frame."""
        return self._first or 0

    def saw(self, packet: Any) -> None:
        """The slot of a frame."""
        if packet.size and packet.dts is not None:
            self._first = packet.dts if self._first is None else self._first
            self._filled.append(packet.dts)

    def place(self, picture: Any) -> Iterator[Placed]:
        """Repeats of the frame before, then the picture."""
        if self._reordered or picture.dts not in self._filled:
            slot = self._filled.popleft() if self._filled else self._next_slot()
            lost = None
        else:
            # Slots passed over here are of frames that did not decode: these are not repeated, nor are they given.
            lost = next((s for s in self._filled if s < picture.dts), None)
            while (slot := self._filled.popleft()) != picture.dts:
                pass
        yield from self._repeats(slot if lost is None else lost)
        self._shown = slot, picture
        yield self._placed(slot, picture)

    def rest(self) -> Iterator[Placed]:
        """Empty chunks after the last frame."""
        if self.whole and not self._filled:
            yield from self._repeats(self._promised)

    def _repeats(self, until: int) -> Iterator[Placed]:
        if self._shown is not None:
            slot, picture = self._shown
            # Not beyond what the header says: a damaged index may lie anywhere.
            until = min(until, self._promised) if self._promised else until
            yield from (self._placed(n, picture) for n in range(slot + 1, until))

    def _placed(self, slot: int, picture: Any) -> Placed:
        at = slot - (self._first or 0)
        return Placed(at, float(at * self._base), picture)

    def _next_slot(self) -> int:
        return 0 if self._shown is None else self._shown[0] + 1
