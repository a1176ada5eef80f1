"""From options to a running pipeline: what the verbs share. Prints nothing."""

from __future__ import annotations

import argparse
import difflib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from apps.option_types import read_moment
from apps.presets import PRESETS
from apps.progress import Stopwatch, TimedDetector, TimedRefiner, TimedTracker, progress
from vis import __version__
from vis.errors import InputError, UsageError, VisWarning
from vis.interfaces import (
    CountedFrames,
    Describable,
    Detector,
    FrameSource,
    Resettable,
    Tracker,
    WeightsRecord,
)
from vis.structures import Frame, TrackedFrame, VideoResult

__all__ = [
    "Job",
    "Plan",
    "RefineJob",
    "Refining",
    "build_refiner",
    "choose_labels",
    "source_arguments",
]

SAMPLE = "sample"
STACKS = (".tif", ".tiff")
"""Files of images rather than of a video."""


@dataclass(frozen=True, slots=True)
class Refining:
    """How masks are sharpened."""

    model: str
    """Name in vis.weights.MODELS, or a checkpoint."""
    policy: str
    whole_or_part: bool
    zoom: bool
    mode: str
    overlap: str = "keep"
    clean: bool = False

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Refining:
        """The preset's part (``quick``'s where the command has no presets), with the options given laid over it."""
        preset = PRESETS[getattr(args, "preset", "quick")]
        choose = preset.whole_or_part if args.whole_or_part is None else args.whole_or_part
        overlap = preset.overlap if args.overlap is None else args.overlap
        clean = preset.clean if args.clean is None else args.clean
        model, policy = args.model or preset.model, args.policy or preset.policy
        return cls(model, policy, choose, args.zoom, args.mode, overlap, clean)


@dataclass(frozen=True, slots=True)
class Plan:
    """What will run, every default filled in."""

    preset: str
    detector: str
    detector_weights: str | None
    text: str | None
    """What detector ``text`` looks for."""
    tracker: str
    model: str | None
    """None: keep the detector's own masks."""
    policy: str
    whole_or_part: bool
    zoom: bool
    mode: str
    classes: tuple[str, ...]
    min_score: float
    min_frames: int
    top: int | None
    """At most so many tubes; None: all."""
    camera_motion: bool
    """Whether the tracker is told how the camera moved."""
    link: bool = False
    """Whether tubes are linked once the whole video is known."""
    overlap: str = "keep"
    clean: bool = False
    video_id: int | None = None
    """Which video of the detector's file; None where it holds one."""

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> Plan:
        """The preset's row, with the options given laid over it."""
        preset = PRESETS[args.preset]

        def given(value: Any, default: Any) -> Any:
            return default if value is None else value

        refining = Refining.from_args(args)
        return cls(
            preset=args.preset,
            detector=given(args.detector, preset.detector),
            detector_weights=args.weights,
            text=args.text,
            tracker=given(args.tracker, preset.tracker),
            model=None if refining.model == "none" else refining.model,
            policy=refining.policy,
            whole_or_part=refining.whole_or_part,
            zoom=refining.zoom,
            mode=refining.mode,
            classes=tuple(name.strip() for name in (args.classes or "").split(",") if name.strip()),
            min_score=given(args.score, preset.min_score),
            min_frames=given(args.min_frames, preset.min_frames),
            top=given(args.top, preset.top),
            # BoT-SORT is ByteTrack with the camera's motion taken out: without it, it would not be itself.
            camera_motion=args.camera_motion or given(args.tracker, preset.tracker) == "botsort",
            link=given(args.link, preset.link),
            overlap=refining.overlap,
            clean=refining.clean,
            video_id=args.video_id,
        )

    def collected_frames(self) -> int:
        """Least frames of a tube as it is collected: linking joins short pieces before it drops what stays short."""
        return 1 if self.link else self.min_frames

    def refining(self) -> Refining | None:
        """The refiner's part; None where the detector's own masks stay."""
        if self.model is None:
            return None
        return Refining(
            self.model, self.policy, self.whole_or_part, self.zoom, self.mode, self.overlap, self.clean
        )

    def tracker_settings(self) -> dict[str, Any]:
        """The preset's settings for its own tracker; another tracker keeps its defaults."""
        preset = PRESETS[self.preset]
        return dict(preset.tracker_settings) if self.tracker == preset.tracker else {}

    def detector_settings(self) -> dict[str, Any]:
        """The preset's settings for its own detector, and what was given over them."""
        preset = PRESETS[self.preset]
        settings = dict(preset.detector_settings) if self.detector == preset.detector else {}
        given = {"weights": self.detector_weights, "text": self.text, "video_id": self.video_id}
        return settings | {name: value for name, value in given.items() if value is not None}


class Job:
    """One video's way from frames to a result, with the time that each stage takes.

    Detector, tracker and refiner are those of a plan. :class:`RefineJob` replays a saved result
    instead of detecting.
    """

    def __init__(self, plan: Plan, *, device: str = "auto") -> None:
        import detectors
        import trackers

        self.plan = plan
        self.watch = Stopwatch()
        with self.watch("load"):
            self.detector: Detector = detectors.create(
                plan.detector,
                device=device,
                score=plan.min_score,
                classes=plan.classes,
                **plan.detector_settings(),
            )
            self.tracker: Tracker = trackers.create(plan.tracker, **plan.tracker_settings())
            self.camera = camera_motion() if plan.camera_motion else None
            self.refiner = build_refiner(plan.refining(), device=device)
        self.labels = choose_labels(plan.classes, self.detector.class_names)

    def describe(self) -> str:
        """One line that says what will run."""
        found_by = describe_detector(self.plan.detector, self.detector)
        return f"{found_by} -> {self.plan.tracker} -> {describe_refiner(self.refiner)}"

    def made_with(self) -> dict[str, Any]:
        """How the result was made: names, checksums and options, and nothing that varies from run to run."""
        weights = detector_checksums(self.detector)
        if self.plan.model is not None:
            weights.update(model_checksums(self.plan.model))
        options = {**asdict(self.plan), "classes": list(self.plan.classes)}
        if self.plan.video_id is None:
            del options["video_id"]  # results of before are named by their options, and had none of that name
        return {
            "program": "vis-tubes",
            "version": __version__,
            "options": options,
            "found_by": describe_detector(self.plan.detector, self.detector),
            "weights_sha256": weights,
        }

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The whole video as a result."""
        from vis import pipeline

        result = pipeline.collect(
            self.stream(source, quiet=quiet),
            source.info,
            self.class_names,
            min_frames=self.plan.collected_frames(),
            made_with=self.made_with(),
        )
        return self.finish(result, source)

    def stream(self, source: FrameSource, *, quiet: bool = True) -> Iterator[TrackedFrame]:
        """Tracked and refined frames, with progress on stderr. Starts afresh, whatever ran before."""
        from vis import pipeline

        tracked = self._associate(self._decoded(source))
        if self.refiner is not None:
            tracked = pipeline.refine(tracked, TimedRefiner(self.refiner, self.watch))
        return progress(tracked, what="tubes", total=self._total(source), quiet=quiet)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return self.detector.class_names

    def draw(
        self,
        source: FrameSource,
        result: VideoResult,
        folder: Path,
        *,
        audio_from: Path | None,
        overlay: bool = True,
        quiet: bool = True,
    ) -> dict[str, Exception]:
        """overlay.mp4 and contact_sheet.png, drawn from the saved result; returns what is missing, and why."""
        from apps import drawing

        with self.watch("draw"):
            return drawing.draw(source, result, folder, audio_from=audio_from, overlay=overlay, quiet=quiet)

    def start(self) -> None:
        """Forget the video before: tracker, detector and camera begin afresh."""
        self.tracker.reset()
        if isinstance(self.detector, Resettable):
            self.detector.reset()
        if self.camera is not None:
            self.camera.reset()

    def associate(self, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
        """Objects with ids, going on from whatever tracker, detector and camera remember."""
        from vis import pipeline

        return pipeline.track(
            frames,
            TimedDetector(self.detector, self.watch),
            TimedTracker(self.tracker, self.watch),
            min_score=self.plan.min_score,
            labels=self.labels,
            camera=self.camera,
        )

    def finish(self, result: VideoResult, frames: Iterable[Frame]) -> VideoResult:
        """What the plan does once the whole video is known: linking, and the cap on the number of tubes.

        ``frames``: the video once more, for the colours of its objects; read only where there is something to link.
        """
        from trackers.appearance import colour_looks
        from trackers.linking import drop_empty, keep_best, link

        if self.plan.overlap == "resolve":
            result = drop_empty(result)  # of two tubes on one thing, one has lost its pixels
        if self.plan.link:
            with self.watch("link"), warnings.catch_warnings():
                warnings.simplefilter("ignore", VisWarning)  # said when the video was read before
                looks = colour_looks(frames, result) if len(result.tubes) > 1 else None
                if looks and not all(vectors.any() for vectors in looks.values()):
                    looks = None  # the video was stopped, or does not read a second time
                # Colours join what the tracker lost; they do not undo what it followed.
                return link(result, looks, min_frames=self.plan.min_frames, top=self.plan.top, cut=False)
        return result if self.plan.top is None else keep_best(result, self.plan.top)

    def _associate(self, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
        self.start()
        return self.associate(frames)

    def _decoded(self, source: FrameSource) -> Iterator[Frame]:
        frames = iter(source)
        while True:
            with self.watch("decode"):
                frame = next(frames, None)
            if frame is None:
                return
            yield frame

    def _total(self, source: FrameSource) -> int | None:
        """How many frames will come, as far as the source knows."""
        return source.expected_frames if isinstance(source, CountedFrames) else None


class RefineJob(Job):
    """A saved association refined again: no detector, no tracker."""

    def __init__(self, saved: VideoResult, refining: Refining, *, device: str) -> None:
        self.saved = saved
        self.refining = refining
        self.watch = Stopwatch()
        with self.watch("load"):
            self.refiner = build_refiner(refining, device=device)

    @classmethod
    def from_args(cls, args: argparse.Namespace, saved: VideoResult) -> RefineJob:
        """From the options of ``vistubes refine``; what is not given is ``quick``'s."""
        refining = Refining.from_args(args)
        if refining.model == "none":
            raise UsageError("--model none: there would be nothing to refine with; name a model")
        return cls(saved, refining, device=args.device)

    def describe(self) -> str:
        """One line that says what will run."""
        return f"{len(self.saved.tubes)} saved tubes -> {describe_refiner(self.refiner)}"

    def made_with(self) -> dict[str, Any]:
        """The refiner's part, and under ``association`` how the saved result was made."""
        return {
            "program": "vis-tubes",
            "version": __version__,
            "options": asdict(self.refining),
            "weights_sha256": model_checksums(self.refining.model),
            "association": dict(self.saved.made_with),
        }

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The saved tubes with new masks.

        Raises :class:`InputError` when the video is not the one that the result was made from, as far
        as size and frame numbers tell.
        """
        from vis import pipeline

        saved = self.saved
        check_same_size(source, saved)
        stream = self.stream(source, quiet=quiet)
        result = pipeline.collect(stream, source.info, saved.class_names, made_with=self.made_with())
        if len(result.frames) != len(saved.frames):
            raise InputError(
                f"{source.info.name}: {len(result.frames)} of the {len(saved.frames)} frames of the saved "
                "result are in this video; give the video that it was made from"
            )
        # Collecting votes labels and scores anew; the saved ones may have been corrected by hand.
        kept = {tube.id: tube for tube in saved.tubes}
        tubes = tuple(replace(t, label=kept[t.id].label, score=kept[t.id].score) for t in result.tubes)
        return replace(result, tubes=tubes, dataset=saved.dataset)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return self.saved.class_names

    def _associate(self, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
        from vis import pipeline

        return pipeline.replay(frames, self.saved)

    def _total(self, source: FrameSource) -> int | None:  # noqa: ARG002 - the saved result knows better
        return len(self.saved.frames)


def camera_motion() -> Any:
    """The estimator of camera motion, imported when it is wanted."""
    from vis.video.motion import CameraMotion

    return CameraMotion()


def build_refiner(refining: Refining | None, *, device: str) -> Any:
    """The refiner, or None where nothing is to be refined."""
    if refining is None:
        return None
    from vis.refiners import load_refiner

    return load_refiner(
        refining.model,
        device=device,
        mode=refining.mode,
        policy=refining.policy,
        whole_or_part=refining.whole_or_part,
        zoom=refining.zoom,
        overlap=refining.overlap,
        clean=refining.clean,
    )


def describe_refiner(refiner: Any) -> str:
    """The refiner in a few words."""
    if refiner is None:
        return "no refinement"
    model = refiner.predictor.describe()
    asked = refiner.policy + (", whole or part" if refiner.whole_or_part else "")
    return f"{model['network']} {model['size']} ({asked}; {model['mode']}; {model['device']})"


def describe_detector(name: str, detector: Any) -> str:
    """The detector's name, or what it says of itself where it is made of several."""
    return f"{name} ({detector.describe()})" if isinstance(detector, Describable) else name


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


def check_same_size(source: FrameSource, saved: VideoResult) -> None:
    """Raise :class:`InputError` where the video cannot be the one that a saved result was made from."""
    if source.info.size != saved.video.size:
        raise InputError(
            f"{source.info.name}: frames are {source.info.size} (height, width), the saved result is of "
            f"{saved.video.size}; give the video that it was made from"
        )


def source_arguments(args: argparse.Namespace) -> tuple[Path, dict[str, Any]]:
    """The path to open and the keyword arguments of ``vis.video.open_source``."""
    from vis.video.images import is_stack

    if args.source == SAMPLE:
        from vis import weights

        path = weights.path("sample")
    else:
        path = Path(args.source)
    if args.fps is not None and path.is_file() and path.suffix.lower() not in STACKS:
        raise UsageError(
            f"--fps {args.fps:g}: is for folders of images; {path.name} is a file with its own times"
        )
    options: dict[str, Any] = {"stride": args.stride, "strict": args.strict}
    if args.fps is not None:
        options["fps"] = args.fps
    if args.value_range is not None:
        if path.is_file() and not is_stack(path):
            raise UsageError(
                f"--value-range is for images of more than 8 bits, and {path} is none; leave it out"
            )
        options["value_range"] = tuple(args.value_range)
    if args.reader != "pyav":
        options["reader"] = args.reader
    for name in ("start", "end"):
        text = getattr(args, name)
        if text is not None:
            frame, seconds = read_moment(text)
            options[f"{name}_frame" if frame is not None else f"{name}_seconds"] = (
                frame if frame is not None else seconds
            )
    return path, options


def model_checksums(model: str) -> dict[str, str]:
    """File name -> sha256 of the refiner's checkpoint and, where it has one, its HQ head."""
    from vis import weights

    if model not in weights.MODELS:
        path = Path(model)
        # A model that another package adds by its name has no file that is known here.
        return {path.name: weights.sha256_of(path)} if path.is_file() else {}
    entry = weights.MODELS[model]
    weight = weights.WEIGHTS[entry.weights]
    checksums = {weight.filename: weight.sha256}
    if entry.head is not None and entry.head.is_file():
        checksums[entry.head.name] = weights.sha256_of(entry.head)
    return checksums


def detector_checksums(detector: Any) -> dict[str, str]:
    """File name -> sha256 of the files that the detector was loaded from, if it says."""
    return dict(detector.weights_sha256) if isinstance(detector, WeightsRecord) else {}
