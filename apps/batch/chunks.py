"""Chunks of a video's work, saved as they are finished, so that a killed run goes on in the middle.

A chunk is a JSON file of rows, one per processed frame, and the state after its last frame of the tracker, and
of the detector and the refiner if they keep any.
Whatever the moment of the kill, there is either the whole file or none (:mod:`vis.files`), so what is lost
is at most the chunk in hand.
"""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vis import masks
from vis.errors import VisError
from vis.files import read_json, write_json
from vis.pipeline import TubeCollector
from vis.structures import Detections, Frame, MaskRLE, TrackedFrame, VideoInfo, VideoResult

__all__ = ["Chunk", "ChunkFolder", "Row", "collected"]


@dataclass(frozen=True, slots=True)
class Row:
    """One processed frame: its objects in the order of their ids, without the picture."""

    frame: int
    pts_seconds: float
    detections: Detections
    """With ids; its masks are left out."""
    coarse: tuple[MaskRLE, ...] | None
    """The detector's masks, or None."""
    fine: tuple[MaskRLE, ...] | None
    """The refiner's masks; None without a refiner."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows of consecutive processed frames and what is needed to go on after them."""

    rows: tuple[Row, ...]
    tracker: dict[str, Any] | None
    detector: dict[str, Any] | None
    refiner: dict[str, Any] | None
    seconds: Mapping[str, float]
    """Time per stage that these rows cost."""
    last: bool
    """Whether the video ends here."""
    failure: str | None = None
    """Why it reads no further, where it ends before its end."""


class ChunkFolder:
    """The chunks of one video under one key; other keys' chunks of the same video are thrown away."""

    def __init__(self, folder: Path, key: str) -> None:
        self.folder = folder / key
        if folder.is_dir():
            for other in folder.iterdir():
                if other.name != key:
                    shutil.rmtree(other, ignore_errors=True)

    def read(self, size: tuple[int, int]) -> list[Chunk]:
        """Finished chunks from the first on; a gap or an unreadable file ends the list."""
        chunks: list[Chunk] = []
        while (path := self._path(len(chunks))).is_file():
            try:
                chunks.append(_from_json(read_json(path), size))
            except (VisError, KeyError, TypeError, ValueError):
                break
        return chunks

    def write(self, number: int, chunk: Chunk) -> None:
        """Save the chunk whole; raises :class:`vis.errors.OutputError` when the disk is full."""
        write_json(self._path(number), _to_json(chunk))

    def remove(self) -> None:
        """Throw the chunks away: the result is written."""
        shutil.rmtree(self.folder.parent, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06d}.json"


def collected(
    rows: Iterable[Row],
    video: VideoInfo,
    class_names: tuple[str, ...],
    *,
    fine: bool,
    min_frames: int = 1,
    made_with: Mapping[str, Any] | None = None,
) -> VideoResult:
    """Rows as a result, by the one collector that ``vistubes run`` uses as well.

    ``fine``: with the refiner's masks, else with the detector's.
    """
    collector = TubeCollector(video, class_names)
    blank = np.broadcast_to(np.zeros((), np.uint8), (*video.size, 3))
    for row in rows:
        shapes = row.fine if fine else row.coarse
        found = row.detections
        collector.add(
            TrackedFrame(Frame(row.frame, row.pts_seconds, blank), replace(found, masks=None), shapes)
        )
    return collector.result(min_frames=min_frames, made_with=made_with)


def _to_json(chunk: Chunk) -> dict[str, Any]:
    return {
        "rows": [_row_to_json(row) for row in chunk.rows],
        "tracker": _plain(chunk.tracker),
        "detector": _plain(chunk.detector),
        "refiner": _plain(chunk.refiner),
        "seconds": dict(chunk.seconds),
        "last": chunk.last,
        "failure": chunk.failure,
    }


def _from_json(value: Any, size: tuple[int, int]) -> Chunk:
    return Chunk(
        rows=tuple(_row_from_json(row, size) for row in value["rows"]),
        tracker=_unplain(value["tracker"]),
        detector=_unplain(value["detector"]),
        refiner=_unplain(value["refiner"]),
        seconds=value["seconds"],
        last=bool(value["last"]),
        failure=value.get("failure"),
    )


def _row_to_json(row: Row) -> dict[str, Any]:
    found = row.detections
    assert found.track_ids is not None  # rows come from tracked frames

    def texts(shapes: tuple[MaskRLE, ...] | None) -> list[str] | None:
        return None if shapes is None else [shape.counts.decode("ascii") for shape in shapes]

    return {
        "frame": row.frame,
        "pts_seconds": row.pts_seconds,
        "ids": found.track_ids.tolist(),
        "labels": found.labels.tolist(),
        "scores": found.scores.tolist(),
        "boxes": found.boxes.tolist(),
        "coarse": texts(row.coarse),
        "fine": texts(row.fine),
    }


def _row_from_json(value: Mapping[str, Any], size: tuple[int, int]) -> Row:
    def shapes(texts: list[str] | None) -> tuple[MaskRLE, ...] | None:
        if texts is None:
            return None
        return tuple(masks.from_coco({"size": list(size), "counts": text}, size=size) for text in texts)

    return Row(
        frame=int(value["frame"]),
        pts_seconds=float(value["pts_seconds"]),
        detections=Detections(
            boxes=np.array(value["boxes"], np.float32).reshape(-1, 4),
            scores=np.array(value["scores"], np.float32),
            labels=np.array(value["labels"], np.int64),
            track_ids=np.array(value["ids"], np.int64),
        ),
        coarse=shapes(value["coarse"]),
        fine=shapes(value["fine"]),
    )


def _plain(value: Any) -> Any:
    """State as JSON. Arrays go as their bytes: they come back to the bit, infinities included."""
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, tuple | list):
        return {"__list__": [_plain(one) for one in value], "tuple": isinstance(value, tuple)}
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        data = base64.b64encode(np.ascontiguousarray(array).tobytes()).decode("ascii")
        return {"__array__": data, "dtype": array.dtype.str, "shape": list(array.shape)}
    if isinstance(value, MaskRLE):
        return {"__mask__": value.counts.decode("ascii"), "size": list(value.size)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"the state holds a {type(value).__name__}, which cannot be saved as plain values")


def _unplain(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if "__array__" in value:
        array = np.frombuffer(base64.b64decode(value["__array__"]), np.dtype(value["dtype"]))
        return array.reshape(value["shape"]).copy()
    if "__list__" in value:
        items = [_unplain(one) for one in value["__list__"]]
        return tuple(items) if value["tuple"] else items
    if "__mask__" in value:
        return masks.from_coco({"size": value["size"], "counts": value["__mask__"]})
    return {name: _unplain(one) for name, one in value.items()}
