"""One binary PNG per object and frame: ``<folder>/<object>/<frame>.png``, 0 or 255.

Objects may overlap. The plainest thing that an editor or another program can take up. SA-V's
validation and test sets lie the same way (:mod:`vis.formats.sav`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vis import masks
from vis.errors import AnnotationError
from vis.formats.builder import ResultBuilder, video_result
from vis.formats.images import list_labels, png_bytes, read_labels, whole_folder
from vis.formats.unsupported import dropped_fields
from vis.structures import VideoInfo, VideoResult

__all__ = ["read", "write"]


def write(
    path: str | Path,
    result: VideoResult,
    *,
    value: int = 255,
    colours: bytes | None = None,
    first_object: int = 1,
) -> list[str]:
    """Write the folder ``path``; every object has an image for every processed frame, black where it is not.

    ``value``: what the object's pixels are; ``colours``: a palette, else grey; ``first_object``: the
    number that the folder of id 1 bears. Returns what is lost, in sentences.
    """
    blank = png_bytes(np.zeros(result.video.size, np.uint8), colours=colours)
    with whole_folder(path) as folder:
        for tube in result.tubes:
            if tube.masks is None:
                continue
            place = folder / f"{tube.id - 1 + first_object:03d}"
            place.mkdir()
            rows = {frame: row for row, frame in enumerate(tube.frames.tolist())}
            for frame in result.frames.tolist():
                data = blank
                if frame in rows:
                    dense = masks.decode(tube.masks[rows[frame]]).astype(np.uint8) * value
                    data = png_bytes(dense, colours=colours)
                (place / f"{frame:05d}.png").write_bytes(data)
    return dropped_fields(result, covered=bool(result.tubes), unseen=True)


def read(path: str | Path, *, fps: float | None = None, first_object: int = 1) -> VideoResult:
    """The video in the folder ``path``: a folder per object, whose name ends with its id.

    Pixels other than 0 are the object. ``first_object``: the smallest id in the names; ids are moved
    so that it becomes 1 (SA-V counts from 0).
    """
    folder = Path(path)
    builder = ResultBuilder(str(folder))
    size: tuple[int, ...] | None = None
    seen: set[int] = set()
    for number, place in _objects(folder):
        object_id, visible = number + 1 - first_object, False
        for frame, file in list_labels(place):
            labels, _ = read_labels(file)
            size = size or labels.shape
            if labels.shape != size:
                raise AnnotationError(f"{file}: size {labels.shape} differs from the first image's {size}")
            seen.add(frame)
            if labels.any():
                visible = True
                builder.add(object_id, frame, mask=masks.encode(labels != 0), where=str(file))
        assert size is not None  # list_labels gives at least one file
        if not visible:
            builder.add_unseen(object_id, min(seen), masks.encode(np.zeros(size, np.bool_)))
    assert size is not None  # _objects gives at least one folder
    frames = np.array(sorted(seen), np.int64)
    video = VideoInfo(folder.resolve().name, size[0], size[1], num_frames=int(frames[-1]) + 1, fps=fps)
    return video_result(str(folder), video, ("object",), builder.tubes(), frames)


def _objects(folder: Path) -> list[tuple[int, Path]]:
    try:
        places = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    except OSError as error:
        raise AnnotationError(f"{folder}: cannot be read as a folder ({error.strerror})") from error
    if not places or not all(p.name.isascii() and p.name.isdigit() and len(p.name) < 17 for p in places):
        raise AnnotationError(
            f"{folder}: expected one folder per object, named by its number (001, 002 ...), with a PNG per frame"
        )
    numbers = [int(place.name) for place in places]
    if twice := [
        place.name for place, number in zip(places, numbers, strict=True) if numbers.count(number) > 1
    ]:
        raise AnnotationError(f"{folder}: the folders {' and '.join(twice[:2])} are of one object")
    return list(zip(numbers, places, strict=True))
