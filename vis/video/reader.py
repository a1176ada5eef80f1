"""Reading a video file frame by frame with PyAV, in a stream. Knows no folder and no random access."""

from __future__ import annotations

import heapq
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

from vis.errors import HdrVideoWarning, InterlacedVideoWarning, TruncatedVideoWarning, VideoError
from vis.structures import Frame, VideoInfo
from vis.video import deinterlace
from vis.video.ahead import read_ahead
from vis.video.container import describe, open_container, start_seconds, upright, video_stream
from vis.video.encryption import refuse_encrypted, refuse_encrypted_packet
from vis.video.limits import DEFAULT_LIMITS, VideoLimits
from vis.video.span import Span, ceil
from vis.video.timetable import Timetable, has_timetable

__all__ = ["VideoReader"]

_THREADS = 4
"""The same on every machine: how much of a damaged file decodes depends on it."""


class VideoReader:
    """A video file as a source of frames: streaming, with exact times, upright, at its own pace.

    ``start_frame``/``end_frame`` count source frames from 0, ``start_seconds``/``end_seconds`` are
    compared with ``pts_seconds``; ends are exclusive, and where both are given both hold. ``stride`` k
    gives every k-th frame from the first wanted one. MP4 and Matroska are sought to the key frame before
    the start; other skipped frames are decoded but not converted.

    ``Frame.index`` is the position in the source whatever was skipped or could not be decoded, and
    ``Frame.pts_seconds`` the presentation time counted from the stream's start, which is exact for a
    variable frame rate too. Frames follow one another with rising times.

    High dynamic range is tone-mapped and interlaced video deinterlaced, each with a warning; see
    :mod:`vis.video.tone` and :mod:`vis.video.deinterlace`.

    A file that is cut off or damaged gives the frames that decode, then a
    :class:`TruncatedVideoWarning`; with ``strict`` it raises :class:`VideoError` instead. A change of
    size in mid-stream and anything over ``limits`` is always a :class:`VideoError`.

    Up to ``ahead`` frames are decoded in advance in a thread (0: none). Each iteration starts anew.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        start_frame: int | None = None,
        end_frame: int | None = None,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        stride: int = 1,
        strict: bool = False,
        limits: VideoLimits = DEFAULT_LIMITS,
        ahead: int = 4,
    ) -> None:
        self.path = Path(path)
        self.span = Span(start_frame, end_frame, start_seconds, end_seconds, stride)
        self.strict = strict
        self.limits = limits
        self.ahead = ahead
        self._told: set[str] = set()
        self._info, self.interlaced = _probe(self.path, limits)
        self._check_length()
        self.span.check_within(str(self.path), self._info.num_frames, self._info.duration_seconds)

    @property
    def info(self) -> VideoInfo:
        """What the whole video is; start, end and stride do not change it."""
        return self._info

    @property
    def expected_frames(self) -> int | None:
        """About how many frames an iteration gives, for progress; None when the container is silent."""
        return self.span.count(_frames_in(self._info), self._info.fps)

    def __iter__(self) -> Iterator[Frame]:
        if self._info.hdr:
            self._tell(
                f"{self.path}: high dynamic range (PQ or HLG) is tone-mapped to a standard screen's colours; convert "
                "it to SDR first for colours graded by hand",
                HdrVideoWarning,
            )
        if self.interlaced and deinterlace.is_available():
            self._tell(
                f"{self.path}: interlaced; its lines are joined to whole pictures (bwdif)",
                InterlacedVideoWarning,
            )
        elif self.interlaced:
            self._tell(
                f"{self.path}: interlaced, and this PyAV has no filter bwdif: moving edges look like combs; "
                "deinterlace it with FFmpeg first",
                InterlacedVideoWarning,
            )
        tally, given = _Tally(), 0
        frames = self._decode(tally)
        for frame in read_ahead(frames, self.ahead) if self.ahead > 0 else frames:
            given += 1
            yield frame
        complaint = self._complaint(tally)
        if not given:
            raise VideoError(
                complaint or f"{self.path}: not one frame lies between the start and the end asked for"
            )
        if complaint and self.strict:
            raise VideoError(complaint)
        if complaint:
            self._tell(complaint, TruncatedVideoWarning)

    def _tell(self, text: str, kind: type[Warning]) -> None:
        """Warn once per reader: whoever iterates twice has heard it."""
        if text not in self._told:
            self._told.add(text)
            warnings.warn(text, kind, stacklevel=3)

    def __repr__(self) -> str:
        return f"VideoReader({str(self.path)!r}, {self._info.width}x{self._info.height}, {self.span})"

    def times(self) -> list[float]:
        """``pts_seconds`` of every frame of the file, by decoding it once without converting a frame."""
        tally = _Tally()
        return [pts for _, pts, _ in self._shown(tally, Span(), only_times=True)]

    def _decode(self, tally: _Tally) -> Iterator[Frame]:
        begin: int | None = None
        for index, pts, picture in self._shown(tally, self.span):
            if self.span.is_past(index, pts):
                tally.stopped = True
                return
            if self.span.starts_after(index, pts):
                continue
            begin = index if begin is None else begin
            if (index - begin) % self.span.stride == 0:
                yield Frame(index, pts, upright(picture, self._info.rotation))

    def _shown(
        self, tally: _Tally, span: Span, *, only_times: bool = False
    ) -> Iterator[tuple[int, float, Any]]:
        """Index, time and picture of each frame that decodes, from the key frame before ``span`` on."""
        with open_container(self.path, self.limits) as container:
            stream = video_stream(self.path, container, self.limits)
            clock = _Clock(stream, self._info.fps)
            positions = _Positions(container, stream)
            if span.start_frame or span.start_seconds:
                _skip_to(span, container, stream, positions, tally, one_earlier=self.interlaced)
            pictures = self._pictures(container, stream, positions, tally)
            if self.interlaced and not only_times and deinterlace.is_available():
                pictures = deinterlace.deinterlaced(pictures, stream)
            for picture in pictures:
                index = positions.index_of(picture)
                if index is None:
                    tally.damaged += 1
                    continue
                pts = clock.seconds(picture)
                if not span.is_past(index, pts):
                    self._check_picture(picture, index, pts)
                    tally.last_pts, tally.damaged = pts, tally.damaged + bool(picture.is_corrupt)
                yield index, pts, picture

    def _pictures(self, container: Any, stream: Any, positions: _Positions, tally: _Tally) -> Iterator[Any]:
        """Decoded pictures in presentation order; what does not decode is counted, or raised if strict."""
        from av.error import FFmpegError

        for packet in _packets(container, stream, tally):
            if packet is not None:
                positions.saw(packet)
            try:
                # The last packet is empty: it flushes the frames that the decoder still holds.
                pictures = stream.codec_context.decode(packet)
            except FFmpegError as error:
                tally.errors += 1
                if self.strict:
                    raise VideoError(
                        f"{self.path}: does not decode after frame {tally.decoded - 1} ({error.strerror}); the file "
                        "is damaged. Copy or download it again, or read it without strict to keep what decodes"
                    ) from error
                continue
            for picture in pictures:
                if not positions.is_leading(picture):
                    tally.decoded += 1
                    yield picture

    def _check_picture(self, picture: Any, index: int, pts: float) -> None:
        height, width = picture.height, picture.width
        self.limits.check_frame(str(self.path), height, width)
        self.limits.check_length(str(self.path), index + 1, pts, height * width)
        turned = self._info.rotation in (90, 270)
        if ((width, height) if turned else (height, width)) != self._info.size:
            raise VideoError(
                f"{self.path}: frame {index} is {width}x{height} pixels where the frames before it make "
                f"{self._info.width}x{self._info.height}; the size must not change in mid-stream. "
                "Scale it to one size first"
            )

    def _check_length(self) -> None:
        # Only what will be decoded counts: the first minute of a long recording is fine.
        info, span = self._info, self.span
        frames = min(n for n in (_frames_in(info) or 0, span.end_frame) if n is not None)
        seconds = min(s for s in (info.duration_seconds or 0.0, span.end_seconds) if s is not None)
        if span.end_frame is not None and info.fps:
            seconds = min(seconds, span.end_frame / info.fps)
        if span.end_seconds is not None and info.fps:
            frames = min(frames, ceil(span.end_seconds * info.fps))
        self.limits.check_length(str(self.path), frames, seconds, info.height * info.width)

    def _complaint(self, tally: _Tally) -> str | None:
        """What was wrong with the file, in one sentence; None when all was well."""
        info, found = self._info, []
        if not tally.stopped:
            promised, seconds = info.num_frames, info.duration_seconds
            if promised is not None and tally.decoded < promised:
                found.append(f"{tally.decoded} of {promised} frames decode")
            elif promised is None and seconds is not None and info.fps:
                # Without a count only a clear gap at the end tells that something is missing.
                end = tally.last_pts + 1 / info.fps
                if seconds - end > max(0.5, 3 / info.fps):
                    found.append(f"the frames end at {end:.2f} s of {seconds:.2f} s")
        if tally.errors:
            found.append(f"{tally.errors} packets are damaged")
        if tally.damaged:
            found.append(f"{tally.damaged} frames are damaged")
        if not found:
            return None
        return f"{self.path}: {', '.join(found)}; the file is cut off or damaged, copy or download it again"


@dataclass(slots=True)
class _Tally:
    """What one iteration met; written by the decoding thread, read after it has ended."""

    decoded: int = 0
    errors: int = 0
    damaged: int = 0
    last_pts: float = 0.0
    stopped: bool = False


@dataclass(slots=True)
class _Clock:
    """Presentation times in seconds from the stream's start, strictly rising."""

    stream: Any
    fps: float | None
    last: float = -1.0
    origin: Fraction = field(init=False)

    def __post_init__(self) -> None:
        self.origin = start_seconds(self.stream)

    def seconds(self, picture: Any) -> float:
        step = 1 / (self.fps or 25.0)
        if picture.pts is None:
            # Raw streams without times: this is the one place where a rate stands in for a clock.
            now = self.last + step if self.last >= 0 else 0.0
        else:
            now = float(picture.pts * self.stream.time_base - self.origin)
        if self.last >= 0 and now <= self.last:
            # Broken clocks repeat or jump back; trackers are promised rising times.
            now = self.last + step / 2
        self.last = max(now, 0.0)
        return self.last


class _Positions:
    """Index of a decoded picture in the source, exact even when neighbours did not decode.

    Where packets tell (see ``timetable``) frames come out in order of time, and a picture's index is the
    number of packets seen that are earlier. Elsewhere pictures are counted.
    """

    def __init__(self, container: Any, stream: Any) -> None:
        self._by_time = has_timetable(container, stream)
        self._waiting: list[int] = []
        self._first: int | None = None
        self._last: int | None = None
        self._next = 0

    def begin_at(self, index: int, pts: int) -> None:
        """Decoding begins at the key frame that is number ``index`` and shown at ``pts``."""
        self._next, self._first = index, pts

    def saw(self, packet: Any) -> None:
        is_frame = packet.pts is not None and packet.size and not packet.is_discard
        if self._by_time and is_frame and (self._first is None or packet.pts >= self._first):
            heapq.heappush(self._waiting, packet.pts)

    def is_leading(self, picture: Any) -> bool:
        """Whether it is shown before the key frame that decoding began at, so cannot be whole."""
        return self._first is not None and picture.pts is not None and picture.pts < self._first

    def index_of(self, picture: Any) -> int | None:
        """The picture's index; None for one that comes too late to be shown, as damage can cause."""
        if self._by_time and picture.pts is not None:
            if self._last is not None and picture.pts < self._last:
                return None
            self._last = picture.pts
            while self._waiting and self._waiting[0] < picture.pts:
                heapq.heappop(self._waiting)
                self._next += 1
            if self._waiting and self._waiting[0] == picture.pts:
                heapq.heappop(self._waiting)
        self._next += 1
        return self._next - 1


def _skip_to(
    span: Span, container: Any, stream: Any, positions: _Positions, tally: _Tally, *, one_earlier: bool
) -> None:
    """Seek to the last key frame before the first wanted frame, where the file tells which one that is.

    ``one_earlier``: the frame before the first wanted one is needed too, to deinterlace it.
    """
    if not has_timetable(container, stream):
        return
    table = Timetable.read(container, stream)
    wanted = span.start_frame or 0
    if span.start_seconds is not None:
        origin = start_seconds(stream)
        later = (
            n
            for n, pts in enumerate(table.pts)
            if float(pts * stream.time_base - origin) >= span.start_seconds
        )
        wanted = max(wanted, next(later, len(table.pts)))
    if one_earlier and 0 < wanted < len(table.pts):
        wanted -= 1
    key = table.key_before(table.pts[wanted]) if wanted < len(table.pts) else None
    if key is None:
        # Nothing is wanted, or nothing can be sought: decode from the first frame on.
        container.seek(table.pts[0] if table.pts else 0, stream=stream)
        return
    container.seek(key, stream=stream)
    tally.decoded = table.index_of(key)
    positions.begin_at(tally.decoded, key)


def _probe(path: Path, limits: VideoLimits) -> tuple[VideoInfo, bool]:
    """Check the header, decode one frame, and say what the video is, and whether it is interlaced."""
    from av.error import FFmpegError

    with open_container(path, limits) as container:
        stream = video_stream(path, container, limits)
        for number, packet in enumerate(_packets(container, stream, _Tally())):
            if not number:
                refuse_encrypted_packet(path, stream, packet)
            try:
                for picture in stream.codec_context.decode(packet):
                    limits.check_frame(str(path), picture.height, picture.width)
                    return describe(path, container, stream, picture), bool(picture.interlaced_frame)
            except FFmpegError:
                continue
    refuse_encrypted(path)
    raise VideoError(
        f"{path}: not one frame decodes; the file is damaged or cut off at its start. Copy or download it again"
    )


def _packets(container: Any, stream: Any, tally: _Tally) -> Iterator[Any]:
    """The stream's packets and the flush at the end, which comes even after a read error."""
    from av.error import FFmpegError

    # Frame threads: decoding of large frames uses several cores, whatever slices the encoder made. What fails in
    # the last of them FFmpeg does not tell; where no header says how many frames there are, that would be lost
    # without a word.
    bare = not stream.frames and stream.duration is None and container.duration is None
    stream.thread_type = "SLICE" if bare else "AUTO"
    stream.codec_context.thread_count = _THREADS
    try:
        yield from container.demux(stream)
    except FFmpegError:
        tally.errors += 1
        yield None


def _frames_in(info: VideoInfo) -> int | None:
    if info.num_frames is not None:
        return info.num_frames
    return round(info.duration_seconds * info.fps) if info.duration_seconds and info.fps else None
