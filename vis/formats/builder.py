"""Rows of (object, frame) into a :class:`VideoResult`: what all readers of frame-wise formats share.

Knows no file. A reader adds rows in any order; what a format does not tell is filled in here, one way
for all formats: a missing box is the mask's, a missing score is 1, a missing time is index / fps (or
the index itself when there is no rate, as for a folder of images).
"""

from __future__ import annotations

import warnings
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks
from vis.errors import AnnotationError, AnnotationWarning
from vis.formats.fields import MAX_COORDINATE, MAX_FRAME, shown
from vis.structures import DatasetIds, MaskRLE, Tube, VideoInfo, VideoResult

__all__ = ["ResultBuilder", "tell", "tell_of_evaluation", "times_of", "video_result"]

MAX_COVERED = 10_000_000
"""Most frames of a video."""
MAX_IMPLIED = 1_000_000
"""Most frames that a file may imply by naming one late frame, when nobody says how long the video is."""


@dataclass(frozen=True, slots=True)
class _Row:
    label: int
    score: float
    box: NDArray[np.float32]
    mask: MaskRLE | None


class ResultBuilder:
    """Objects as they are read; ``where`` names the file in errors."""

    def __init__(self, where: str) -> None:
        self.where = where
        self._rows: dict[int, dict[int, _Row]] = defaultdict(dict)
        self._unseen = 0

    def add(
        self,
        object_id: int,
        frame: int,
        *,
        label: int = 0,
        score: float = 1.0,
        box: Sequence[float] | NDArray[Any] | None = None,
        mask: MaskRLE | None = None,
        where: str | None = None,
    ) -> None:
        """One object in one frame; ``box`` is x0, y0, x1, y1, taken from the mask when it is None.

        ``where`` names the entry in errors. Raises :class:`AnnotationError` for ids below 0, wild frames,
        scores outside of [0, 1], boxes that are not finite, of negative size or far away, and an object that is
        twice in one frame.
        """
        at = f"{where or self.where}: object {object_id}, frame {frame}"
        if object_id < 0:
            raise AnnotationError(f"{at}: ids must be 1 or more (or all count from 0)")
        if not 0 <= frame <= MAX_FRAME:
            raise AnnotationError(f"{at}: frames must lie between 0 and {MAX_FRAME}")
        if not 0 <= score <= 1:  # NaN fails here too
            raise AnnotationError(f"{at}: score {score} is outside of 0 to 1")
        if frame in self._rows[object_id]:
            raise AnnotationError(f"{at}: is there twice; an object has one mask or box per frame")
        if box is None:
            if mask is None:
                raise AnnotationError(f"{at}: has neither a box nor a mask")
            corners = masks.bounding_box(mask)
        else:
            corners = _checked_box(np.asarray(box, np.float64), at)
        self._rows[object_id][frame] = _Row(label, float(score), corners, mask)

    def add_unseen(self, object_id: int, frame: int, empty: MaskRLE, **how: Any) -> None:
        """An object without a mask in any frame: kept as an empty mask on ``frame``.

        To an evaluator both are the same, and a prediction that is nowhere counts as a false one.
        """
        self.add(object_id, frame, mask=empty, **how)
        self._unseen += 1

    @property
    def last_frame(self) -> int:
        """The largest frame index added; -1 when there is none."""
        return max((max(rows) for rows in self._rows.values()), default=-1)

    def covered(self, num_frames: int | None) -> NDArray[np.int64]:
        """Frames 0 .. num_frames - 1; without a number, up to the last frame that has an object."""
        count = self.last_frame + 1 if num_frames is None else num_frames
        if self.last_frame >= count:
            raise AnnotationError(
                f"{self.where}: has an object in frame {self.last_frame}, but the video is said to have {count} frames"
            )
        most = MAX_IMPLIED if num_frames is None else MAX_COVERED
        if count > most:
            raise AnnotationError(
                f"{self.where}: names frame {count - 1}; more than {most:,} frames are refused"
                + ("" if num_frames is not None else ", unless the length of the video is given")
            )
        return np.arange(count, dtype=np.int64)

    def tubes(self, scores: Mapping[int, float] | None = None) -> tuple[Tube, ...]:
        """Tubes by id; a tube's score is given, or else the mean of its frames' scores.

        What is kept in another way than the file has it is told in an :class:`AnnotationWarning`: ids that
        count from 0, which are moved to count from 1, a class that changes within an object, an object
        that is nowhere.
        """
        kept = {object_id: rows for object_id, rows in sorted(self._rows.items()) if rows}
        shift = int(0 in kept)
        if shift:
            tell(self.where, "ids count from 0: each is one more here")
        if mixed := sum(len({row.label for row in rows.values()}) > 1 for rows in kept.values()):
            tell(self.where, f"{mixed} objects change their class: each keeps the one that it has most often")
        if self._unseen:
            tell(self.where, f"{self._unseen} objects have no mask at all: each is kept as one empty mask")
        return tuple(
            self._tube(object_id + shift, rows, (scores or {}).get(object_id))
            for object_id, rows in kept.items()
        )

    def _tube(self, object_id: int, rows: dict[int, _Row], score: float | None) -> Tube:
        frames = sorted(rows)
        ordered = [rows[frame] for frame in frames]
        found = [row.mask for row in ordered if row.mask is not None]
        if found and len(found) != len(ordered):
            raise AnnotationError(
                f"{self.where}: object {object_id} has masks in {len(found)} of {len(ordered)} frames; "
                "give a mask in each of its frames, or in none"
            )
        # A label that changes within a tube: the most frequent one, the first seen on a tie.
        label = Counter(row.label for row in ordered).most_common(1)[0][0]
        return Tube(
            id=object_id,
            label=label,
            score=float(np.mean([row.score for row in ordered])) if score is None else score,
            frames=np.array(frames, np.int64),
            boxes=np.stack([row.box for row in ordered]),
            scores=np.array([row.score for row in ordered], np.float32),
            masks=tuple(found) or None,
        )


def _checked_box(box: NDArray[np.float64], at: str) -> NDArray[np.float32]:
    if box.shape != (4,) or not np.isfinite(box).all():
        raise AnnotationError(f"{at}: expected a box of four finite numbers, got {shown(box.tolist())}")
    if box[2] < box[0] or box[3] < box[1]:
        raise AnnotationError(f"{at}: the box {shown(box.tolist())} has a negative width or height")
    if np.abs(box).max() > MAX_COORDINATE:
        raise AnnotationError(
            f"{at}: the box {shown(box.tolist())} lies more than {MAX_COORDINATE:,.0f} pixels away"
        )
    return box.astype(np.float32)


def tell(where: str, what: str) -> None:
    """Warn that what a file holds was left out, or is kept in another way (:class:`AnnotationWarning`)."""
    warnings.warn(f"{where}: {what}", AnnotationWarning, stacklevel=3)


def tell_of_evaluation(where: str, videos: Sequence[Any], annotations: Sequence[Mapping[str, Any]]) -> None:
    """Tell of what a set's file says to evaluators only: it is not kept, and scores may differ without it."""
    rows = [video for video in videos if isinstance(video, Mapping)]
    names = [
        name
        for name in ("neg_category_ids", "not_exhaustive_category_ids")
        if any(name in row for row in rows)
    ]
    if names:
        tell(where, f"which classes are absent or not fully annotated is not kept: {', '.join(names)}")
    if ignored := sum(bool(annotation.get("ignore")) for annotation in annotations):
        tell(where, f"{ignored} annotations are to be ignored by evaluators, which is not kept")


def times_of(frames: NDArray[np.int64], fps: float | None) -> NDArray[np.float64]:
    """Presentation times where a format tells none: index / fps, or the index without a rate."""
    return np.asarray(frames / (fps or 1.0), np.float64)


def video_result(
    where: str,
    video: VideoInfo,
    class_names: Sequence[str],
    tubes: tuple[Tube, ...],
    frames: NDArray[np.int64],
    *,
    pts_seconds: NDArray[np.float64] | None = None,
    made_with: Mapping[str, Any] | None = None,
    dataset: DatasetIds | None = None,
) -> VideoResult:
    """A checked result, whose complaints become :class:`AnnotationError` with the file's name."""
    times = times_of(frames, video.fps) if pts_seconds is None else pts_seconds
    try:
        return VideoResult(video, tuple(class_names), tubes, frames, times, dict(made_with or {}), dataset)
    except ValueError as error:
        raise AnnotationError(f"{where}: {error}") from error
