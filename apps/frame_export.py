"""The pictures that a COCO or YouTube-VIS file names, written from the videos that its results were made of."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from apps.identity import is_same, read_record, source_identity
from apps.job import check_same_size
from vis.errors import InputError, UsageError
from vis.formats.images import whole_folder
from vis.formats.naming import frame_files, unique_names
from vis.structures import VideoResult

if TYPE_CHECKING:
    from apps.batch.item import Item
    from vis.interfaces import FrameSource

__all__ = ["Export", "export_frames", "find_videos"]

QUALITY = 95
"""Of JPEG."""


@dataclass(frozen=True, slots=True)
class Export:
    """A result whose pictures are wanted."""

    result: VideoResult
    """As it is written."""
    place: str
    """Where its video lies below the folder of videos, without its suffix: ``day1/dog``."""
    saved: Path | None = None
    """Its tubes.json, beside which run.json says what the video was."""


def export_frames(videos: Path, exports: Sequence[Export], folder: Path) -> int:
    """Write the picture of every processed frame below ``folder``, a new one; returns how many.

    ``videos``: the video of the one result, or a folder, list or set in which each is found by its place. Pictures
    that are the user's own images are copied, others written as their name's suffix says. Raises
    :class:`InputError` where a video is not there or is another one.
    """
    sources = find_videos(videos, exports)
    files = frame_files([e.result for e in exports], unique_names([e.result.video.name for e in exports]))
    count = 0
    with whole_folder(folder) as part:
        for export, (source, _), own in zip(exports, sources, files, strict=True):
            count += _write(source, dict(zip(export.result.frames.tolist(), own, strict=True)), part)
    return count


def find_videos(videos: Path, exports: Sequence[Export]) -> list[tuple[FrameSource, str]]:
    """The video of each result, opened, and its path.

    Raises :class:`InputError` where one is not there, or is another one.
    """
    items = _items(videos, exports)
    return [(_opened(item, export), item.path) for item, export in zip(items, exports, strict=True)]


def _items(videos: Path, exports: Sequence[Export]) -> list[Item]:
    from apps.batch.inputs import find_items

    found, _ = find_items([str(videos)])
    if len(found) == len(exports) == 1:
        return found
    named = {item.name: item for item in found}
    missing = [export.place for export in exports if export.place not in named]
    if missing:
        raise InputError(
            f"{videos}: holds no video {missing[0]!r} ({len(missing)} of {len(exports)} are missing); its videos are "
            f"{', '.join(list(named)[:8])}. Give the folder that the batch was given"
        )
    return [named[export.place] for export in exports]


def _opened(item: Item, export: Export) -> FrameSource:
    """The video of a result; raises :class:`InputError` where it is another one."""
    from vis.video import open_source
    from vis.video.folder import ImageList

    if item.images is not None:
        return ImageList.open(item.name, item.images)
    source = open_source(item.path)
    check_same_size(source, export.result)
    made_of = read_record(export.saved.parent / "run.json").get("source", {}) if export.saved else {}
    if made_of.get("sha256") and is_same(source_identity(Path(item.path)), made_of) is False:
        raise InputError(
            f"{item.path}: is not the video that {export.saved} was made from, or has changed since"
        )
    return source


def _write(source: FrameSource, files: Mapping[int, str], folder: Path) -> int:
    originals = _originals(source)
    last = max(files, default=-1)
    for frame in source if files else ():
        if frame.index in files:
            target = folder / _inside(files[frame.index])
            target.parent.mkdir(parents=True, exist_ok=True)
            original = originals.get(frame.index)
            if original is not None and original.suffix == target.suffix:
                shutil.copyfile(original, target)
            else:
                _save(frame.image, target)
        if frame.index >= last:
            break
    missing = [name for name in files.values() if not (folder / _inside(name)).is_file()]
    if missing:
        raise InputError(
            f"{source.info.name}: {len(missing)} of its frames do not decode, {missing[0]} first"
        )
    return len(files)


def _originals(source: FrameSource) -> dict[int, Path]:
    """Frame index -> image file, of a source that is made of such; a page of a file of several is none."""
    from vis.video.folder import FolderReader, ImageList

    if isinstance(source, FolderReader):
        pages = source.images
    elif isinstance(source, ImageList):
        pages = source.images.pages
    else:
        return {}
    return {index: page.path for index, page in enumerate(pages) if page.page is None}


def _inside(name: str) -> PurePosixPath:
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or "\0" in name or ":" in name[:3]:
        raise UsageError(f"{name[:80]!r}: this name of a picture would leave the folder; nothing was written")
    return path


def _save(image: NDArray[np.uint8], target: Path) -> None:
    from PIL import Image

    try:
        if target.suffix.lower() in (".jpg", ".jpeg"):
            Image.fromarray(image).save(target, quality=QUALITY, subsampling=0)
        else:
            Image.fromarray(image).save(target)
    except ValueError as error:  # a suffix that names no format
        raise UsageError(f"{target.name[:80]!r}: no format of images has this suffix") from error
