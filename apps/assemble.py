"""From options to a running pipeline: what the verbs share. Prints nothing."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from apps.presets import PRESETS
from apps.progress import Stopwatch, TimedDetector, TimedRefiner, TimedTracker, progress
from vis import __version__
from vis.errors import UsageError
from vis.interfaces import Detector, FrameSource, Refiner, Tracker
from vis.structures import TrackedFrame, VideoResult

__all__ = ["Job", "Plan", "choose_labels", "parse_moment", "source_arguments"]

Value = TypeVar("Value")
SAMPLE = "sample"


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, every default filled in."""

    preset: str
    detector: str
    detector_weights: str | None
    tracker: str
    model: str | None
    """None: keep the detector's own masks."""
    policy: str
    mode: str
    classes: tuple[str, ...]
    min_score: float
    min_frames: int

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Plan:
        """The preset's row, with the options given laid over it."""
        preset = PRESETS[args.preset]

        def given(value: Any, default: Any) -> Any:
            return default if value is None else value

        model = given(args.model, preset.model)
        return cls(
            preset=args.preset,
            detector=given(args.detector, preset.detector),
            detector_weights=args.weights,
            tracker=given(args.tracker, preset.tracker),
            model=None if model == "none" else model,
            policy=given(args.policy, preset.policy),
            mode=args.mode,
            classes=tuple(name.strip() for name in (args.classes or "").split(",") if name.strip()),
            min_score=given(args.score, preset.min_score),
            min_frames=given(args.min_frames, preset.min_frames),
        )


class Job:
    """The detector, tracker and refiner of a plan, with the time that each takes."""

    def __init__(self, plan: Plan, *, device: str = "auto") -> None:
        import detectors
        import trackers

        self.plan = plan
        self.watch = Stopwatch()
        settings = {} if plan.detector_weights is None else {"weights": plan.detector_weights}
        with self.watch("load"):
            self.detector: Detector = detectors.create(plan.detector, **settings)
            self.tracker: Tracker = choose(trackers.TRACKERS, plan.tracker, "--tracker")()
            self.refiner = build_refiner(plan, device=device)
        self.labels = choose_labels(plan.classes, self.detector.class_names)

    def describe(self) -> str:
        """One line that says what will run."""
        if self.refiner is None:
            refiner = "the detector's own masks"
        else:
            model = self.refiner.predictor.model.describe()
            refiner = f"{model['network']} {model['size']} ({self.plan.policy}; {model['mode']}; {model['device']})"
        return f"{self.plan.detector} -> {self.plan.tracker} -> {refiner}"

    def made_with(self) -> dict[str, Any]:
        """How the result was made: names, checksums and options, and nothing that varies from run to run."""
        weights = detector_checksums(self.detector)
        if self.plan.model is not None:
            weights.update(model_checksums(self.plan.model))
        options = asdict(self.plan)
        options["classes"] = list(self.plan.classes)
        return {"program": "vis-tubes", "version": __version__, "options": options, "weights_sha256": weights}

    def stream(self, source: FrameSource, *, quiet: bool = True) -> Iterator[TrackedFrame]:
        """Track and refine, frame by frame, with progress on stderr."""
        from vis import pipeline

        tracked = pipeline.track(
            self._decoded(source),
            TimedDetector(self.detector, self.watch),
            TimedTracker(self.tracker, self.watch),
            min_score=self.plan.min_score,
            labels=self.labels,
        )
        if self.refiner is not None:
            tracked = pipeline.refine(tracked, TimedRefiner(self.refiner, self.watch))
        return progress(tracked, what="tubes", total=expected_frames(source), quiet=quiet)

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The whole video as a result."""
        from vis import pipeline

        self.tracker.reset()
        if callable(reset := getattr(self.detector, "reset", None)):
            reset()
        return pipeline.collect(
            self.stream(source, quiet=quiet),
            source.info,
            self.detector.class_names,
            min_frames=self.plan.min_frames,
            made_with=self.made_with(),
        )

    def draw(
        self,
        source: FrameSource,
        result: VideoResult,
        folder: Path,
        *,
        audio_from: Path | None,
        overlay: bool = True,
        quiet: bool = True,
    ) -> None:
        """overlay.mp4 and contact_sheet.png, drawn from the saved result: one sees what the file says."""
        from apps import drawing

        with self.watch("draw"):
            drawing.draw(source, result, folder, audio_from=audio_from, overlay=overlay, quiet=quiet)

    def _decoded(self, source: FrameSource) -> Iterator[Any]:
        frames = iter(source)
        while True:
            with self.watch("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame


def build_refiner(plan: Plan, *, device: str) -> Any:
    """The plan's refiner, or None."""
    if plan.model is None:
        return None
    from vis.hqsam import Predictor, load_model
    from vis.refine import HQSamRefiner

    model = load_model(plan.model, device=device, mode=plan.mode)
    refiner: Refiner = HQSamRefiner(Predictor(model), policy=plan.policy)
    return refiner


def choose_labels(wanted: Sequence[str], known: Sequence[str]) -> list[int] | None:
    """Indices of the wanted class names; None when all are wanted.

    Raises :class:`UsageError` that names the nearest known class.
    """
    if not wanted:
        return None
    for name in wanted:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(known)}"
            raise UsageError(f"--classes: the detector has no class {name!r}; {hint}")
    return [known.index(name) for name in wanted]


def parse_moment(text: str, option: str) -> tuple[int | None, float | None]:
    """'120' -> (120, None), a frame; '4.5s' -> (None, 4.5), seconds."""
    try:
        if text.endswith("s"):
            seconds = float(text[:-1])
            if seconds >= 0:
                return None, seconds
        elif (frame := int(text)) >= 0:
            return frame, None
    except ValueError:
        pass
    raise UsageError(f"{option} {text!r}: give a frame number like 120, or seconds like 4.5s")


def source_arguments(args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The path to open and the keyword arguments of ``vis.video.open_source``."""
    if args.source == SAMPLE:
        from vis import weights

        path = weights.path("sample")
    else:
        path = Path(args.source)
    options: dict[str, Any] = {"stride": args.stride, "strict": args.strict}
    if args.fps is not None:
        options["fps"] = args.fps
    for name in ("start", "end"):
        text = getattr(args, name)
        if text is not None:
            frame, seconds = parse_moment(text, f"--{name}")
            options[f"{name}_frame" if frame is not None else f"{name}_seconds"] = frame if frame is not None else seconds
    return path, options


def choose(table: Mapping[str, Value], name: str, option: str) -> Value:
    """``table[name]``, or a :class:`UsageError` that lists the names."""
    if name not in table:
        raise UsageError(f"{option} {name!r} is unknown; choose one of {', '.join(table)}")
    return table[name]


def model_checksums(model: str) -> dict[str, str]:
    """File name -> sha256 of the refiner's checkpoint and, where it has one, its HQ head."""
    from vis import weights

    if model not in weights.MODELS:
        path = Path(model)
        return {path.name: weights.sha256_of(path)}
    entry = weights.MODELS[model]
    weight = weights.WEIGHTS[entry.weights]
    checksums = {weight.filename: weight.sha256}
    if entry.head is not None and entry.head.is_file():
        checksums[entry.head.name] = weights.sha256_of(entry.head)
    return checksums


def detector_checksums(detector: Any) -> dict[str, str]:
    """File name -> sha256 of the file that the detector was loaded from, if it says."""
    from vis import weights

    path = getattr(detector, "weights_path", None)
    return {} if path is None else {path.name: weights.sha256_of(path)}


def expected_frames(source: FrameSource) -> int | None:
    """How many frames the source will give, as far as it knows."""
    count: int | None = getattr(source, "expected_frames", None)
    return count
