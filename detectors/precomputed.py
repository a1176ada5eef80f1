"""Objects found earlier, read from JSON: a video's boxes, or tubes whose ids are kept.

Reads four things, told apart by their content:

* boxes: ``{"class_names": ["cat"], "frames": [[{"box": [x0, y0, x1, y1], "score": 0.9, "label": 0,
  "id": 1}, ...], ...]}``, one list per frame; score, label and id may be left out
* YTVIS results: ``[{"video_id", "category_id", "score", "segmentations": [run lengths | null]}]``
* YTVIS annotations: ``{"videos", "categories", "annotations"}``; every score is 1
* ``tubes.json`` of this program

Frame numbers are places in the video from 0. YTVIS files have none: entry n of a tube is frame n, so they
fit a video of which every frame was processed, or a folder of the annotated images. Knows no picture: what is
in the images does not matter, only their numbers and how large they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from detectors.precomputed_files import Row, parsed, read_objects
from vis import masks as rle
from vis.errors import AnnotationError, UsageError
from vis.structures import Detections, Frame
from vis.weights import sha256_of

__all__ = ["Precomputed"]


class Precomputed:
    """Gives what a file says, by frame number (:class:`vis.interfaces.FrameIndexedDetector`)."""

    def __init__(
        self,
        *,
        weights: str | Path,
        video_id: int | str | None = None,
        class_names: Sequence[str] | None = None,
        start: int = 0,
        stride: int = 1,
        listed: Sequence[str] = (),
    ) -> None:
        """``weights``: the JSON file. ``video_id``: which video, when a YTVIS file holds several.

        ``class_names``: names of category 1, 2, ... of YTVIS results, which do not name them.
        ``start``, ``stride``: for :meth:`detect`, which sees no numbers: the n-th image that it is asked about
        is frame ``start + n * stride``. ``listed``: ids of videos that have no objects where YTVIS results say
        nothing of them; any other is an error then.
        """
        if start < 0 or stride < 1:
            raise UsageError(f"start {start} and stride {stride}: give start >= 0 and stride >= 1")
        path = Path(weights).expanduser()
        self._start, self._stride, self._next = start, stride, start
        self._objects = read_objects(
            path, None if video_id is None else str(video_id), class_names, listed=listed
        )
        self._name = path.name
        self.weights_sha256 = {path.name: sha256_of(path)}

    @classmethod
    def of_set(cls, weights: str | Path, video_id: int, categories: Mapping[int, str]) -> Precomputed:
        """The objects of one video of a set, whose ``categories`` (id -> name) name the classes of YTVIS results.

        A video of which the results say nothing has no objects. The file is parsed once for all videos that are
        asked for one after the other.
        """
        path = Path(weights).expanduser()
        if not isinstance(parsed(path), list):
            return cls(weights=path, video_id=video_id)
        names = [
            categories.get(number, f"category {number}")
            for number in range(1, max(categories, default=1) + 1)
        ]
        return cls(weights=path, video_id=video_id, class_names=names, listed=[str(video_id)])

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return self._objects.names

    def detect_frames(self, frames: Sequence[Frame]) -> list[Detections]:
        """What the file holds for these frames.

        Raises :class:`AnnotationError` for a frame after the last entry of a YTVIS file, and for one whose
        size is not that of its masks.
        """
        return [self._at(frame.index, frame.size) for frame in frames]

    def reset(self) -> None:
        """Count from the first frame again; only :meth:`detect` counts."""
        self._next = self._start

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """What the file holds for the next frames, counted from call to call by ``start`` and ``stride``."""
        found = []
        for image in images:
            found.append(self._at(self._next, image.shape[:2]))
            self._next += self._stride
        return found

    def _at(self, frame: int, size: tuple[int, ...]) -> Detections:
        length = self._objects.length
        if length is not None and frame >= length:
            raise AnnotationError(
                f"{self._name}: asked about frame {frame}, but its tubes have {length} entries, frames 0 to "
                f"{length - 1}; give the video that they were made from, or end before frame {length} (--end). "
                "Of a run with --start or --stride give the tubes.json, which keeps frame numbers"
            )
        return _detections(self._objects.frames.get(frame, []), size, frame)


def _detections(rows: list[Row], size: tuple[int, ...], frame: int) -> Detections:
    if not rows:
        return Detections.empty()
    masks = None
    if any(row.mask is not None for row in rows):
        masks = np.zeros((len(rows), *size), np.bool_)
        for target, row in zip(masks, rows, strict=True):
            if row.mask is None:
                continue
            if row.mask.size != tuple(size):
                raise AnnotationError(
                    f"precomputed: frame {frame} is {size[0]}x{size[1]}, its masks are "
                    f"{row.mask.size[0]}x{row.mask.size[1]} (height x width); is it the same video?"
                )
            target[:] = rle.decode(row.mask)
    ids = [row.track_id for row in rows]
    return Detections(
        boxes=np.array([row.box for row in rows], np.float32),
        scores=np.array([row.score for row in rows], np.float32),
        labels=np.array([row.label for row in rows], np.int64),
        masks=masks,
        track_ids=None if None in ids else np.array(ids, np.int64),
    )
