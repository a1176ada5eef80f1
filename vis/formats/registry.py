"""All formats by name: how each is read and written, and which options that takes.

Options are keyword arguments: ``truth`` (path of a set's annotations), ``size`` (height, width),
``num_frames``, ``fps``, ``first_frame`` (number of a video's first frame), ``class_names`` (number -> name).
Knows no command line.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vis.formats import coco, csv_table, cvat, davis, mot, mots, per_object, sav, tubes, ytvis_set
from vis.structures import VideoResult

__all__ = ["FORMATS", "Format"]


@dataclass(frozen=True, slots=True)
class Format:
    """One format."""

    about: str
    read: Callable[..., Sequence[VideoResult]]
    """``read(path, **options)``: the videos of a file or folder. What it holds and a result cannot is told
    in warnings."""
    write: Callable[..., list[str]]
    """``write(path, results, **options)``: returns what is lost, in sentences."""
    suffix: str
    """Of the file; '' for a folder."""
    many: bool = False
    """Whether one file holds many videos."""
    reads: tuple[str, ...] = ()
    """Names of the options of ``read``."""
    writes: tuple[str, ...] = ()
    """Names of the options of ``write``."""
    needs: tuple[str, ...] = ()
    """Those of ``reads`` that must be given."""
    names_frames: bool = False
    """Whether its files name a picture for every frame, as :func:`vis.formats.naming.frame_files` does."""


def _one(read: Callable[..., VideoResult]) -> Callable[..., Sequence[VideoResult]]:
    """A reader of one video, in the shape of a reader of many."""
    return lambda path, **options: [read(path, **options)]


def _first(write: Callable[..., list[str]]) -> Callable[..., list[str]]:
    """A writer of one video, in the shape of a writer of many."""
    return lambda path, results, **options: write(path, results[0], **options)


def _write_tubes(path: Path, result: VideoResult) -> list[str]:
    tubes.write(path, result)
    return []


def _read_results(path: Path, *, truth: Path, **options: Any) -> list[VideoResult]:
    return ytvis_set.read_results(path, truth, **options)


FORMATS: dict[str, Format] = {
    "tubes": Format(
        "tubes.json, our full result: loses nothing", _one(tubes.read), _first(_write_tubes), ".json"
    ),
    "ytvis": Format(
        "YouTube-VIS annotations (truth)",
        ytvis_set.read_truth,
        ytvis_set.write_truth,
        ".json",
        many=True,
        reads=("fps",),
        names_frames=True,
    ),
    "ytvis-results": Format(
        "YouTube-VIS results; reading needs --truth",
        _read_results,
        ytvis_set.write_results,
        ".json",
        many=True,
        reads=("truth", "fps"),
        writes=("truth",),
        needs=("truth",),
    ),
    "coco": Format(
        "COCO for video: videos, images, tracks",
        coco.read,
        coco.write,
        ".json",
        many=True,
        names_frames=True,
    ),
    "mots": Format(
        "MOTS text",
        _one(mots.read_text),
        _first(mots.write_text_file),
        ".txt",
        reads=("size", "num_frames", "fps", "first_frame", "class_names"),
        writes=("first_frame",),
    ),
    "mots-png": Format(
        "MOTS, a folder of 16-bit PNG",
        _one(mots.read_png),
        _first(mots.write_png),
        "",
        reads=("fps", "first_frame", "class_names"),
        writes=("first_frame",),
    ),
    "davis": Format(
        "DAVIS, a folder of palette PNG", _one(davis.read), _first(davis.write), "", reads=("fps",)
    ),
    "sav": Format("SA-V masklets, JSON", _one(sav.read_json_file), _first(sav.write_json_file), ".json"),
    "sav-png": Format(
        "SA-V val and test, a folder of PNG per object",
        _one(sav.read_png),
        _first(sav.write_png),
        "",
        reads=("fps",),
    ),
    "mot": Format(
        "MOT text, boxes only; reading needs --size",
        _one(mot.read),
        _first(mot.write),
        ".txt",
        reads=("size", "num_frames", "fps", "first_frame"),
        needs=("size",),
    ),
    "cvat": Format(
        "CVAT: zip for its 'MOTS PNG' import", _one(cvat.read), _first(cvat.write), ".zip", reads=("fps",)
    ),
    "png": Format(
        "a folder of binary PNG per object",
        _one(per_object.read),
        _first(per_object.write),
        "",
        reads=("fps",),
    ),
    "csv": Format(
        "one row per object and frame", _one(csv_table.read), _first(csv_table.write), ".csv", reads=("fps",)
    ),
}
"""Name -> how it is read and written."""
