"""One image and prompts in, masks out: the mask models of transformers that take a frame stretched to a square.

``decode`` gives what the library's own processor and model give. Logits leave, and mask prompts come, laid out as
:class:`vis.interfaces.MaskPredictor` says, so they are resampled along the frame's shorter side on their way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vis.errors import PromptError
from vis.mask_prediction import LowResMasks, MaskPrediction
from vis.prompts import Prompts, check_bias, check_image, check_prompts
from vis.sam2.layout import padded_of, stretched_of

__all__ = ["OBJECTS_AT_ONCE", "StretchedEmbedding", "StretchedPredictor"]

OBJECTS_AT_ONCE = 8
"""Objects that the decoder takes in one pass: each brings a feature map of its own."""


@dataclass(frozen=True, slots=True, eq=False)
class StretchedEmbedding:
    """What the network knows of one frame before any prompt."""

    frame_size: tuple[int, int]
    """(height, width) of the frame in pixels."""
    features: tuple[Tensor, ...]
    """(1, C, side, side) each, finest first; the last is what the decoder attends to."""
    model: str
    """Which model made it: another one cannot read it."""


class StretchedPredictor:
    """A :class:`vis.interfaces.MaskPredictor` over one of transformers' models. Holds no state but the model."""

    def __init__(
        self, model: Any, processor: Any, *, network: str, size: str, weights_sha256: Mapping[str, str]
    ) -> None:
        """``model``: a ``Sam2Model`` or its like, ``processor``: its image processor."""
        self.model = model
        self.weights_sha256 = dict(weights_sha256)
        self._processor = processor
        self._network, self._size = network, size

    @property
    def mask_side(self) -> int:
        """Side s of low-resolution logits and mask prompts (N, s, s): 256 for SAM 2.1, 288 for SAM 3."""
        return int(self.model.prompt_encoder.mask_input_size[0])

    def describe(self) -> dict[str, Any]:
        """What runs: ``network``, ``size``, ``mode`` (its dtype) and ``device``."""
        mode = str(self.model.dtype).removeprefix("torch.")
        return {
            "network": self._network,
            "size": self._size,
            "mode": mode,
            "device": str(self.model.device),
        }

    @torch.inference_mode()
    def embed(self, image: NDArray[np.uint8]) -> StretchedEmbedding:
        """The embedding of one frame, RGB uint8 (H, W, 3)."""
        pixels = pixels_of(self._processor, self.model, check_image(image))
        features = self.model.get_image_embeddings(pixels)
        return StretchedEmbedding((image.shape[0], image.shape[1]), tuple(features), self._identity)

    @torch.inference_mode()
    def decode(
        self,
        embedding: StretchedEmbedding,
        *,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        masks: Any = None,
        multimask: bool = False,
        best_of_three: bool = False,
        iou_bias: Any = None,
    ) -> MaskPrediction:
        """Masks of N objects of one frame; boxes, points and masks combine per object.

        Arguments as :class:`vis.interfaces.MaskPredictor` has them. The single mask is the decoder's own, which it
        replaces by the best of the three where it is not stable. Raises :class:`PromptError`.
        """
        self._check_embedding(embedding)
        if best_of_three and multimask:
            raise PromptError("best_of_three gives one of the three masks, multimask all of them; choose one")
        size = embedding.frame_size
        prompts = check_prompts(
            size, self.mask_side, boxes=boxes, points=points, point_labels=point_labels, masks=masks
        )
        bias = check_bias(iou_bias, prompts.count, best_of_three)
        more = (3,) if multimask else ()
        out = MaskPrediction(
            masks=np.zeros((prompts.count, *more, *size), np.bool_),
            scores=np.zeros((prompts.count, *more), np.float32),
            low_res_logits=np.zeros((prompts.count, *more, self.mask_side, self.mask_side), np.float32),
            three_scores=np.zeros((prompts.count, 3), np.float32) if best_of_three else None,
        )
        for rows in _chunks(prompts.count):
            logits, scores = self._decoded(embedding, prompts, rows, three=multimask or best_of_three)
            if out.three_scores is not None:
                out.three_scores[rows] = scores.cpu().numpy()
            if not multimask:
                wanted = scores if bias is None else scores + torch.from_numpy(bias[rows]).to(scores)
                best = wanted.argmax(dim=1)
                objects = torch.arange(len(best), device=best.device)
                scores, logits = scores[objects, best], logits[objects, best]
            out.scores[rows] = scores.cpu().numpy()
            out.low_res_logits[rows] = padded_of(logits, size).cpu().numpy()
            full = F.interpolate(logits.reshape(-1, 1, *logits.shape[-2:]), size, mode="bilinear")
            out.masks[rows] = (full > 0).view(-1, *more, *size).cpu().numpy()
        return out

    @torch.inference_mode()  # on a generator: while it runs, not while it waits
    def predict_masks(
        self,
        embedding: StretchedEmbedding,
        prompts: Prompts,
        masks: slice,
        *,
        min_iou: float = float("-inf"),
    ) -> Iterator[LowResMasks]:
        """Low-resolution logits with scores to choose among, some objects at a time.

        The library's decoder answers with the single mask or with the three, so it runs twice.
        """
        self._check_embedding(embedding)
        for rows in _chunks(prompts.count):
            single, single_score = self._decoded(embedding, prompts, rows, three=False)
            three, three_scores = self._decoded(embedding, prompts, rows, three=True)
            scores = torch.cat([single_score, three_scores], dim=1)
            kept = (scores[:, masks].amax(dim=1) > min_iou).nonzero()[:, 0]
            if len(kept):
                logits = torch.cat([single, three], dim=1)[kept][:, masks]
                numbers = [rows.start + row for row in kept.tolist()]
                yield LowResMasks(numbers, padded_of(logits, embedding.frame_size), None, scores[kept])

    @torch.inference_mode()
    def logits_to_masks(
        self,
        logits: Tensor | NDArray[np.float32],
        frame_size: tuple[int, int],
        *,
        levels: Sequence[float] = (0.0,),
    ) -> tuple[NDArray[np.bool_], ...]:
        """For each level the masks (N, H, W) of a frame where low-resolution logits (N, s, s), enlarged, exceed it."""
        out = tuple(np.zeros((len(logits), *frame_size), np.bool_) for _ in levels)
        low = stretched_of(torch.as_tensor(logits, device=self.model.device), frame_size)
        for row, one in enumerate(low):
            full = F.interpolate(one[None, None], frame_size, mode="bilinear")[0, 0]
            for target, level in zip(out, levels, strict=True):
                target[row] = (full > level).cpu().numpy()
        return out

    def dense_features(self, embedding: StretchedEmbedding) -> Tensor:
        """The image embedding (C, s/4, s/4) on its own device, laid out as the logits are."""
        return padded_of(embedding.features[-1][0], embedding.frame_size)

    @property
    def _identity(self) -> str:
        return f"{self._network} {self._size}"

    def _check_embedding(self, embedding: StretchedEmbedding) -> None:
        if embedding.model != self._identity:
            raise PromptError(
                f"the embedding was made by {embedding.model}, the model is {self._identity}; embed the frame again"
            )

    def _decoded(
        self, embedding: StretchedEmbedding, prompts: Prompts, rows: slice, *, three: bool
    ) -> tuple[Tensor, Tensor]:
        """Logits (n, M, s, s) of the stretched frame and scores (n, M), float32; M is 3, or 1 for the single mask.

        Each object is an image of its own for the library, whose decoder takes one mask prompt an image.
        """
        model, count = self.model, rows.stop - rows.start
        points, labels, boxes, masks = self._to_network(prompts, rows, embedding.frame_size)
        out = model(
            image_embeddings=[f.to(model.device).expand(count, -1, -1, -1) for f in embedding.features],
            input_points=points,
            input_labels=labels,
            input_boxes=boxes,
            input_masks=masks,
            multimask_output=three,
        )
        return out.pred_masks[:, 0].float(), out.iou_scores[:, 0].float()

    def _to_network(
        self, prompts: Prompts, rows: slice, frame_size: tuple[int, int]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Points (n, 1, K, 2), labels (n, 1, K), boxes (n, 1, 4) and masks (n, 1, s, s) of some objects."""
        device = self.model.device
        side = float(self.model.prompt_encoder.input_image_size)
        scale = torch.tensor([side / frame_size[1], side / frame_size[0]], dtype=torch.float32, device=device)
        points = labels = boxes = masks = None
        if prompts.points is not None and prompts.labels is not None:
            points = torch.from_numpy(prompts.points[rows]).to(device)[:, None] * scale
            labels = torch.from_numpy(prompts.labels[rows]).to(device)[:, None]
        if prompts.boxes is not None:
            corners = torch.from_numpy(prompts.boxes[rows]).to(device).reshape(-1, 1, 2, 2)
            boxes = (corners * scale).reshape(-1, 1, 4)
        if prompts.masks is not None:
            padded = torch.from_numpy(prompts.masks[rows]).to(device)[:, None]
            masks = stretched_of(padded, frame_size).to(self.model.dtype)
        return points, labels, boxes, masks


def pixels_of(processor: Any, model: Any, image: NDArray[np.uint8]) -> Tensor:
    """(1, 3, side, side) of one frame (H, W, 3), as the model takes it."""
    found = processor(images=image, return_tensors="pt", device=model.device)["pixel_values"]
    pixels: Tensor = found.to(model.device, model.dtype)
    return pixels


def _chunks(count: int) -> Iterator[slice]:
    for first in range(0, count, OBJECTS_AT_ONCE):
        yield slice(first, min(count, first + OBJECTS_AT_ONCE))
