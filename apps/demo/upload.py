"""A clip comes in: checked before it is decoded, copied into the visitor's folder, described."""

from __future__ import annotations

import math
import shutil
from dataclasses import replace
from pathlib import Path

from apps.demo.clip_frames import inspect
from apps.demo.command import read_words
from apps.demo.labels import card, display_name, large_letter, slug
from apps.demo.model_cache import ModelCache
from apps.demo.session import Session
from vis.errors import UsageError, VideoError
from vis.video.options import FrameRange

__all__ = ["SUFFIXES", "check_part", "describe", "open_clip", "span_of", "wanted_frames"]

SUFFIXES = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v", ".mpg", ".mpeg")


def open_clip(session: Session, file: Path, name: str, *, source: str | None = None) -> None:
    """Take ``file`` as the session's clip. ``name`` is the visitor's; ``source`` the command's word for it.

    Raises :class:`VideoError` when it is too big, no video, or damaged; what was open stays open then. It may be
    longer than the page takes at once (:func:`check_part`).
    """
    from vis.video import WEB_LIMITS

    shown = display_name(name)
    suffix = Path(shown).suffix.lower()
    if suffix not in SUFFIXES:
        raise VideoError(f"{shown}: not a kind of video known here; give one of {', '.join(SUFFIXES)}")
    WEB_LIMITS.check_bytes(shown, file.stat().st_size)
    target = session.folder / f"new-{slug(shown)}{suffix}"
    try:
        shutil.copyfile(file, target)
        info = inspect(target)
    except VideoError as error:
        target.unlink(missing_ok=True)
        # The visitor knows the file by another name than the server does.
        raise VideoError(str(error).replace(str(target), shown)) from error
    with session.lock:
        old = session.video
        session.forget_result()
        session.clear()
        if old is not None:
            old.unlink(missing_ok=True)
        session.video = target.replace(session.folder / target.name.removeprefix("new-"))
        session.info, session.name = info, shown
        session.options = {"source": source or shown}


def span_of(session: Session, start: float | None, end: float | None, stride: float | None) -> FrameRange:
    """Which frames are wanted; raises :class:`UsageError` in words of the form."""
    length = None if session.info is None else session.info.duration_seconds
    for name, value in (("start", start), ("end", end), ("every nth", stride)):
        if value is not None and not math.isfinite(value):
            raise UsageError(
                f"{name}: {value} is no number to choose frames by; give seconds, or a whole number"
            )
    if start and length is not None and start >= length:
        raise UsageError(
            f"start at {start:g} s is beyond the clip's end at {length:.2f} s; choose an earlier start"
        )
    if end and end <= (start or 0):
        raise UsageError(f"end at {end:g} s is not after the start at {start or 0:g} s; choose a later end")
    if stride is not None and not 1 <= stride <= 1000:
        raise UsageError(f"every {stride:g}th frame: choose a whole number from 1 to 1000")
    return FrameRange(start_seconds=start or None, end_seconds=end or None, stride=int(stride or 1))


def check_part(session: Session, span: FrameRange) -> None:
    """Raise :class:`UsageError` where the chosen part is longer than the page takes at once.

    Only the part counts, and all of it: frames that a stride leaves out are decoded too.
    """
    from vis.video import WEB_LIMITS

    info = session.info
    if info is None:
        return
    start = span.start_seconds or 0.0
    ends = [end for end in (info.duration_seconds, span.end_seconds) if end is not None]
    seconds = max(0.0, min(ends, default=0.0) - start)
    frames = replace(span, stride=1).count(info.num_frames, info.fps) or 0
    try:
        WEB_LIMITS.check_length("this part", frames, seconds, info.height * info.width)
    except VideoError as error:
        told = str(error).rpartition(";")[0]
        raise UsageError(f"{told}; choose a shorter part with From and To") from error


def wanted_frames(session: Session, span: FrameRange) -> int | None:
    """About how many frames that is."""
    info = session.info
    return None if info is None else span.count(info.num_frames, info.fps)


def describe(session: Session, model_cache: ModelCache, words: list[str], span: FrameRange) -> str:
    """The card of the clip, with an estimate."""
    if session.info is None:
        return ""
    frames = wanted_frames(session, span)
    estimate = model_cache.estimator.estimate(read_words(words)[0], frames)
    try:
        check_part(session, span)
    except UsageError as error:
        return card(
            session.name, session.info, frames=None, estimate=estimate, note=large_letter(f"{error}.")
        )
    return card(session.name, session.info, frames=frames, estimate=estimate)
