"""What will run, as values: which frames of which video, what finds and follows objects, what refines their masks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from apps.option_types import read_moment
from apps.presets import PRESETS
from vis.errors import UsageError

if TYPE_CHECKING:
    from vis.interfaces import FrameSource
    from vis.video import RandomAccessReader

__all__ = ["SPEEDS", "Plan", "Refining", "Selection", "Speed", "source_path", "value_or_default"]

SAMPLE = "sample"
STACKS = (".tif", ".tiff")
"""Files of images rather than of a video."""


@dataclass(frozen=True, slots=True)
class Speed:
    """On which frames the networks look."""

    interval: int
    """At most so many frames from one key frame to the next; 1: every frame is one."""
    agreement: float = 1.0
    """Between key frames whose masks, carried from one to the other, overlap less (IoU), the mask network looks too."""


SPEEDS = {"full": Speed(1), "balanced": Speed(6, 0.7), "fastest": Speed(8, 0.5)}

Value = TypeVar("Value")


def value_or_default(value: Value | None, default: Value) -> Value:
    """``value`` where one was given."""
    return default if value is None else value


@dataclass(frozen=True, slots=True)
class Selection:
    """Which frames of a video, and how they are read."""

    start: str | None = None
    """First frame ("120") or time ("4.5s"), as :func:`apps.option_types.read_moment` reads it."""
    end: str | None = None
    """The first frame or time that is not taken."""
    stride: int = 1
    fps: float | None = None
    """Of a folder of images."""
    strict: bool = False
    """Whether a damaged video is an error and not a warning."""
    value_range: Sequence[float] | None = None
    """What becomes black and white in images of more than 8 bits."""
    reader: str = "pyav"

    def options(self) -> dict[str, Any]:
        """The keyword arguments of ``vis.video.open_source``. A batch's finished videos are known by them."""
        options: dict[str, Any] = {"stride": self.stride, "strict": self.strict}
        if self.fps is not None:
            options["fps"] = self.fps
        if self.value_range is not None:
            options["value_range"] = tuple(self.value_range)
        if self.reader != "pyav":
            options["reader"] = self.reader
        for name, moment in (("start", self.start), ("end", self.end)):
            if moment is not None:
                frame, seconds = read_moment(moment)
                options |= {f"{name}_seconds": seconds} if frame is None else {f"{name}_frame": frame}
        return options

    def open(self, path: Path) -> FrameSource:
        """The frames of ``path``. Raises :class:`UsageError` for an option that is not for such a file."""
        from vis.video import open_source
        from vis.video.images import is_stack

        if self.fps is not None and path.is_file() and path.suffix.lower() not in STACKS:
            raise UsageError(
                f"--fps {self.fps:g}: is for folders of images; {path.name} is a file with its own times"
            )
        if self.value_range is not None and path.is_file() and not is_stack(path):
            raise UsageError(
                f"--value-range is for images of more than 8 bits, and {path} is none; leave it out"
            )
        return open_source(path, **self.options())

    def pictures(self, path: Path) -> RandomAccessReader:
        """All frames of ``path`` by their index, read the same way; neither start, end nor stride count."""
        from vis.video import RandomAccessReader

        levels = None if self.value_range is None else (self.value_range[0], self.value_range[1])
        return RandomAccessReader(path, reader=self.reader, fps=self.fps, value_range=levels)

    def record(self) -> dict[str, Any]:
        """What ``run.json`` says of it."""
        return {"start": self.start, "end": self.end, "stride": self.stride}


@dataclass(frozen=True, slots=True)
class Refining:
    """How masks are sharpened."""

    model: str
    """Name in vis.weights.MODELS, or a checkpoint; "none": not at all."""
    policy: str
    multimask_selection: str
    zoom: bool
    precision: str
    overlap: str = "keep"
    clean: bool = False

    @classmethod
    def of(
        cls,
        preset: str = "quick",
        *,
        model: str | None = None,
        policy: str | None = None,
        multimask_selection: str | None = None,
        zoom: bool = False,
        precision: str | None = None,
        overlap: str | None = None,
        clean: bool | None = None,
        speed: str = "full",
    ) -> Refining:
        """The preset's part, with what is given laid over it. ``speed``: of :data:`SPEEDS`, not the preset's."""
        row = PRESETS[preset]
        return cls(
            model=value_or_default(model, row.model),
            policy=value_or_default(policy, row.policy),
            multimask_selection=value_or_default(multimask_selection, row.multimask_selection),
            zoom=zoom,
            # Who does without most looks can do without their last digits.
            precision=value_or_default(precision, "fast" if speed == "full" else "fastest"),
            overlap=value_or_default(overlap, row.overlap),
            clean=value_or_default(clean, row.clean),
        )

    def record(self) -> dict[str, Any]:
        """What a result says of it."""
        return saved_options(asdict(self))


def saved_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by the names that saved files have for them, which stay when an option is renamed."""
    saved = dict(options)
    saved["mode"] = saved.pop("precision")
    saved["whole_or_part"] = saved.pop("multimask_selection") == "tube"
    return saved


@dataclass(frozen=True, slots=True)
class Plan:
    """What finds, follows and refines, every default filled in. A batch's finished videos are known by its fields."""

    preset: str
    detector: str
    detector_weights: str | None
    text: str | None
    """What detector ``text`` looks for."""
    tracker: str
    model: str | None
    """None: keep the detector's own masks."""
    policy: str
    multimask_selection: str
    zoom: bool
    precision: str
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
    speed: str = "full"
    """Of :data:`SPEEDS`."""

    @classmethod
    def of(
        cls,
        preset: str = "quick",
        *,
        detector: str | None = None,
        weights: str | None = None,
        video_id: int | None = None,
        text: str | None = None,
        tracker: str | None = None,
        camera_motion: bool = False,
        classes: str | None = None,
        score: float | None = None,
        min_frames: int | None = None,
        link: bool | None = None,
        top: int | None = None,
        speed: str | None = None,
        **refining: Any,
    ) -> Plan:
        """The preset's row, with what is given laid over it: the options of ``vistubes run``, by their names.

        ``classes`` are names with commas between; ``refining``: as of :meth:`Refining.of`.
        """
        row = PRESETS[preset]
        detector = value_or_default(detector, row.detector)
        # What another detector, or a file, gives on each frame is not to be passed over unasked.
        speed = value_or_default(speed, row.speed if detector == row.detector else "full")
        masks = Refining.of(preset, speed=speed, **refining)
        tracker = value_or_default(tracker, row.tracker)
        return cls(
            preset=preset,
            detector=detector,
            detector_weights=weights,
            text=text,
            tracker=tracker,
            model=None if masks.model == "none" else masks.model,
            policy=masks.policy,
            multimask_selection=masks.multimask_selection,
            zoom=masks.zoom,
            precision=masks.precision,
            classes=tuple(name.strip() for name in (classes or "").split(",") if name.strip()),
            min_score=value_or_default(score, row.min_score),
            min_frames=value_or_default(min_frames, row.min_frames),
            top=value_or_default(top, row.top),
            # BoT-SORT is ByteTrack with the camera's motion taken out: without it, it would not be itself.
            camera_motion=camera_motion or tracker == "botsort",
            link=value_or_default(link, row.link),
            overlap=masks.overlap,
            clean=masks.clean,
            video_id=video_id,
            speed=speed,
        )

    def record(self) -> dict[str, Any]:
        """What a result says of it, and what a batch's finished videos are known by."""
        options = {**saved_options(asdict(self)), "classes": list(self.classes)}
        # Results of before are named by their options, and had none of these names.
        if self.video_id is None:
            del options["video_id"]
        if self.speed == "full":
            del options["speed"]
        return options

    def collected_frames(self) -> int:
        """Least frames of a tube as it is collected: linking joins short pieces before it drops what stays short."""
        return 1 if self.link else self.min_frames

    def refining(self) -> Refining | None:
        """The refiner's part; None where the detector's own masks stay."""
        if self.model is None:
            return None
        return Refining(
            self.model,
            self.policy,
            self.multimask_selection,
            self.zoom,
            self.precision,
            self.overlap,
            self.clean,
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


def source_path(text: str) -> Path:
    """The path of a video; that of the sample clip, fetched where it must be, for "sample"."""
    if text != SAMPLE:
        return Path(text)
    from vis import weights

    return weights.path(SAMPLE)
