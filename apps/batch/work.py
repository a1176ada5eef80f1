"""One video of a batch: keyed by what goes into it, done in chunks, and resumed where it stopped.

Runs in a process that may be lost. Writes nothing but the video's run folder and, under ``.batch``, its
chunks and its association.

    key of the association = video, span, detector, tracker, their settings and weights
    key of the result      = that, and everything else: refiner, policy, least number of frames

A run folder whose key fits is kept. A new refiner replays the saved association: no detector runs.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from apps import rendering, report
from apps.batch import overlay, remote
from apps.batch.chunks import ChunkFolder
from apps.batch.compute import ChunkedRun, ReportProgress, read_result
from apps.batch.failures import is_disk_full, no_space_left
from apps.batch.identity import digest, identity
from apps.batch.item import Item, is_address
from apps.identity import read_record
from apps.interrupt import ReadableFrames
from apps.job import Job, choose_labels
from apps.plan import Plan, Selection
from apps.run_folder import added_files, new_run_folder
from vis.errors import OutputError, VisWarning
from vis.interfaces import FrameSource
from vis.structures import VideoResult

__all__ = ["Settings", "Worker", "line_of", "plan_for", "work_keys"]

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
"""Options of a plan that do not touch the association, by the names that records have for them."""
KEY_VERSION = "0.1.0"
"""The version that stands in keys: the first whose results are those of this one. It is raised where the same options
give other tubes, so that a batch makes them anew."""
ADDED = {"link": False, "overlap": "keep", "clean": False}
"""Options that version 0.1 had not, and what it did: its batches are known without them."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all workers of a batch share."""

    plan: Plan
    out: str
    selection: Selection
    device: str = "auto"
    threads: int = 1
    chunk: int = 50
    overlay: bool = True
    command: tuple[str, ...] = ()
    categories: Mapping[int, str] | None = None
    """Of the set (id -> name) whose videos detector ``precomputed`` takes from one file, each its own."""


@dataclass(frozen=True, slots=True)
class _Task:
    """One video in hand."""

    item: Item
    """With the path of a file or folder on this machine."""
    folder: Path
    """Its run folder."""
    before: Mapping[str, Any]
    """The run.json of an earlier batch."""
    source_id: Mapping[str, Any]
    keys: Mapping[str, Any]
    chunks: ChunkFolder
    report_progress: ReportProgress
    started: float


class Worker:
    """Holds the models, and does one video after the other."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.out = Path(settings.out)
        _limit_threads(settings.threads, torch_too=settings.plan.model is not None)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", VisWarning)
            self.job = Job(_plan_to_load(settings), device=settings.device)
        self._warnings = caught  # of loading: they hold for every video
        self.made_with = self.job.made_with()

    def process(self, item: Item, report_progress: ReportProgress) -> dict[str, Any]:
        """Do one video, or keep what is there; returns its line of the batch's report."""
        self.job.watch.seconds.clear()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", VisWarning)
            line = self._run(item, report_progress)
        ours = (w for w in [*self._warnings, *caught] if issubclass(w.category, VisWarning))
        said = list(dict.fromkeys(str(w.message) for w in ours))
        return {**line, "warnings": [*line["warnings"], *said]}

    def _run(self, item: Item, report_progress: ReportProgress) -> dict[str, Any]:
        started = time.time()
        if self.settings.categories is not None:
            self._take_objects_of(item)
        folder = self.out / item.name
        before = read_record(folder / "run.json")
        found = remote.identity(item) if is_address(item.path) else identity(item, before)
        keys = self._keys(found)
        if before.get("work") == keys and rendering.are_drawn(before):
            return line_of(before, "kept")
        chunks = ChunkFolder(self.out / ".batch" / "chunks" / digest(item.name), keys["result"])
        with remote.local_copy(item) as local:
            return self._fresh(_Task(local, folder, before, found, keys, chunks, report_progress, started))

    def _take_objects_of(self, item: Item) -> None:
        """Ask the detector for this video of the set; the networks stay loaded."""
        from detectors.precomputed import Precomputed

        plan = plan_for(item, self.settings)
        assert plan.detector_weights is not None  # the verb holds these
        assert plan.video_id is not None
        found = Precomputed.of_set(plan.detector_weights, plan.video_id, self.settings.categories or {})
        self.job.plan, self.job.detector = plan, found
        self.job.labels = choose_labels(plan.classes, found.class_names)
        self.made_with = self.job.made_with()

    def _fresh(self, task: _Task) -> dict[str, Any]:
        """Compute and draw what the keys say is missing.

        Results that an overlay is drawn of are final before that begins, since it takes long. A contact sheet alone
        comes together with them, which waits for the disk once and not twice.
        """
        folder, old = task.folder, task.before.get("work", {})
        if not old and folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(
                f"{folder}: exists and is not of a batch; move it away, or choose another --out"
            )
        source = self._open(task.item)
        result = read_result(folder / "tubes.json") if old.get("result") == task.keys["result"] else None
        at_once = result is None and not self.settings.overlay
        if result is not None:
            record = self._record(task, result, task.before.get("partial"))
        else:
            association = self.out / ".batch" / "associations" / f"{task.keys['association']}.json"
            run = ChunkedRun(self.job, source, task.chunks, self.settings.chunk)
            result, partial = run.result(association, self.made_with, task.report_progress)
            record = self._record(task, result, partial)
            with new_run_folder(folder, overwrite=True) as new:
                report.write_results(new.part, result)
                if at_once:
                    line = self._pictures(task, source, result, record, new.part)
                else:
                    report.write_record(new.part, record)
        if not at_once:
            with added_files(folder) as added:
                line = self._pictures(task, source, result, record, added)
        task.chunks.remove()
        return line

    def _pictures(
        self,
        task: _Task,
        source: FrameSource,
        result: VideoResult,
        record: Mapping[str, Any],
        folder: Path,
    ) -> dict[str, Any]:
        """The pictures and the last run.json in the temporary ``folder``; the line of the batch's report."""
        missing = self._draw(task, source, result, folder)
        pictures = rendering.drawn(missing)
        for name, why in pictures.get("missing", {}).items():
            # The user knows the run by its own name, not by the temporary one.
            pictures["missing"][name] = why.replace(str(folder), str(task.folder))
        record = {**record, **self._costs(result), "pictures": pictures}
        report.write_record(folder, record)
        full = any(is_disk_full(error) or no_space_left(error, self.out) for error in missing.values())
        return line_of(record, "done") | ({"disk_full": True} if full else {})

    def _draw(
        self, task: _Task, source: FrameSource, result: VideoResult, folder: Path
    ) -> dict[str, Exception]:
        """The pictures in ``folder``; file name -> error of those that could not be drawn."""
        item, total = task.item, len(result.frames)
        task.report_progress("draw", 0, total)
        if not self.settings.overlay:
            (task.folder / "overlay.mp4").unlink(missing_ok=True)  # of an earlier run that wanted one
        with self.job.watch("draw"):
            return overlay.draw(
                source,
                result,
                folder,
                pieces=task.chunks.folder / "overlay",
                length=self.settings.chunk,
                overlay=self.settings.overlay,
                audio_from=Path(item.path) if item.images is None and Path(item.path).is_file() else None,
                report_progress=lambda frames: task.report_progress("draw", frames, total),
            )

    def _open(self, item: Item) -> FrameSource:
        options = self.settings.selection.options()
        if item.images is not None:
            from vis.video.folder import ImageList

            images = {name: options[name] for name in ("fps", "value_range") if name in options}
            return ImageList.open(item.name, item.images, **images)
        from vis.video import open_source

        source = open_source(item.path, **options)
        return source if options["strict"] else ReadableFrames(source)

    def _keys(self, source_id: Mapping[str, Any]) -> dict[str, Any]:
        return work_keys(source_id, self.settings, self.made_with, self.job.refiner_weights())

    def _record(self, task: _Task, result: VideoResult, partial: Mapping[str, Any] | None) -> dict[str, Any]:
        """run.json before its pictures are drawn."""
        source = {"name": Path(task.item.path).name, **task.source_id}
        record = report.run_record(self.job, result, source, self.settings.selection, task.started)
        return {
            **record,
            "command": list(self.settings.command),
            **self._costs(result),
            "work": dict(task.keys),
            **({} if partial is None else {"partial": dict(partial)}),
            "pictures": dict(rendering.PENDING),
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


def plan_for(item: Item, settings: Settings) -> Plan:
    """The plan of one video: of a set whose objects lie in one file, with its id."""
    return settings.plan if settings.categories is None else replace(settings.plan, video_id=item.video_id)


def _plan_to_load(settings: Settings) -> Plan:
    """What is loaded before the first video is known."""
    if settings.categories is None:
        return settings.plan
    return replace(settings.plan, detector="none", detector_weights=None, classes=())


def work_keys(
    source_id: Mapping[str, Any],
    settings: Settings,
    made_with: Mapping[str, Any],
    refiner_weights: Mapping[str, str],
) -> dict[str, Any]:
    """What a video's run folder is known by: it is kept as long as these are the same."""
    options, weights = made_with["options"], made_with["weights_sha256"]
    association = digest(
        {
            "version": KEY_VERSION,
            "video": {name: source_id[name] for name in ("sha256", "bytes", "files") if name in source_id},
            "span": settings.selection.options(),
            "options": {name: value for name, value in options.items() if name not in REFINEMENT_ONLY},
            "weights": {name: value for name, value in weights.items() if name not in refiner_weights},
        }
    )
    result = digest({"association": association, "made_with": _as_first_known(made_with)})
    return {"association": association, "result": result, "overlay": settings.overlay}


def _as_first_known(made_with: Mapping[str, Any]) -> dict[str, Any]:
    """How a result was made, without what says no more than version 0.1 did."""
    options = {
        name: value
        for name, value in made_with["options"].items()
        if name not in ADDED or value != ADDED[name]
    }
    known = {**made_with, "version": KEY_VERSION, "options": options}
    if known.get("found_by") in (None, options["detector"]):
        known.pop("found_by", None)
    return known


def line_of(record: Mapping[str, Any], status: str) -> dict[str, Any]:
    """What the batch's report says of a finished video, whose run.json this is."""
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


def _limit_threads(count: int, *, torch_too: bool) -> None:
    import cv2

    cv2.setNumThreads(count)
    if torch_too:
        import torch

        torch.set_num_threads(count)
