"""Overlays: masks, contours and labels on frames; a video of them, and a sheet of a few.

Colours belong to ids, never to the order of drawing: an object keeps its colour through the video, in
the video, the sheet and the page. Knows no network and no file format but the two it writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.background import Background
from vis.errors import UsageError
from vis.files import whole_file
from vis.masks import decode
from vis.render_labels import Color, Rect, blend, find_spot, label_image, paste, shortened, text_coverage
from vis.render_objects import Room, cut_shape, draw_box, draw_contour, fill
from vis.structures import Detections, Frame, MaskRLE, TrackedFrame, VideoInfo
from vis.video.mp4 import LONGEST_SIDE
from vis.video.writer import VideoWriter

__all__ = [
    "PALETTE",
    "ContactSheet",
    "OverlayWriter",
    "Renderer",
    "color_of",
    "contact_sheet",
    "fitted",
    "small_picture",
    "write_contact_sheet",
]

Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

# Bounds of what is drawn, whatever shape a video has.
_TALLEST = 2  # a sheet's picture, in its widths: those of phones held upright fit
_LARGEST_LETTERS = 96
_PNG_LEVEL = 1  # of zlib: a third of the time of the usual 6, for a tenth more bytes

# The first seven are Okabe and Ito's colours (black left out); the others were picked one by one, each
# as far as possible from all before it in Oklab, seen with normal vision and with red-, green- and
# blue-blindness (Machado, Oliveira and Fernandes 2009, severity 1). The test measures the distances.
PALETTE: tuple[Color, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0)),
    *((204, 121, 167), (120, 255, 255), (135, 0, 255), (180, 30, 60), (150, 120, 255), (0, 225, 165)),
    *((135, 90, 120), (165, 210, 255), (210, 0, 180), (165, 255, 165), (120, 180, 120), (240, 195, 105)),
    *((255, 120, 210), (225, 60, 225), (195, 75, 75), (240, 120, 60), (105, 120, 210), (120, 240, 195)),
)
"""RGB, by id: number ``id`` has colour ``(id - 1) % 24``."""


def color_of(track_id: int) -> Color:
    """The RGB colour of an id (> 0), the same everywhere and always."""
    return PALETTE[(track_id - 1) % len(PALETTE)]


class Renderer:
    """Draws objects on frames: a translucent fill, a crisp contour, and a label that can be read.

    ``class_names`` are what labels index. ``opacity`` of the fill lies in [0, 1]. Without masks, and
    with ``boxes``, the box is drawn. A label says name and id, with ``scores`` the score too.
    Lines and letters grow with the frame.
    """

    def __init__(
        self,
        class_names: Sequence[str],
        *,
        opacity: float = 0.45,
        contours: bool = True,
        labels: bool = True,
        scores: bool = False,
        boxes: bool = False,
    ) -> None:
        if not 0 <= opacity <= 1:
            raise UsageError(f"opacity: expected 0 to 1, got {opacity}")
        self.class_names = tuple(class_names)
        self.opacity = opacity
        self.contours = contours
        self.labels = labels
        self.scores = scores
        self.boxes = boxes

    def draw(self, image: Image, detections: Detections, shapes: Sequence[MaskRLE] | None = None) -> Image:
        """A copy of ``image`` (RGB uint8 (H, W, 3)) with the objects drawn on it.

        ``shapes``: the objects' masks as run lengths, in place of ``detections.masks``. Without ``track_ids`` rows are
        numbered from 1. Large objects are drawn first, so that what lies on them is seen.
        """
        canvas = image.copy()
        ids = detections.track_ids
        ids = np.arange(1, len(detections) + 1) if ids is None else ids
        line = max(1, round(min(canvas.shape[:2]) / 400))
        objects = [cut_shape(detections, shapes, row, canvas.shape) for row in range(len(detections))]
        places = [shape.place for shape in objects]
        order = sorted(range(len(detections)), key=lambda r: -_area(places[r]))
        colors = [color_of(int(track_id)) for track_id in ids]
        room = Room(canvas.size)
        for row in order:
            fill(canvas, objects[row], colors[row], opacity=self.opacity, room=room)
        # All contours after all fills: an edge is seen through whatever lies on it.
        for row in order if self.contours else ():
            draw_contour(canvas, objects[row], colors[row], line, room)
        if self.boxes or (detections.masks is None and shapes is None):
            for row in order:
                draw_box(canvas, detections.boxes[row], colors[row], line)
        if self.labels:
            self._draw_labels(canvas, detections, ids, places)
        return canvas

    def _draw_labels(
        self, canvas: Image, detections: Detections, ids: NDArray[np.int64], places: list[Rect]
    ) -> None:
        taken: list[Rect] = []
        height = min(max(11, round(min(canvas.shape[:2]) / 42)), _LARGEST_LETTERS)
        # By id, so that who gives way does not change from frame to frame.
        for row in np.argsort(ids, kind="stable").tolist():
            text, color = self._text(detections, row, int(ids[row])), color_of(int(ids[row]))
            label = label_image(text, color, height)
            spot = find_spot(places[row], label.shape[:2], canvas.shape[:2], taken)
            taken.append(spot)
            paste(canvas, label, spot)

    def _text(self, detections: Detections, row: int, track_id: int) -> str:
        label = int(detections.labels[row])
        name = self.class_names[label] if 0 <= label < len(self.class_names) else f"class {label}"
        return f"{shortened(name)} {track_id}" + (f"  {detections.scores[row]:.2f}" if self.scores else "")


class OverlayWriter:
    """A sink that draws tracked frames and writes them as a video with the source's sound and times.

    A picture is encoded in a thread of its own while the next is drawn; where that fails, the next ``write`` or the end
    says so. Use it in a ``with`` block: an exception inside leaves no file. Folders of images without a rate
    play at ``fallback_fps``. Frames with a side of more than 16,384 pixels are shrunk to it: H.264 takes no
    longer ones.
    """

    def __init__(
        self,
        path: str | Path,
        video: VideoInfo,
        renderer: Renderer,
        *,
        audio_from: str | Path | None = None,
        expected_frames: int | None = None,
        fallback_fps: float = 10.0,
    ) -> None:
        self.renderer = renderer
        self._timed = video.fps is not None
        rate = video.fps or fallback_fps
        self._size = fitted(video.size, LONGEST_SIDE, LONGEST_SIDE, enlarge=False)
        self._writer = VideoWriter(
            path, self._size, rate, audio_from=audio_from, expected_frames=expected_frames
        )
        self.encoding = Background(self._encode)

    def write(self, tracked: TrackedFrame) -> None:
        """Draw and add one frame."""
        image, detections, shapes = tracked.frame.image, tracked.detections, tracked.shapes
        if max(image.shape[:2]) > LONGEST_SIDE:
            image, detections, shapes = _resize(image, self._size), _scale(tracked, self._size), None
        picture = self.renderer.draw(image, detections, shapes)
        self.encoding.put((picture, tracked.frame.pts_seconds if self._timed else None))

    def _encode(self, picture: tuple[Image, float | None]) -> None:
        self._writer.write(*picture)

    def close(self) -> None:
        """Finish the file, check it, and give it its name."""
        try:
            self.encoding.finish()
        except BaseException:
            self.encoding.stop()
            self._writer.abort()
            raise
        self._writer.close()

    def __enter__(self) -> OverlayWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: Any) -> None:
        if kind is None:
            self.close()
        else:
            self.encoding.stop()
            self._writer.__exit__(kind, *error)


class ContactSheet:
    """A sink that keeps a few evenly spaced frames, drawn and small, and writes them as one PNG.

    It need not know the video's length: it keeps every k-th frame, and doubles k when it has twice as
    many as wanted. So it holds at most ``2 * count`` small pictures.
    """

    def __init__(self, path: str | Path, renderer: Renderer, *, count: int = 6, width: int = 640) -> None:
        self.path = Path(path)
        self.renderer = renderer
        self.count = count
        self.width = width
        self._kept: list[Frame] = []
        self._steps = _Steps(count)

    def write(self, tracked: TrackedFrame) -> None:
        """Look at one frame, and keep it when its turn has come."""
        wanted = self._steps.next()
        if self._steps.halved:
            self._kept = self._kept[::2]
        if wanted:
            self._kept.append(small_picture(tracked, self.renderer, width=self.width))

    def close(self) -> None:
        """Write the sheet; without a frame there is none."""
        if self._kept:
            chosen = [self._kept[i] for i in _spread(len(self._kept), self.count)]
            write_contact_sheet(self.path, chosen, width=self.width)

    @staticmethod
    def places(total: int, *, count: int = 6) -> tuple[int, ...]:
        """Which of ``total`` frames end up on a sheet, counted from 0."""
        steps, kept = _Steps(count), list[int]()
        for place in range(total):
            wanted = steps.next()
            if steps.halved:
                kept = kept[::2]
            if wanted:
                kept.append(place)
        return tuple(kept[i] for i in _spread(len(kept), count))


class _Steps:
    """Which frames a sheet keeps while it does not know how many there will be."""

    def __init__(self, count: int) -> None:
        self.halved = False
        """Whether every second one of those kept before must go."""
        self._count, self._kept, self._seen, self._step = count, 0, 0, 1

    def next(self) -> bool:
        """Whether the next frame is to be kept."""
        self.halved = self._seen % self._step == 0 and self._kept == 2 * self._count
        if self.halved:
            self._kept = self._count
            self._step *= 2
        wanted = self._seen % self._step == 0
        self._kept += wanted
        self._seen += 1
        return wanted


def _spread(available: int, count: int) -> list[int]:
    """``count`` places out of ``available``, evenly."""
    if not available:
        return []
    return [int(i) for i in np.linspace(0, available - 1, min(count, available)).round()]


def small_picture(tracked: TrackedFrame, renderer: Renderer, *, width: int = 640) -> Frame:
    """The frame ``width`` pixels wide with its objects on it: one picture of a contact sheet.

    A very tall one is narrower, and twice as tall as that.
    """
    frame, image = tracked.frame, _small(tracked.frame.image, width)
    # Drawn after shrinking, so that lines and letters keep their size.
    image = renderer.draw(image, _scale(tracked, image.shape[:2]))
    return Frame(frame.index, frame.pts_seconds, image)


def write_contact_sheet(path: str | Path, frames: Sequence[Frame], *, width: int = 640) -> None:
    """:func:`contact_sheet` as a PNG file, whole or not at all."""
    from PIL import Image as Pillow

    sheet = contact_sheet(frames, width=width)
    with whole_file(path) as part:
        Pillow.fromarray(sheet).save(part, format="PNG", compress_level=_PNG_LEVEL)


def contact_sheet(frames: Sequence[Frame], *, columns: int = 3, width: int = 640) -> Image:
    """The frames in a grid of cells ``width`` pixels wide, each under a caption with its index and time.

    Returns RGB uint8. Frames must have one size; very tall ones are shrunk to twice the cell's width, and stand
    in its middle. Raises :class:`UsageError` when there are no frames.
    """
    if not frames:
        raise UsageError("contact_sheet: expected at least one frame, got none")
    columns = min(columns, len(frames))
    pictures = [_small(frame.image, width) for frame in frames]
    gap, bar = 12, 34
    height, shown = pictures[0].shape[:2]
    rows = -(-len(frames) // columns)
    sheet = np.full((rows * (height + bar) + gap, columns * (width + gap) + gap, 3), 24, np.uint8)
    for number, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        row, column = divmod(number, columns)
        y, x = row * (height + bar) + bar, gap + column * (width + gap)
        left = x + (width - shown) // 2
        sheet[y : y + height, left : left + shown] = picture
        caption = text_coverage(f"frame {frame.index}   {frame.pts_seconds:.2f} s", 17)
        blend(sheet, caption, (230, 230, 230), x, y - bar + (bar - caption.shape[0]) // 2 + 1)
    return sheet


def _area(rect: Rect) -> int:
    return (rect[2] - rect[0]) * (rect[3] - rect[1])


def _scale(tracked: TrackedFrame, to: tuple[int, int]) -> Detections:
    """The objects for a frame of another size, with dense masks."""
    import cv2

    detections, size = tracked.detections, tracked.frame.size
    y, x = to[0] / size[0], to[1] / size[1]
    masks: Iterable[Mask] | None = detections.masks
    if tracked.shapes is not None:
        masks = map(decode, tracked.shapes)
    if masks is not None:
        small = [cv2.resize(mask.view(np.uint8), to[::-1], interpolation=cv2.INTER_NEAREST) for mask in masks]
        masks = np.array(small, np.bool_).reshape(len(small), *to)
    boxes = detections.boxes * np.array([x, y, x, y], np.float32)
    return replace(detections, boxes=boxes, masks=masks)


def fitted(size: tuple[int, int], height: int, width: int, *, enlarge: bool = True) -> tuple[int, int]:
    """The largest (height, width) of the shape of ``size`` inside of a height and width, at least 1 each."""
    scale = min(height / size[0], width / size[1])
    scale = scale if enlarge else min(1.0, scale)
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _small(image: Image, width: int) -> Image:
    return _resize(image, fitted(image.shape[:2], _TALLEST * width, width))


def _resize(image: Image, size: tuple[int, int]) -> Image:
    import cv2

    if image.shape[:2] == size:
        return image
    way = cv2.INTER_AREA if size[0] * size[1] < image.shape[0] * image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size[::-1], interpolation=way), np.uint8)
