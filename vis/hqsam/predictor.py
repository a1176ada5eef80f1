"""Frames and prompts in, masks out: the pixel layer over :class:`vis.hqsam.model.SamModel`.

An embedding is a value: ``embed`` makes it, ``decode`` takes it, and nothing is remembered between calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from vis.errors import PromptError
from vis.hqsam.model import SamModel
from vis.hqsam.prompts import Prompts, check_image, check_prompts

__all__ = ["ImageEmbedding", "MaskPrediction", "Predictor", "network_size"]

Float32 = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class ImageEmbedding:
    """What the network knows of one frame before any prompt."""

    frame_size: tuple[int, int]
    """(height, width) of the frame in pixels."""
    features: Tensor
    """(1, 256, g, g): the image embedding."""
    hq_features: Tensor | None
    """(1, 32, 4g, 4g): the frame-only part of the HQ branch; None for a plain SAM."""
    model: str
    """Size name of the network that made it: another one cannot read it."""


@dataclass(frozen=True, slots=True, eq=False)
class MaskPrediction:
    """Masks of N prompts. With ``multimask=True`` the arrays have a further axis of 3 after N."""

    masks: Bool
    """(N, H, W) at the frame's size; with multimask (N, 3, H, W)."""
    scores: Float32
    """(N,) the network's own estimate of the mask's IoU, not clipped; with multimask (N, 3).

    It belongs to SAM's mask: the HQ mask has no estimate of its own.
    """
    low_res_logits: Float32
    """(N, 256, 256), usable as a mask prompt; with multimask (N, 3, 256, 256)."""
    hq_low_res_logits: Float32 | None = None
    """(N, 256, 256): the HQ mask by itself, only with ``multimask=True`` on an HQ-SAM."""
    hq_masks: Bool | None = None
    """(N, H, W): likewise."""


def network_size(frame_size: tuple[int, int], side: int) -> tuple[int, int]:
    """(height, width) of a frame once its longer side is ``side``."""
    scale = side / max(frame_size)
    return int(frame_size[0] * scale + 0.5), int(frame_size[1] * scale + 0.5)


class Predictor:
    """Runs a model on frames. Holds no state but the model."""

    def __init__(self, model: SamModel) -> None:
        self.model = model.eval()
        with torch.inference_mode():
            self._position = model.prompt_encoder.dense_position()

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """The embedding of one frame, RGB uint8 (H, W, 3)."""
        return self.embed_batch([image])[0]

    @torch.inference_mode()
    def embed_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[ImageEmbedding]:
        """Embeddings of several frames, of any sizes, in one pass of the network."""
        if not len(images):
            return []
        frames = torch.cat([self._prepare(check_image(image)) for image in images])
        features, early = self.model.image_encoder(frames)
        hq = self.model.mask_decoder.hq_features(features, early) if self.model.has_hq else None
        return [
            ImageEmbedding(
                (image.shape[0], image.shape[1]),
                features[i : i + 1],
                None if hq is None else hq[i : i + 1],
                self.model.size.name,
            )
            for i, image in enumerate(images)
        ]

    @torch.inference_mode()
    def decode(
        self,
        embedding: ImageEmbedding,
        *,
        boxes: Any = None,
        points: Any = None,
        point_labels: Any = None,
        masks: Any = None,
        multimask: bool = False,
        hq_token_only: bool = False,
        chunk: int = 8,
    ) -> MaskPrediction:
        """Masks for N objects of one frame; boxes, points and masks combine per object.

        Args:
            embedding: of the frame, from :meth:`embed`.
            boxes: (N, 4) x0, y0, x1, y1 in frame pixels.
            points: (N, K, 2) x, y in frame pixels.
            point_labels: (N, K) 1 inside, 0 outside, -1 no point.
            masks: (N, 256, 256) logits, such as ``low_res_logits`` of an earlier call.
            multimask: False gives the one mask that SAM means for unambiguous prompts such as boxes,
                plus the HQ mask. True gives SAM's three for ambiguous prompts such as one click, in its
                order and with their scores, and the HQ mask beside them.
            hq_token_only: the HQ mask alone instead of SAM + HQ: for images of one object.
            chunk: objects decoded at once; bounds memory.

        Raises:
            PromptError: prompts that cannot make a mask; the message names the row.
        """
        model = self.model
        if embedding.model != model.size.name:
            raise PromptError(f"the embedding was made by {embedding.model}, the model is {model.size.name}")
        if multimask and hq_token_only:
            raise PromptError(
                "multimask gives SAM's three masks, hq_token_only the HQ mask alone; choose one"
            )
        prompts = check_prompts(embedding.frame_size, 4 * model.size.grid, boxes, points, point_labels, masks)
        if chunk < 1:
            raise PromptError(f"chunk: expected at least 1 object at a time, got {chunk}")
        parts = [
            self._decode_chunk(embedding, prompts, slice(at, at + chunk), multimask, hq_token_only)
            for at in range(0, prompts.count, chunk)
        ]
        return _join(parts, embedding.frame_size, 4 * model.size.grid, multimask, model.has_hq)

    def _prepare(self, image: NDArray[np.uint8]) -> Tensor:
        from PIL import Image

        height, width = network_size((image.shape[0], image.shape[1]), self.model.size.image_size)
        # PIL's bilinear filter antialiases when it shrinks; F.interpolate would not match.
        small = np.array(Image.fromarray(image).resize((width, height), Image.Resampling.BILINEAR))
        pixels = torch.from_numpy(small).to(self.model.device).permute(2, 0, 1)[None]
        return self.model.normalise(pixels)

    def _decode_chunk(
        self, embedding: ImageEmbedding, prompts: Prompts, rows: slice, multimask: bool, hq_only: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """(masks, scores, logits, HQ masks, HQ logits) of some rows."""
        model = self.model
        decoder = model.mask_decoder
        sparse, dense = model.prompt_encoder(*self._to_network(prompts, rows, embedding.frame_size))
        pieces = decoder.pieces(embedding.features, self._position, sparse, dense)
        scores = decoder.iou(pieces)
        hq = None
        if embedding.hq_features is not None:
            hq = decoder.hq_mask(pieces, embedding.hq_features)
        if multimask:
            logits, scores = decoder.sam_masks(pieces, slice(1, 4)), scores[:, 1:]
            hq_masks = None if hq is None else self._upsample(hq, embedding.frame_size)[:, 0] > 0
            hq_logits = None if hq is None else hq[:, 0]
            return self._upsample(logits, embedding.frame_size) > 0, scores, logits, hq_masks, hq_logits
        if hq is not None and hq_only:
            logits = hq
        else:
            logits = decoder.sam_masks(pieces, slice(0, 1))
            logits = logits if hq is None else logits + hq
        upsampled = self._upsample(logits, embedding.frame_size)
        return upsampled[:, 0] > 0, scores[:, 0], logits[:, 0], None, None

    def _to_network(
        self, prompts: Prompts, rows: slice, frame_size: tuple[int, int]
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, Tensor | None]:
        """Points, labels, boxes and masks of some rows, scaled per axis to network pixels."""
        height, width = network_size(frame_size, self.model.size.image_size)
        scale = np.array([width / frame_size[1], height / frame_size[0]])

        def tensor(array: NDArray[Any] | None) -> Tensor | None:
            return None if array is None else torch.from_numpy(array).to(self.model.device)

        points = None if prompts.points is None else (prompts.points[rows] * scale).astype(np.float32)
        labels = None if prompts.labels is None else prompts.labels[rows]
        boxes = None
        if prompts.boxes is not None:
            boxes = (prompts.boxes[rows].reshape(-1, 2, 2) * scale).reshape(-1, 4).astype(np.float32)
        masks = None if prompts.masks is None else prompts.masks[rows][:, None]
        return tensor(points), tensor(labels), tensor(boxes), tensor(masks)

    def _upsample(self, logits: Tensor, frame_size: tuple[int, int]) -> Tensor:
        """(N, M, 4g, 4g) to (N, M, H, W): to the network's side, crop the padding, to the frame."""
        side = self.model.size.image_size
        height, width = network_size(frame_size, side)
        full = F.interpolate(logits, (side, side), mode="bilinear", align_corners=False)
        return F.interpolate(full[..., :height, :width], frame_size, mode="bilinear", align_corners=False)


def _join(
    parts: list[tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]],
    frame_size: tuple[int, int],
    side: int,
    multimask: bool,
    has_hq: bool,
) -> MaskPrediction:
    """Chunks to one value; no objects at all give arrays of length 0."""
    more = (3,) if multimask else ()
    if not parts:
        hq = multimask and has_hq
        return MaskPrediction(
            np.zeros((0, *more, *frame_size), np.bool_),
            np.zeros((0, *more), np.float32),
            np.zeros((0, *more, side, side), np.float32),
            np.zeros((0, side, side), np.float32) if hq else None,
            np.zeros((0, *frame_size), np.bool_) if hq else None,
        )

    def cat(column: int) -> Any:
        tensors = [part[column] for part in parts]
        return None if tensors[0] is None else torch.cat([t for t in tensors if t is not None]).cpu().numpy()

    return MaskPrediction(cat(0), cat(1), cat(2), cat(4), cat(3))
