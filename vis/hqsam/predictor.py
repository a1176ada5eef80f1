"""Frames and prompts in, masks out: the pixel layer over :class:`vis.hqsam.network.model.SamModel`.

An embedding is a value: ``embed`` makes it, ``decode`` takes it, and nothing is remembered between calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vis.errors import PromptError
from vis.hqsam.network.model import SamModel
from vis.hqsam.resize import Upsampler, network_size, resize, shrink, upsampler
from vis.hqsam.runtime.engine import make_engine
from vis.hqsam.runtime.requests import DecodeRequest
from vis.mask_prediction import LowResMasks, MaskPrediction
from vis.prompts import Prompts, check_bias, check_image, check_prompts
from vis.renamed import renamed_arguments

__all__ = ["ImageEmbedding", "Predictor"]

Float32 = NDArray[np.float32]


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


class Predictor:
    """Runs a model on frames. Holds no state but the model.

    Weights are copied when the predictor is made or gets its first frame: make a new one after changing them.
    On CUDA the fast modes are also held against the exact way once, on noise, before they are trusted.

    ``compiled`` hands the blocks of a plain ViT to PyTorch's compiler, on CUDA: half a minute once, for
    frames that then take less time. It needs a C compiler and Triton.
    """

    def __init__(self, model: SamModel, *, compiled: bool = False) -> None:
        self.model = model.eval()
        with torch.inference_mode():
            self._engine = make_engine(model, compiled=compiled)

    def describe(self) -> dict[str, Any]:
        """The model's own description, and the engine that runs it: plain JSON values, for reports."""
        return self.model.describe() | self._engine.describe()

    @property
    def mask_side(self) -> int:
        """Side s of low-resolution logits and mask prompts (N, s, s): 256 for every published size."""
        return 4 * self.model.size.grid

    def embed(self, image: NDArray[np.uint8]) -> ImageEmbedding:
        """The embedding of one frame, RGB uint8 (H, W, 3)."""
        return self.embed_batch([image])[0]

    @torch.inference_mode()
    def embed_batch(self, images: Sequence[NDArray[np.uint8]]) -> list[ImageEmbedding]:
        """Embeddings of several frames, of any sizes, in one pass of the network."""
        if not len(images):
            return []
        frames = torch.cat([self._prepare(check_image(image)) for image in images])
        side = self.model.size.image_size
        pictures = [network_size((image.shape[0], image.shape[1]), side) for image in images]
        features, hq = self._engine.embed(frames, pictures)
        return [
            ImageEmbedding(
                (image.shape[0], image.shape[1]),
                features[i : i + 1],
                None if hq is None else hq[i : i + 1],
                self.model.size.name,
            )
            for i, image in enumerate(images)
        ]

    @renamed_arguments(prior="iou_bias", whole="full_frame")
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
        best_of_three: bool = False,
        iou_bias: Any = None,
        hq_token_only: bool = False,
        full_frame: bool = False,
        chunk: int | None = None,
    ) -> MaskPrediction:
        """Masks for N objects of one frame; boxes, points and masks combine per object.

        Args:
            embedding: of the frame, from :meth:`embed`.
            boxes: (N, 4) x0, y0, x1, y1 in frame pixels.
            points: (N, K, 2) x, y in frame pixels.
            point_labels: (N, K) 1 inside, 0 outside, -1 no point.
            masks: (N, 256, 256) logits, such as ``low_res_logits`` of an earlier call.
            multimask: False gives the one mask that SAM means for unambiguous prompts such as boxes,
                plus the HQ mask. True gives SAM's three for ambiguous prompts such as one click, sub-part,
                part and whole in this order, with their scores, and the HQ mask beside them.
            best_of_three: the one of those three that SAM itself thinks best, and the HQ mask added: the
                reference's ``multimask_output=True``. Better than the single mask for boxes that do not fit
                well, such as a detector's, and for one click; a little worse for exact boxes. It costs
                nothing: the others are not computed.
            iou_bias: (N, 3), with ``best_of_three``: added to SAM's estimates before the best is chosen, so that
                what is known from elsewhere, such as the frames before, has a say.
            hq_token_only: the HQ mask alone instead of SAM + HQ: for images of one object.
            full_frame: the fast modes compute the mask of an object given by a box only around the box and
                wherever SAM's own logits, sampled over all of the frame, come near zero; elsewhere
                ``low_res_logits`` are samples, well below zero. True computes every pixel; ``exact`` always does.
            chunk: objects decoded at once, which bounds memory; None leaves it to the engine: 4 on a
                CPU, as many as free memory bears on CUDA.

        Raises:
            PromptError: prompts that cannot make a mask; the message names the row.
        """
        model = self.model
        self._check_embedding(embedding)
        if hq_token_only and not model.has_hq:
            raise PromptError("hq_token_only: this model is a plain SAM without HQ mask; choose an HQ-SAM")
        if multimask and hq_token_only:
            raise PromptError(
                "multimask gives SAM's three masks, hq_token_only the HQ mask alone; choose one"
            )
        if best_of_three and (multimask or hq_token_only):
            raise PromptError(
                "best_of_three gives one of SAM's masks with the HQ mask added, multimask all three, "
                "hq_token_only the HQ mask alone; choose one"
            )
        prompts = check_prompts(
            embedding.frame_size,
            self.mask_side,
            boxes=boxes,
            points=points,
            point_labels=point_labels,
            masks=masks,
        )
        iou_bias = check_bias(iou_bias, prompts.count, best_of_three)
        if chunk is not None and chunk < 1:
            raise PromptError(f"chunk: expected at least 1 object at a time, got {chunk}")
        arrays = _Arrays(prompts.count, embedding.frame_size, self.mask_side, model.device)
        out = arrays.prediction(multimask=multimask, best_of_three=best_of_three, has_hq=model.has_hq)
        up = self._upsampler(embedding.frame_size)
        parts = self.predict_masks(
            embedding,
            prompts,
            slice(1, 4) if multimask or best_of_three else slice(0, 1),
            best_only=best_of_three,
            iou_bias=iou_bias,
            chunk=chunk,
            near_boxes=not (full_frame or multimask or hq_token_only),
        )
        for rows, sam, hq, scores in parts:
            at = slice(rows[0], rows[-1] + 1)  # none is left out, so they follow one another
            if multimask:
                _send(sam, out.low_res_logits[at])
                _send(scores[:, 1:], out.scores[at])
                for i in range(3):
                    up.masks(sam[:, i], out.masks[at, i])
                if hq is not None and out.hq_low_res_logits is not None and out.hq_masks is not None:
                    _send(hq, out.hq_low_res_logits[at])
                    up.masks(hq, out.hq_masks[at])
                continue
            logits = sam[:, 0] if hq is None else hq if hq_token_only else sam[:, 0] + hq
            _send(logits, out.low_res_logits[at])
            if out.three_scores is None:
                _send(scores[:, 0], out.scores[at])
            else:
                _send(scores[:, 1:], out.three_scores[at])
            up.masks(logits, out.masks[at])
        if model.device.type == "cuda":
            torch.cuda.current_stream(model.device).synchronize()
        if out.three_scores is not None:  # the engine chose by the same sums
            best = (out.three_scores if iou_bias is None else out.three_scores + iou_bias).argmax(axis=1)
            out.scores[:] = out.three_scores[np.arange(prompts.count), best]
        return out

    @torch.inference_mode()  # on a generator: while it runs, not while it waits
    def predict_masks(
        self,
        embedding: ImageEmbedding,
        prompts: Prompts,
        masks: slice,
        *,
        min_iou: float = float("-inf"),
        best_only: bool = False,
        iou_bias: Float32 | None = None,
        chunk: int | None = None,
        near_boxes: bool = False,
    ) -> Iterator[LowResMasks]:
        """Low-resolution logits, some objects at a time.

        ``masks`` of SAM's four (0 the single one, 1-3 the three), or with ``best_only`` just the one of
        them that has the highest score, its ``iou_bias`` (N, M) added. Objects none of whose scores among them
        exceeds ``min_iou`` are left out before their masks are computed. ``near_boxes`` allows one mask an object
        to be computed only in part, as ``full_frame`` of :meth:`decode` says.
        """
        features, hq_features = embedding.features, embedding.hq_features
        features = features.to(self.model.device)
        hq_features = None if hq_features is None else hq_features.to(self.model.device)
        step = chunk or self._engine.objects_at_once()
        for at in range(0, prompts.count, step):
            scaled = self._to_network(prompts, slice(at, at + step), embedding.frame_size)
            sparse, dense = self.model.prompt_encoder(*scaled)
            bias = None if iou_bias is None else torch.from_numpy(iou_bias[at : at + step]).to(sparse)
            request = DecodeRequest(masks, min_iou, best_only, bias, scaled[2] if near_boxes else None)
            for part in self._engine.decode(features, hq_features, sparse, dense, request):
                yield part._replace(rows=[at + row for row in part.rows])

    @torch.inference_mode()
    def logits_to_masks(
        self,
        logits: Tensor | Float32,
        frame_size: tuple[int, int],
        *,
        levels: Sequence[float] = (0.0,),
    ) -> tuple[NDArray[np.bool_], ...]:
        """For each level the masks (N, H, W) of a frame where low-resolution logits (N, s, s), enlarged, exceed it."""
        device = self.model.device
        out = tuple(np.zeros((len(logits), *frame_size), np.bool_) for _ in levels)
        self._upsampler(frame_size).masks(torch.as_tensor(logits, device=device), *out, levels=levels)
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()
        return out

    def dense_features(self, embedding: ImageEmbedding) -> Tensor:
        """The image embedding (256, g, g) on its own device; a cell is 4 x 4 of the logits' cells."""
        return embedding.features[0]

    def _upsampler(self, frame_size: tuple[int, int]) -> Upsampler:
        """What turns low-resolution logits into masks of a frame."""
        side = self.model.size.image_size
        return upsampler(frame_size, network_size(frame_size, side), self.mask_side, side, self.model.device)

    def _check_embedding(self, embedding: ImageEmbedding) -> None:
        name = self.model.size.name
        if embedding.model != name:
            raise PromptError(f"the embedding was made by {embedding.model}, the model is {name}")
        if (embedding.hq_features is not None) != self.model.has_hq:
            kinds = ("an HQ-SAM", "a plain SAM")
            made, have = kinds if embedding.hq_features is not None else kinds[::-1]
            raise PromptError(f"the embedding was made by {made}, the model is {have}; embed the frame again")

    def _prepare(self, image: NDArray[np.uint8]) -> Tensor:
        side, device = self.model.size.image_size, self.model.device
        if device.type == "cuda":
            # A copy of what may not be written to: PyTorch warns of such memory.
            whole = torch.from_numpy(np.require(image, requirements=["C", "W"])).to(device)
            pixels = resize(whole, network_size((image.shape[0], image.shape[1]), side))
        else:
            pixels = torch.from_numpy(shrink(image, side)).to(device)
        return self.model.normalise(pixels.permute(2, 0, 1)[None])

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


@dataclass(frozen=True, slots=True)
class _Arrays:
    """Makes arrays to be filled. For CUDA they lie in pinned memory, so that one copy brings results home."""

    count: int
    frame_size: tuple[int, int]
    side: int
    device: torch.device

    def prediction(self, *, multimask: bool, best_of_three: bool, has_hq: bool) -> MaskPrediction:
        more = (3,) if multimask else ()
        with_hq = multimask and has_hq
        return MaskPrediction(
            masks=self.zeros(*more, *self.frame_size, kind=np.bool_),
            scores=self.zeros(*more),
            low_res_logits=self.zeros(*more, self.side, self.side),
            hq_low_res_logits=self.zeros(self.side, self.side) if with_hq else None,
            hq_masks=self.zeros(*self.frame_size, kind=np.bool_) if with_hq else None,
            three_scores=self.zeros(3) if best_of_three else None,
        )

    def zeros(self, *shape: int, kind: Any = np.float32) -> NDArray[Any]:
        """(N, ...)"""
        if self.device.type != "cuda":
            return np.zeros((self.count, *shape), kind)
        types = {np.float32: torch.float32, np.bool_: torch.bool}
        out: NDArray[Any] = torch.empty((self.count, *shape), dtype=types[kind], pin_memory=True).numpy()
        return out


def _send(values: Tensor, target: NDArray[Any]) -> None:
    torch.from_numpy(target).copy_(values, non_blocking=True)
