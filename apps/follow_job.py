"""Objects followed from prompts: what carries them, and the job. Prints nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps import follow_prompts
from apps.follow_prompts import FollowedFrames, Given, Request
from apps.job import model_checksums
from apps.plan import Selection
from apps.progress import Stopwatch, progress, timed
from vis import __version__, engines
from vis.interfaces import CountedFrames

if TYPE_CHECKING:
    from vis.follow.engine import Engine
    from vis.interfaces import FrameSource
    from vis.structures import Frame, TrackedFrame, VideoResult
    from vis.video import RandomAccessReader
    from vis.video.options import FrameRange

__all__ = ["FollowJob", "Following"]


@dataclass(frozen=True, slots=True)
class Following:
    """What carries objects, and what they are called."""

    engine: str
    """Name in vis.engines."""
    model: str
    """The engine's model: a name in vis.weights.MODELS, or a checkpoint."""
    precision: str = "fast"
    speed: str = "full"
    """Of ``vis.follow.SPEEDS``."""
    labels: tuple[str, ...] = ()
    """``NAME`` or ``NAME#ID`` each."""
    weights: str | None = None
    """Of the detector that finds what a text names; None: its own."""
    text_score: float = 0.3
    """Least score of what it finds."""
    device: str = "auto"

    def record(self, given: Sequence[Given]) -> dict[str, Any]:
        """What a result says of it and of the prompts."""
        options: dict[str, Any] = {
            "engine": self.engine,
            "model": self.model,
            "precision": self.precision,
            "speed": self.speed,
        }
        if self.labels:
            options["label"] = list(self.labels)
        if self.weights is not None:
            options["weights"] = self.weights
        return {
            "program": "vis-tubes",
            "version": __version__,
            "options": {**options, "prompts": [item.spelled for item in given]},
            "weights_sha256": model_checksums(self.model),
        }

    def load(self) -> Engine:
        """The engine, its model loaded."""
        return engines.create(self.engine, model=self.model, device=self.device, mode=self.precision)


class FollowJob:
    """One video and its prompts; no detector, no tracker."""

    def __init__(
        self, following: Following, given: Sequence[Given], path: Path, selection: Selection
    ) -> None:
        """``path``: the video, which is read as ``selection`` says."""
        self.watch = Stopwatch()
        self.refiner = None
        self._following, self._given = following, given
        with self.watch("open"):
            self._pictures = selection.pictures(path)
        self._request: Request | None = None

    def describe(self) -> str:
        """One line that says what will run."""
        objects = len({item.place.object_id or f"row {row}" for row, item in enumerate(self._given)})
        by = self._following
        return f"{objects} prompt{'s' * (objects != 1)} -> follow ({by.engine}) -> {by.model}"

    def made_with(self) -> dict[str, Any]:
        """How the result was made: prompts, options and checksums."""
        return self._following.record(self._given)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The objects' names: 'object' first, where one has no other."""
        if self._request is None:
            return ("object",)
        return follow_prompts.class_names(self._request)

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The objects as tubes."""
        from vis import pipeline

        frames = _followed_frames(source, self._pictures)
        self._request = follow_prompts.build_request(self._given, source.info, frames, find=self._find)
        self._request = follow_prompts.labelled(self._request, self._following.labels)
        stream = self._follow(source, frames, quiet=quiet)
        return pipeline.collect(stream, source.info, self.class_names, made_with=self.made_with())

    def _follow(self, source: FrameSource, frames: FollowedFrames, *, quiet: bool) -> Iterator[TrackedFrame]:
        from vis.background import prefetch
        from vis.follow import SPEEDS, follow

        assert self._request is not None
        with self.watch("load"):
            engine = self._following.load()
        names = self.class_names
        labels = {object_id: names.index(name) for object_id, name in self._request.labels.items()}

        def backwards(high: int, low: int) -> Iterator[Frame]:
            indices = range(high, max(low, frames.first) - 1, -frames.stride)
            pictures = prefetch((self._pictures[index] for index in indices), 4)
            return progress(pictures, what="backwards", total=len(indices), quiet=quiet)

        stream = follow(
            source,
            engine.propagator,
            self._request.prompts,
            backwards=backwards,
            keyframe_interval=SPEEDS[self._following.speed],
            labels=labels,
        )
        total = source.expected_frames if isinstance(source, CountedFrames) else None
        stream = timed(stream, self.watch, "follow")
        yield from progress(stream, what="follow", total=total, quiet=quiet)

    def _find(self, words: str, frame: int) -> list[tuple[tuple[float, float, float, float], str]]:
        import detectors

        by = self._following
        chosen = {} if by.weights is None else {"weights": by.weights}
        with self.watch("text"):
            finder = detectors.create("text", text=words, score=by.text_score, device=by.device, **chosen)
            found = finder.detect([self._pictures[frame].image])[0]
        size = self._pictures.info
        out = []
        for (x0, y0, x1, y1), label in zip(found.boxes.tolist(), found.labels.tolist(), strict=True):
            box = max(0.0, x0), max(0.0, y0), min(float(size.width), x1), min(float(size.height), y1)
            out.append((box, finder.class_names[label]))
        return out


def _followed_frames(source: FrameSource, pictures: RandomAccessReader) -> FollowedFrames:
    """The frames that ``source`` will give, as far as it says."""
    wanted: FrameRange = source.frame_range  # type: ignore[attr-defined]  # every source of vis.video has it
    count = len(pictures)
    first = wanted.start_frame or 0
    if wanted.start_seconds is not None:
        first = max(first, pictures.index_at(wanted.start_seconds))
        while first + 1 < count and wanted.starts_after(first, pictures[first].pts_seconds):
            first += 1
    stop = count if wanted.end_frame is None else min(count, wanted.end_frame)
    if wanted.end_seconds is not None:
        last = pictures.index_at(wanted.end_seconds)
        stop = min(stop, last if wanted.is_past(last, pictures[last].pts_seconds) else last + 1)
    return FollowedFrames(first, stop, wanted.stride, pictures.index_at)
