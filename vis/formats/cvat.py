"""CVAT: the zip that its "MOTS PNG" import takes, which keeps masks and tracks.

CVAT reads no YouTube-VIS files. In the zip, ``default/instances/frame_000000.png`` are MOTS images
(:mod:`vis.formats.mots`) whose class numbers are lines of ``labels.txt``, counted from 1. CVAT names the
frames of a video so; for a task made of images, give their names.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from vis.errors import AnnotationError, UsageError
from vis.files import whole_file
from vis.formats import mots
from vis.formats.images import LabelImage, decode_labels, frame_numbers, png_bytes
from vis.formats.lines import escaped
from vis.formats.rasterize import Rasterizer
from vis.formats.unsupported import dropped_fields
from vis.formats.zips import MAX_MEMBER_BYTES, open_zip, put, read_member
from vis.structures import VideoResult

__all__ = ["frame_name", "read", "write"]


def frame_name(frame: int) -> str:
    """CVAT's name of a frame of a video task."""
    return f"frame_{frame:06d}"


def write(path: str | Path, result: VideoResult, *, name_of: Callable[[int], str] = frame_name) -> list[str]:
    """Write the zip; returns what is lost, in sentences.

    ``name_of``: frame index -> name of the task's image without its suffix. Raises :class:`UsageError`
    for more than 64 classes with tubes: 16-bit images hold no more.
    """
    used = sorted({tube.label for tube in result.tubes})
    if len(used) > 64:
        raise UsageError(f"16-bit MOTS images hold 64 classes, the tubes have {len(used)}")
    whole = len(result.class_names) <= 64
    names = result.class_names if whole else tuple(result.class_names[label] for label in used)
    by_label = {label: label + 1 if whole else used.index(label) + 1 for label in used}
    numbers = [by_label.get(label, 1) for label in range(len(result.class_names))]
    ids, said = mots.mots_ids(result, numbers)
    if any(not name or "\n" in name or "\r" in name for name in names):
        raise UsageError("a class name is empty or holds a line break; labels.txt cannot hold it")
    if len(set(names)) < len(names):
        raise UsageError("two classes have one name; labels.txt cannot tell them apart")
    raster, values = Rasterizer(result), mots.lookup(result, ids)
    with whole_file(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        lines = "".join(f"{escaped(name)}\n" for name in names)
        put(archive, "default/instances/labels.txt", lines.encode())
        for frame, labels in raster.frames():
            put(archive, f"default/instances/{name_of(frame)}.png", png_bytes(values[labels], bits=16))
    said += [] if whole else ["names of classes without tubes are lost"]
    if any(escaped(name) != name for name in names):
        said.append("names that are no UTF-8 are written with \\udcXX")
    return [*said, *raster.said(), *dropped_fields(result, classes=True, covered=True)]


def read(path: str | Path, *, fps: float | None = None) -> VideoResult:
    """The video of a zip, ours or one that CVAT exported as "MOTS PNG"."""
    where = str(path)
    with open_zip(path) as archive:
        inside = [PurePosixPath(name) for name in archive.namelist()]
        files = sorted(str(p) for p in inside if p.suffix.lower() == ".png" and p.parent.name == "instances")
        labels = [str(p) for p in inside if p.name == "labels.txt"]
        if not files or not labels:
            raise AnnotationError(
                f"{where}: expected instances/*.png and labels.txt in the zip, as CVAT writes them"
            )
        if len({PurePosixPath(name).parent for name in files}) > 1:
            raise AnnotationError(f"{where}: holds more than one subset; keep one per zip")
        try:
            text = read_member(archive, labels[0], where).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise AnnotationError(f"{where}: labels.txt is not UTF-8 text") from error
        names = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
        if twice := [name for name in names if name and names.count(name) > 1]:
            raise AnnotationError(f"{where}: labels.txt names {twice[0][:40]!r} twice")
        numbers = frame_numbers([PurePosixPath(name).stem for name in files], where)
        images = _images(archive, sorted(zip(numbers, files, strict=True)), where)
        result = mots.from_images(
            images,
            where,
            Path(path).stem,
            fps=fps,
            class_names={i: name for i, name in enumerate(names, start=1) if name},
            # With ten labels or more, 10 is a class like any other: CVAT's own rule.
            ignore=mots.IGNORE if len(names) < mots.IGNORE else None,
        )
    return _with_all_classes(result, [name for name in names if name], where)


def _images(
    archive: zipfile.ZipFile, files: list[tuple[int, str]], where: str
) -> Iterator[tuple[int, LabelImage, str]]:
    for frame, name in files:
        place = f"{where}: {name}"
        yield frame, decode_labels(read_member(archive, name, where, limit=MAX_MEMBER_BYTES), place)[0], place


def _with_all_classes(result: VideoResult, names: list[str], where: str) -> VideoResult:
    """The same tubes with labels that index ``labels.txt``, so that unused classes are kept too."""
    from dataclasses import replace

    unknown = set(result.class_names) - set(names)
    if unknown:
        raise AnnotationError(f"{where}: {', '.join(sorted(unknown))} has no line in labels.txt")
    tubes = tuple(replace(tube, label=names.index(result.class_names[tube.label])) for tube in result.tubes)
    return replace(result, class_names=tuple(names), tubes=tubes)
