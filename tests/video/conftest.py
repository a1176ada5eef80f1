"""Clips made on the spot with PyAV: every frame tells its own index, so a wrong one is seen."""

from __future__ import annotations

import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

Image = np.ndarray


def _picture(index: int, height: int, width: int) -> Image:
    """Bits of the index as black and white columns over a corner mark that tells up from down."""
    image = np.full((height, width, 3), 96, np.uint8)
    column = width // 10
    for bit in range(8):
        image[height // 4 :, (bit + 1) * column : (bit + 2) * column] = 255 if index >> bit & 1 else 0
    image[: height // 4, : width // 2] = (200, 40, 40)
    image[: height // 4, width // 2 :] = (40, 40, 200)
    return image


def _read_index(image: Image) -> int:
    height, width = image.shape[:2]
    column = width // 10
    row = image[height // 2 : -height // 8].mean(axis=(0, 2))
    centers = [int((bit + 1.5) * column) for bit in range(8)]
    return sum(int(row[center] > 128) << bit for bit, center in enumerate(centers))


@pytest.fixture
def picture() -> Callable[..., Image]:
    """``picture(index, height, width)``: a picture that shows its index in eight columns."""
    return _picture


@pytest.fixture
def read_index() -> Callable[[Image], int]:
    """The index that an upright picture shows."""
    return _read_index


@pytest.fixture
def make_clip(tmp_path: Path) -> Callable[..., Path]:
    """``make_clip(name, frames=..., ...)`` writes a clip and gives its path."""

    def write(
        name: str = "clip.mp4",
        *,
        frames: int = 30,
        size: tuple[int, int] = (120, 160),
        rate: Fraction = Fraction(30),
        ticks: list[int] | None = None,
        slots: list[int] | None = None,
        codec: str = "libx264",
        pix_fmt: str = "yuv420p",
        options: dict[str, str] | None = None,
        movflags: str = "",
        cluster_milliseconds: int = 0,
        transfer: int | None = None,
        sound: str | None = None,
        sound_seconds: int = 0,
    ) -> Path:
        path = tmp_path / name
        muxer = {"movflags": movflags} if movflags else {}
        muxer |= {"cluster_time_limit": str(cluster_milliseconds)} if cluster_milliseconds else {}
        with av.open(str(path), "w", options=muxer) as container:
            stream: Any = container.add_stream(codec, rate=rate, options=options or {"crf": "10"})
            stream.height, stream.width = size
            stream.pix_fmt = pix_fmt
            if ticks is not None:
                stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
            if transfer is not None:
                stream.codec_context.color_trc = transfer
                stream.codec_context.color_primaries = stream.codec_context.colorspace = 9
            heard = _add_sound(container, sound) if sound else None
            for index in range(frames):
                shown = av.VideoFrame.from_ndarray(_picture(index, *size), format="rgb24")
                # Ticks are milliseconds, slots are steps of the rate.
                shown.pts = (slots[index] if slots else index) if ticks is None else ticks[index]
                shown.time_base = 1 / rate if ticks is None else Fraction(1, 1000)
                container.mux(stream.encode(shown))
                if heard is not None:
                    heard(index / rate)
            container.mux(stream.encode(None))
            if heard is not None:
                heard(Fraction(sound_seconds))
                heard(None)
        return path

    def make(*args: Any, **options: Any) -> Path:
        # SVT-AV1 gives the thread that opens it real-time priority, where it may: one that ends with the clip.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(write, *args, **options).result()

    return make


@pytest.fixture
def make_sound(tmp_path: Path) -> Callable[..., Path]:
    """``make_sound(name)`` writes one second of sound without a picture."""

    def make(name: str = "song.m4a", codec: str = "aac") -> Path:
        path = tmp_path / name
        with av.open(str(path), "w") as container:
            heard = _add_sound(container, codec)
            heard(Fraction(1))
            heard(None)
        return path

    return make


@pytest.fixture
def turn() -> Callable[[Path, int], Path]:
    """``turn(path, degrees)`` writes a rotation into an MP4's track header, as phones do.

    The 3x3 matrix of ``tkhd`` is (a b u; c d v; x y w) in 16.16 and 2.30 fixed point; players show the
    picture turned clockwise by ``degrees``.
    """

    def apply(path: Path, degrees: int) -> Path:
        a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[degrees]
        plain = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
        turned = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
        data = path.read_bytes()
        at = data.index(plain, data.index(b"tkhd"))
        path.write_bytes(data[:at] + turned + data[at + len(plain) :])
        return path

    return apply


def _add_sound(container: Any, codec: str) -> Callable[[Fraction | None], None]:
    """A tone on a new stream; call with a time to encode up to it, with None to finish."""
    stream = container.add_stream(codec, rate=48000)
    stream.layout = "mono"
    done = 0
    block = stream.codec_context.frame_size or 1024

    def until(seconds: Fraction | None) -> None:
        nonlocal done
        if seconds is None:
            container.mux(stream.encode(None))
            return
        while done < seconds * 48000:
            tone = (
                np.sin(np.arange(done, done + block) * 2 * np.pi * 440 / 48000).astype(np.float32)[None] * 0.2
            )
            sample_format = stream.codec_context.format.name
            scale, kind = {"s16": (2**15 - 1, "i2"), "s32": (2**31 - 1, "i4")}.get(
                sample_format[:3], (1, "f4")
            )
            values = (tone * scale).astype(kind)
            frame = av.AudioFrame.from_ndarray(values, format=sample_format, layout="mono")
            frame.sample_rate, frame.pts = 48000, done
            container.mux(stream.encode(frame))
            done += block

    return until
