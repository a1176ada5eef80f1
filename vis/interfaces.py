"""What a detector, tracker, refiner, frame source and frame sink must offer. Nothing else is assumed.

What only some of them can do is a protocol of its own (``FrameIndexedDetector``, ``Resettable``, ``Stateful``,
``CameraCompensator``, ``WeightsRecord``, ``Describable``, ``CountedFrames``), asked for by ``isinstance``. All
are structural (``typing.Protocol``): nobody inherits from them, and a user's own class fits when its methods do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from vis.structures import Detections, Frame, TrackedFrame, VideoInfo

__all__ = [
    "CameraCompensator",
    "CountedFrames",
    "Describable",
    "Detector",
    "FrameIndexedDetector",
    "FrameSink",
    "FrameSource",
    "MaskPredictor",
    "Refiner",
    "Resettable",
    "Stateful",
    "Tracker",
    "WeightsRecord",
]


@runtime_checkable
class Detector(Protocol):
    """Finds objects in frames."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels of the detections index."""

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Objects of each image (RGB uint8 (H, W, 3)), in the order given.

        Images of one call follow one another in the video; a detector that looks through time
        may keep state between calls, if it is :class:`Resettable`.
        """


@runtime_checkable
class FrameIndexedDetector(Protocol):
    """Knows objects by frame number, as what reads them from a file does: asked by frame, not by picture.

    :func:`vis.pipeline.detect` asks it so. A wrapper around detectors offers ``detect_frames`` too, and hands
    on through that function.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names that the labels of the detections index."""

    def detect_frames(self, frames: Sequence[Frame]) -> list[Detections]:
        """Objects of each frame, in the order given.

        ``Frame.index`` is the place in the source: frames that were skipped, by a start, a stride or because
        they do not decode, have their numbers too.
        """


@runtime_checkable
class Resettable(Protocol):
    """Keeps something between frames, and can forget it."""

    def reset(self) -> None:
        """Forget what was kept between frames, before another video."""


@runtime_checkable
class Stateful(Protocol):
    """Keeps something between frames that can be saved, for going on later with the same results."""

    def state_dict(self) -> dict[str, Any]:
        """All state as plain values and numpy arrays."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that ``state_dict`` gave."""


@runtime_checkable
class CameraCompensator(Protocol):
    """A tracker that can take the camera's motion out."""

    def compensate(self, affine: NDArray[np.float64]) -> None:
        """Take, before ``update``, the affine (2, 3) that carries a pixel of the frame before into the coming one."""


@runtime_checkable
class WeightsRecord(Protocol):
    """Says which files it was loaded from."""

    @property
    def weights_sha256(self) -> Mapping[str, str]:
        """File name -> SHA-256."""


@runtime_checkable
class Describable(Protocol):
    """A detector that is made of several, or runs in one of several ways, and says how."""

    def describe(self) -> str:
        """What it is made of, in a few words."""


@runtime_checkable
class CountedFrames(Protocol):
    """A frame source that knows about how many frames will come."""

    @property
    def expected_frames(self) -> int | None:
        """How many, as far as the container says; None where it does not."""


@runtime_checkable
class Tracker(Resettable, Stateful, Protocol):
    """Gives the objects of consecutive frames ids that hold; after ``reset()`` the next id is 1 again."""

    def update(self, detections: Detections, pts_seconds: float) -> Detections:
        """The rows it keeps, in the order given, each with an id (> 0) from birth.

        Boxes, masks, labels and scores pass through untouched. ``pts_seconds`` rises from call to
        call. An empty frame is a normal call.
        """

    @property
    def live_ids(self) -> tuple[int, ...]:
        """Ids that may still be continued."""


@runtime_checkable
class MaskPredictor(Protocol):
    """A promptable mask model: what SAM, HQ-SAM and their kin have in common. Keeps nothing between calls."""

    def embed(self, image: NDArray[np.uint8]) -> Any:
        """What the model knows of one frame, RGB uint8 (H, W, 3), before any prompt: a value for ``decode``."""

    def decode(
        self,
        embedding: Any,
        *,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        masks: Any = None,
        best_of_three: bool = False,
        hq_token_only: bool = False,
    ) -> Any:
        """Masks of N prompts, which combine per object; what comes out is like ``vis.hqsam.MaskPrediction``.

        Of the result ``masks`` (N, H, W) bool, ``low_res_logits`` (N, h, w) float32 and, with ``best_of_three``,
        ``three_scores`` (N, 3) or None are read.
        """

    def describe(self) -> dict[str, Any]:
        """What runs, as plain JSON values: ``network``, ``size``, ``mode`` and ``device`` at least."""


@runtime_checkable
class Refiner(Resettable, Protocol):
    """Sharpens the masks of one frame's objects."""

    def refine(self, image: NDArray[np.uint8], detections: Detections) -> Detections:
        """The same rows in the same order, with masks. Zero rows cost no network pass."""


@runtime_checkable
class FrameSource(Protocol):
    """A video that can be iterated; each iteration starts anew."""

    @property
    def info(self) -> VideoInfo:
        """What the video is."""

    def __iter__(self) -> Iterator[Frame]: ...


@runtime_checkable
class FrameSink(Protocol):
    """Takes tracked frames as they come."""

    def write(self, tracked: TrackedFrame) -> None:
        """Take one frame; called in rising order of frame index."""

    def close(self) -> None:
        """Finish; what was written appears whole, or not at all."""
