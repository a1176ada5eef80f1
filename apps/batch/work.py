"""One video of a batch: keyed by what goes into it, done in chunks, and resumed where it stopped.

Runs in a process that may be lost. Writes nothing but the video's run folder and, under ``.batch``, its
chunks and its association.

    key of the association = video, span, detector, tracker, their settings and weights
    key of the result      = that, and everything else: refiner, policy, least number of frames

A run folder whose key fits is kept. A new refiner replays the saved association: no detector runs.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from apps import assemble, drawing, report
from apps.batch import overlay, remote
from apps.batch.chunks import Chunk, ChunkFolder, Row, collected
from apps.batch.failures import is_disk_full, no_space_left
from apps.batch.identity import digest, identity
from apps.batch.item import Item, is_address
from apps.identity import read_record
from apps.interrupt import ReadableFrames
from apps.progress import TimedDetector, TimedRefiner
from apps.run_folder import new_run_folder
from vis import masks, pipeline
from vis.errors import OutputError, VisError, VisWarning
from vis.formats import tubes
from vis.interfaces import CountedFrames, FrameSource, Resettable, Stateful
from vis.structures import Frame, MaskRLE, TrackedFrame, VideoResult

__all__ = ["Settings", "Worker"]

REFINEMENT_ONLY = (
    "model",
    "policy",
    "whole_or_part",
    "zoom",
    "mode",
    "overlap",
    "clean",
    "min_frames",
    "top",
    "link",
    "preset",
)
"""Options of a plan that do not touch the association."""

Tell = Callable[[str, int, int | None], None]
"""Called with (stage, frames done, frames expected)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all workers of a batch share."""

    plan: assemble.Plan
    out: str
    source_options: Mapping[str, Any]
    """Keyword arguments of ``vis.video.open_source``."""
    selection: Mapping[str, Any]
    """start, end and stride as the user wrote them, for the record."""
    device: str = "auto"
    threads: int = 1
    chunk: int = 50
    overlay: bool = True
    command: tuple[str, ...] = ()


class Worker:
    """Holds the models, and does one video after the other."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.out = Path(settings.out)
        _limit_threads(settings.threads, torch_too=settings.plan.model is not None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", VisWarning)
            self.job = assemble.Job(settings.plan, device=settings.device)
        self._warnings = caught  # of loading: they hold for every video
        self.made_with = self.job.made_with()

    def process(self, item: Item, tell: Tell) -> dict[str, Any]:
        """Do one video, or keep what is there; returns its line of the batch's report."""
        started = time.time()
        self.job.watch.seconds.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", VisWarning)
            line = self._run(item, tell, started)
        ours = (w for w in [*self._warnings, *caught] if issubclass(w.category, VisWarning))
        said = list(dict.fromkeys(str(w.message) for w in ours))
        return {**line, "warnings": [*line["warnings"], *said]}

    def _run(self, item: Item, tell: Tell, started: float) -> dict[str, Any]:
        folder = self.out / item.name
        before = read_record(folder / "run.json")
        found = remote.identity(item) if is_address(item.path) else identity(item, before)
        keys = self._keys(found)
        if before.get("work") == keys and drawing.are_drawn(before):
            return _line(before, "kept")
        with remote.local_copy(item) as local:
            return self._fresh(local, folder, before, found, keys, tell, started)

    def _fresh(
        self,
        item: Item,
        folder: Path,
        before: Mapping[str, Any],
        source_id: Mapping[str, Any],
        keys: Mapping[str, Any],
        tell: Tell,
        started: float,
    ) -> dict[str, Any]:
        """Compute and draw what the keys say is missing; the results are final before a picture is drawn."""
        old = before.get("work", {})
        if not old and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(
                f"{folder}: exists and is not of a batch; move it away, or choose another --out"
            )
        source = self._open(item)
        chunks = ChunkFolder(self.out / ".batch" / "chunks" / digest(item.name), keys["result"])
        result = _read_result(folder / "tubes.json") if old.get("result") == keys["result"] else None
        if result is not None:
            record = self._record(item, source_id, keys, result, started, before.get("partial"))
        else:
            result, partial = self._compute(source, keys, chunks, tell)
            record = self._record(item, source_id, keys, result, started, partial)
            with new_run_folder(folder, overwrite=True) as new:
                report.write_results(new.part, result)
                report.write_record(new.part, record)
        tell("draw", 0, len(result.frames))
        missing = self._draw(item, source, result, folder, chunks, tell)
        record = record | self._costs(result) | {"pictures": drawing.drawn(missing)}
        report.write_record(folder, record)
        chunks.remove()
        full = any(is_disk_full(error) or no_space_left(error, self.out) for error in missing.values())
        return _line(record, "done") | ({"disk_full": True} if full else {})

    def _draw(
        self,
        item: Item,
        source: FrameSource,
        result: VideoResult,
        folder: Path,
        chunks: ChunkFolder,
        tell: Tell,
    ) -> dict[str, Exception]:
        with self.job.watch("draw"):
            return overlay.draw(
                source,
                result,
                folder,
                pieces=chunks.folder / "overlay",
                length=self.settings.chunk,
                overlay=self.settings.overlay,
                audio_from=Path(item.path) if item.images is None and Path(item.path).is_file() else None,
                tell=lambda frames: tell("draw", frames, len(result.frames)),
            )

    def _open(self, item: Item) -> FrameSource:
        options = dict(self.settings.source_options)
        if item.images is not None:
            from vis.video.folder import ImageList

            images = {name: options[name] for name in ("fps", "value_range") if name in options}
            return ImageList.open(item.name, item.images, **images)
        from vis.video import open_source

        source = open_source(item.path, **options)
        return source if options["strict"] else ReadableFrames(source)

    # ------------------------------------------------------------ computing

    def _compute(
        self, source: FrameSource, keys: Mapping[str, Any], chunks: ChunkFolder, tell: Tell
    ) -> tuple[VideoResult, dict[str, Any] | None]:
        """The result, and what part of the video it is where reading failed in its middle."""
        video, names = source.info, self.job.class_names
        association = self.out / ".batch" / "associations" / f"{keys['association']}.json"
        saved = _read_result(association)
        rows: list[Row] = []
        done = chunks.read(video.size)
        expected = source.expected_frames if isinstance(source, CountedFrames) else None
        number = len(done)
        for chunk in done:
            rows += chunk.rows
            for stage, seconds in chunk.seconds.items():
                self.job.watch.seconds[stage] += seconds
        failure = done[-1].failure if done else None
        if not (done and done[-1].last):
            for chunk in self._chunks(source, saved, done, len(rows)):
                chunks.write(number, chunk)
                number += 1
                rows += chunk.rows
                failure = chunk.failure
                tell("tubes", len(rows), expected)
        if saved is None:
            tubes.write(association, collected(rows, video, names, fine=False))
        result = collected(
            rows,
            video,
            names,
            fine=self.job.refiner is not None,
            min_frames=self.settings.plan.collected_frames(),
            made_with=self.made_with,
        )
        partial = None if failure is None else {"frames": len(rows), "of": expected, "reason": failure}
        return self.job.finish(result, source), partial

    def _chunks(
        self, source: FrameSource, saved: VideoResult | None, done: list[Chunk], skip: int
    ) -> Iterator[Chunk]:
        """The chunks that are still to be done, in order; the last one says so, even if it is empty."""
        rows: list[Row] = []
        before = dict(self.job.watch.seconds)
        for tracked in self._tracked(source, saved, done, skip):
            rows.append(self._refined(tracked))
            if len(rows) == self.settings.chunk:
                yield self._chunk(rows, before, last=False)
                rows, before = [], dict(self.job.watch.seconds)
        failure = source.failure if isinstance(source, ReadableFrames) else None
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

    def _tracked(
        self, source: FrameSource, saved: VideoResult | None, done: list[Chunk], skip: int
    ) -> Iterator[TrackedFrame]:
        """Objects with ids, from the first frame that is not in a chunk."""
        frames = self._frames(source)
        if self.job.refiner is not None:
            self.job.refiner.reset()
            if done and done[-1].refiner is not None:
                self.job.refiner.load_state_dict(done[-1].refiner)
        if saved is not None:
            covered = set(saved.frames.tolist())
            wanted = (frame for frame in frames if frame.index in covered)
            _pass_over(wanted, skip)
            return pipeline.replay(wanted, saved)
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
        return job.associate(frames)

    def _frames(self, source: FrameSource) -> Iterator[Frame]:
        stream = iter(source)
        while True:
            with self.job.watch("decode"):
                frame = next(stream, None)
            if frame is None:
                return
            yield frame

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
        return Row(tracked.frame.index, tracked.frame.pts_seconds, found, coarse, fine)

    # ------------------------------------------------------------ keys and records

    def _keys(self, source_id: Mapping[str, Any]) -> dict[str, Any]:
        options = self.made_with["options"]
        weights = self.made_with["weights_sha256"]
        model = self.settings.plan.model
        refiner = assemble.model_checksums(model) if model is not None else {}
        association = digest(
            {
                "version": self.made_with["version"],
                "video": {
                    name: source_id[name] for name in ("sha256", "bytes", "files") if name in source_id
                },
                "span": dict(self.settings.source_options),
                "options": {name: value for name, value in options.items() if name not in REFINEMENT_ONLY},
                "weights": {name: value for name, value in weights.items() if name not in refiner},
            }
        )
        result = digest({"association": association, "made_with": self.made_with})
        return {"association": association, "result": result, "overlay": self.settings.overlay}

    def _record(
        self,
        item: Item,
        source_id: Mapping[str, Any],
        keys: Mapping[str, Any],
        result: VideoResult,
        started: float,
        partial: Mapping[str, Any] | None,
    ) -> dict[str, Any]:
        """run.json before its pictures are drawn."""
        args = argparse.Namespace(**self.settings.selection)
        source = {"name": Path(item.path).name, **source_id}
        record = report.run_record(self.job, result, source, args, started)
        return {
            **record,
            "command": list(self.settings.command),
            **self._costs(result),
            "work": dict(keys),
            **({} if partial is None else {"partial": dict(partial)}),
            "pictures": dict(drawing.PENDING),
        }

    def _costs(self, result: VideoResult) -> dict[str, Any]:
        """Seconds of a resumed video are those of all its sessions."""
        stages = self.job.watch.report()
        seconds = max(round(sum(stages.values()), 3), 1e-3)
        return {
            "seconds": seconds,
            "seconds_per_stage": stages,
            "frames_per_second": round(len(result.frames) / seconds, 3),
            "peak_memory_bytes": report.peak_memory_bytes(),
        }


def _line(record: Mapping[str, Any], status: str) -> dict[str, Any]:
    """What the batch's report says of a finished video."""
    missing = record.get("pictures", {}).get("missing", {})
    partial = record.get("partial")
    notes = [] if partial is None else [f"only the first {partial['frames']} frames: {partial['reason']}"]
    notes += [f"{name} is missing: {why}" for name, why in missing.items()]
    return {
        "status": status,
        "warnings": notes,
        "frames": record["video"]["frames"],
        "tubes": record["tubes"],
        "overlay": record["work"]["overlay"] and "overlay.mp4" not in missing,
        "contact_sheet": "contact_sheet.png" not in missing,
        "seconds": record["seconds"],
        "seconds_per_stage": record["seconds_per_stage"],
        "peak_memory_bytes": record["peak_memory_bytes"],
    }


def _read_result(path: Path) -> VideoResult | None:
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


def _limit_threads(count: int, *, torch_too: bool) -> None:
    import cv2

    cv2.setNumThreads(count)
    if torch_too:
        import torch

        torch.set_num_threads(count)
