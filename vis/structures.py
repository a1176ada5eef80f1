"""The types that travel between the rooms. Knows no file, no network and no video library.

Units, fixed once for the whole project: images are RGB ``uint8 (H, W, 3)``; boxes are
``x0, y0, x1, y1`` in pixels, half-open, ``float32 (N, 4)``; sizes are ``(height, width)``; frame
indices count from 0; ``pts_seconds`` is presentation time; scores and IoUs lie in [0, 1].

All are frozen and check themselves when made. They hold arrays by reference: what gives an array
away must not write to it afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vis.array_checks import as_array_of, check_array, repr_of, require
from vis.errors import DependencyError, UsageError

__all__ = [
    "DatasetIds",
    "Detections",
    "Frame",
    "MaskRLE",
    "TrackedFrame",
    "Tube",
    "VideoInfo",
    "VideoResult",
]

# numpy 2 types scalars strictly; these three aliases keep signatures readable.
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Bool = NDArray[np.bool_]


_DETECTIONS: Mapping[str, Any] = {
    "boxes": np.dtype(np.float32),
    "scores": np.dtype(np.float32),
    "labels": np.dtype(np.int64),
    "masks": np.dtype(np.bool_),
    "track_ids": np.dtype(np.int64),
    "embeddings": np.dtype(np.float32),
}
"""Arrays of :class:`Detections` by their field."""


@dataclass(frozen=True, slots=True, repr=False)
class MaskRLE:
    """One binary mask as COCO compressed run lengths (column-major, runs of 0 first).

    Values are trusted inside the project; bytes from outside pass :func:`vis.masks.from_coco` first.
    """

    size: tuple[int, int]
    """(height, width) in pixels."""
    counts: bytes
    """COCO's compressed run lengths, ASCII 48..111."""

    def __post_init__(self) -> None:
        require(
            len(self.size) == 2 and all(isinstance(n, int) and n > 0 for n in self.size),
            f"MaskRLE.size: expected two positive ints (height, width), got {self.size!r}",
        )
        require(
            isinstance(self.counts, bytes),
            f"MaskRLE.counts: expected bytes, got {type(self.counts).__name__}",
        )

    def __repr__(self) -> str:
        return f"MaskRLE(size={self.size}, counts=<{len(self.counts)} bytes>)"


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video is, before a frame of it is decoded."""

    name: str
    """Short name for folders and reports: the file's stem or the folder's name."""
    height: int
    """Pixels, after rotation."""
    width: int
    """Pixels, after rotation."""
    num_frames: int | None = None
    """Frames that the container promises; None when it does not say."""
    fps: float | None = None
    """Average frames per second; None for a folder of images without a rate."""
    duration_seconds: float | None = None
    """Length in seconds; None when unknown."""
    rotation: int = 0
    """Degrees that the reader turns the picture counter-clockwise: 0, 90, 180 or 270."""
    codec: str = ""
    """The stream's codec name, empty for images."""
    variable_frame_rate: bool = False
    """Whether presentation times are not evenly spaced, as far as the container tells."""
    hdr: bool = False
    """Whether the transfer function is PQ or HLG."""
    has_audio: bool = False
    """Whether the file has an audio stream."""
    file_names: tuple[str, ...] = field(default=(), repr=False, compare=False)
    """Of a folder of images: ``folder/name`` of the image of each frame index, '' where it is not known."""

    def __post_init__(self) -> None:
        require(self.height > 0 and self.width > 0, f"VideoInfo: size {self.height}x{self.width} is empty")
        require(self.fps is None or self.fps > 0, f"VideoInfo.fps: expected > 0 or None, got {self.fps}")
        require(
            self.num_frames is None or self.num_frames >= 0,
            f"VideoInfo.num_frames: expected >= 0 or None, got {self.num_frames}",
        )

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.height, self.width


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Frame:
    """One decoded picture of a video."""

    index: int
    """Position in the source, from 0, whatever was skipped."""
    pts_seconds: float
    """Presentation time; never computed as index / fps where the container knows it."""
    image: NDArray[np.uint8]
    """RGB (H, W, 3)."""

    def __post_init__(self) -> None:
        require(self.index >= 0, f"Frame.index: expected >= 0, got {self.index}")
        check_array("Frame", "image", self.image, np.uint8, (None, None, 3))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.image.shape[0]), int(self.image.shape[1])

    def __repr__(self) -> str:
        return repr_of(self, "index", "pts_seconds", "image")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Detections:
    """The N objects of one frame: the one type that detectors, trackers and refiners exchange.

    Lists, floats of any precision and integers of any width are taken and kept as the types below; a list of
    ``[]`` boxes is no object.
    """

    boxes: Float32
    """float32 (N, 4): x0, y0, x1, y1 in pixels, half-open."""
    scores: Float32
    """float32 (N,) in [0, 1]."""
    labels: Int64
    """int64 (N,): index into the detector's class_names."""
    masks: Bool | None = None
    """bool (N, H, W), or None when only boxes are known."""
    track_ids: Int64 | None = None
    """int64 (N,), each > 0, or None before association."""
    embeddings: Float32 | None = None
    """float32 (N, D) appearance or query embeddings, or None."""

    def __post_init__(self) -> None:
        for name, dtype in _DETECTIONS.items():
            value = getattr(self, name)
            if not (value is None or (isinstance(value, np.ndarray) and value.dtype == dtype)):
                object.__setattr__(self, name, as_array_of("Detections", name, value, dtype))
        check_array("Detections", "boxes", self.boxes, np.float32, (None, 4))
        n = len(self.boxes)
        check_array("Detections", "scores", self.scores, np.float32, (n,))
        check_array("Detections", "labels", self.labels, np.int64, (n,))
        if self.masks is not None:
            check_array("Detections", "masks", self.masks, np.bool_, (n, None, None))
        if self.track_ids is not None:
            check_array("Detections", "track_ids", self.track_ids, np.int64, (n,))
        if self.embeddings is not None:
            check_array("Detections", "embeddings", self.embeddings, np.float32, (n, None))
        require(bool(np.isfinite(self.boxes).all()), "Detections.boxes: not finite")
        require(
            bool(((self.scores >= 0) & (self.scores <= 1)).all()),
            "Detections.scores: expected values in [0, 1]",
        )

    @classmethod
    def empty(cls) -> Detections:
        """No objects at all."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.float32), np.zeros(0, np.int64))

    def __len__(self) -> int:
        return len(self.boxes)

    def select(self, rows: NDArray[Any]) -> Detections:
        """The given rows (int indices in the wanted order, or a bool (N,) choice) of every field."""

        def pick(value: Any) -> Any:
            return None if value is None else value[rows]

        return Detections(
            self.boxes[rows],
            self.scores[rows],
            self.labels[rows],
            pick(self.masks),
            pick(self.track_ids),
            pick(self.embeddings),
        )

    def to_supervision(self, class_names: Sequence[str] | None = None) -> Any:
        """The same objects as ``supervision.Detections``, which many tools of this field take; arrays are shared.

        Embeddings become ``data["embeddings"]``; with ``class_names`` (which the labels index) each object's name
        becomes ``data["class_name"]``. Raises :class:`DependencyError` without the package ``supervision``.
        """
        try:
            import supervision
        except ImportError as error:
            raise DependencyError(
                "to_supervision needs the package supervision; install it: pip install supervision"
            ) from error
        data: dict[str, Any] = {}
        if self.embeddings is not None:
            data["embeddings"] = self.embeddings
        if class_names is not None:
            data["class_name"] = np.array([class_names[label] for label in self.labels.tolist()], np.str_)
        fields = {"xyxy": self.boxes, "mask": self.masks, "confidence": self.scores}
        return supervision.Detections(**fields, class_id=self.labels, tracker_id=self.track_ids, data=data)

    @classmethod
    def from_supervision(cls, found: Any) -> Detections:
        """The objects of a ``supervision.Detections``; the package itself is not needed.

        Where it has no confidence the scores are 1, where it has no class the labels are 0. Of ``data`` the
        ``embeddings`` are kept, if they are there. Raises :class:`UsageError` for ids that are not above 0, which
        is how some trackers mark what they do not follow yet.
        """
        count = len(found.xyxy)
        ids = found.tracker_id
        if ids is not None and (np.asarray(ids) <= 0).any():
            raise UsageError(
                "from_supervision: tracker_id holds ids that are not above 0; leave those objects out, "
                "found[found.tracker_id > 0], or number from 1"
            )

        def as_array(value: Any, dtype: Any, fill: int | None = None) -> Any:
            if value is None:
                return None if fill is None else np.full(count, fill, dtype)
            return np.asarray(value).astype(dtype)

        return cls(
            boxes=as_array(found.xyxy, np.float32),
            scores=as_array(found.confidence, np.float32, 1),
            labels=as_array(found.class_id, np.int64, 0),
            masks=as_array(found.mask, np.bool_),
            track_ids=as_array(ids, np.int64),
            embeddings=as_array(found.data.get("embeddings"), np.float32),
        )

    def __repr__(self) -> str:
        return repr_of(self, "boxes", "scores", "labels", "masks", "track_ids", "embeddings")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class TrackedFrame:
    """A frame with its objects, every one of which has an id: what flows through the verbs."""

    frame: Frame
    """The picture, with its index and time."""
    detections: Detections
    """Its objects; ``track_ids`` is set, and unique within the frame."""
    shapes: tuple[MaskRLE, ...] | None = None
    """The objects' masks as run lengths, for what needs no dense ones; ``detections.masks`` may then be None."""

    def __post_init__(self) -> None:
        ids = self.detections.track_ids
        if ids is None:
            raise ValueError(
                "TrackedFrame.detections: track_ids is missing; pass them through a tracker first"
            )
        require(len(np.unique(ids)) == len(ids), f"TrackedFrame: frame {self.frame.index} has an id twice")
        masks = self.detections.masks
        if masks is not None:
            require(
                masks.shape[1:] == self.frame.size,
                f"TrackedFrame: masks are {masks.shape[1:]}, the frame is {self.frame.size}",
            )
        shapes = self.shapes
        require(
            shapes is None
            or (len(shapes) == len(ids) and all(one.size == self.frame.size for one in shapes)),
            f"TrackedFrame.shapes: expected {len(ids)} masks of {self.frame.size}, got {shapes}",
        )

    def __repr__(self) -> str:
        return repr_of(self, "frame", "detections", "shapes")


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Tube:
    """One object through time."""

    id: int
    """Identity within the video, > 0."""
    label: int
    """Index into the result's class_names."""
    score: float
    """Confidence of the whole tube in [0, 1]."""
    frames: Int64
    """int64 (L,): source frame indices, strictly rising; L >= 1."""
    boxes: Float32
    """float32 (L, 4): x0, y0, x1, y1 in pixels, half-open."""
    scores: Float32
    """float32 (L,): per-frame confidence."""
    masks: tuple[MaskRLE, ...] | None = None
    """L masks, or None for a tube of boxes only."""

    def __post_init__(self) -> None:
        require(self.id > 0, f"Tube.id: expected > 0, got {self.id}")
        check_array("Tube", "frames", self.frames, np.int64, (None,))
        n = len(self.frames)
        require(n > 0, f"Tube {self.id}: has no frame")
        require(
            bool((np.diff(self.frames) > 0).all()) and int(self.frames[0]) >= 0,
            f"Tube {self.id}: frames must rise strictly from 0 or more",
        )
        check_array("Tube", "boxes", self.boxes, np.float32, (n, 4))
        check_array("Tube", "scores", self.scores, np.float32, (n,))
        require(
            self.masks is None or len(self.masks) == n,
            f"Tube {self.id}: {n} frames but {len(self.masks or ())} masks",
        )

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        return repr_of(self, "id", "label", "score", "frames", "boxes", "scores", "masks")


@dataclass(frozen=True, slots=True)
class DatasetIds:
    """Ids that a data set's file gives a video and its classes; what is written for the set keeps them."""

    video_id: int
    """Of the video."""
    category_ids: Mapping[str, int]
    """Class name -> id; classes that were added later have none."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class VideoResult:
    """All tubes of one video, and how they were made."""

    video: VideoInfo
    """What the video is."""
    class_names: tuple[str, ...]
    """Names that the tubes' labels index."""
    tubes: tuple[Tube, ...]
    """Sorted by id, which is unique."""
    frames: Int64
    """int64 (T,): the source frame indices that were processed, strictly rising."""
    pts_seconds: NDArray[np.float64]
    """float64 (T,): their presentation times."""
    made_with: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    """Models with their sha256, options and version, as plain JSON values."""
    dataset: DatasetIds | None = None
    """The ids of the data set whose file this was read from; None for a result of our own."""

    def __post_init__(self) -> None:
        check_array("VideoResult", "frames", self.frames, np.int64, (None,))
        check_array("VideoResult", "pts_seconds", self.pts_seconds, np.float64, (len(self.frames),))
        require(bool((np.diff(self.frames) > 0).all()), "VideoResult.frames: must rise strictly")
        ids = [tube.id for tube in self.tubes]
        require(ids == sorted(set(ids)), "VideoResult.tubes: must be sorted by unique id")
        for tube in self.tubes:
            require(
                0 <= tube.label < len(self.class_names),
                f"Tube {tube.id}: label {tube.label} has no name among {len(self.class_names)} classes",
            )
            require(
                bool(np.isin(tube.frames, self.frames).all()),
                f"Tube {tube.id}: lies on frames that the result does not cover",
            )
            sizes = {mask.size for mask in tube.masks or ()}
            require(
                sizes <= {self.video.size},
                f"Tube {tube.id}: mask sizes {sorted(sizes)} differ from the video's {self.video.size}",
            )

    def __repr__(self) -> str:
        return repr_of(self, "video", "class_names", "tubes", "frames", "pts_seconds")
