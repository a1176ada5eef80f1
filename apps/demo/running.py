"""A run: find, track and refine, frame by frame, told as it happens, stopped within one frame."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.demo.clip_frames import stream
from apps.demo.command import read_words
from apps.demo.labels import clean_text, duration
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
    from vis.video import IsolatedReader

__all__ = ["Update", "claim", "run"]

SHOW_SECONDS = 0.2  # pictures a second that a browser is sent at most: 5
TIMELINE_SECONDS = 2.0
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
    session: Session, model_cache: ModelCache, words: list[str], *, max_frames: int = 3000
) -> Iterator[Update]:
    """Run the words on the session's clip. The last update says how it ended.

    Cancelling keeps what was found so far, and so does a clip that reads no further: the result then ends at the
    last finished frame, and so do the words that repeat it. A run that fails leaves the result from before.
    """
    with claim(session):
        if session.video is None or session.info is None:
            raise UsageError("no video is open; choose a file, or press 'Use the sample clip'")
        yield Update({**view(session), "state": "running"}, None, "Loading the networks …", 0.0)
        plan, selection = read_words(words)
        with stream(session.video, **selection.options()) as source, session.set_aside():
            yield from _run(session, model_cache, plan, words, source, max_frames)


def _run(
    session: Session,
    model_cache: ModelCache,
    plan: Plan,
    words: list[str],
    source: IsolatedReader,
    max_frames: int,
) -> Iterator[Update]:
    total = source.expected_frames
    if total is not None and total > max_frames:
        raise UsageError(
            f"{total} frames are more than the {max_frames} that this page takes; choose a shorter part, or a stride"
        )
    job = model_cache.job_of(plan)
    readable = ReadableFrames(source)
    info = replace(source.info, name=Path(session.name).stem or "clip")
    collector = TubeCollector(info, job.class_names)
    begin = time.perf_counter()
    shown = drawn = 0.0
    done, last = 0, 0
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", VisWarning)
        tracked = job.stream(readable, quiet=True)
        try:
            for item in tracked:
                collector.add(item)
                cache_frame(session, item.frame, done)
                done, last, now = done + 1, item.frame.index, time.perf_counter()
                if now - shown >= SHOW_SECONDS:
                    shown = now
                    seen = live_view(session, item, job.class_names, done, total)
                    rows = None
                    if now - drawn >= TIMELINE_SECONDS:
                        drawn, session.position = now, done - 1
                        rows = timeline(session, collector.result(), total)
                    text = f"{done} of {total or '?'} frames · {_speed(done, total, now - begin)}"
                    yield Update(seen, rows, text, done / total if total else 0.0)
                if session.cancel.is_set() or done >= max_frames:
                    break
        finally:
            tracked.close()
    if not done:
        raise VideoError(
            "not one frame lies in the part that was chosen; choose an earlier start or a later end"
        )
    seconds = time.perf_counter() - begin
    model_cache.estimator.note(plan, done, seconds)
    failure = readable.failure
    stopped = failure is not None or session.cancel.is_set() or (done >= max_frames and done != total)
    result = collector.result(min_frames=plan.collected_frames(), made_with=job.made_with())
    result = job.finish(result, readable)
    with session.lock:
        # Corrections need a network even where the run kept the detector's own masks.
        session.history, session.model = History(result), plan.model or PRESETS["quick"].model
        session.position, session.row_cache = 0, {}
        session.selected = result.tubes[0].id if result.tubes else None
        session.options["words"] = [*_without_end(words), "--end", str(last + 1)] if stopped else words
        session.save(fresh=True)
    text = _ending(len(result.tubes), done, seconds, stopped)
    if plan.detector == "none":
        text = f"{done} frames are ready. {DRAW}"
    said = [] if failure is None else [str(failure)]
    said += [str(warning.message) for warning in caught if issubclass(warning.category, VisWarning)]
    text += "".join(f" Note: {clean_text(note, session.spoken)}." for note in dict.fromkeys(said))
    yield Update(view(session), timeline(session), text)


def _speed(done: int, total: int | None, seconds: float) -> str:
    speed = done / max(seconds, 1e-9)
    left = "" if total is None else f" · {duration((total - done) / speed)} left"
    pace = f"{speed:.1f} frames a second" if speed >= 0.95 else f"{1 / speed:.1f} s a frame"
    return pace + left


def _ending(tubes: int, frames: int, seconds: float, stopped: bool) -> str:
    objects = f"{tubes} object{'s' * (tubes != 1)}"
    if stopped:
        return f"Stopped after {frames} frames; {objects} found so far are kept."
    if not tubes:
        return (
            f"No object was found in {frames} frames. Try a lower threshold or another detector, or add it by hand. "
            + DRAW
        )
    return f"{objects} in {frames} frames, {duration(seconds)}."


def _without_end(words: list[str]) -> list[str]:
    if "--end" not in words:
        return words
    at = words.index("--end")
    return words[:at] + words[at + 2 :]
