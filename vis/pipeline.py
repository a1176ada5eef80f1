"""The stream of four verbs: ``track``, ``refine``, ``collect``, ``replay``.

::

    frames --track(detector, tracker)--> TrackedFrame --refine(refiner)--> TrackedFrame --collect()--> VideoResult
                                              ^                                                         |
                                              +------------------ replay(frames, result) <--------------+

All but ``collect`` are generators: a frame is dropped when the next one is asked for, so memory does
not grow with the video. Knows no particular detector, tracker, refiner or file format.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis import masks as rle
from vis.errors import UsageError
from vis.interfaces import CameraCompensator, Detector, FrameIndexedDetector, Refiner, Tracker
from vis.structures import Detections, Frame, MaskRLE, TrackedFrame, Tube, VideoInfo, VideoResult

__all__ = ["TubeCollector", "collect", "detect", "refine", "replay", "track"]


def detect(detector: Detector | FrameIndexedDetector, frames: Sequence[Frame]) -> list[Detections]:
    """Objects of each frame: by the frame's number where the detector knows numbers, else by its picture.

    Raises :class:`UsageError` for a label that indexes none of the detector's class names.
    """
    if isinstance(detector, FrameIndexedDetector):
        found = detector.detect_frames(frames)
    else:
        found = detector.detect([frame.image for frame in frames])
    for frame, objects in zip(frames, found, strict=True):
        labels = objects.labels
        if len(labels) and not 0 <= labels.min() <= labels.max() < len(detector.class_names):
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise UsageError(
                f"{type(detector).__name__}: frame {frame.index} has an object with label {wrong}, and class_names has "
                f"{len(detector.class_names)} names, for labels from 0 on; give each label a name"
            )
    return found


def track(
    frames: Iterable[Frame],
    detector: Detector | FrameIndexedDetector,
    tracker: Tracker,
    *,
    batch: int = 1,
    min_score: float = 0.0,
    labels: Sequence[int] | None = None,
    camera: Callable[[NDArray[np.uint8]], NDArray[np.float64]] | None = None,
) -> Iterator[TrackedFrame]:
    """Find objects in frames and give them ids.

    ``batch`` frames at a time go to the detector. Detections below ``min_score``, or whose label is
    not among ``labels`` (None: all), never reach the tracker. ``camera`` gives each image's affine
    (2, 3) motion since the one before (``vis.video.motion.CameraMotion``); the tracker then moves what
    it remembers by it, which needs a :class:`~vis.interfaces.CameraCompensator`.
    """
    stream = iter(frames)
    while group := list(islice(stream, batch)):
        for frame, found in zip(group, detect(detector, group), strict=True):
            keep = found.scores >= min_score
            if labels is not None:
                keep &= np.isin(found.labels, np.asarray(labels, np.int64))
            wanted = found if keep.all() else found.select(keep)
            if camera is not None:
                _compensate(tracker, camera(frame.image))
            yield TrackedFrame(frame, tracker.update(wanted, frame.pts_seconds))


def _compensate(tracker: Tracker, affine: NDArray[np.float64]) -> None:
    if not isinstance(tracker, CameraCompensator):
        raise UsageError(
            f"{type(tracker).__name__} takes no camera motion: it has no compensate(); leave camera out"
        )
    tracker.compensate(affine)


def refine(tracked: Iterable[TrackedFrame], refiner: Refiner) -> Iterator[TrackedFrame]:
    """Give every object of every frame a sharp mask; ids, boxes, labels and scores stay."""
    refiner.reset()
    for item in tracked:
        yield replace(item, detections=refiner.refine(item.frame.image, item.detections))


def collect(
    tracked: Iterable[TrackedFrame],
    video: VideoInfo,
    class_names: Sequence[str],
    *,
    min_frames: int = 1,
    made_with: Mapping[str, Any] | None = None,
) -> VideoResult:
    """Run the stream to its end and keep its tubes; those shorter than ``min_frames`` are dropped."""
    collector = TubeCollector(video, class_names)
    for item in tracked:
        collector.add(item)
    return collector.result(min_frames=min_frames, made_with=made_with)


def replay(frames: Iterable[Frame], result: VideoResult, *, dense: bool = True) -> Iterator[TrackedFrame]:
    """The saved objects of ``result`` on freshly decoded frames: how an association is reused.

    Frames that ``result`` does not cover are passed over. Tubes without masks give boxes only. Without ``dense`` masks
    stay run lengths, in ``shapes``: what looks at objects only, as drawing does, need not make maps of whole frames.
    """
    covered = set(result.frames.tolist())
    rows: dict[int, list[tuple[Tube, int]]] = defaultdict(list)
    for tube in result.tubes:
        for row, index in enumerate(tube.frames.tolist()):
            rows[index].append((tube, row))
    for frame in frames:
        if frame.index in covered:
            yield _replayed(frame, rows.get(frame.index, []), dense=dense)


def _replayed(frame: Frame, rows: list[tuple[Tube, int]], *, dense: bool) -> TrackedFrame:
    shapes: tuple[MaskRLE, ...] | None = None
    if any(tube.masks is not None for tube, _ in rows):
        # A tube of boxes only beside one with masks: an empty mask says "not known yet".
        shapes = tuple(rle.blank(frame.size) if tube.masks is None else tube.masks[row] for tube, row in rows)
    masks = rle.decode_many(shapes, frame.size) if dense and shapes is not None else None
    found = Detections(
        boxes=np.array([tube.boxes[row] for tube, row in rows], np.float32).reshape(-1, 4),
        scores=np.array([tube.scores[row] for tube, row in rows], np.float32),
        labels=np.array([tube.label for tube, _ in rows], np.int64),
        masks=masks,
        track_ids=np.array([tube.id for tube, _ in rows], np.int64),
    )
    return TrackedFrame(frame, found, None if dense else shapes)


@dataclass(slots=True)
class _GrowingTube:
    frames: list[int] = field(default_factory=list)
    boxes: list[Any] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    masks: list[MaskRLE | None] = field(default_factory=list)
    votes: dict[int, float] = field(default_factory=lambda: defaultdict(float))


class TubeCollector:
    """Tubes as they grow, for consumers that do more with the stream than collect it.

    Masks become run lengths at once; nothing of the picture is kept.
    """

    def __init__(self, video: VideoInfo, class_names: Sequence[str]) -> None:
        self._video = video
        self._class_names = tuple(class_names)
        self._frames: list[int] = []
        self._pts: list[float] = []
        self._growing: dict[int, _GrowingTube] = defaultdict(_GrowingTube)

    def add(self, item: TrackedFrame) -> None:
        """Take the objects of one frame; frames come in rising order."""
        found = item.detections
        ids = found.track_ids
        assert ids is not None  # TrackedFrame holds this
        shapes = item.shapes
        if shapes is None and found.masks is not None:
            shapes = rle.encode_many(found.masks)
        self._frames.append(item.frame.index)
        self._pts.append(item.frame.pts_seconds)
        for row, object_id in enumerate(ids.tolist()):
            tube = self._growing[object_id]
            tube.frames.append(item.frame.index)
            tube.boxes.append(found.boxes[row])
            tube.scores.append(float(found.scores[row]))
            tube.masks.append(None if shapes is None else shapes[row])
            # The sum of scores decides the label: a short confident mistake does not.
            tube.votes[int(found.labels[row])] += float(found.scores[row])

    def result(self, *, min_frames: int = 1, made_with: Mapping[str, Any] | None = None) -> VideoResult:
        """All tubes so far with at least ``min_frames`` frames. A tube's score is its mean frame score."""
        tubes = tuple(
            _finish(object_id, growing, self._video.size)
            for object_id, growing in sorted(self._growing.items())
            if len(growing.frames) >= min_frames
        )
        return VideoResult(
            video=self._video,
            class_names=self._class_names,
            tubes=tubes,
            frames=np.array(self._frames, np.int64),
            pts_seconds=np.array(self._pts, np.float64),
            made_with=dict(made_with or {}),
        )


def _finish(object_id: int, growing: _GrowingTube, size: tuple[int, int]) -> Tube:
    masks: tuple[MaskRLE, ...] | None = None
    if any(mask is not None for mask in growing.masks):
        masks = tuple(rle.blank(size) if mask is None else mask for mask in growing.masks)
    return Tube(
        id=object_id,
        label=max(growing.votes, key=lambda label: growing.votes[label]),
        score=float(np.mean(growing.scores)),
        frames=np.array(growing.frames, np.int64),
        boxes=np.array(growing.boxes, np.float32).reshape(-1, 4),
        scores=np.array(growing.scores, np.float32),
        masks=masks,
    )
