"""HQSamRefiner: boxes and coarse masks in, sharp masks out; and the prompt policies.

A frame is embedded once, whatever the number of its objects, and a frame without objects costs
nothing. What a policy turns into prompts:

==============  =====================================================================
``box``         the box alone: the HQ-SAM paper's video experiment
``box+mask``    the box, and the coarse mask as SAM's low-resolution mask prompt
``box+points``  the box, and the coarse mask's deepest inner point as a positive click
``gated``       as ``box``; the refined mask is kept only where it agrees with the coarse
                one (IoU at least ``gate``), else the coarse mask stays. A box throws away
                what a strong detector knows of the object's extent, and loses tube AP by it
==============  =====================================================================

Any of them may choose between SAM's masks of the whole and of a part in place of its single one
(``multimask_selection="tube"``): a detector's box is often too large or cuts something off, and the single mask
then has to average over what is meant. SAM's own estimates choose, in a running mean over the tube's frames, so
that it does not jump between the two. The third, of a part of a part, is left out: under a box it is the worst of
them even where SAM thinks it the best.

Scores stay the detector's: the HQ mask has no predicted quality of its own. Boxes stay too, so that
refining a saved result again asks the same question again.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vis import boxes as box_maths
from vis.errors import UsageError
from vis.mask_cleaning import cleaned, resolve_overlaps
from vis.renamed import renamed_arguments, renamed_attribute
from vis.structures import Detections
from vis.zoom import zoom_refine

if TYPE_CHECKING:
    from vis.interfaces import MaskPredictor

__all__ = ["MULTIMASK_SELECTIONS", "OVERLAPS", "POLICIES", "HQSamRefiner", "deepest_point", "mask_prompt"]

MULTIMASK_SELECTIONS = ("single", "tube")
OVERLAPS = ("keep", "resolve")
POLICIES = ("box", "box+mask", "box+points", "gated")
PROMPT_LOGIT = 8.0  # about the magnitude of SAM's own low-resolution logits inside an object
# A mask that is the whole prompt must be louder, or SAM answers with nothing: over 14 frames of DAVIS, the
# true mask as MobileSAM's only prompt gives an IoU of .23 at 8, .60 at 20, .92 at 60, .91 at 140.
ALONE_LOGIT = 60.0
MEMORY = 0.8
"""Weight of the frames before in a tube's running mean of SAM's estimates of its three masks."""
NO_SUB_PART = np.array([-10, 0, 0], np.float32)
"""Added to the estimates, which are IoUs: the first of SAM's three masks never wins."""


@dataclass(slots=True)
class RefineCounts:
    """What the refiner did since ``reset()``: for reports."""

    frames: int = 0
    objects: int = 0
    kept_coarse: int = 0
    """Objects whose coarse mask stayed because the refined one disagreed (policy ``gated``)."""


class HQSamRefiner:
    """Refiner over any promptable mask model."""

    whole_or_part = renamed_attribute("whole_or_part", "multimask_selection", {"single": False, "tube": True})

    @renamed_arguments(
        {"whole_or_part": {False: "single", True: "tube"}}, whole_or_part="multimask_selection"
    )
    def __init__(
        self,
        predictor: MaskPredictor,
        *,
        policy: str = "box",
        gate: float = 0.5,
        multimask_selection: str = "single",
        hq_token_only: bool = False,
        zoom: bool = False,
        overlap: str = "keep",
        clean: bool = False,
    ) -> None:
        """``gate``: least IoU in [0, 1] with the coarse mask, for policy ``gated``.

        ``multimask_selection``: ``single``, SAM's single mask, or ``tube``: of its masks of the whole and of a part
        the one that it thinks best, with the HQ logits added to either: for loose boxes. Where objects have ids, what
        it thought of the same object's masks on the frames before counts too (:data:`MEMORY`).
        ``hq_token_only``: HQ-SAM's own logits alone instead; its authors advise it for images of one object.
        ``zoom``: embed a crop around each small object as well, which is slower and finer than the reference.
        ``overlap``: ``keep``, or ``resolve``: a pixel that several masks claim goes to the one whose logit is highest;
        of two masks of one thing the newer object's becomes empty.
        ``clean``: remove specks and fill pin-holes (:func:`vis.mask_cleaning.cleaned`).
        """
        if policy not in POLICIES:
            raise UsageError(f"policy {policy!r} is unknown; choose one of {', '.join(POLICIES)}")
        if not 0 <= gate <= 1:
            raise UsageError(f"gate {gate} is out of range; give an IoU between 0 and 1")
        if multimask_selection not in MULTIMASK_SELECTIONS:
            known = ", ".join(MULTIMASK_SELECTIONS)
            raise UsageError(f"multimask_selection {multimask_selection!r} is unknown; choose one of {known}")
        if multimask_selection == "tube" and hq_token_only:
            raise UsageError(
                "multimask_selection 'tube' chooses SAM's mask, hq_token_only leaves SAM's out; choose one"
            )
        if overlap not in OVERLAPS:
            raise UsageError(f"overlap {overlap!r} is unknown; choose one of {', '.join(OVERLAPS)}")
        self.predictor = predictor
        self.overlap = overlap
        self.clean = clean
        self.policy = policy
        self.gate = gate
        self.multimask_selection = multimask_selection
        self.hq_token_only = hq_token_only
        self.zoom = zoom
        self.counts = RefineCounts()
        self._estimates: dict[int, NDArray[np.float32]] = {}
        """By id, of the objects of the last frame: the running mean of (3,) estimates."""

    def reset(self) -> None:
        """Before another video: forget its tubes, and count anew."""
        self.counts = RefineCounts()
        self._estimates = {}

    def state_dict(self) -> dict[str, Any]:
        """What is kept between frames, as plain values and numpy arrays."""
        ids = np.array(list(self._estimates), np.int64)
        estimates = np.array(list(self._estimates.values()), np.float32).reshape(-1, 3)
        return {"counts": asdict(self.counts), "ids": ids, "estimates": estimates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that ``state_dict`` gave."""
        self.counts = RefineCounts(**state["counts"])
        self._estimates = dict(zip(state["ids"].tolist(), state["estimates"], strict=True))

    def refine(self, image: NDArray[np.uint8], detections: Detections) -> Detections:
        """The same rows in the same order, with masks (N, H, W) at the image's size.

        A row whose box holds no pixel of the frame keeps its coarse mask, or gets an empty one.
        """
        height, width = image.shape[:2]
        coarse = detections.masks
        masks = np.zeros((len(detections), height, width), np.bool_) if coarse is None else coarse.copy()
        clipped = box_maths.clip(detections.boxes, (height, width))
        rows = np.flatnonzero((clipped[:, 2] > clipped[:, 0]) & (clipped[:, 3] > clipped[:, 1]))
        self.counts.frames += 1
        self.counts.objects += len(rows)
        if len(rows):
            self._refine_rows(
                image, clipped, rows, masks, detections.track_ids, has_coarse=coarse is not None
            )
        else:
            self._estimates = {}
        return replace(detections, masks=masks)

    def refine_some(self, image: NDArray[np.uint8], detections: Detections) -> Detections:
        """As :meth:`refine`, of some of a frame's objects: what is remembered of the others stays."""
        remembered = self._estimates
        refined = self.refine(image, detections)
        self._estimates = remembered | self._estimates
        return refined

    def _refine_rows(
        self,
        image: NDArray[np.uint8],
        clipped: NDArray[np.float32],
        rows: NDArray[np.intp],
        masks: NDArray[np.bool_],
        ids: NDArray[np.int64] | None,
        *,
        has_coarse: bool,
    ) -> None:
        embedding = self.predictor.embed(image)
        estimates: dict[int, NDArray[np.float32]] = {}
        logits: dict[int, NDArray[np.float32]] = {}
        for group, prompts in self._prompts(masks, rows, has_coarse=has_coarse):
            output = self._output(len(group), None if ids is None else ids[group])
            out = self.predictor.decode(embedding, boxes=clipped[group], **output, **prompts)
            if out.three_scores is not None and ids is not None:
                estimates |= self._updated(ids[group], out.three_scores)
            refined = out.masks
            if self.zoom:
                refined = zoom_refine(self.predictor, image, clipped[group], out.low_res_logits, **output)
            if self.clean:
                for row, mask in enumerate(refined):
                    refined[row] = cleaned(mask)
            if self.overlap == "resolve":
                logits |= zip(group.tolist(), out.low_res_logits, strict=True)
            if self.policy == "gated" and has_coarse:
                agree = _mask_iou(refined, masks[group]) >= self.gate
                self.counts.kept_coarse += int((~agree).sum())
                masks[group[agree]] = refined[agree]
            else:
                masks[group] = refined
        if len(logits) > 1:
            # Of two tubes on one thing the older has it.
            resolve_overlaps(masks, logits, np.arange(len(masks)) if ids is None else ids)
        self._estimates = estimates

    def _output(self, count: int, ids: NDArray[np.int64] | None) -> dict[str, Any]:
        """Which mask of each object the predictor is asked for."""
        if self.multimask_selection == "single":
            return {"hq_token_only": True} if self.hq_token_only else {}
        iou_bias = np.tile(NO_SUB_PART, (count, 1))
        if ids is not None:  # so the estimates of this frame choose as the running mean would
            share = MEMORY / (1 - MEMORY)
            for row, one in zip(iou_bias, ids.tolist(), strict=True):
                row += share * self._estimates.get(one, np.float32(0))
        return {"best_of_three": True, "iou_bias": iou_bias}

    def _updated(self, ids: NDArray[np.int64], scores: NDArray[np.float32]) -> dict[int, NDArray[np.float32]]:
        """The running means of these objects with this frame's (N, 3) estimates."""
        return {
            one: MEMORY * self._estimates[one] + (1 - MEMORY) * score if one in self._estimates else score
            for one, score in zip(ids.tolist(), scores, strict=True)
        }

    def _prompts(
        self, masks: NDArray[np.bool_], rows: NDArray[np.intp], *, has_coarse: bool
    ) -> list[tuple[NDArray[np.intp], dict[str, Any]]]:
        """Rows grouped by the prompts they get beside their box: an empty coarse mask prompts nothing."""
        if not has_coarse or self.policy in ("box", "gated"):
            return [(rows, {})]
        filled = masks[rows].any(axis=(1, 2))
        groups: list[tuple[NDArray[np.intp], dict[str, Any]]] = []
        if (~filled).any():
            groups.append((rows[~filled], {}))
        if filled.any():
            known = rows[filled]
            if self.policy == "box+mask":
                groups.append((known, {"masks": mask_prompt(masks[known], self.predictor.mask_side)}))
            else:
                points = np.stack([deepest_point(mask) for mask in masks[known]])[:, None]
                labels = np.ones((len(known), 1), np.int64)
                groups.append((known, {"points": points, "point_labels": labels}))
        return groups


def mask_prompt(masks: NDArray[np.bool_], side: int = 256, *, alone: bool = False) -> NDArray[np.float32]:
    """Masks (N, H, W) as SAM's mask prompt: float32 logits (N, side, side); ``alone``: without box or points.

    The longer side becomes ``side``, the rest is background, as the image itself is laid into its
    1024 x 1024 input. ``side``: the model's ``mask_side``.
    """
    import cv2

    height, width = masks.shape[1:]
    scale = side / max(height, width)
    inner = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
    level = ALONE_LOGIT if alone else PROMPT_LOGIT
    logits = np.full((len(masks), side, side), -level, np.float32)
    for target, mask in zip(logits, masks, strict=True):
        share = cv2.resize(mask.astype(np.float32), inner, interpolation=cv2.INTER_AREA)
        target[: inner[1], : inner[0]] = (2 * share - 1) * level
    return logits


def deepest_point(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """The pixel (x, y) of a non-empty mask (H, W) farthest from its border: SAM's evaluation click."""
    import cv2

    # The frame's border counts as the object's border, so a zero frame goes around it.
    padded = np.pad(mask, 1).view(np.uint8)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = divmod(int(depth.argmax()), mask.shape[1])
    return np.array([x, y], np.float32)


def _mask_iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> NDArray[np.float64]:
    """IoU row by row of two stacks (N, H, W); 1 where both are empty."""
    inter = (a & b).sum(axis=(1, 2))
    union = (a | b).sum(axis=(1, 2))
    return np.where(union == 0, 1.0, inter / np.maximum(union, 1))
