"""A folder of images as a video: DAVIS, YouTube-VIS and the like. Knows no video container."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vis.errors import TruncatedVideoWarning, UsageError, VideoError
from vis.structures import Frame, VideoInfo
from vis.video.ahead import read_ahead
from vis.video.limits import DEFAULT_LIMITS, VideoLimits
from vis.video.span import Span

__all__ = ["FolderReader", "list_images"]

_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


class FolderReader:
    """The images of a folder as a source of frames, in natural order (2.jpg before 10.jpg).

    ``pts_seconds`` is index / ``fps``; without ``fps`` it is the index itself, as if one image were
    taken per second, and ``info.fps`` is None. All images must have one size. Orientation tags are
    applied, transparency is dropped, 16-bit grey becomes 8-bit.

    An image that does not decode is passed over with a :class:`TruncatedVideoWarning` at the end, or
    raises :class:`VideoError` with ``strict``. The other options are those of ``VideoReader``.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        start_frame: int | None = None,
        end_frame: int | None = None,
        start_seconds: float | None = None,
        end_seconds: float | None = None,
        stride: int = 1,
        strict: bool = False,
        limits: VideoLimits = DEFAULT_LIMITS,
        ahead: int = 4,
    ) -> None:
        if fps is not None and not fps > 0:
            raise UsageError(f"fps: expected more than 0, got {fps}")
        self.path = Path(path)
        self.span = Span(start_frame, end_frame, start_seconds, end_seconds, stride)
        self.strict = strict
        self.limits = limits
        self.ahead = ahead
        self._rate = fps or 1.0
        self._told = False
        self.images = list_images(self.path)
        height, width = _first_size(self.images, limits)
        count = len(self.images)
        self._info = VideoInfo(
            name=self.path.resolve().name,
            height=height,
            width=width,
            num_frames=count,
            fps=fps,
            duration_seconds=count / fps if fps else None,
            file_names=tuple(f"{self.path.resolve().name}/{image.name}" for image in self.images),
        )
        decoded = count if self.span.end_frame is None else min(count, self.span.end_frame)
        limits.check_length(str(self.path), decoded, 0.0, height * width)
        self.span.check_within(str(self.path), count, count / self._rate)

    @property
    def info(self) -> VideoInfo:
        """What the whole folder is; start, end and stride do not change it."""
        return self._info

    @property
    def expected_frames(self) -> int | None:
        """How many frames an iteration gives when every image decodes."""
        return self.span.count(len(self.images), self._rate)

    def __iter__(self) -> Iterator[Frame]:
        broken: list[str] = []
        given = 0
        frames = self._decode(broken)
        for frame in read_ahead(frames, self.ahead) if self.ahead > 0 else frames:
            given += 1
            yield frame
        if not given:
            raise VideoError(f"{self.path}: not one image between the start and the end asked for decodes")
        if broken and not self._told:
            self._told = True
            warnings.warn(
                f"{self.path}: {len(broken)} of {len(self.images)} images do not decode ({broken[0]} first) and "
                "were passed over; copy them again",
                TruncatedVideoWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"FolderReader({str(self.path)!r}, {len(self.images)} images, {self.span})"

    def _decode(self, broken: list[str]) -> Iterator[Frame]:
        begin: int | None = None
        for index, path in enumerate(self.images):
            pts = index / self._rate
            if self.span.is_past(index, pts):
                return
            if self.span.starts_after(index, pts):
                continue
            begin = index if begin is None else begin
            if (index - begin) % self.span.stride:
                continue
            try:
                image = read_image(path, self.limits)
            except VideoError:
                if self.strict:
                    raise
                broken.append(path.name)
                continue
            if image.shape[:2] != self._info.size:
                raise VideoError(
                    f"{path}: {image.shape[1]}x{image.shape[0]} pixels where the folder's first image has "
                    f"{self._info.width}x{self._info.height}; all images of a video must have one size"
                )
            yield Frame(index, pts, image)


def list_images(folder: Path) -> list[Path]:
    """The images of ``folder`` in natural order; raises :class:`VideoError` when there are none."""
    if not folder.is_dir():
        raise VideoError(f"{folder}: no such folder; give the path of a video or of a folder of images")
    try:
        images = [
            path
            for path in folder.iterdir()
            if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()
        ]
    except PermissionError as error:
        raise VideoError(f"{folder}: may not be read (permission denied)") from error
    if not images:
        kinds = ", ".join(sorted(_SUFFIXES))
        raise VideoError(
            f"{folder}: the folder holds no images ({kinds}); give the folder of one video's frames"
        )
    return sorted(images, key=_natural)


def read_image(path: Path, limits: VideoLimits) -> NDArray[np.uint8]:
    """One image as RGB uint8 (H, W, 3), upright; its header is checked before it is decoded."""
    from PIL import Image, ImageOps

    limits.check_bytes(str(path), path.stat().st_size)
    data = path.read_bytes()
    try:
        with warnings.catch_warnings():
            # Pillow's own warning about large images; our limit is checked right below.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            picture = Image.open(io.BytesIO(data))
        limits.check_frame(str(path), picture.height, picture.width)
        upright = ImageOps.exif_transpose(picture)
        if upright.mode.startswith("I;16") or upright.mode == "I":
            # Pillow clips 16 bits to 8, which makes a white picture; keep the upper byte.
            grey = (np.asarray(upright).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8)
            return np.repeat(grey[:, :, None], 3, axis=2)
        return np.array(upright.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise VideoError(
            f"{path}: the image does not decode ({error}); copy it again or take it out"
        ) from error


def _first_size(images: list[Path], limits: VideoLimits) -> tuple[int, int]:
    """(height, width) of the first image that decodes."""
    problem: VideoError | None = None
    for path in images:
        try:
            height, width = read_image(path, limits).shape[:2]
            return height, width
        except VideoError as error:
            problem = problem or error
    raise VideoError(f"{images[0].parent}: not one of {len(images)} images decodes; first: {problem}")


def _natural(path: Path) -> list[tuple[int, int | str]]:
    """Digits compare as numbers and text without case; 00002 and 2 keep their order by name."""
    parts = re.split(r"(\d+)", path.name.lower())
    key: list[tuple[int, int | str]] = [(1, int(p)) if p.isdecimal() else (0, p) for p in parts if p]
    return [*key, (0, path.name)]
