"""A plan's detector, tracker and refiner at work on one video. Prints nothing."""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any, Protocol

from apps.plan import SPEEDS, Plan, Refining
from apps.progress import Stopwatch, TimedDetector, TimedRefiner, TimedTracker, progress, timed
from vis import __version__
from vis.background import Background, prefetch
from vis.errors import InputError, UsageError, VisWarning
from vis.interfaces import (
    CountedFrames,
    Describable,
    Detector,
    FrameSource,
    MotionCompensator,
    Resettable,
    Tracker,
    WeightsRecord,
)
from vis.structures import Detections, Frame, TrackedFrame, VideoInfo, VideoResult

if TYPE_CHECKING:
    from vis.pipeline import TubeCollector
    from vis.prompt_policies import HQSamRefiner

__all__ = [
    "Job",
    "VideoJob",
    "build_refiner",
    "check_same_size",
    "choose_labels",
    "collect_beside",
    "describe_refiner",
    "made_from",
    "model_checksums",
]


class VideoJob(Protocol):
    """What every verb that makes a run folder gives to :func:`apps.verbs.run.run_job`."""

    watch: Stopwatch
    """The time that each stage took."""

    @property
    def refiner(self) -> HQSamRefiner | None:
        """What refines masks; None where nothing does."""
        ...

    def describe(self) -> str:
        """One line that says what will run."""
        ...

    def made_with(self) -> dict[str, Any]:
        """How the result is made: names, checksums and options."""
        ...

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The whole video as a result."""
        ...


UNEDITED_PRIOR = -2.0
"""Affinity of a link before looking, for tubes as a tracker left them: many short pieces are false finds, which
must not be chained to objects. On seven clips of BMS-26, 17 of 19 objects are found with -2 and 16 with 2."""


LOOK_WITHIN = 2
"""Frames between two key frames from which on the mask network may look there. With 1 it looks twice as often, for half
a point of tube IoU on DAVIS at most."""


class Job:
    """One video's way from frames to a result, with the time that each stage takes.

    Detector, tracker and refiner are those of a plan.
    """

    def __init__(self, plan: Plan, *, device: str = "auto") -> None:
        import detectors
        import trackers
        from vis.video.motion import CameraMotion

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
            self.camera = CameraMotion() if plan.camera_motion else None
            refining = plan.refining()
            self.refiner = None if refining is None else build_refiner(refining, device=device)
        self.labels = choose_labels(plan.classes, self.detector.class_names)

    def describe(self) -> str:
        """One line that says what will run."""
        found_by = describe_detector(self.plan.detector, self.detector)
        return f"{found_by} -> {self.plan.tracker} -> {describe_refiner(self.refiner)}"

    def made_with(self) -> dict[str, Any]:
        """How the result was made: names, checksums and options, and nothing that varies from run to run."""
        weights = detector_checksums(self.detector) | self.refiner_weights()
        return {
            "program": "vis-tubes",
            "version": __version__,
            "options": self.plan.record(),
            "found_by": describe_detector(self.plan.detector, self.detector),
            "weights_sha256": weights,
        }

    def refiner_weights(self) -> dict[str, str]:
        """File name -> sha256 of the refiner's files."""
        return {} if self.plan.model is None else model_checksums(self.plan.model)

    def process(self, source: FrameSource, *, quiet: bool = True) -> VideoResult:
        """The whole video as a result."""
        collector = collect_beside(
            self.stream(source, quiet=quiet), source.info, self.class_names, self.watch
        )
        result = collector.result(min_frames=self.plan.collected_frames(), made_with=self.made_with())
        return self.finish(result, source)

    def stream(self, source: FrameSource, *, quiet: bool = True) -> Iterator[TrackedFrame]:
        """Tracked and refined frames, with progress on stderr. Starts afresh, whatever ran before."""

        self.start()
        frames = timed(source, self.watch, "decode")
        if self.skips_frames:
            if self.refiner is not None:
                self.refiner.reset()
            tracked: Iterator[TrackedFrame] = chain.from_iterable(self.keyframe_groups(frames))
        else:
            tracked = self._seen(frames)
        total = source.expected_frames if isinstance(source, CountedFrames) else None
        return progress(tracked, what="tubes", total=total, quiet=quiet)

    def _seen(self, frames: Iterator[Frame]) -> Iterator[TrackedFrame]:
        """The objects of frames on which the networks look."""
        from vis import pipeline

        tracked = self.associate(frames)
        if self.refiner is None:
            return tracked
        # The detector finds the next frame's objects while the mask network draws this one's.
        found = timed(prefetch(tracked, 1), self.watch, "wait")
        return pipeline.refine(found, TimedRefiner(self.refiner, self.watch))

    @property
    def skips_frames(self) -> bool:
        """Whether networks look at key frames only."""
        return SPEEDS[self.plan.speed].interval > 1

    def keyframe_groups(
        self, frames: Iterator[Frame], start: TrackedFrame | None = None
    ) -> Iterator[list[TrackedFrame]]:
        """Objects of frames of which networks look at key frames only, in lists that end in one.

        ``start``: the key frame before, of a run that is taken up again. Goes on from whatever tracker, detector and
        refiner remember.
        """
        from vis.follow.keyframes import keyframe_groups

        speed = SPEEDS[self.plan.speed]
        return keyframe_groups(
            frames,
            self._look,
            interval=speed.interval,
            agreement=speed.agreement,
            refine=None if self.refiner is None else self._refine_some,
            carried=self._note_carried,
            moved=self.detector.compensate_flow if isinstance(self.detector, MotionCompensator) else None,
            resolve=self.plan.overlap == "resolve",
            clean=self.plan.clean,
            look_within=LOOK_WITHIN,
            start=start,
        )

    def _look(self, frame: Frame) -> TrackedFrame:
        tracked = next(self.associate(iter((frame,))))
        if self.refiner is None:
            return tracked
        return replace(tracked, detections=self._refine(frame, tracked.detections))

    def _refine(self, frame: Frame, objects: Detections) -> Detections:
        assert self.refiner is not None  # who calls this has looked
        return TimedRefiner(self.refiner, self.watch).refine(frame.image, objects)

    def _refine_some(self, frame: Frame, objects: Detections) -> Detections:
        assert self.refiner is not None  # who calls this has looked
        with self.watch("refine"):
            return self.refiner.refine_some(frame.image, objects)

    def _note_carried(self, frame: Frame, objects: Detections) -> None:
        """Let the tracker go with the motion between key frames, as if the detector had seen it."""
        if self.camera is not None:
            TimedTracker(self.tracker, self.watch).compensate(self.camera(frame.image))
        TimedTracker(self.tracker, self.watch).update(objects, frame.pts_seconds)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels index."""
        return self.detector.class_names

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
                return link(
                    result,
                    looks,
                    min_frames=self.plan.min_frames,
                    # A flicker of the detector is no object. A clip of a few frames has less to show of any.
                    min_evidence=min(1.0, len(result.frames) / 10) if self.plan.min_frames > 1 else 0.0,
                    top=self.plan.top,
                    prior=UNEDITED_PRIOR,
                    merge=self.plan.overlap == "resolve",
                )
        return result if self.plan.top is None else keep_best(result, self.plan.top)


def collect_beside(
    stream: Iterable[TrackedFrame], video: VideoInfo, class_names: Sequence[str], watch: Stopwatch
) -> TubeCollector:
    """The tubes of a stream; masks become run lengths in a thread of their own while the networks go on."""
    from vis.pipeline import TubeCollector

    collector = TubeCollector(video, class_names)
    with Background(collector.add, depth=1) as collecting:
        for item in stream:
            collecting.put(item)
    watch.note("collect", collecting)
    return collector


def made_from(saved: VideoResult, options: Mapping[str, Any], model: str) -> dict[str, Any]:
    """How a result was made of a saved one: this step's part, and under ``association`` how that one was made."""
    return {
        "program": "vis-tubes",
        "version": __version__,
        "options": dict(options),
        "weights_sha256": model_checksums(model),
        "association": dict(saved.made_with),
    }


def build_refiner(refining: Refining, *, device: str) -> HQSamRefiner:
    """What refines masks so."""
    from vis.refiners import load_refiner

    return load_refiner(
        refining.model,
        device=device,
        mode=refining.precision,
        policy=refining.policy,
        multimask_selection=refining.multimask_selection,
        zoom=refining.zoom,
        overlap=refining.overlap,
        clean=refining.clean,
    )


def describe_refiner(refiner: HQSamRefiner | None) -> str:
    """The refiner in a few words."""
    if refiner is None:
        return "no refinement"
    model = refiner.predictor.describe()
    asked = refiner.policy + (", multimask tube" if refiner.multimask_selection == "tube" else "")
    return f"{model['network']} {model['size']} ({asked}; {model['mode']}; {model['device']})"


def describe_detector(name: str, detector: object) -> str:
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


def model_checksums(model: str) -> dict[str, str]:
    """File name -> sha256 of the refiner's weights and, where it has one, its HQ head."""
    from vis import refiners

    return refiners.checksums(model)


def detector_checksums(detector: object) -> dict[str, str]:
    """File name -> sha256 of the files that the detector was loaded from, if it says."""
    return dict(detector.weights_sha256) if isinstance(detector, WeightsRecord) else {}
