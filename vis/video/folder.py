"""Images as a video: a folder of them (DAVIS, YouTube-VIS and the like), a list, or one TIFF of many pages.

Knows no video container.
"""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.background import prefetch
from vis.errors import TruncatedVideoWarning, UsageError, ValueRangeWarning, VideoError
from vis.renamed import renamed_attribute
from vis.structures import Frame, VideoInfo
from vis.video.images import ImagePage, ImageReader, list_images, pages_of
from vis.video.options import DEFAULT_LIMITS, FrameRange, VideoLimits, frames_ahead
from vis.video.value_range import ValueRange, check_value_range, range_of, to_8_bits

__all__ = ["FolderReader", "ImageList", "list_images"]

# Images whose headers are looked at before the first frame, and pixels that are decoded of them at most.
_SAMPLE = 16
_SAMPLE_PIXELS = 2**26


class FolderReader:
    """The images of a folder as a source of frames, in natural order (2.jpg before 10.jpg).

    A TIFF file of several pages is that many frames; ``path`` may be such a file, too. ``pts_seconds`` is
    index / ``fps``; without ``fps`` it is the index itself, as if one image were taken per second, and
    ``info.fps`` is None. Orientation tags are applied, transparency is dropped.

    Values of more than 8 bits (16-bit PNG; TIFF of integers or floats) become 8-bit by one range for all images:
    ``value_range`` (black, white), or what a sample of the images spans, which is told by a
    :class:`ValueRangeWarning` unless it is all that 16 bits hold.

    An image that is missing (a link that leads nowhere), does not decode, or has more than 8 bits where the others
    have 8 is passed over with a :class:`TruncatedVideoWarning` at the end, or raises :class:`VideoError` with
    ``strict``; the others keep their indices. One of another size is always a :class:`VideoError`. The other
    options are those of ``VideoReader``.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        value_range: ValueRange | None = None,
        start_frame: int | None = None,
        end_frame: int | None = None,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        stride: int = 1,
        strict: bool = False,
        limits: VideoLimits = DEFAULT_LIMITS,
        ahead: int = 4,
    ) -> None:
        if fps is not None and not 0 < fps < math.inf:
            raise UsageError(f"fps: expected more than 0, got {fps}")
        self.path = Path(path)
        self.frame_range = FrameRange(start_frame, end_frame, start_seconds, end_seconds, stride)
        self.strict = strict
        self.ahead = ahead
        self._rate = fps or 1.0
        self._told: set[str] = set()
        files = [self.path] if self.path.is_file() else list_images(self.path, missing=True)
        self._images = _Images.open(str(self.path), pages_of(files, limits), limits, value_range)
        height, width = self._images.size
        count = len(self._images.pages)
        name = self.path.resolve()
        self._info = VideoInfo(
            name=name.stem if self.path.is_file() else name.name,
            height=height,
            width=width,
            num_frames=count,
            fps=fps,
            duration_seconds=count / fps if fps else None,
            file_names=tuple(f"{name.name}/{image.name}" for image in self.images),
        )
        decoded = count if self.frame_range.end_frame is None else min(count, self.frame_range.end_frame)
        limits.check_length(str(self.path), decoded, 0.0, height * width)
        self.frame_range.check_within(str(self.path), count, count / self._rate)

    span = renamed_attribute("span", "frame_range")

    @property
    def info(self) -> VideoInfo:
        """What the whole folder is; start, end and stride do not change it."""
        return self._info

    @property
    def images(self) -> Sequence[ImagePage]:
        """The frames; the position in the list is their index."""
        return self._images.pages

    @property
    def expected_frames(self) -> int | None:
        """How many frames an iteration gives when every image decodes."""
        return self.frame_range.count(len(self.images), self._rate)

    def read(self, index: int, reader: ImageReader) -> NDArray[np.uint8]:
        """The image of a frame, RGB uint8 (H, W, 3); raises :class:`VideoError` when there is none."""
        return self._images.sized(index, self._images.read(index, reader))

    def __iter__(self) -> Iterator[Frame]:
        self.tell_range()
        broken: list[tuple[ImagePage, VideoError]] = []
        cut: list[ImagePage] = []
        given = 0
        frames = self._decode(broken, cut)
        for frame in prefetch(frames, frames_ahead(self.ahead, self._info.size)):
            given += 1
            yield frame
        if not given:
            first = f"; first: {broken[0][1]}" if broken else ""
            raise VideoError(
                f"{self.path}: not one image between the start and the end asked for decodes{first}"
            )
        if broken:
            self._tell(
                f"{self.path}: {len(broken)} of {len(self.images)} images do not decode ({broken[0][0].name} first) "
                f"and were passed over; the others keep their numbers. {broken[0][1]}",
                TruncatedVideoWarning,
            )
        if cut and self._images.guess:
            self._tell(
                f"{self.path}: {len(cut)} of {len(self.images)} images ({cut[0].name} first) hold values beyond the "
                "range that a sample suggested, and are cut to it; give value_range (--value-range LOW HIGH)",
                ValueRangeWarning,
            )

    def tell_range(self) -> None:
        """Warn of a range that was found from a sample."""
        if self._images.guess:
            self._tell(self._images.guess, ValueRangeWarning)

    def _tell(self, text: str, kind: type[Warning]) -> None:
        if text not in self._told:
            self._told.add(text)
            warnings.warn(text, kind, stacklevel=3)

    def __repr__(self) -> str:
        return f"FolderReader({str(self.path)!r}, {len(self.images)} images, {self.frame_range})"

    def _decode(self, broken: list[tuple[ImagePage, VideoError]], cut: list[ImagePage]) -> Iterator[Frame]:
        reader = ImageReader(self._images.limits)
        times = ((index, index / self._rate) for index in range(len(self.images)))
        try:
            for index, pts in self.frame_range.select(times):
                try:
                    image = self._images.read(index, reader, cut)
                except VideoError as error:
                    if self.strict:
                        raise
                    broken.append((self.images[index], error))
                    continue
                yield Frame(index, pts, self._images.sized(index, image))
        finally:
            reader.close()


@dataclass(frozen=True, slots=True)
class ImageList:
    """The listed images of a video as a source of frames: places in the list are the frame indices.

    An image that is missing or does not fit is a :class:`VideoError`: whoever lists frames counts by place.
    """

    info: VideoInfo
    images: _Images

    @classmethod
    def open(
        cls,
        name: str,
        images: Sequence[str],
        *,
        fps: float | None = None,
        value_range: ValueRange | None = None,
    ) -> ImageList:
        """Looks at a few images; raises :class:`VideoError` when they are no video."""
        pages = [ImagePage(Path(image)) for image in images]
        _listed(pages[0])
        found = _Images.open(name, pages, DEFAULT_LIMITS, value_range)
        height, width = found.size
        names = _names_below(images)
        return cls(VideoInfo(name, height, width, num_frames=len(pages), fps=fps, file_names=names), found)

    @property
    def expected_frames(self) -> int:
        """How many frames an iteration gives."""
        return len(self.images.pages)

    def __iter__(self) -> Iterator[Frame]:
        if self.images.guess:
            warnings.warn(self.images.guess, ValueRangeWarning, stacklevel=2)
        return prefetch(self._decode(), frames_ahead(4, self.info.size))

    def _decode(self) -> Iterator[Frame]:
        reader = ImageReader()
        for index, page in enumerate(self.images.pages):
            _listed(page)
            image = self.images.read(index, reader)
            if image.shape[:2] != self.info.size:
                raise VideoError(
                    f"{page}: {image.shape[1]}x{image.shape[0]} pixels, the first frame has another size"
                )
            yield Frame(index, index / (self.info.fps or 1.0), image)


def _names_below(images: Sequence[str]) -> tuple[str, ...]:
    """The paths below the folder above the one that holds all of them."""
    above = Path(os.path.commonpath([str(Path(image).absolute().parent) for image in images])).parent
    return tuple(Path(image).absolute().relative_to(above).as_posix() for image in images)


def _listed(page: ImagePage) -> None:
    if not page.path.is_file():
        raise VideoError(
            f"{page}: this frame is listed in the set but not there; copy the set's images again"
        )


@dataclass(frozen=True, slots=True)
class _Images:
    """The images of one video, and what all of them have in common."""

    pages: tuple[ImagePage, ...]
    size: tuple[int, int]
    """(height, width)."""
    limits: VideoLimits
    value_range: ValueRange | None
    """What becomes black and white; None: the values have 8 bits."""
    guess: str = ""
    """What to tell of a range that was found from a sample."""

    @classmethod
    def open(
        cls, name: str, pages: list[ImagePage], limits: VideoLimits, value_range: ValueRange | None
    ) -> _Images:
        """Size and range by a sample. Raises :class:`VideoError` when the images are no video."""
        with contextlib.closing(ImageReader(limits)) as reader:
            return cls._looked_at(name, pages, reader, limits, value_range)

    @classmethod
    def _looked_at(
        cls,
        name: str,
        pages: list[ImagePage],
        reader: ImageReader,
        limits: VideoLimits,
        value_range: ValueRange | None,
    ) -> _Images:
        size, deep = _first_size(name, pages, reader), list[ImagePage]()
        for page in _spread(pages):
            with contextlib.suppress(VideoError):
                deep += [page] if reader.header(page).deep else []
        if value_range is not None:
            value_range = check_value_range(value_range)
            if not deep:
                raise UsageError(
                    f"{name}: value_range is for images of more than 8 bits, and these have 8; leave it out"
                )
            return cls(tuple(pages), size, limits, value_range)
        if not deep:
            return cls(tuple(pages), size, limits, None)
        most = max(1, _SAMPLE_PIXELS // (size[0] * size[1]))
        names: list[str] = []
        low, high = range_of(_decoded(deep[:: -(-len(deep) // most)], reader, names))
        guess = (
            f"{name}: the images have more than 8 bits; all become 8-bit by one range, {low:g} (black) to {high:g} "
            f"(white), which {len(names)} of them suggest. Give value_range (--value-range LOW HIGH) if it is not so"
        )
        whole = (low, high) == (0.0, 65535.0)  # nothing was guessed
        return cls(tuple(pages), size, limits, (low, high), "" if whole else guess)

    def read(self, index: int, reader: ImageReader, cut: list[ImagePage] | None = None) -> NDArray[np.uint8]:
        """RGB uint8 (H, W, 3); raises :class:`VideoError` when it does not decode, or has too many bits.

        ``cut`` gets the page when values lie beyond the range.
        """
        page = self.pages[index]
        image = reader.values(page)
        if image.dtype != np.uint8:
            if self.value_range is None:
                raise VideoError(
                    f"{page}: its values have more than 8 bits, and those of the other images have 8; convert it to 8"
                )
            if cut is not None and not (
                image.min() >= self.value_range[0] and image.max() <= self.value_range[1]
            ):
                cut.append(page)
            image = to_8_bits(image, self.value_range)
        return image

    def sized(self, index: int, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The image of this frame; raises :class:`VideoError` where its size is not the video's."""
        if image.shape[:2] != self.size:
            raise VideoError(
                f"{self.pages[index]}: {image.shape[1]}x{image.shape[0]} pixels where the folder's first image has "
                f"{self.size[1]}x{self.size[0]}; all images of a video must have one size"
            )
        return image


def _spread(pages: list[ImagePage]) -> list[ImagePage]:
    """A few pages from first to last."""
    if len(pages) <= _SAMPLE:
        return pages
    return [pages[round(n * (len(pages) - 1) / (_SAMPLE - 1))] for n in range(_SAMPLE)]


def _first_size(name: str, pages: list[ImagePage], reader: ImageReader) -> tuple[int, int]:
    """(height, width) of the first image that can be read."""
    problem: VideoError | None = None
    for page in pages:
        try:
            return reader.header(page).size
        except VideoError as error:
            problem = problem or error
    raise VideoError(f"{name}: not one of {len(pages)} images decodes; first: {problem}")


def _decoded(pages: list[ImagePage], reader: ImageReader, names: list[str]) -> Iterator[NDArray[Any]]:
    """The values of those pages that decode; ``names`` gets theirs."""
    for page in pages:
        with contextlib.suppress(VideoError):
            values = reader.values(page)
            if values.dtype != np.uint8:
                names.append(page.name)
                yield values
