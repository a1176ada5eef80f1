"""Everything that stands out, with its name where it has one: the classes of ``ssd``, and what nobody named.

``ssd`` knows 23 classes; saliency finds the main thing of a frame whatever it is. Where a named box explains that
thing, both have seen it: it is one detection, named, with the mean of the two boxes and the score of the surer. Where
none does, it is an ``object`` of its own. One thing is one box: that is settled here, before association, which would
make two tubes of boxes that alternate.

Saliency is the slower of the two. Where the picture hardly changes, its thing stays where it is for a frame: then it is
asked every other frame.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.salient import Salient
from detectors.ssd import CLASS_NAMES, PARTS, Ssd
from vis import boxes as box_maths
from vis.errors import DependencyError, FallbackWarning, UsageError, WeightsError
from vis.structures import Detections

__all__ = ["UNNAMED", "Objects", "merge"]

UNNAMED = "object"
"""The class of what saliency finds and no named box explains."""
_MUCH = 0.6
"""A box explains another where either covers so much of the other."""
_UNNAMED_SCORE = 0.5
"""Saliency is nearly always sure that something stands out. Of what nobody named, its score is halved, which is where
those of ``ssd`` lie, so that a tube's label is a name from a third of its frames on."""


class Objects:
    """``ssd`` and ``salient`` as one detector."""

    class_names: tuple[str, ...] = (*CLASS_NAMES, UNNAMED)

    def __init__(
        self,
        *,
        weights: str | Path = "ssd-openimages",
        saliency: str | Path = "u2netp",
        score: float = 0.15,
        classes: Sequence[str] = (),
        still: float = 2.0,
        threads: int | None = None,
    ) -> None:
        """``weights`` and ``saliency``: files, or names of the weights table.

        ``score``: least class probability of a named box. ``classes``: names to look for, ``object`` among them;
        none given means all but the parts that ``ssd`` leaves out. ``still``: of two frames that differ by less (mean
        difference of small copies, 0 to 255), saliency looks at the first only. A camera at rest gives 0.5 to 1.5 from
        frame to frame, a moving one 3 to 15; 0 looks at every frame.

        Where the file of ``ssd`` cannot be had, or the package that runs it, saliency works alone: a
        :class:`FallbackWarning` says so with the command that helps. Where classes are asked for, that is an error.
        """
        if not still >= 0:
            raise UsageError(f"objects: still {still}: expected 0 or more")
        unknown = sorted(set(classes) - set(self.class_names))
        if unknown:
            raise UsageError(f"objects: no class {unknown[0]!r}; known: {', '.join(self.class_names)}")
        self._wanted = None if not classes else np.array([self.class_names.index(name) for name in classes])
        # Names that are not asked for still explain: a person is no unnamed object because dogs are wanted.
        looked_for = [name for name in CLASS_NAMES if name in classes or name not in PARTS]
        self._ssd: Ssd | None = None
        try:
            self._ssd = Ssd(weights=weights, score=score, classes=looked_for, threads=threads)
        except (WeightsError, DependencyError) as error:
            if set(classes) & set(CLASS_NAMES):
                raise
            warnings.warn(_without_names(error), FallbackWarning, stacklevel=2)
        self._salient = Salient(weights=saliency, max_detections=1, threads=threads)
        self.weights_sha256 = dict(self._salient.weights_sha256)
        if self._ssd is not None:
            self.weights_sha256 |= self._ssd.weights_sha256
        self._still = still
        self.reset()

    def describe(self) -> str:
        """Which detectors run."""
        return "salient" if self._ssd is None else "ssd + salient"

    def reset(self) -> None:
        """Forget the frames before, at the start of another video."""
        self._salient.reset()
        self._main = Detections.empty()
        self._looked_at: NDArray[np.float32] | None = None

    def state_dict(self) -> dict[str, Any]:
        """What is remembered of the frames before, for going on later."""
        main = {"boxes": self._main.boxes, "scores": self._main.scores}
        return {"salient": self._salient.state_dict(), "looked_at": self._looked_at, "main": main}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that ``state_dict`` gave."""
        self._salient.load_state_dict(state["salient"])
        self._looked_at = state["looked_at"]
        main = state["main"]
        self._main = Detections(main["boxes"], main["scores"], np.zeros(len(main["scores"]), np.int64))

    def compensate_flow(self, back: NDArray[np.float32]) -> None:
        """Move what saliency remembers, as of ``MotionCompensator``."""
        self._salient.compensate_flow(back)

    def detect(self, images: Sequence[NDArray[np.uint8]]) -> list[Detections]:
        """Boxes with label and score of each image."""
        return [self._detect_one(image) for image in images]

    def _detect_one(self, image: NDArray[np.uint8]) -> Detections:
        self._look(image)
        named = Detections.empty() if self._ssd is None else self._ssd.detect([image])[0]
        found = merge(named, self._main)
        return found if self._wanted is None else found.select(np.isin(found.labels, self._wanted))

    def _look(self, image: NDArray[np.uint8]) -> None:
        """Ask saliency, but for a frame that is much like the one before, which was looked at."""
        import cv2

        small = cv2.resize(image, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        before, self._looked_at = self._looked_at, None
        if before is None or np.abs(small - before).mean() >= self._still:
            self._main = replace(self._salient.detect([image])[0], masks=None)
            self._looked_at = small


def merge(named: Detections, main: Detections) -> Detections:
    """Named boxes, and the main salient one (none, or one) among them or as an object of its own."""
    if not len(main):
        return named
    if len(named):
        common = box_maths.intersection(main.boxes, named.boxes)[0]
        explained = common / np.maximum(box_maths.area(main.boxes), box_maths.area(named.boxes))
        best = int(explained.argmax())
        if explained[best] >= _MUCH:
            return _agreed(named, best, main)
    return Detections(
        np.concatenate([named.boxes, main.boxes]),
        np.concatenate([named.scores, _UNNAMED_SCORE * main.scores]),
        np.concatenate([named.labels, np.full(1, len(CLASS_NAMES), np.int64)]),
    )


def _agreed(named: Detections, row: int, main: Detections) -> Detections:
    """``named`` where its ``row`` is the main salient thing too."""
    boxes, scores = named.boxes.copy(), named.scores.copy()
    boxes[row] = (boxes[row] + main.boxes[0]) / 2
    scores[row] = max(scores[row], main.scores[0])
    return Detections(boxes, scores, named.labels)


def _without_names(error: Exception) -> str:
    return (
        "objects are found by saliency alone, one at a time and without names: the detector that names them cannot "
        f"run. To have it: `vistubes models fetch ssd-openimages`. {error}"
    )
