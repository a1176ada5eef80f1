"""DAVIS: one 8-bit palette PNG per frame, 0 background, 1..N objects, 254 and 255 void.

``Annotations/480p/<clip>/00000.png``: the folder of one clip is what is read and written here. No
scores, no classes, and masks may not overlap. DAVIS-2016 is the older variant with one object per
clip as grey 0 and 255.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np

from vis import masks
from vis.errors import AnnotationError, EvaluationWarning, UsageError
from vis.formats.builder import ResultBuilder, video_result
from vis.formats.images import LabelImage, list_labels, palette, png_bytes, read_labels, whole_folder
from vis.formats.rasterize import Rasterizer
from vis.formats.unsupported import dropped_fields
from vis.structures import VideoInfo, VideoResult

__all__ = ["read", "write"]

MAX_OBJECTS = 253
VOID = (254, 255)


def write(path: str | Path, result: VideoResult) -> list[str]:
    """Write the folder ``path``, one PNG per processed frame; returns what is lost, in sentences.

    Ids are kept up to 253; with a larger one among them, all are numbered anew from 1 in their order.
    Raises :class:`UsageError` for more than 253 tubes.
    """
    if len(result.tubes) > MAX_OBJECTS:
        raise UsageError(
            f"DAVIS holds {MAX_OBJECTS} objects, the result has {len(result.tubes)}; use MOTS or YTVIS"
        )
    said = []
    ids = [tube.id for tube in result.tubes]
    if max(ids, default=0) > MAX_OBJECTS:
        said.append(f"ids are numbered anew from 1: the format holds ids up to {MAX_OBJECTS}")
        ids = list(range(1, len(ids) + 1))
    values = np.array([0, *ids], np.int32)
    raster, colours = Rasterizer(result), palette()
    with whole_folder(path) as folder:
        for frame, labels in raster.frames():
            (folder / f"{frame:05d}.png").write_bytes(png_bytes(values[labels], colours=colours))
    return [*said, *raster.said(), *dropped_fields(result, covered=True)]


def read(path: str | Path, *, fps: float | None = None) -> VideoResult:
    """The clip in the folder ``path``; frames are those that have an image, by their number.

    A folder of grey images that hold only 0 and 255 is DAVIS-2016's: 255 is the one object. Elsewhere
    254 and 255 are void, which is left out with an :class:`EvaluationWarning`.
    """
    folder = Path(path)
    builder = ResultBuilder(str(folder))
    listed = list_labels(folder)
    images = [(frame, *read_labels(file)) for frame, file in listed[:1]]
    size = images[0][1].shape
    binary = _is_binary(listed)
    void = 0
    for frame, file in listed:
        labels, _ = read_labels(file)
        if labels.shape != size:
            raise AnnotationError(f"{file}: size {labels.shape} differs from the first image's {size}")
        if labels.max(initial=0) > 255:
            raise AnnotationError(f"{file}: holds values over 255; is it a MOTS image?")
        void += 0 if binary else int((labels >= VOID[0]).sum())
        _add_frame(builder, frame, labels, binary=binary)
    if void:
        warnings.warn(
            f"{folder}: {void} void pixels (254, 255) are left out", EvaluationWarning, stacklevel=2
        )
    frames = np.array([frame for frame, _ in listed], np.int64)
    video = VideoInfo(
        folder.resolve().name, size[0], size[1], num_frames=int(frames[-1]) + 1 if len(frames) else 0, fps=fps
    )
    return video_result(str(folder), video, ("object",), builder.tubes(), frames)


def _add_frame(builder: ResultBuilder, frame: int, labels: LabelImage, *, binary: bool) -> None:
    for value in np.unique(labels).tolist():
        if value == 0 or (not binary and value in VOID):
            continue
        builder.add(1 if binary else value, frame, mask=masks.encode(labels == value))


def _is_binary(listed: list[tuple[int, Path]]) -> bool:
    """Whether all images are grey with nothing but 0 and 255."""
    for _, file in listed:
        labels, mode = read_labels(file)
        if mode not in ("L", "1") or not np.isin(labels, (0, 1, 255)).all():
            return False
        if mode == "L" and (labels == 1).any():
            return False
    return True
