"""How a model is run: through its modules, or rearranged. The predictor does not see the difference.

:func:`make_engine` chooses. What suits a CPU starves a GPU. On a CPU frames go through one by one, prompts in
chunks through the transformer, and masks are computed one object at a time, so that maps stay in cache and memory
does not grow with the number of objects. On CUDA frames and objects go through in batches as large as the free
memory bears, and a whole encoder or decoder is recorded once as a CUDA graph, so that a frame costs one launch
and not five hundred.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vis.errors import FallbackWarning
from vis.hqsam.network.model import SamModel
from vis.hqsam.network.tiny_vit import TinyViT
from vis.hqsam.runtime.cuda_graphs import CudaGraphRunner
from vis.hqsam.runtime.mask_decoder import FastMaskDecoder
from vis.hqsam.runtime.precision import float32_products, low_precision_dtype
from vis.hqsam.runtime.requests import DecodeRequest, filter_by_iou, select_best_mask
from vis.hqsam.runtime.tiny_vit import FastTinyViT
from vis.hqsam.runtime.vit import FastViT
from vis.mask_prediction import LowResMasks

__all__ = ["Engine", "ExactEngine", "FastEngine", "error_of", "make_engine"]

_TOLERANCE = 0.1
"""Largest root mean square error of an engine on CUDA, as a share of the signal's, that is sound."""
_CHUNK = 4
"""Prompts that go through the transformer at once on a CPU."""
_BYTES_PER_CELL = 16 * 1024
"""Of one object on CUDA, per cell of the embedding: measured peak of ``FastMaskDecoder``, rounded up."""
_COUNTS = (1, 2, 4, 8, 12, *range(16, 65, 8))
"""Objects at once on CUDA. Each number is a graph of its own, and more than 64 gain nothing."""


Pictures = Sequence[tuple[int, int] | None] | None


class Engine(Protocol):
    """Runs image encoder and mask decoder; tensors only."""

    def embed(self, frames: Tensor, pictures: Pictures = None) -> tuple[Tensor, Tensor | None]:
        """Normalised (B, 3, S, S) to features (B, 256, g, g) and HQ features (B, 32, 4g, 4g) or None.

        ``pictures``: (height, width) of what is no padding, of each frame; an engine may save work by it.
        """

    def decode(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, request: DecodeRequest
    ) -> Iterator[LowResMasks]:
        """Objects in order: one frame's features with prompts (N, T, 256) and their dense map."""

    def objects_at_once(self) -> int:
        """How many prompts one call of :meth:`decode` should get."""

    def describe(self) -> dict[str, str]:
        """What runs, for reports."""


def make_engine(model: SamModel, *, compiled: bool = False) -> Engine:
    """The engine that ``model.mode`` asks for on the model's device.

    ``exact`` goes through the modules. ``fast`` and ``fastest`` are rearranged, in bfloat16 where
    :func:`low_precision_dtype` finds it sound.

    On CUDA an engine must first show that it computes what the modules compute: bfloat16, fused kernels and
    recorded graphs depend on the card, its driver and the PyTorch build. Where one does not, the next more
    careful one is taken, with a warning.
    """
    if model.mode == "exact":
        return ExactEngine(model)
    dtype = low_precision_dtype(model.device.type)
    if model.device.type != "cuda":
        return FastEngine(model, dtype, batched=False)
    for candidate in dict.fromkeys((dtype, torch.float32)):
        try:
            engine = FastEngine(model, candidate, batched=True, compiled=compiled)
            error = error_of(engine, model)
        except RuntimeError as failure:
            reason = f"failed ({str(failure).splitlines()[0][:200]})"
        else:
            if error <= _TOLERANCE:
                return engine
            reason = f"differs from exact by {error:.2g} of the signal, at most {_TOLERANCE} is sound"
        warnings.warn(
            f"{model.size.name} in {_name(candidate)} on {model.device} {reason}; "
            "going on with a more careful and slower way",
            FallbackWarning,
            stacklevel=3,
        )
    return ExactEngine(model)


class ExactEngine:
    """float32, through the modules themselves: what :class:`FastEngine` is measured by."""

    def __init__(self, model: SamModel) -> None:
        self.model = model
        self.position = model.prompt_encoder.dense_position()

    def embed(
        self,
        frames: Tensor,
        pictures: Pictures = None,  # noqa: ARG002 - the padding is computed as well
    ) -> tuple[Tensor, Tensor | None]:
        """See :class:`Engine`."""
        with self._float32():
            features, early = self.model.image_encoder(frames)
            hq = self.model.mask_decoder.hq_features(features, early) if self.model.has_hq else None
        return features, hq

    def decode(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, request: DecodeRequest
    ) -> Iterator[LowResMasks]:
        """See :class:`Engine`."""
        decoder = self.model.mask_decoder
        with self._float32():
            tokens, image = decoder.transform(features, self.position, sparse, dense)
            scores = decoder.iou(tokens[:, 0])
        for i in filter_by_iou(scores, request):
            one = slice(i, i + 1)
            with self._float32():
                output = decoder.upscale(tokens[one], image[one])
                hq_logits = None if hq is None else decoder.hq_mask(output, hq)[:, 0]
                sam = decoder.sam_masks(output, request.masks)
            if request.best_only:
                bias = None if request.iou_bias is None else request.iou_bias[one]
                sam = select_best_mask(sam, scores[one, request.masks], bias)
            yield LowResMasks([i], sam, hq_logits, scores[one])

    def objects_at_once(self) -> int:
        """See :class:`Engine`."""
        return _CHUNK

    def describe(self) -> dict[str, str]:
        """See :class:`Engine`."""
        return {"engine": "modules", "numbers": "float32"}

    def _float32(self) -> AbstractContextManager[None]:
        return float32_products(self.model.device.type, allow_tf32=False)


class FastEngine:
    """The same functions rearranged, with ``dtype`` numbers where masks bear it.

    Plain ViTs and the maps that masks are made of take ``dtype``. TinyViT and the decoder's transformer take it
    in mode ``fastest`` only; in ``fast`` they keep float32, whose products CUDA may round to TensorFloat-32 (11
    bits): TinyViT has layers without a residual path, and the 8 bits of bfloat16 cost it a mask IoU of 0.975 on
    the hardest of twenty frames. On a CPU ``fastest`` does not take TinyViT through a frame's padding either, which is
    two fifths of a film's frame.

    ``batched`` is for CUDA, although it runs anywhere; see the module for what it means. There all objects are
    computed, and whole: it costs less than to ask which.
    """

    def __init__(self, model: SamModel, dtype: torch.dtype, *, batched: bool, compiled: bool = False) -> None:
        self.model = model
        self.dtype = dtype
        self.compute_dtype = dtype if model.mode == "fastest" else torch.float32
        tiny = isinstance(model.image_encoder, TinyViT)
        self.encoder_dtype = self.compute_dtype if tiny else dtype
        self.batched, self.compiled = batched, compiled and not tiny
        self.skips_padding = tiny and not batched and model.mode == "fastest"
        self.decoder = FastMaskDecoder(
            model.mask_decoder,
            model.prompt_encoder.dense_position(),
            compute_dtype=self.compute_dtype,
            low_precision_dtype=dtype,
        )
        self._embed = CudaGraphRunner(self._run_encoder, model.device)
        self._decode: dict[tuple[int, int, bool], CudaGraphRunner] = {}
        """By which of SAM's masks are computed: from the first to the one behind the last, and only the best?"""

    @functools.cached_property
    def encoder(self) -> FastTinyViT | FastViT:
        """Made for the first frame: who only decodes need not pay for it."""
        encoder = self.model.image_encoder
        if isinstance(encoder, TinyViT):
            return FastTinyViT(encoder, self.encoder_dtype, in_strips=not self.batched)
        return FastViT(encoder, self.encoder_dtype, compiled=self.compiled)

    def embed(self, frames: Tensor, pictures: Pictures = None) -> tuple[Tensor, Tensor | None]:
        """See :class:`Engine`."""
        if self.batched:
            features, *hq = self._embed(frames)
            return features, hq[0] if hq else None
        if pictures is None or not self.skips_padding:
            pictures = [None] * len(frames)
        runs = [
            self._run_encoder(frame, picture)
            for frame, picture in zip(torch.split(frames, 1), pictures, strict=True)
        ]
        features, *hq = map(torch.cat, zip(*runs, strict=True))
        return features, hq[0] if hq else None

    def decode(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, request: DecodeRequest
    ) -> Iterator[LowResMasks]:
        """See :class:`Engine`."""
        run = self._decode_batch if self.batched else self._decode_each
        return run(features, hq, sparse, dense, request)

    def objects_at_once(self) -> int:
        """See :class:`Engine`: on CUDA by the memory that is free now."""
        device = self.model.device
        if not self.batched:
            return _CHUNK
        if device.type != "cuda":
            return 8
        free = torch.cuda.mem_get_info(device)[0]
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return objects_within(free, self.model.size.grid)

    def describe(self) -> dict[str, str]:
        """See :class:`Engine`."""
        about = {
            "engine": "batched" if self.batched else "one object at a time",
            "encoder numbers": _name(self.encoder_dtype),
            "transformer numbers": _name(self.compute_dtype),
            "mask numbers": _name(self.dtype),
        }
        if self.skips_padding:
            about["padding"] = "not computed"
        if self.batched:
            recorded = self._embed.works and all(decode.works for decode in self._decode.values())
            about["cuda graphs"] = "yes" if recorded and self.model.device.type == "cuda" else "no"
            about["compiled"] = "yes" if self.compiled else "no"
        return about

    def _run_encoder(self, frames: Tensor, picture: tuple[int, int] | None = None) -> tuple[Tensor, ...]:
        with float32_products(frames.device.type, allow_tf32=True):
            encoder = self.encoder
            features, early = (
                encoder(frames, picture) if isinstance(encoder, FastTinyViT) else encoder(frames)
            )
            rows = features.permute(0, 3, 1, 2)
            if not self.model.has_hq:
                return (rows,)
            return rows, self.decoder.hq_features(features, early).permute(0, 3, 1, 2)

    def _decode_each(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, request: DecodeRequest
    ) -> Iterator[LowResMasks]:
        image, kernels, hf, scores = self._run_transformer(
            features, sparse, dense, (request.masks, request.best_only), request.iou_bias
        )
        frame = None if hq is None else self._as_rows(hq)
        for i in filter_by_iou(scores, request):
            one = slice(i, i + 1)
            given = image[one], kernels[one], None if hf is None else hf[one], frame
            if request.boxes is None:
                sam, hq_logits = self.decoder.predict_masks(*given)
            else:
                sam, hq_logits = self.decoder.predict_in_window(*given, (request.boxes[i] / 16).tolist())
            yield LowResMasks([i], sam, hq_logits, scores[one])

    def _decode_batch(
        self, features: Tensor, hq: Tensor | None, sparse: Tensor, dense: Tensor, request: DecodeRequest
    ) -> Iterator[LowResMasks]:
        count, which = len(sparse), (request.masks.start, request.masks.stop, request.best_only)
        sparse, dense = (_padded(x, padded_count(count)) if len(x) == count else x for x in (sparse, dense))
        bias = request.iou_bias
        bias = sparse.new_zeros(count, which[1] - which[0]) if bias is None else bias
        given = [features, sparse, dense, _padded(bias, len(sparse)), *([] if hq is None else [hq])]
        if which not in self._decode:
            self._decode[which] = CudaGraphRunner(
                functools.partial(self._run_decoder, which), self.model.device
            )
        scores, sam, *hq_logits = self._decode[which](*given)
        rows = filter_by_iou(scores[:count], request)
        picked = slice(0, count) if len(rows) == count else torch.tensor(rows, device=sam.device).long()
        if rows:
            yield LowResMasks(rows, sam[picked], hq_logits[0][picked] if hq_logits else None, scores[picked])

    def _run_decoder(
        self,
        which: tuple[int, int, bool],
        features: Tensor,
        sparse: Tensor,
        dense: Tensor,
        bias: Tensor,
        *hq: Tensor,
    ) -> tuple[Tensor, ...]:
        with float32_products(features.device.type, allow_tf32=True):
            start, stop, best_only = which
            image, kernels, hf, scores = self._run_transformer(
                features, sparse, dense, (slice(start, stop), best_only), bias
            )
            frame = self._as_rows(hq[0]) if hq else None
            sam, hq_logits = self.decoder.predict_masks(image, kernels, hf, frame)
        return (scores, sam) if hq_logits is None else (scores, sam, hq_logits)

    def _run_transformer(
        self,
        features: Tensor,
        sparse: Tensor,
        dense: Tensor,
        which: tuple[slice, bool],
        bias: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor]:
        """Image (N, g * g, 256), SAM's kernels (N, M, 32), the HQ kernels (N, 32) or None, scores (N, 4)."""
        plain = self.model.mask_decoder
        tokens, image = self.decoder.transform(features, sparse, dense)
        masks, best_only = which
        kernels = plain.kernels(tokens[:, 1:5], masks)
        scores = plain.iou(tokens[:, 0])
        if best_only:
            kernels = select_best_mask(kernels, scores[:, masks], bias)
        return image, kernels, plain.hf_mlp(tokens[:, 5]) if plain.has_hq else None, scores

    def _as_rows(self, hq: Tensor) -> Tensor:
        """One frame's HQ features (1, 32, 4g, 4g) as (4g, 4g, 32)."""
        return hq[0].permute(1, 2, 0).to(self.dtype)


def objects_within(free: int, grid: int) -> int:
    """Objects at once for ``free`` bytes and an embedding of ``grid`` cells a side: one of few counts."""
    fit = free // 4 // (_BYTES_PER_CELL * grid * grid)
    return max((count for count in _COUNTS if count <= fit), default=1)


def padded_count(count: int) -> int:
    """Objects to decode for ``count`` of them: few different numbers, since each is recorded by itself."""
    return min((some for some in _COUNTS if some >= count), default=count)


def _padded(x: Tensor, count: int) -> Tensor:
    """Rows up to ``count`` by repeating the last one."""
    if not len(x):
        return x
    return torch.cat([x, x[-1:].expand(count - len(x), *x.shape[1:])]) if count > len(x) else x


def error_of(engine: Engine, model: SamModel) -> float:
    """How far ``engine`` is from the model's own modules in float32, on noise and two boxes.

    The root mean square of the difference, as a share of the signal's, of the embedding and of the mask
    logits: whichever is larger. Infinite when a number is not finite. bfloat16 that works gives about 0.01.
    """
    side = model.size.image_size
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 3, 16, 16, generator=generator)
    frames = F.interpolate(coarse, (side, side), mode="bilinear").to(model.device)
    boxes = torch.tensor([[0.1, 0.2, 0.6, 0.7], [0.4, 0.3, 0.9, 0.8]], device=model.device) * side
    sparse, dense = model.prompt_encoder(None, None, boxes, None)
    results = []
    for one in (ExactEngine(model), engine):
        features, hq = one.embed(frames)
        parts = one.decode(features, hq, sparse, dense, DecodeRequest(slice(0, 1)))
        logits = torch.cat([p.logits[:, 0] + (0 if p.residual is None else p.residual) for p in parts])
        results.append((features.float(), logits))
    return max(_relative(have, want) for want, have in zip(*results, strict=True))


def _relative(have: Tensor, want: Tensor) -> float:
    if not bool(torch.isfinite(have).all()):
        return float("inf")
    return float(((have - want).square().mean() / want.square().mean().clamp(min=1e-12)).sqrt())


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
