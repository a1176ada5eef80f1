"""What a detector, tracker, refiner, frame source and frame sink must offer. Nothing else is assumed.

What only some of them can do is a protocol of its own (``FrameIndexedDetector``, ``Resettable``, ``Stateful``,
``CameraCompensator``, ``WeightsRecord``, ``Describable``, ``CountedFrames``, ``DenseFeatures``), asked for by
``isinstance``. All are structural (``typing.Protocol``): nobody inherits from them, and a user's own class fits when
its methods do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vis.mask_prediction import LowResMasks, MaskPrediction
from vis.prompts import Prompts
from vis.structures import Detections, Frame, TrackedFrame, VideoInfo

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "CameraCompensator",
    "CountedFrames",
    "DenseFeatures",
    "Describable",
    "Detector",
    "Embedding",
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
class MotionCompensator(Protocol):
    """A detector that remembers where things were, and can be told how they moved before it looks again."""

    def compensate_flow(self, back: NDArray[np.float32]) -> None:
        """What is remembered is of an earlier frame. ``back``, float32 (h, w, 2), leads to it from the next one.

        Over the whole frame, whatever its resolution: what to add to a place's x and y to find it in the earlier frame,
        in shares of width and height.
        """
        ...


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


Embedding: TypeAlias = Any
"""What a mask model knows of one frame before any prompt: a value of its own, which nothing else reads."""


@runtime_checkable
class MaskPredictor(Protocol):
    """A promptable mask model: what SAM, HQ-SAM and their kin have in common. Keeps nothing between calls.

    For a prompt it has four masks: 0 is its answer to a clear one such as a box, 1 to 3 are its guesses (sub-part,
    part, whole) at an ambiguous one such as a click. A model with fewer repeats one. It draws them as logits, above 0
    inside the object, on a square of ``mask_side`` cells a side, into whose upper left corner the frame is laid with
    its longer side as long as the square's; mask prompts are the same. Wrong prompts raise :class:`PromptError`.
    """

    @property
    def mask_side(self) -> int:
        """Side s of mask prompts and low-resolution logits (N, s, s): 256 for every published SAM."""

    def embed(self, image: NDArray[np.uint8]) -> Embedding:
        """What ``decode`` and ``predict_masks`` need of one frame, RGB uint8 (H, W, 3)."""

    def decode(
        self,
        embedding: Embedding,
        *,
        boxes: ArrayLike | None = None,
        points: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        masks: ArrayLike | None = None,
        multimask: bool = False,
        best_of_three: bool = False,
        iou_bias: ArrayLike | None = None,
    ) -> MaskPrediction:
        """Masks of N objects, whose prompts combine: :func:`vis.prompts.check_prompts` tells their shapes.

        One mask each; with ``best_of_three`` that of the three whose score, with ``iou_bias`` (N, 3) added, is highest;
        with ``multimask`` all three.
        """

    def predict_masks(
        self, embedding: Embedding, prompts: Prompts, masks: slice, *, min_iou: float = float("-inf")
    ) -> Iterator[LowResMasks]:
        """Low-resolution logits with scores to choose among, of some objects at a time, in order.

        ``masks``: which of the four. Objects none of which has a score above ``min_iou`` are left out.
        """

    def logits_to_masks(
        self,
        logits: Tensor | NDArray[np.float32],
        frame_size: tuple[int, int],
        *,
        levels: Sequence[float] = (0.0,),
    ) -> tuple[NDArray[np.bool_], ...]:
        """For each level the masks (N, H, W) of a frame (height, width) where logits (N, s, s), enlarged, exceed it."""

    def describe(self) -> dict[str, Any]:
        """What runs, as plain JSON values: ``network``, ``size``, ``mode`` and ``device`` at least."""


@runtime_checkable
class DenseFeatures(Protocol):
    """A mask model whose embeddings hold a map of features that is alike where frames show the same thing.

    :mod:`vis.follow` finds lost objects again by it; without it objects are carried by motion alone.
    """

    def dense_features(self, embedding: Embedding) -> Tensor:
        """Features (C, s/4, s/4) of the square that the logits lie on, a cell for each 4 x 4 of theirs."""


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
