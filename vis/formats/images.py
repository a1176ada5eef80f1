"""Folders of label images: listing, safe reading, writing whole. Knows no meaning of the labels."""

from __future__ import annotations

import errno
import io
import re
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.errors import AnnotationError, OutputError
from vis.masks import MAX_PIXELS

__all__ = [
    "LabelImage",
    "decode_labels",
    "list_labels",
    "palette",
    "png_bytes",
    "read_labels",
    "whole_folder",
]

LabelImage = NDArray[np.int32]


def list_labels(folder: str | Path) -> list[tuple[int, Path]]:
    """(frame index, file) of the PNG images in a folder, in order of the index.

    The index is the number at the end of the name (``00012``, ``frame_000012``). Names without one
    count by their order, when none has one. Raises :class:`AnnotationError` for an empty folder or
    an index that is there twice.
    """
    folder = Path(folder)
    try:
        files = sorted(
            p for p in folder.iterdir() if p.suffix.lower() == ".png" and not p.name.startswith(".")
        )
    except OSError as error:
        raise AnnotationError(f"{folder}: cannot be read as a folder ({error.strerror})") from error
    if not files:
        raise AnnotationError(f"{folder}: holds no PNG image; give the folder of one video's label images")
    numbers = frame_numbers([path.stem for path in files], str(folder))
    return sorted(zip(numbers, files, strict=True))


def frame_numbers(stems: list[str], where: str) -> list[int]:
    """The frame index of each name: its last digits, or its place when no name has digits."""
    found = [re.search(r"(\d{1,9})$", stem) for stem in stems]
    if not any(found):
        return list(range(len(stems)))
    numbers = [int(match[1]) for match in found if match]
    if len(numbers) != len(stems) or len(set(numbers)) != len(numbers):
        raise AnnotationError(
            f"{where}: the names must end with the frame's number, once each; seen: {', '.join(stems[:4])}"
        )
    return numbers


def read_labels(path: Path) -> tuple[LabelImage, str]:
    """Pixel values of a label image, int32 (H, W), and its PIL mode."""
    try:
        return decode_labels(path.read_bytes(), str(path))
    except OSError as error:
        raise AnnotationError(f"{path}: cannot be read ({error.strerror})") from error


def decode_labels(data: bytes, where: str) -> tuple[LabelImage, str]:
    """As :func:`read_labels`, from bytes; the header is checked before pixels are decoded."""
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data), formats=("PNG",))
        if picture.width * picture.height > MAX_PIXELS:
            raise AnnotationError(f"{where}: {picture.width}x{picture.height} pixels, over {MAX_PIXELS:,}")
        mode = picture.mode
        values = np.asarray(picture)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise AnnotationError(f"{where}: not a PNG image that decodes ({error})") from error
    if values.ndim != 2:
        raise AnnotationError(
            f"{where}: is a colour image (mode {mode}); label images have one channel: "
            "8-bit palette or grey, or 16-bit grey"
        )
    return values.astype(np.int32), mode


def png_bytes(
    values: NDArray[Any],
    *,
    bits: int = 8,
    colours: bytes | None = None,
    text: Mapping[str, str] | None = None,
) -> bytes:
    """A PNG of labels (H, W): 8-bit with a palette or grey, or 16-bit grey; ``text`` goes with it, by its names."""
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

    if bits == 16:
        # "I;16" by bytes: the one spelling that all Pillow versions since 10 write as 16-bit grey.
        picture = Image.frombytes("I;16", values.shape[::-1], values.astype("<u2").tobytes())
    else:
        picture = Image.fromarray(values.astype(np.uint8))
        if colours is not None:
            picture = Image.frombytes("P", values.shape[::-1], values.astype(np.uint8).tobytes())
            picture.putpalette(colours)
    out = io.BytesIO()
    info = PngInfo()
    for name, words in (text or {}).items():
        info.add_itxt(name, words)
    picture.save(out, format="PNG", pnginfo=info)
    return out.getvalue()


def palette() -> bytes:
    """The 256 colours of PASCAL VOC and DAVIS: the index's bits, three by three, from the high bit down."""
    colours = bytearray()
    for label in range(256):
        rgb, rest = [0, 0, 0], label
        for shift in range(7, -1, -1):
            for channel in range(3):
                rgb[channel] |= (rest >> channel & 1) << shift
            rest >>= 3
        colours += bytes(rgb)
    return bytes(colours)


@contextmanager
def whole_folder(out: str | Path) -> Iterator[Path]:
    """A temporary folder beside ``out`` that becomes ``out`` when the block ends well.

    ``out`` must not exist, or be an empty folder; else :class:`OutputError`. Nothing half-written stays.
    """
    out = Path(out)
    part: Path | None = None
    try:
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise OutputError(f"{out}: exists; give the name of a new folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        part.chmod(0o755)
        yield part
        part.replace(out)  # an empty folder may be replaced by a folder
    except OSError as error:
        full = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or error
        raise OutputError(f"{out}: cannot be written ({full}); nothing was kept") from error
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)
