"""A video's result in chunks: what is saved is read, the rest is computed and saved as it comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from apps.batch.chunks import Chunk, ChunkFolder, Row, collected
from apps.interrupt import ReadableFrames
from apps.job import Job
from apps.progress import TimedDetector, TimedRefiner, timed
from vis import masks, pipeline
from vis.errors import VisError
from vis.formats import tubes
from vis.interfaces import CountedFrames, FrameSource, Resettable, Stateful
from vis.structures import Frame, MaskRLE, TrackedFrame, VideoResult

__all__ = ["ChunkedRun", "ReportProgress", "read_result"]

ReportProgress = Callable[[str, int, int | None], None]
"""Called with (stage, frames done, frames expected)."""


@dataclass(frozen=True, slots=True)
class ChunkedRun:
    """A job's way through one video, ``length`` frames a chunk."""

    job: Job
    source: FrameSource
    chunks: ChunkFolder
    length: int

    def result(
        self, association: Path, made_with: Mapping[str, Any], report_progress: ReportProgress
    ) -> tuple[VideoResult, dict[str, Any] | None]:
        """The result, and what part of the video it is where reading failed in its middle.

        ``association``: where the objects with their coarse masks are saved; they are replayed if they are there. Not
        so where networks look at key frames only: what lies between is not found before it is refined.
        """
        video, names = self.source.info, self.job.class_names
        saved = None if self.job.skips_frames else read_result(association)
        rows: list[Row] = []
        done = self.chunks.read(video.size)
        if self.job.skips_frames and done and not self._is_saved_whole():
            done = []
        expected = self.source.expected_frames if isinstance(self.source, CountedFrames) else None
        number = len(done)
        for chunk in done:
            rows += chunk.rows
            for stage, seconds in chunk.seconds.items():
                self.job.watch.seconds[stage] += seconds
        failure = done[-1].failure if done else None
        if not (done and done[-1].last):
            for chunk in self._chunks(saved, done, len(rows)):
                if number or not chunk.last:  # a whole video in one chunk has its result at once
                    self.chunks.write(number, chunk)
                number += 1
                rows += chunk.rows
                failure = chunk.failure
                report_progress("tubes", len(rows), expected)
        if saved is None and not self.job.skips_frames:
            tubes.write(association, collected(rows, video, names, fine=False))
        result = collected(
            rows,
            video,
            names,
            fine=self.job.refiner is not None,
            min_frames=self.job.plan.collected_frames(),
            made_with=made_with,
        )
        partial = None if failure is None else {"frames": len(rows), "of": expected, "reason": failure}
        return self.job.finish(result, self.source), partial

    def _chunks(self, saved: VideoResult | None, done: list[Chunk], skip: int) -> Iterator[Chunk]:
        """The chunks that are still to be done, in order; the last one says so, even if it is empty."""
        rows: list[Row] = []
        before = dict(self.job.watch.seconds)
        for group in self._groups(saved, done, skip):
            rows += group
            if len(rows) >= self.length:
                yield self._chunk(rows, before, last=False)
                rows, before = [], dict(self.job.watch.seconds)
        failure = self.source.failure if isinstance(self.source, ReadableFrames) else None
        yield self._chunk(rows, before, last=True, failure=None if failure is None else str(failure))

    def _chunk(
        self, rows: list[Row], before: Mapping[str, float], *, last: bool, failure: str | None = None
    ) -> Chunk:
        spent = {stage: seconds - before.get(stage, 0.0) for stage, seconds in self.job.watch.seconds.items()}
        return Chunk(
            rows=tuple(rows),
            tracker=self.job.tracker.state_dict(),
            detector=_state_of(self.job.detector),
            refiner=_state_of(self.job.refiner),
            seconds=spent,
            last=last,
            failure=failure,
        )

    def _groups(self, saved: VideoResult | None, done: list[Chunk], skip: int) -> Iterator[list[Row]]:
        """Refined objects with ids, from the first frame that is not in a chunk, in pieces after which one may stop."""
        frames = timed(self.source, self.job.watch, "decode")
        if self.job.refiner is not None:
            self.job.refiner.reset()
            if done and done[-1].refiner is not None:
                self.job.refiner.load_state_dict(done[-1].refiner)
        if saved is not None:
            covered = set(saved.frames.tolist())
            wanted = (frame for frame in frames if frame.index in covered)
            _pass_over(wanted, skip)
            yield from ([self._refined(tracked)] for tracked in pipeline.replay(wanted, saved))
            return
        last = self._take_up(frames, done, skip)
        if self.job.skips_frames:
            start = None if last is None else self._key_frame(last, done[-1].rows[-1])
            for group in self.job.keyframe_groups(frames, start):
                yield [self._row(tracked) for tracked in group]
            return
        yield from ([self._refined(tracked)] for tracked in self.job.associate(frames))

    def _take_up(self, frames: Iterator[Frame], done: list[Chunk], skip: int) -> Frame | None:
        """Let the frames of chunks go by, with all that remembers frames as it was; the last of them."""
        job = self.job
        job.start()
        if done and done[-1].tracker is not None:
            job.tracker.load_state_dict(done[-1].tracker)
        state = done[-1].detector if done else None
        last: Frame | None = None
        if state is not None and isinstance(job.detector, Stateful):
            job.detector.load_state_dict(state)
            last = _pass_over(frames, skip)
        elif isinstance(job.detector, Resettable):
            # A detector with a memory that it cannot save sees the earlier frames again.
            detector = TimedDetector(job.detector, job.watch)
            for last in islice(frames, skip):
                detector.detect_frames([last])
        else:
            last = _pass_over(frames, skip)
        if last is not None and job.camera is not None:
            job.camera(last.image)  # motion is measured from the frame before
        return last

    def _is_saved_whole(self) -> bool:
        """Whether a chunk has all that the detector remembers: which frames it saw cannot be done over."""
        return isinstance(self.job.detector, Stateful) or not isinstance(self.job.detector, Resettable)

    def _key_frame(self, frame: Frame, row: Row) -> TrackedFrame:
        """The key frame that a chunk ended in."""
        shapes = row.coarse if self.job.refiner is None else row.fine
        dense = None if shapes is None else masks.decode_many(shapes, frame.size)
        return TrackedFrame(frame, replace(row.detections, masks=dense))

    def _row(self, tracked: TrackedFrame) -> Row:
        """Objects whose masks are final, sorted by id."""
        found = tracked.detections
        assert found.track_ids is not None  # TrackedFrame holds this
        found = found.select(np.argsort(found.track_ids, kind="stable"))
        shapes = None if found.masks is None else masks.encode_many(found.masks)
        coarse, fine = (shapes, None) if self.job.refiner is None else (None, shapes or ())
        frame = tracked.frame
        return Row(frame.index, frame.pts_seconds, replace(found, masks=None), coarse, fine)

    def _refined(self, tracked: TrackedFrame) -> Row:
        """Sort by id, then refine: replayed and fresh objects prompt the network in the same order."""
        found = tracked.detections
        assert found.track_ids is not None  # TrackedFrame holds this
        found = found.select(np.argsort(found.track_ids, kind="stable"))
        fine: tuple[MaskRLE, ...] | None = None
        if self.job.refiner is not None:
            refined = TimedRefiner(self.job.refiner, self.job.watch).refine(tracked.frame.image, found)
            fine = masks.encode_many(refined.masks) if refined.masks is not None else ()
        coarse = None if found.masks is None else masks.encode_many(found.masks)
        return Row(tracked.frame.index, tracked.frame.pts_seconds, replace(found, masks=None), coarse, fine)


def read_result(path: Path) -> VideoResult | None:
    """A saved result; None when there is none that can be read, so that it is made again."""
    try:
        return tubes.read(path) if path.is_file() else None
    except VisError:
        return None


def _state_of(stage: object) -> dict[str, Any] | None:
    """What a detector or refiner keeps between frames, if it keeps anything."""
    return stage.state_dict() if isinstance(stage, Stateful) else None


def _pass_over(frames: Iterator[Frame], count: int) -> Frame | None:
    """Let ``count`` frames go by; the last of them."""
    last = None
    for last in islice(frames, count):  # noqa: B007 - the last one is what is wanted
        pass
    return last
