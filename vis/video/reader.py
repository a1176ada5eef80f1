"""Reading a video file frame by frame with PyAV, in a stream. Knows no folder and no random access."""

from __future__ import annotations

import bisect
import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vis.background import prefetch
from vis.errors import HdrVideoWarning, InterlacedVideoWarning, TruncatedVideoWarning, VideoError
from vis.renamed import renamed_attribute
from vis.structures import Frame, VideoInfo
from vis.video import deinterlace
from vis.video.container import (
    Length,
    describe,
    is_riff_whole,
    open_container,
    packet_index_of,
    start_seconds,
    stated_length,
    upright,
    video_stream,
)
from vis.video.encryption import refuse_encrypted, refuse_encrypted_packet
from vis.video.options import DEFAULT_LIMITS, FrameRange, VideoLimits, frames_ahead
from vis.video.packet_index import FirstStamps, demux_errors
from vis.video.positions import BySlot, ByStamp, Placed, Positions, positions_of

__all__ = ["VideoReader"]

_THREADS = 4
"""The same on every machine: how much of a damaged file decodes depends on it."""

_FIRST_PACKETS = 240
"""Whose stamps tell whether the rate varies."""


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
    :mod:`vis.video.hdr` and :mod:`vis.video.deinterlace`.

    A file that is cut off or damaged gives the frames that decode, then a
    :class:`TruncatedVideoWarning`; with ``strict`` it raises :class:`VideoError` instead. A change of
    size in mid-stream and anything over ``limits`` is always a :class:`VideoError`.

    Up to ``ahead`` frames, fewer of large ones, are decoded in advance in a thread (0: none). Each iteration
    starts anew.
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
        self.frame_range = FrameRange(start_frame, end_frame, start_seconds, end_seconds, stride)
        self.strict = strict
        self.limits = limits
        self.ahead = ahead
        self._told: set[str] = set()
        self._info, self.interlaced = _probe(self.path, limits)
        self._check_length()
        self.frame_range.check_within(str(self.path), self._info.num_frames, self._info.duration_seconds)

    span = renamed_attribute("span", "frame_range")

    @property
    def info(self) -> VideoInfo:
        """What the whole video is; start, end and stride do not change it."""
        return self._info

    @property
    def expected_frames(self) -> int | None:
        """About how many frames an iteration gives, for progress; None when the container is silent."""
        return self.frame_range.count(_frames_in(self._info), self._info.fps)

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
        for frame in prefetch(frames, frames_ahead(self.ahead, self._info.size)):
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
        return f"VideoReader({str(self.path)!r}, {self._info.width}x{self._info.height}, {self.frame_range})"

    def times(self, *, strict: bool = False) -> dict[int, float]:
        """Index and ``pts_seconds`` of every frame, by decoding the file once without converting a frame.

        ``strict`` raises :class:`VideoError` when the file is cut off or damaged.
        """
        tally = _Tally()
        found = {
            place.index: place.pts_seconds for place in self._shown(tally, FrameRange(), only_times=True)
        }
        complaint = self._complaint(tally)
        if strict and complaint:
            raise VideoError(complaint)
        return found

    def _decode(self, tally: _Tally) -> Iterator[Frame]:
        shown = ((at.index, at.pts_seconds, at.picture) for at in self._shown(tally, self.frame_range))
        for index, pts, picture in self.frame_range.select(shown):
            yield Frame(index, pts, upright(picture, self._info.rotation))

    def _shown(self, tally: _Tally, frame_range: FrameRange, *, only_times: bool = False) -> Iterator[Placed]:
        """Every frame that decodes, from the key frame before ``frame_range`` to its end."""
        with open_container(self.path, self.limits) as container:
            stream = video_stream(self.path, container, self.limits)
            tally.length = stated_length(container, stream)
            positions = positions_of(container, stream, self._info.fps)
            if isinstance(positions, BySlot):
                positions.whole = is_riff_whole(self.path)
            elif isinstance(positions, ByStamp) and (frame_range.start_frame or frame_range.start_seconds):
                self._skip_to(frame_range, container, stream, positions, tally)
            pictures = self._pictures(container, stream, positions, tally)
            if self.interlaced and not only_times and deinterlace.is_available():
                pictures = deinterlace.deinterlaced(pictures, stream)
            for place in _placed(pictures, positions, tally):
                if frame_range.is_past(place.index, place.pts_seconds):
                    tally.stopped = True
                    return
                self._check_picture(place)
                step = float((getattr(place.picture, "duration", 0) or 0) * (stream.time_base or 0))
                tally.end_seconds = place.pts_seconds + max(step, 1 / (self._info.fps or 25.0))
                tally.damaged += bool(place.picture.is_corrupt)
                yield place

    def _pictures(self, container: Any, stream: Any, positions: Positions, tally: _Tally) -> Iterator[Any]:
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
                if not (isinstance(positions, ByStamp) and positions.is_leading(picture)):
                    tally.decoded += 1
                    yield picture

    def _skip_to(
        self, frame_range: FrameRange, container: Any, stream: Any, positions: ByStamp, tally: _Tally
    ) -> None:
        """Seek to the last key frame before the first wanted frame, where the file tells which one that is."""
        table = packet_index_of(self.path, self.limits)
        if table is None:
            return
        wanted = frame_range.start_frame or 0
        if frame_range.start_seconds is not None:
            origin, base = start_seconds(stream), stream.time_base
            early = bisect.bisect_left(
                table.pts, frame_range.start_seconds, key=lambda pts: float(pts * base - origin)
            )
            wanted = max(wanted, early)
        if self.interlaced and 0 < wanted < len(table.pts):
            wanted -= 1  # the frame before the first wanted one is needed too, to deinterlace it
        key = table.key_before(table.pts[wanted]) if wanted < len(table.pts) else None
        if key is not None:
            container.seek(key, stream=stream)
            tally.decoded = table.index_of(key)
            positions.begin_at(tally.decoded, key)

    def _check_picture(self, place: Placed) -> None:
        name, (height, width) = str(self.path), (place.picture.height, place.picture.width)
        self.limits.check_frame(name, height, width)
        self.limits.check_length(name, place.index + 1, place.pts_seconds, height * width)
        turned = self._info.rotation in (90, 270)
        if ((width, height) if turned else (height, width)) != self._info.size:
            raise VideoError(
                f"{name}: frame {place.index} is {width}x{height} pixels where the frames before it make "
                f"{self._info.width}x{self._info.height}; the size must not change in mid-stream. "
                "Scale it to one size first"
            )

    def _check_length(self) -> None:
        # Only what will be decoded counts: the first minute of a long recording is fine.
        info, frame_range = self._info, self.frame_range
        frames = min(n for n in (_frames_in(info) or 0, frame_range.end_frame) if n is not None)
        seconds = min(s for s in (info.duration_seconds or 0.0, frame_range.end_seconds) if s is not None)
        if frame_range.end_frame is not None and info.fps:
            seconds = min(seconds, frame_range.end_frame / info.fps)
        if frame_range.end_seconds is not None and info.fps:
            frames = min(frames, math.ceil(frame_range.end_seconds * info.fps))
        self.limits.check_length(str(self.path), frames, seconds, info.height * info.width)

    def _complaint(self, tally: _Tally) -> str | None:
        """What was wrong with the file, in one sentence; None when all was well."""
        info, found = self._info, []
        if not tally.stopped:
            promised, step = info.num_frames, 1 / (info.fps or 25.0)
            if promised is not None and tally.decoded < promised:
                found.append(f"{tally.decoded} of {promised} frames decode")
            elif promised is None and tally.length is not None:
                # Without a count only a clear gap at the end tells that something is missing.
                seconds, end = tally.length.seconds, tally.end_seconds
                if not tally.length.of_picture:
                    end = max(end, tally.sound_end_seconds)
                if seconds - end > max(0.5, 3 * step):
                    found.append(f"the frames end at {tally.end_seconds:.2f} s of {seconds:.2f} s")
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
    length: Length | None = None
    end_seconds: float = 0.0
    """When the last frame ends, from the picture's start; ``sound_end_seconds`` alike."""
    sound_end_seconds: float = 0.0
    stopped: bool = False


def _placed(pictures: Iterator[Any], positions: Positions, tally: _Tally) -> Iterator[Placed]:
    """The frames that the pictures stand for: none, one, or one and repeats of the one before."""
    for picture in pictures:
        count = 0
        for count, place in enumerate(positions.place(picture), 1):
            tally.decoded += count > 1
            yield place
        tally.damaged += not count
    for place in positions.rest():
        tally.decoded += 1
        yield place
    tally.decoded += positions.leading


def _probe(path: Path, limits: VideoLimits) -> tuple[VideoInfo, bool]:
    """Check the header, decode one frame, and say what the video is, and whether it is interlaced."""
    from av.error import FFmpegError

    first, stamps, all_read = None, FirstStamps(), True
    with open_container(path, limits) as container:
        stream = video_stream(path, container, limits)
        for number, packet in enumerate(_packets(container, stream, _Tally())):
            if not number:
                refuse_encrypted_packet(path, stream, packet)
            if packet is not None and packet.size and not packet.is_discard:
                stamps.add(packet, stream)
            if first is None:
                with contextlib.suppress(FFmpegError):
                    first = next(iter(stream.codec_context.decode(packet)), None)
            elif stamps.count >= _FIRST_PACKETS:
                all_read = False
                break
        if first is not None:
            limits.check_frame(str(path), first.height, first.width)
            even = stream.time_base is None or stamps.evenly_spaced(stream.time_base, all_read=all_read)
            info = describe(path, container, stream, first, even=even)
            return info, bool(first.interlaced_frame)
    refuse_encrypted(path)
    raise VideoError(
        f"{path}: not one frame decodes; the file is damaged or cut off at its start. Copy or download it again"
    )


def _packets(container: Any, stream: Any, tally: _Tally) -> Iterator[Any]:
    """The stream's packets and the flush at the end, which comes even after a read error."""
    # Frame threads: decoding of large frames uses several cores, whatever slices the encoder made. What fails in
    # the last of them FFmpeg does not tell; where no header says how many frames there are, that would be lost
    # without a word.
    bare = not stream.frames and stream.duration is None and container.duration is None
    stream.thread_type = "SLICE" if bare else "AUTO"
    stream.codec_context.thread_count = _THREADS
    # Where the header tells the length of the longest stream only, that one has to be looked at.
    others = () if tally.length is None or tally.length.of_picture else container.streams.audio
    start, flushed = start_seconds(stream), False
    try:
        for packet in container.demux(stream, *others):
            if packet.stream.index == stream.index:
                flushed = not packet.size
                yield packet
            elif packet.pts is not None:
                end = (packet.pts + (packet.duration or 0)) * packet.time_base - start
                tally.sound_end_seconds = max(tally.sound_end_seconds, float(end))
    except demux_errors() as error:
        tally.errors += not isinstance(error, IndexError)
        if not flushed:
            yield None


def _frames_in(info: VideoInfo) -> int | None:
    if info.num_frames is not None:
        return info.num_frames
    return round(info.duration_seconds * info.fps) if info.duration_seconds and info.fps else None
