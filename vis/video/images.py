"""Image files as frames: which there are, what their headers say, and their pixels as 8-bit RGB.

A TIFF file is as many frames as it has pages. Values of more than 8 bits become 8-bit by one range for all
images of a video (:mod:`vis.video.value_range`), which the caller gives.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vis.errors import VideoError
from vis.video.options import DEFAULT_LIMITS, VideoLimits

__all__ = ["ImageHeader", "ImagePage", "ImageReader", "is_image_file", "is_stack", "list_images", "pages_of"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
_PAGED = frozenset({".tif", ".tiff"})
_TIFF_HEADS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

# TIFF tags.
_SUBFILE, _WIDTH, _HEIGHT, _BITS = 254, 256, 257, 258
_REDUCED = 1  # bit of _SUBFILE: a smaller copy of another page

Values = NDArray[Any]


class ImagePage(NamedTuple):
    """One frame: an image file, or one page of a file that has several."""

    path: Path
    page: int | None = None
    """From 0; None for a file of one page."""

    @property
    def name(self) -> str:
        """``clip.tif[3]`` is page 3 of clip.tif."""
        return self.path.name + self._which

    def __str__(self) -> str:
        return f"{self.path}{self._which}"

    @property
    def _which(self) -> str:
        return "" if self.page is None else f"[{self.page}]"


class ImageHeader(NamedTuple):
    """What an image is, before its pixels are decoded."""

    size: tuple[int, int]
    """(height, width), upright."""
    deep: bool
    """Whether its values have more than 8 bits."""


def is_image_file(path: Path) -> bool:
    """Whether the name is that of an image."""
    return path.suffix.lower() in _SUFFIXES


def is_stack(path: Path) -> bool:
    """Whether this is a file that may hold several images, which are a video then."""
    return path.suffix.lower() in _PAGED and path.is_file()


def list_images(folder: Path, *, missing: bool = False) -> list[Path]:
    """The images of ``folder`` in natural order (2.jpg before 10.jpg); with ``missing`` links that lead nowhere, too.

    Raises :class:`VideoError` when there are none.
    """
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder; give the path of a video or of a folder of images")
    try:
        images = [
            path
            for path in folder.iterdir()
            if is_image_file(path)
            and not path.name.startswith(".")
            and (path.is_file() or (missing and path.is_symlink() and not path.exists()))
        ]
    except PermissionError as error:
        raise VideoError(f"{folder}: may not be read (permission denied)") from error
    if not images:
        kinds = ", ".join(sorted(_SUFFIXES))
        raise VideoError(
            f"{folder}: the folder holds no images ({kinds}); give the folder of one video's frames"
        )
    return sorted(images, key=_natural)


def pages_of(paths: list[Path], limits: VideoLimits) -> list[ImagePage]:
    """The frames that image files are: each one, or its pages; smaller copies in a TIFF file are none."""
    pages: list[ImagePage] = []
    for path in paths:
        numbers = [0]
        if path.suffix.lower() in _PAGED:
            try:
                found = _tiff_directories(path, limits)
                numbers = [number for number, directory in enumerate(found) if not directory.reduced]
            except VideoError:
                raise
            except Exception:  # one image that does not decode: it is told in its turn
                numbers = [0]
        single = len(numbers) < 2
        pages += [ImagePage(path, n or None if single else n) for n in numbers or [0]]
    return pages


class ImageReader:
    """Decodes images one after another; keeps the last file of several pages open for the next of them."""

    def __init__(self, limits: VideoLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._kept: tuple[Path, Any] | None = None

    def header(self, page: ImagePage) -> ImageHeader:
        """Size and depth; raises :class:`VideoError` when it is no image or over a limit."""
        with _told(page):
            picture = self._opened(page)
            if picture is None:
                return ImageHeader(self._size_of_page(page), deep=True)
            height, width = picture.height, picture.width
            if picture.format != "TIFF" and picture.getexif().get(0x0112, 1) >= 5:  # stored on its side
                height, width = width, height
            return ImageHeader((height, width), _is_deep(picture) or picture.mode in ("I", "F"))

    def values(self, page: ImagePage) -> Values:
        """Pixels, upright: uint8 (H, W, 3) RGB, or (H, W) or (H, W, 3) of any other type as it is stored.

        Transparency is dropped. Raises :class:`VideoError` when the image does not decode or is over a limit.
        """
        from PIL import ImageOps

        with _told(page):
            picture = self._opened(page)
            if picture is None or (_is_deep(picture) and len(picture.getbands()) > 1):
                return _colours_of_many_bits(page)
            unsigned = picture.mode == "I" and picture.format == "TIFF" and _is_unsigned(picture)
            upright = ImageOps.exif_transpose(picture)
            if upright.mode.startswith("I;16") or upright.mode in ("I", "F"):
                values = np.asarray(upright)
                return values.view(np.uint32) if unsigned else values
            return np.array(upright.convert("RGB"))

    def close(self) -> None:
        """Let go of the file."""
        if self._kept is not None:
            self._kept[1].close()
            self._kept = None

    def _opened(self, page: ImagePage) -> Any:
        """Pillow's image, its header checked; None for TIFF files of kinds that Pillow does not know."""
        from PIL import Image, UnidentifiedImageError

        if self._kept is not None and self._kept[0] != page.path:
            self.close()
        if self._kept is not None:
            picture = self._kept[1]
        else:
            self._limits.check_bytes(str(page), page.path.stat().st_size)
            # Files of one page are read whole, and closed.
            source = io.BytesIO(page.path.read_bytes()) if page.page is None else page.path
            try:
                with warnings.catch_warnings():
                    # Pillow's own warning about large images; our limit is checked right below.
                    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                    picture = Image.open(source)
            except UnidentifiedImageError:
                if not _is_tiff(page.path):
                    raise
                self._size_of_page(page)
                return None
            if page.page is not None:
                self._kept = page.path, picture
        if page.page is not None:
            picture.seek(page.page)
        self._check_size(page, (picture.height, picture.width))
        return picture

    def _size_of_page(self, page: ImagePage) -> tuple[int, int]:
        size = _tiff_directories(page.path, self._limits)[page.page or 0].size
        self._check_size(page, size)
        return size

    def _check_size(self, page: ImagePage, size: tuple[int, int]) -> None:
        if min(size) < 1:
            raise ValueError("it has no pixels")
        self._limits.check_frame(str(page), *size)


class _Directory(NamedTuple):
    """What a TIFF file says of one of its pages."""

    size: tuple[int, int]
    reduced: bool
    """Whether it is a smaller copy of another page."""


@contextlib.contextmanager
def _told(page: ImagePage) -> Iterator[None]:
    """Whatever a decoder raises, as an error that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        what = "this link leads nowhere" if page.path.is_symlink() else "no such file"
        raise VideoError(f"{page}: {what}; copy the image again or take it out") from error
    except VideoError:
        raise
    except Exception as error:
        # Decoders raise what they like: OSError, SyntaxError, struct.error, cv2.error and others.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise VideoError(
            f"{page}: the image does not decode ({reason}); copy it again or take it out"
        ) from error


def _is_deep(picture: Any) -> bool:
    """Whether the file holds more than 8 bits per value, whatever Pillow makes of them."""
    if picture.format == "TIFF":
        bits = picture.tag_v2.get(_BITS, 1)
        return bool(max(bits if isinstance(bits, tuple) else (bits,)) > 8)
    # Pillow names the way in which it unpacks a PNG's values: "RGB;16B" and "LA;16B" among them.
    how = picture.tile[0][3] if picture.format == "PNG" and picture.tile else ""
    return bool(picture.mode.startswith("I;16")) or "16" in str(how)


def _is_unsigned(picture: Any) -> bool:
    formats = picture.tag_v2.get(339, (1,))
    return set(formats if isinstance(formats, tuple) else (formats,)) == {1}


def _colours_of_many_bits(page: ImagePage) -> Values:
    """What Pillow cuts to 8 bits or does not open, by OpenCV."""
    import cv2

    data = np.fromfile(page.path, np.uint8)
    level = cv2.utils.logging.getLogLevel()
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # it speaks to the terminal else
    try:
        if data[:4].tobytes() in _TIFF_HEADS:
            which = page.page or 0
            _, found = cv2.imdecodemulti(data, cv2.IMREAD_UNCHANGED, range=(which, which + 1))
            values = found[0] if found else None
        else:
            _check_png(data)
            values = cv2.imdecode(data, cv2.IMREAD_ANYDEPTH | cv2.IMREAD_ANYCOLOR)
    finally:
        cv2.utils.logging.setLogLevel(level)
    if values is None:
        raise ValueError("it is damaged, or of a kind that is not known")
    values = np.asarray(values)
    if values.ndim == 3:
        values = np.ascontiguousarray(values[..., 0] if values.shape[2] < 3 else values[..., 2::-1])
    if values.ndim == 2 and values.dtype == np.uint8:  # it says one thing of its depth and holds another
        return np.repeat(values[:, :, None], 3, axis=2)
    return values


def _check_png(data: NDArray[np.uint8]) -> None:
    """Raise ``ValueError`` where a part of a PNG file is longer than the file: OpenCV would make room for it."""
    at = 8
    while at + 8 <= len(data):
        at += 12 + int.from_bytes(data[at : at + 4].tobytes(), "big")
    if at > len(data):
        raise ValueError("it is cut off, or damaged")


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in _TIFF_HEADS


def _tiff_directories(path: Path, limits: VideoLimits) -> list[_Directory]:
    """Each page of a TIFF file. Raises anything when it is none."""
    from PIL.TiffImagePlugin import ImageFileDirectory_v2

    found: list[_Directory] = []
    with path.open("rb") as file:
        head = file.read(8)
        if head[2:4] in (b"+\0", b"\0+"):  # BigTIFF
            head += file.read(8)
        at: int = ImageFileDirectory_v2(head).next
        seen: set[int] = set()
        while at and at not in seen:
            limits.check_length(str(path), len(found) + 1, 0.0, 1)
            seen.add(at)
            tags = ImageFileDirectory_v2(head)
            file.seek(at)
            tags.load(file)
            size = int(tags[_HEIGHT]), int(tags[_WIDTH])
            found.append(_Directory(size, bool(int(tags.get(_SUBFILE, 0)) & _REDUCED)))
            at = tags.next
    return found


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Digits compare as numbers and text without case; 00002 and 2 keep their order by name."""
    parts = re.split(r"(\d+)", path.name.lower())
    key: list[tuple[int, int | str]] = [(1, int(p)) if p.isdecimal() else (0, p) for p in parts if p]
    return [*key, (0, path.name)]
