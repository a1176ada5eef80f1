"""A saved association refined again: no detector, no tracker. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apps.job import build_refiner, check_same_size, collect_beside, describe_refiner, made_from
from apps.plan import SPEEDS, Refining
from apps.progress import Stopwatch, TimedRefiner, progress, timed
from vis import boxes, masks, pipeline
from vis.errors import InputError
from vis.interfaces import FrameSource
from vis.structures import Detections, Frame, TrackedFrame, VideoResult

__all__ = ["RefineJob"]


class RefineJob:
    """The tubes of ``saved`` with masks of another model or policy. ``speed``: of :data:`apps.plan.SPEEDS`."""

    def __init__(self, saved: VideoResult, refining: Refining, *, speed: str = "full", device: str) -> None:
        self.saved = saved
        self.refining = refining
        self.speed = speed
        self.watch = Stopwatch()
        with self.watch("load"):
            self.refiner = build_refiner(refining, device=device)

    def describe(self) -> str:
        """One line that says what will run."""
        return f"{len(self.saved.tubes)} saved tubes -> {describe_refiner(self.refiner)}"

    def made_with(self) -> dict[str, Any]:
        """The refiner's part, and under ``association`` how the saved result was made."""
        options = self.refining.record() | ({} if self.speed == "full" else {"speed": self.speed})
        return made_from(self.saved, options, self.refining.model)

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The saved tubes with new masks.

        Raises :class:`InputError` when the video is not the one that the result was made from, as far
        as size and frame numbers tell.
        """
        saved = self.saved
        check_same_size(source, saved)
        frames = timed(source, self.watch, "decode")
        refiner = TimedRefiner(self.refiner, self.watch)
        if self.speed == "full":
            refined = pipeline.refine(pipeline.replay(frames, saved), refiner)
        else:
            refined = _KeyFrames(self.refining, self.speed, refiner).refine(
                pipeline.replay(frames, saved, dense=False)
            )
        stream = progress(refined, what="tubes", total=len(saved.frames), quiet=quiet)
        collector = collect_beside(stream, source.info, saved.class_names, self.watch)
        result = collector.result(made_with=self.made_with())
        if len(result.frames) != len(saved.frames):
            raise InputError(
                f"{source.info.name}: {len(result.frames)} of the {len(saved.frames)} frames of the saved "
                "result are in this video; give the video that it was made from"
            )
        # Collecting votes labels and scores anew; the saved ones may have been corrected by hand.
        kept = {tube.id: tube for tube in saved.tubes}
        tubes = tuple(replace(t, label=kept[t.id].label, score=kept[t.id].score) for t in result.tubes)
        return replace(result, tubes=tubes, dataset=saved.dataset)


class _KeyFrames:
    """The mask network looks at key frames; masks are carried to the saved boxes of the frames between.

    It looks at a frame between, too, where an object has no carried mask, or one that fits its saved box much worse
    than the network's masks fit theirs.
    """

    def __init__(self, refining: Refining, speed: str, refiner: TimedRefiner) -> None:
        self._refining = refining
        self._speed = SPEEDS[speed]
        self._refiner = refiner
        self._saved: dict[int, TrackedFrame] = {}
        self._seen: dict[int, TrackedFrame] = {}
        self._fits: dict[int, float] = {}

    def refine(self, replayed: Iterable[TrackedFrame]) -> Iterator[TrackedFrame]:
        """Masks for every object of every frame; ids, boxes, labels and scores stay as they were saved."""
        from vis.follow.keyframes import keyframe_groups

        self._refiner.reset()
        groups = keyframe_groups(
            self._noted(replayed),
            self._look,
            interval=self._speed.interval,
            agreement=self._speed.agreement,
            refine=lambda frame, _: self._look(frame).detections,
            resolve=self._refining.overlap == "resolve",
            clean=self._refining.clean,
        )
        for item in chain.from_iterable(groups):
            yield self._settled(item)
            del self._saved[item.frame.index]

    def _noted(self, replayed: Iterable[TrackedFrame]) -> Iterator[Frame]:
        for item in replayed:
            self._saved[item.frame.index] = item
            yield item.frame

    def _look(self, frame: Frame) -> TrackedFrame:
        """The network's masks of what was saved on a frame."""
        item = self._saved[frame.index]
        found = item.detections
        if item.shapes is not None:
            found = replace(found, masks=masks.decode_many(item.shapes, frame.size))
        found = self._refiner.refine(frame.image, found)
        assert found.track_ids is not None  # TrackedFrame holds this
        assert found.masks is not None  # a refiner gives masks
        for object_id, box, mask in zip(found.track_ids.tolist(), found.boxes, found.masks, strict=True):
            self._fits[object_id] = _fit(mask, box)
        self._seen[frame.index] = TrackedFrame(frame, found)
        return self._seen[frame.index]

    def _settled(self, item: TrackedFrame) -> TrackedFrame:
        """The saved objects of a frame with the masks that were carried to it, or the network's where they differ."""
        frame = item.frame
        if frame.index in self._seen:
            return self._seen.pop(frame.index)
        saved = self._saved[frame.index].detections
        rows = _rows(item.detections)
        taken = np.zeros((len(saved), *frame.size), np.bool_)
        assert saved.track_ids is not None  # TrackedFrame holds this
        for target, object_id, box in zip(taken, saved.track_ids.tolist(), saved.boxes, strict=True):
            if object_id not in rows or item.detections.masks is None:
                break
            target[:] = item.detections.masks[rows[object_id]]
            if _fit(target, box) < self._speed.agreement * self._fits.get(object_id, 1.0):
                break
        else:
            return TrackedFrame(frame, replace(saved, masks=taken))
        self._look(frame)
        return self._seen.pop(frame.index)


def _rows(found: Detections) -> dict[int, int]:
    assert found.track_ids is not None  # TrackedFrame holds this
    return {object_id: row for row, object_id in enumerate(found.track_ids.tolist())}


def _fit(mask: NDArray[np.bool_], box: NDArray[np.float32]) -> float:
    """IoU of a box with the box around a mask; 0 for an empty mask."""
    around = masks.extent(mask)
    return 0.0 if around is None else float(boxes.iou(np.array([around]), box[None])[0, 0])
