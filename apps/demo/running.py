"""A run: find, track and refine, frame by frame, told as it happens, stopped within one frame."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any, TypeVar

from apps.demo.clip_frames import stream
from apps.demo.command import read_words
from apps.demo.labels import clean_text, duration, pace
from apps.demo.model_cache import ModelCache
from apps.demo.session import Session
from apps.demo.views import cache_frame, live_view, timeline, view
from apps.interrupt import ReadableFrames
from apps.presets import PRESETS
from vis.edits import History
from vis.errors import UsageError, VideoError, VisWarning
from vis.pipeline import TubeCollector

if TYPE_CHECKING:
    from apps.plan import Plan
    from vis.structures import TrackedFrame, VideoResult
    from vis.video import IsolatedReader

__all__ = ["STOPPING", "Update", "claim", "run"]

T = TypeVar("T")
SILENT_SECONDS = 1.0  # what takes longer is told with the seconds that it has taken
SHOW_SECONDS = 0.2  # pictures a second that a browser is sent at most: 5
TIMELINE_SECONDS = 2.0
STOPPING = "Stopping after this frame …"
DRAW = "Choose 'New object' above the picture, then click on one or drag a box around it."


@dataclass(frozen=True, slots=True)
class Update:
    """What changes on the page; None leaves a part as it is."""

    view: dict[str, Any] | None = None
    timeline: dict[str, Any] | None = None
    text: str = ""
    share: float | None = None
    """Done so far, 0 to 1, while something runs; None when nothing does."""


@contextmanager
def claim(session: Session) -> Iterator[None]:
    """One heavy thing at a time per visitor; it waits for a clip that is coming in, as that one is meant."""
    with session.opening, session.lock:
        if session.running:
            raise UsageError("a run is going on in this page already; wait for it, or cancel it")
        session.running = True
        session.cancel.clear()
    try:
        yield
    finally:
        session.running = False


def run(
    session: Session,
    model_cache: ModelCache,
    words: list[str],
    *,
    max_frames: int = 3000,
    offer: str = "Use the sample clip",
) -> Iterator[Update]:
    """Run the words on the session's clip. The last update says how it ended; the claim is over by then, so that
    what the visitor does on seeing it is not refused.

    ``offer`` is what stands on the button that opens a clip of the server.

    Cancelling keeps what was found so far, and so does a clip that reads no further: the result then ends at the
    last finished frame, and so do the words that repeat it. A run that fails leaves the result from before.
    """
    with claim(session):
        if session.video is None or session.info is None:
            raise UsageError(f"no video is open; choose a file, or press '{offer}'")
        yield Update({**view(session), "state": "running"}, None, "Loading the networks …", 0.0)
        plan, selection = read_words(words)
        with stream(session.video, **selection.options()) as source, session.set_aside():
            total = source.expected_frames
            if total is not None and total > max_frames:
                raise UsageError(
                    f"{total} frames are more than the {max_frames} that this page takes; choose a shorter part, or "
                    "a stride"
                )
            last = yield from _Run(session, model_cache, plan, words, source, max_frames).updates()
    yield last


@dataclass(slots=True)
class _Run:
    """A plan on the part of a clip that was chosen."""

    session: Session
    model_cache: ModelCache
    plan: Plan
    words: list[str]
    source: IsolatedReader
    max_frames: int
    done: int = 0
    """Frames that are finished."""
    last: int = 0
    """Number of the last one in the clip."""

    def updates(self) -> Generator[Update, None, Update]:
        """What changes on the page, up to the saved result; returns the last update."""
        with ThreadPoolExecutor(1, "run") as pool:
            return (yield from self._updates(pool))

    def _updates(self, pool: Executor) -> Generator[Update, None, Update]:
        loading = "Loading the networks …"
        job = yield from _told(pool, lambda: self.model_cache.job_of(self.plan), loading, 0.0)
        readable = ReadableFrames(self.source)
        info = replace(self.source.info, name=Path(self.session.name).stem or "clip")
        collector = TubeCollector(info, job.class_names)
        begin = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", VisWarning)
            tracked = job.stream(readable, quiet=True)
            try:
                yield from self._frames(pool, tracked, collector, job.class_names)
            finally:
                pool.submit(tracked.close).result()  # after the frame in hand
        if not self.done:
            raise VideoError(
                "not one frame lies in the part that was chosen; choose an earlier start or a later end"
            )
        seconds = time.perf_counter() - begin
        self.model_cache.estimator.note(self.plan, self.done, seconds)
        failure = readable.failure
        cut = self.done >= self.max_frames and self.done != self.source.expected_frames
        stopped = failure is not None or self.session.cancel.is_set() or cut
        found = collector.result(min_frames=self.plan.collected_frames(), made_with=job.made_with())
        finishing = "Putting the objects together …"
        result = yield from _told(pool, lambda: job.finish(found, readable), finishing, 1.0)
        self._keep(result, stopped=stopped)
        if self.plan.detector == "none":
            text = f"{self.done} frames are ready. {DRAW}"
        elif not result.tubes and not stopped:
            lower = "a lower threshold or " if self.plan.min_score > 0 else ""
            text = f"No object was found in {self.done} frames. Try {lower}another detector, or add it by hand. {DRAW}"
        else:
            text = _ending(len(result.tubes), self.done, seconds, stopped)
        said = [] if failure is None else [str(failure)]
        said += [str(warning.message) for warning in caught if issubclass(warning.category, VisWarning)]
        text += "".join(f" Note: {clean_text(note, self.session.spoken)}." for note in dict.fromkeys(said))
        return Update(view(self.session), timeline(self.session), text)

    def _frames(
        self,
        pool: Executor,
        tracked: Iterator[TrackedFrame],
        collector: TubeCollector,
        names: tuple[str, ...],
    ) -> Iterator[Update]:
        """Collect the frames, and show some of them, until the part ends or the visitor cancels."""
        session, total = self.session, self.source.expected_frames
        begin = time.perf_counter()
        shown = drawn = 0.0
        text, share = f"0 of {total or '?'} frames", 0.0
        while (
            item := (
                yield from _told(
                    pool, lambda: next(tracked, None), f"{text} · the next:", share, session.cancel
                )
            )
        ) is not None:
            collector.add(item)
            cache_frame(session, item.frame, self.done)
            self.done, self.last, now = self.done + 1, item.frame.index, time.perf_counter()
            if now - shown >= SHOW_SECONDS:
                shown = now
                seen = live_view(session, item, names, self.done, total)
                rows = None
                if now - drawn >= TIMELINE_SECONDS:
                    drawn, session.position = now, self.done - 1
                    rows = timeline(session, collector.result(), total)
                text = f"{self.done} of {total or '?'} frames · {_speed(self.done, total, now - begin)}"
                share = self.done / total if total else 0.0
                yield Update(seen, rows, text, share)
            if self._is_over():
                break

    def _is_over(self) -> bool:
        return self.session.cancel.is_set() or self.done >= self.max_frames

    def _keep(self, result: VideoResult, *, stopped: bool) -> None:
        """Make the result the session's own."""
        session = self.session
        with session.lock:
            # Corrections need a network even where the run kept the detector's own masks.
            session.history, session.model = History(result), self.plan.model or PRESETS["quick"].model
            session.position, session.row_cache = 0, {}
            session.selected = result.tubes[0].id if result.tubes else None
            words = self.words
            session.options["words"] = (
                [*_without_end(words), "--end", str(self.last + 1)] if stopped else words
            )
            session.save(fresh=True)


def _told(
    pool: Executor, step: Callable[[], T], text: str, share: float, cancel: Event | None = None
) -> Generator[Update, None, T]:
    """What ``step()`` returns or raises; it runs in ``pool``, and meanwhile every second an update says how long.

    Once ``cancel`` is set, the updates say that it is being stopped.
    """
    begin, future = time.perf_counter(), pool.submit(step)
    while not wait([future], SILENT_SECONDS).done:
        stopping = cancel is not None and cancel.is_set()
        yield Update(
            None, None, STOPPING if stopping else f"{text} {duration(time.perf_counter() - begin)}", share
        )
    return future.result()


def _speed(done: int, total: int | None, seconds: float) -> str:
    each = max(seconds, 1e-9) / done
    left = "" if total is None else f" · {duration((total - done) * each)} left"
    return pace(each) + left


def _ending(tubes: int, frames: int, seconds: float, stopped: bool) -> str:
    objects = f"{tubes} object{'s' * (tubes != 1)}"
    if stopped:
        return f"Stopped after {frames} frame{'s' * (frames != 1)}; {objects} found so far are kept."
    return f"{objects} in {frames} frames, {duration(seconds)}."


def _without_end(words: list[str]) -> list[str]:
    if "--end" not in words:
        return words
    at = words.index("--end")
    return words[:at] + words[at + 2 :]
