"""Opening a video file safely with FFmpeg (PyAV), and saying what it is.

Only local files in known video containers are opened: no network, no playlists that name other
files, no text shown as ANSI art. Knows nothing of reading frames one after another.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import VideoError
from vis.structures import VideoInfo
from vis.video.encryption import refuse_encrypted
from vis.video.limits import VideoLimits
from vis.video.tone import HLG, PQ, to_standard_range

__all__ = ["describe", "open_container", "rotation_of", "start_seconds", "upright", "video_stream"]

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
    """The best video stream, its header checked against ``limits`` before anything is decoded."""
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
    stream = streams[0]
    context = stream.codec_context
    if context is None:
        raise VideoError(f"{path}: its video codec is unknown to this FFmpeg; convert it to H.264 first")
    if context.width and context.height:
        limits.check_frame(str(path), context.height, context.width)
    # A header can lie: the decoder itself refuses to make room for pictures far over the limit. Up to
    # four times it they are decoded, so that the reader can say what is wrong.
    context.options = {"max_pixels": str(min(4 * limits.pixels_per_frame, 2**31 - 1))}
    return stream


def describe(path: Path, container: Any, stream: Any, first: Any) -> VideoInfo:
    """What the video is, from its header and its first decoded frame."""
    rotation = rotation_of(first)
    height, width = (first.width, first.height) if rotation in (90, 270) else (first.height, first.width)
    rate = stream.average_rate or stream.guessed_rate
    transfers = {transfer_of(first), int(stream.codec_context.color_trc or 0)}
    return VideoInfo(
        name=path.stem,
        height=height,
        width=width,
        num_frames=_promised_frames(stream),
        fps=float(rate) if rate else None,
        duration_seconds=_duration(container, stream),
        rotation=rotation,
        codec=stream.codec_context.name,
        variable_frame_rate=_varies(stream),
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


def _promised_frames(stream: Any) -> int | None:
    frames = int(stream.frames)
    if frames <= 0:
        return None
    # An edit list can hide samples that are needed to decode but not shown: they are no frames.
    hidden = sum(1 for entry in _entries(stream) if entry.is_discard)
    return frames - hidden if hidden < frames else frames


def _duration(container: Any, stream: Any) -> float | None:
    if stream.duration is not None and stream.time_base:
        return float(stream.duration * stream.time_base)
    # Matroska keeps each stream's length in a tag, as 00:00:09.643000000.
    parts = stream.metadata.get("DURATION", "").split(":")
    with contextlib.suppress(ValueError):
        if len(parts) == 3:
            return int(parts[0]) * 3600 + int(parts[1]) * 60 + float(parts[2])
    return container.duration / 1e6 if container.duration else None


def _varies(stream: Any) -> bool:
    """Whether frame times are uneven: by the index where there is one, else by the two rates."""
    times = [entry.timestamp for entry in _entries(stream)]
    if len(times) > 2:
        steps = [b - a for a, b in itertools.pairwise(times)]
        # A step may round by one tick; a clock of whole milliseconds rounds 33.3 to 33 or 34.
        return bool(max(steps) - min(steps) > max(1, 0.02 * max(steps)))
    average, base = stream.average_rate, getattr(stream, "base_rate", None)
    if not average or not base:
        return False
    return abs(float(average / base) - 1) > 0.02


def _entries(stream: Any) -> list[Any]:
    """The container's index, where this PyAV offers it; interleaved files may have none yet."""
    entries = getattr(stream, "index_entries", None)
    return [entries[i] for i in range(len(entries))] if entries is not None else []


def _is_cover(stream: Any) -> bool:
    """A song's cover picture is stored as a video stream of one frame."""
    from av.stream import Disposition

    return bool(stream.disposition & Disposition.attached_pic)


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error).split(":")[0]
