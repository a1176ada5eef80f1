"""A YouTube-VIS set as a batch: its frames as videos, and one results file for the evaluator and server."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from apps.batch.item import Item
from vis.errors import InputError, VideoError
from vis.files import write_json
from vis.formats import tubes, ytvis, ytvis_set
from vis.structures import Frame, VideoInfo
from vis.video.limits import DEFAULT_LIMITS

__all__ = ["ImageList", "items_of_set", "names_of_images", "write_set_results"]

IMAGE_FOLDERS = ("JPEGImages", "images", ".")
"""Where a set's frames may lie beside its JSON, tried in this order."""


def items_of_set(path: Path, frames: Path | None = None) -> list[Item]:
    """One item per video of the set; its run folder is named after the clip's folder.

    Raises :class:`InputError` when the frames are not found; the message says where they were sought.
    """
    videos, _ = ytvis_set.read_videos(path)
    videos = [video for video in videos if video.file_names]
    if not videos:
        raise InputError(f"{path}: lists no video with frames")
    root = _image_folder(path, frames, videos[0].file_names[0])
    items = []
    for video in videos:
        names = [PurePosixPath(name.replace("\\", "/")) for name in video.file_names]
        if any(name.is_absolute() or ".." in name.parts or not name.parts for name in names):
            raise InputError(f"{path}: video {video.id}: its file names leave the image folder")
        if any("\0" in str(name) for name in names):
            raise InputError(f"{path}: video {video.id}: a file name holds a character that none can have")
        images = tuple(str(root / name) for name in names)
        items.append(Item(video.name, str(Path(images[0]).parent), images, video.id))
    return items


def _image_folder(path: Path, frames: Path | None, first: str) -> Path:
    tried = [frames] if frames is not None else [path.parent / name for name in IMAGE_FOLDERS]
    for root in tried:
        try:
            if (root / first).is_file():
                return root
        except OSError as error:  # a name that is too long for the file system
            raise InputError(f"{path}: its first frame, {first[:40]!r} ...: {error.strerror}") from error
    places = ", ".join(str(root / first[:80]) for root in tried)
    raise InputError(
        f"{path}: its first frame is not at {places}; name the folder of its images with --frames"
    )


@dataclass(frozen=True, slots=True)
class ImageList:
    """The listed images of a video as a source of frames: places in the list are the frame indices."""

    info: VideoInfo
    images: tuple[str, ...]

    @classmethod
    def open(cls, name: str, images: Sequence[str], *, fps: float | None = None) -> ImageList:
        """Looks at the first image; raises :class:`VideoError` when it does not decode."""
        from vis.video.folder import read_image

        height, width = read_image(_there(images[0]), DEFAULT_LIMITS).shape[:2]
        info = VideoInfo(
            name, height, width, num_frames=len(images), fps=fps, file_names=names_of_images(images)
        )
        return cls(info, tuple(images))

    @property
    def expected_frames(self) -> int:
        """How many frames an iteration gives."""
        return len(self.images)

    def __iter__(self) -> Iterator[Frame]:
        from vis.video.ahead import read_ahead

        return read_ahead(self._decode(), 4)

    def _decode(self) -> Iterator[Frame]:
        from vis.video.folder import read_image

        for index, name in enumerate(self.images):
            # A missing frame is an error here: the evaluator counts by place in the list.
            image = read_image(_there(name), DEFAULT_LIMITS)
            if image.shape[:2] != self.info.size:
                raise VideoError(
                    f"{name}: {image.shape[1]}x{image.shape[0]} pixels, the first frame has another size"
                )
            yield Frame(index, index / (self.info.fps or 1.0), image)


def names_of_images(images: Sequence[str]) -> tuple[str, ...]:
    """``VideoInfo.file_names`` of image paths: below the folder above the one that holds all of them."""
    above = Path(os.path.commonpath([str(Path(image).absolute().parent) for image in images])).parent
    return tuple(Path(image).absolute().relative_to(above).as_posix() for image in images)


def _there(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        raise VideoError(
            f"{path}: this frame is listed in the set but not there; copy the set's images again"
        )
    return path


def write_set_results(out: Path, set_path: Path, items: Sequence[Item]) -> dict[str, Any]:
    """``results.json`` and the server's ``results.zip`` of all finished videos of a set.

    The answer counts what is left out: tubes of classes that the set does not list, and tubes of boxes only.
    Classes meet by name. A detector that knows one class only, and not one of the set's, gives all of
    its tubes the set's first category: right for evaluation without categories, and said in the answer.
    """
    _, categories = ytvis_set.read_videos(set_path)
    ids = {name: number for number, name in categories.items()}
    entries: list[dict[str, Any]] = []
    unknown: dict[str, int] = {}
    boxes = 0
    agnostic = False
    missing = []
    for item in items:
        saved = out / item.name / "tubes.json"
        if item.video_id is None or not saved.is_file():
            missing.append(item.name)
            continue
        result = tubes.read(saved)
        table: Mapping[str, int] = ids
        if len(result.class_names) == 1 and result.class_names[0] not in ids and categories:
            agnostic = True
            table = {result.class_names[0]: min(categories)}
        boxes += sum(tube.masks is None for tube in result.tubes)
        for tube in result.tubes:
            name = result.class_names[tube.label]
            if name not in table:
                unknown[name] = unknown.get(name, 0) + 1
        entries += ytvis_set.results_of(result, item.video_id, table)
    write_json(out / "results.json", entries)
    ytvis.write_server_zip(out / "results.zip", out / "results.json")
    return {
        "results": str(out / "results.json"),
        "entries": len(entries),
        "category_agnostic": agnostic,
        "tubes_of_unknown_classes": unknown,
        "tubes_without_masks": boxes,
        "missing_videos": missing,
    }
