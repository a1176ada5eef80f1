"""Opening a video file safely with FFmpeg (PyAV), and saying what it is.

Only local files in known video containers are opened: no network, no playlists that name other
files, no text shown as ANSI art. Knows nothing of reading frames one after another.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vis.errors import VideoError
from vis.structures import VideoInfo
from vis.video.encryption import refuse_encrypted
from vis.video.hdr import HLG, PQ, to_standard_range
from vis.video.options import VideoLimits
from vis.video.packet_index import PacketIndex, evenly_spaced, has_packet_index

__all__ = [
    "Length",
    "describe",
    "is_riff_whole",
    "open_container",
    "packet_index_of",
    "rotation_of",
    "start_seconds",
    "stated_length",
    "upright",
    "video_stream",
]

# FFmpeg's names of demuxers. Left out on purpose: playlists (hls, concat, dash), which make FFmpeg open
# whatever they name, and tty, which turns any text file into a video. The audio ones are there so
# that such a file is told "no video stream" instead of "not a video".
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,asf,ogg,"
    "mxf,nut,rm,dv,wtv,yuv4mpegpipe,gif,apng,webp,y4m,"
    "aac,mp3,wav,flac,ac3,caf,aiff"
)
_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}


@contextlib.contextmanager
def open_container(path: Path, limits: VideoLimits) -> Iterator[Any]:
    """The opened ``av`` container of a video file; closed when the block ends.

    Raises :class:`VideoError` that names the file when it is missing, empty, too big or not a video.
    """
    import av

    if not path.exists():
        raise VideoError(f"{path}: no such file; give the path of a video or of a folder of images")
    if not path.is_file():
        raise VideoError(f"{path}: not a file; give the path of a video or of a folder of images")
    size = path.stat().st_size
    if size == 0:
        raise VideoError(f"{path}: the file is empty (0 bytes); copy or download it again")
    limits.check_bytes(str(path), size)
    try:
        # "file:" keeps FFmpeg from reading a protocol into a name such as "12:30.mp4".
        container = av.open(f"file:{path.resolve()}", options=dict(_OPTIONS), **_lenient(av.__version__))
    except PermissionError as error:
        raise VideoError(f"{path}: may not be read (permission denied)") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        refuse_encrypted(path)
        raise VideoError(
            f"{path}: not a video that can be opened ({_reason(error)}); it is no video file, or it is damaged "
            "or cut off before its index. Copy or download it again, or convert it with FFmpeg"
        ) from error
    try:
        yield container
    finally:
        container.close()


def _lenient(version: str) -> dict[str, Any]:
    """What lets ``av.open`` pass over titles in unknown encodings: from PyAV 19 on it does so unasked."""
    return {} if int(version.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}


def video_stream(path: Path, container: Any, limits: VideoLimits) -> Any:
    """The best video stream, its header checked against ``limits`` before anything is decoded.

    That is the one of the most pixels among those that last: thumbnails and previews may come first.
    """
    streams = [stream for stream in container.streams.video if not _is_cover(stream)]
    if not streams:
        kinds = sorted({s.type for s in container.streams if not _is_cover(s)})
        if not kinds:
            raise VideoError(
                f"{path}: holds nothing that can be read, no video stream above all; it is damaged or cut off before "
                "its index. Copy or download it again"
            )
        raise VideoError(
            f"{path}: holds no video stream (only {', '.join(kinds)}); give a video or a folder of images"
        )
    lengths = [_own_seconds(container, stream) for stream in streams]
    longest = max((seconds for seconds in lengths if seconds is not None), default=0.0)
    lasts = [seconds is None or 2 * seconds >= longest for seconds in lengths]
    ranked = [(lasting, *_worth(stream)) for stream, lasting in zip(streams, lasts, strict=True)]
    stream = streams[ranked.index(max(ranked))]  # the first of equals
    context = stream.codec_context
    if context is None:
        raise VideoError(f"{path}: its video codec is unknown to this FFmpeg; convert it to H.264 first")
    if context.width and context.height:
        limits.check_frame(str(path), context.height, context.width)
    # A header can lie: the decoder itself refuses to make room for pictures far over the limit. Up to
    # four times it they are decoded, so that the reader can say what is wrong.
    context.options = {"max_pixels": str(min(4 * limits.pixels_per_frame, 2**31 - 1))}
    return stream


def _own_seconds(container: Any, stream: Any) -> float | None:
    length = stated_length(container, stream)
    return length.seconds if length is not None and length.of_picture else None


def _worth(stream: Any) -> tuple[bool, int, bool]:
    """Whether it has several frames, its pixels, and whether it is marked as the one to show."""
    from av.stream import Disposition

    context = stream.codec_context
    # A rate is only known of streams of two frames and more.
    moves = stream.frames > 1 if stream.frames else stream.average_rate is not None
    pixels = (context.width or 0) * (context.height or 0) if context is not None else -1
    return moves, pixels, bool(stream.disposition & Disposition.default)


def describe(path: Path, container: Any, stream: Any, first: Any, *, even: bool) -> VideoInfo:
    """What the video is, from its header, its first decoded frame and whether its first ones follow evenly."""
    rotation = rotation_of(first)
    height, width = (first.width, first.height) if rotation in (90, 270) else (first.height, first.width)
    rate = stream.average_rate or stream.guessed_rate
    transfers = {transfer_of(first), int(stream.codec_context.color_trc or 0)}
    length = stated_length(container, stream)
    return VideoInfo(
        name=path.stem,
        height=height,
        width=width,
        num_frames=_promised_frames(stream),
        fps=float(rate) if rate else None,
        duration_seconds=length.seconds if length else None,
        rotation=rotation,
        codec=stream.codec_context.name,
        variable_frame_rate=_varies(container, stream, even=even),
        hdr=bool(transfers & {PQ, HLG}),
        has_audio=bool(container.streams.audio),
    )


def rotation_of(frame: Any) -> int:
    """Degrees to turn a decoded frame counter-clockwise: 0, 90, 180 or 270."""
    rotation = round(getattr(frame, "rotation", 0) or 0) % 360
    # Players ignore odd angles too: there is no turning by 3 degrees without cutting corners.
    return rotation if rotation % 90 == 0 else 0


def transfer_of(frame: Any) -> int:
    """AVColorTransferCharacteristic of a decoded frame; 0 where it does not tell."""
    return int(getattr(frame, "color_trc", 0) or 0)


def upright(frame: Any, rotation: int) -> NDArray[np.uint8]:
    """A decoded frame as RGB uint8 (H, W, 3), turned counter-clockwise by ``rotation`` degrees.

    PQ and HLG are tone-mapped to BT.709.
    """
    # Named so that PyAV before 17 heeds the stream's own matrix (BT.709 for most); newer ones do anyway.
    image: NDArray[np.uint8] = frame.to_ndarray(format="rgb24", dst_colorspace="itu601")
    if (transfer := transfer_of(frame)) in (PQ, HLG):
        image = to_standard_range(image, transfer)
    return np.ascontiguousarray(np.rot90(image, rotation // 90)) if rotation else image


def start_seconds(stream: Any) -> Fraction:
    """Presentation time at which the stream starts, on the container's clock."""
    return Fraction(stream.start_time or 0) * (stream.time_base or 0)


def packet_index_of(path: Path, limits: VideoLimits) -> PacketIndex | None:
    """When each frame is shown, where packets tell it exactly; costs reading the file once."""
    with open_container(path, limits) as container:
        stream = video_stream(path, container, limits)
        table = PacketIndex.read(container, stream) if has_packet_index(container, stream) else None
    return table if table is not None and table.exact else None


def _promised_frames(stream: Any) -> int | None:
    frames = int(stream.frames)
    if frames <= 0:
        return None
    # An edit list can hide samples that are needed to decode but not shown: they are no frames.
    hidden = sum(1 for entry in _entries(stream) if entry.is_discard)
    return frames - hidden if hidden < frames else frames


class Length(NamedTuple):
    """How long a header says that a video is."""

    seconds: float
    """From the picture's start."""
    of_picture: bool
    """Whether it is the picture's own length; else that of the longest stream, sound included."""


def stated_length(container: Any, stream: Any) -> Length | None:
    """The length by the container; None when it is silent."""
    if stream.duration is not None and stream.time_base:
        return Length(float(stream.duration * stream.time_base), of_picture=True)
    start = float(start_seconds(stream))
    # Matroska keeps each stream's length in a tag, as 00:00:09.643000000. FFmpeg counts it from the file's start,
    # mkvmerge, which leaves more tags, from the stream's.
    parts = stream.metadata.get("DURATION", "").split(":")
    with contextlib.suppress(ValueError):
        if len(parts) == 3:
            seconds = int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2])
            relative = "_STATISTICS_WRITING_APP" in stream.metadata
            return Length(seconds if relative else _after(start, seconds), of_picture=True)
    if not container.duration:
        return None
    # Matroska's length of the file counts from 0, other ones from the first stream's start.
    begin = 0.0 if "matroska" in container.format.name else (container.start_time or 0) / 1e6
    return Length(_after(start - begin, container.duration / 1e6), of_picture=False)


def is_riff_whole(path: Path) -> bool:
    """Whether an AVI file is as long as its outermost chunks say."""
    at, size = 0, path.stat().st_size
    with path.open("rb") as file:
        while at + 8 <= size and (head := file.read(8))[:4] == b"RIFF":
            length = int.from_bytes(head[4:], "little")
            at += 8 + length + length % 2
            file.seek(at)
    return 0 < at <= size + 1


def _after(start: float, end: float) -> float:
    """Seconds from a start to an end; all of them where a start makes no sense."""
    return end - start if 0 < start < end else end


def _varies(container: Any, stream: Any, *, even: bool) -> bool:
    """Whether frame times are uneven: by the stamps of the first packets, and by an index of all frames."""
    if container.format.name == "avi" or not stream.time_base:
        return False  # one rate, and repeats
    if not even:
        return True
    entries = _entries(stream)
    if len(entries) != stream.frames:
        return False  # of key frames only, or of those read so far
    # The index lists times of decoding; those of the first frames are bent to leave room for reordering.
    return not evenly_spaced([entry.timestamp for entry in entries][32:], stream.time_base)


def _entries(stream: Any) -> list[Any]:
    """The container's index, where this PyAV offers it; interleaved files may have none yet."""
    entries = getattr(stream, "index_entries", None)
    return [entries[i] for i in range(len(entries))] if entries is not None else []


def _is_cover(stream: Any) -> bool:
    """A song's cover picture, or a film's thumbnail, is stored as a video stream of one frame or a few."""
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).split(":")[0]
