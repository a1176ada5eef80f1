"""The pictures of a run folder, drawn from a saved result: one sees what the file says.

The result is final before drawing begins. A picture that cannot be drawn, for whatever reason, is missing;
nothing else is lost. ``pictures`` of run.json tells::

    {"state": "pending"}                                      being drawn, or killed while it was
    {"state": "drawn"}
    {"state": "failed", "missing": {"overlay.mp4": "why"}}    the others are there
    {"state": "left out"}                                     none was wanted
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any

from apps.progress import Stopwatch, progress
from vis.errors import VisError
from vis.interfaces import FrameSink, FrameSource
from vis.pipeline import replay
from vis.structures import Frame, TrackedFrame, VideoResult

__all__ = ["LEFT_OUT", "PENDING", "are_drawn", "draw", "drawn", "reason", "replayed"]

PENDING: Mapping[str, Any] = {"state": "pending"}
LEFT_OUT: Mapping[str, Any] = {"state": "left out"}


def drawn(missing: Mapping[str, BaseException]) -> dict[str, Any]:
    """What run.json says of the pictures after drawing; ``missing``: file name -> why it is not there."""
    if not missing:
        return {"state": "drawn"}
    return {"state": "failed", "missing": {name: reason(error) for name, error in missing.items()}}


def are_drawn(record: Mapping[str, Any]) -> bool:
    """Whether a run.json says that its pictures are done; older ones were written after drawing."""
    pictures = record.get("pictures", {"state": "drawn"})
    return isinstance(pictures, Mapping) and pictures.get("state") not in ("pending", "failed")


def reason(error: BaseException) -> str:
    """An exception in a sentence; one that is not ours with its kind."""
    if isinstance(error, VisError):
        return str(error)
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


def draw(
    source: FrameSource,
    result: VideoResult,
    folder: Path,
    *,
    audio_from: Path | None = None,
    overlay: bool = True,
    quiet: bool = True,
    watch: Stopwatch | None = None,
) -> dict[str, Exception]:
    """contact_sheet.png and, if wanted, overlay.mp4 with the sound of ``audio_from``.

    ``watch`` is told what encoding took, beside drawing.

    Returns file name -> error of those that could not be drawn. Each appears whole or not at all; frames
    after the last of the result are not read.
    """
    from vis.render import ContactSheet, OverlayWriter, Renderer

    renderer = Renderer(result.class_names)
    total = len(result.frames)
    pictures = [_Picture("contact_sheet.png", lambda path: _closing(ContactSheet(path, renderer)), folder)]
    writers: list[OverlayWriter] = []

    def open_overlay(path: Path) -> OverlayWriter:
        writers.append(
            OverlayWriter(path, result.video, renderer, audio_from=audio_from, expected_frames=total)
        )
        return writers[-1]

    if overlay:
        pictures.append(_Picture("overlay.mp4", open_overlay, folder))
    with contextlib.ExitStack() as stack:
        for picture in pictures:
            stack.enter_context(picture)
        frames = progress(replayed(source, result, result.frames), what="overlay", total=total, quiet=quiet)
        try:
            for tracked in frames:
                for picture in pictures:
                    picture.write(tracked)
                if all(picture.error is not None for picture in pictures):
                    break
        except Exception as error:
            for picture in pictures:
                picture.fail(error)
    if watch is not None:
        for writer in writers:
            watch.note("encode", writer.encoding)
    return {picture.name: picture.error for picture in pictures if picture.error is not None}


def replayed(
    source: FrameSource, result: VideoResult, frames: Iterable[int], *, dense: bool = False
) -> Iterator[TrackedFrame]:
    """The objects on these frames of the source, which is read no further than the last of them.

    ``dense``: with masks of whole frames; drawing needs none.
    """
    wanted = {int(frame) for frame in frames}
    last = max(wanted, default=-1)

    def chosen() -> Iterator[Frame]:
        for frame in source if wanted else ():
            if frame.index in wanted:
                yield frame
            if frame.index >= last:
                return

    return replay(chosen(), result, dense=dense)


class _Picture:
    """One picture while it is drawn. Its first error ends it and is kept; other pictures go on."""

    def __init__(
        self, name: str, make: Callable[[Path], AbstractContextManager[FrameSink]], folder: Path
    ) -> None:
        self.name = name
        self.error: Exception | None = None
        self._make, self._path = make, folder / name
        self._context: AbstractContextManager[FrameSink] | None = None
        self._sink: FrameSink | None = None

    def write(self, tracked: TrackedFrame) -> None:
        if self._sink is None:
            return
        try:
            self._sink.write(tracked)
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Leave no file, and remember why; the first reason is the one that counts."""
        self.error = self.error or error
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        context, self._context, self._sink = self._context, None, None
        if context is None:
            return
        try:
            context.__exit__(
                None if error is None else type(error), error, None if error is None else error.__traceback__
            )
        except Exception as other:
            self.error = self.error or other

    def __enter__(self) -> _Picture:
        try:
            self._context = self._make(self._path)
            self._sink = self._context.__enter__()
        except Exception as error:
            self._context = None
            self.error = error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave(error)


@contextlib.contextmanager
def _closing(sink: FrameSink) -> Iterator[FrameSink]:
    """A sink that is closed when all went well; one that writes nothing before needs no more."""
    yield sink
    sink.close()
