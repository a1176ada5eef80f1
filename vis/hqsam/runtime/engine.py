"""How a model is run: through its modules, or rearranged. The predictor does not see the difference.

On a processor both engines take prompts in chunks through the transformer and draw one object at a time, so
that maps stay in cache and memory does not grow with the number of objects. On a graphics processor, the
fast way is :class:`vis.hqsam.runtime.batched.BatchedEngine`: many objects at once.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from vis.errors import FallbackWarning
from vis.hqsam.network.model import SamModel
from vis.hqsam.network.tiny_vit import TinyViT
from vis.hqsam.runtime.cpu_vit import FastViT
from vis.hqsam.runtime.mask_decoder import FastDecoder
from vis.hqsam.runtime.tiny_vit import FastTinyViT
from vis.hqsam.runtime.torch_ops import fast_dtype, float32_products

__all__ = ["Asked", "Drawn", "Engine", "ExactEngine", "FastEngine", "best_of", "make_engine", "rows_above"]


class Asked(NamedTuple):
    """Which masks are wanted of every object."""

    which: slice
    """Of SAM's four: 0 the single one, 1-3 the three."""
    least: float = float("-inf")
    """An object none of whose masks ``which`` is predicted an IoU above this is not drawn."""
    best: bool = False
    """Draw only one of ``which``: the one that is predicted the highest IoU."""
    prior: Tensor | None = None
    """(N, M) added to the predicted IoUs of ``which`` before the best is chosen; None adds nothing."""
    boxes: Tensor | None = None
    """(N, 4) in network pixels: an engine that is faster for it may draw a single mask only around its box and
    wherever SAM sees the object. None asks for all of the map."""


class Drawn(NamedTuple):
    """Some objects, drawn at low resolution."""

    rows: list[int]
    """Which objects, counted from the first of the prompts given."""
    sam: Tensor
    """(n, M, 4g, 4g) float32 logits of the SAM masks asked for; M is 1 where only the best was."""
    hq: Tensor | None
    """(n, 4g, 4g) float32 logits of the HQ mask; None for a plain SAM."""
    scores: Tensor
    """(n, 4) predicted IoUs."""


class Engine(Protocol):
    """Runs image encoder and mask decoder; tensors only."""

    dtype: torch.dtype

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """Normalised (B, 3, S, S) to features (B, 256, g, g) and HQ features (B, 32, 4g, 4g) or None."""

    def decode(
        self,
        features: Tensor,
        hq: Tensor | None,
        sparse: Tensor,
        dense: Tensor,
        asked: Asked,
    ) -> Iterator[Drawn]:
        """Objects in order: one frame's features with prompts (N, T, 256) and their dense map."""

    def objects_at_once(self) -> int:
        """How many prompts one call of :meth:`decode` should get."""

    def describe(self) -> dict[str, str]:
        """What runs, for reports."""


class ExactEngine:
    """float32, through the modules themselves: what the other engines are measured by."""

    dtype = torch.float32

    def __init__(self, model: SamModel) -> None:
        self.model = model
        self.position = model.prompt_encoder.dense_position()

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Engine`."""
        with self._truly_float32():
            features, early = self.model.image_encoder(frames)
            hq = self.model.mask_decoder.hq_features(features, early) if self.model.has_hq else None
        return features, hq

    def decode(
        self,
        features: Tensor,
        hq: Tensor | None,
        sparse: Tensor,
        dense: Tensor,
        asked: Asked,
    ) -> Iterator[Drawn]:
        """See :class:`Engine`."""
        decoder = self.model.mask_decoder
        with self._truly_float32():
            tokens, image = decoder.transform(features, self.position, sparse, dense)
            scores = decoder.iou(tokens[:, 0])
        for i in rows_above(scores, asked):
            one = slice(i, i + 1)
            with self._truly_float32():
                pieces = decoder.upscale(tokens[one], image[one])
                drawn = None if hq is None else decoder.hq_mask(pieces, hq)[:, 0]
                sam = decoder.sam_masks(pieces, asked.which)
            if asked.best:
                sam = best_of(
                    sam, scores[one, asked.which], None if asked.prior is None else asked.prior[one]
                )
            yield Drawn([i], sam, drawn, scores[one])

    def objects_at_once(self) -> int:
        """See :class:`Engine`."""
        return 4

    def describe(self) -> dict[str, str]:
        """See :class:`Engine`."""
        return {"engine": "exact", "numbers": "float32"}

    def _truly_float32(self) -> AbstractContextManager[None]:
        return float32_products(self.model.device.type, short=False)


class FastEngine:
    """The same functions rearranged, with bfloat16 where this machine gains by it and masks bear it.

    ``fast`` keeps TinyViT's encoder and the decoder's transformer in float32: TinyViT has layers without
    a residual path, and bfloat16 costs it a mask IoU of 0.975 on the hardest of twenty frames. ``fastest``
    takes bfloat16 everywhere.
    """

    def __init__(self, model: SamModel) -> None:
        self.model = model
        small = fast_dtype(model.device.type)
        careful = small if model.mode == "fastest" else torch.float32
        self._encoder_dtype = careful if isinstance(model.image_encoder, TinyViT) else small
        position = model.prompt_encoder.dense_position()
        self.decoder = FastDecoder(model.mask_decoder, position, transform=careful, draw=small)
        self.dtype = small

    @functools.cached_property
    def encoder(self) -> FastTinyViT | FastViT:
        """Made for the first frame: who only decodes need not pay for it."""
        encoder = self.model.image_encoder
        kind = FastTinyViT if isinstance(encoder, TinyViT) else FastViT
        return kind(encoder, self._encoder_dtype)  # type: ignore[arg-type]

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Engine`."""
        features, early = self.encoder(frames)
        hq = None
        if self.model.has_hq:
            pairs = zip(torch.split(features, 1), torch.split(early, 1), strict=True)
            hq = torch.cat([self.decoder.hq_features(*pair) for pair in pairs]).permute(0, 3, 1, 2)
        return features.permute(0, 3, 1, 2), hq

    def decode(
        self,
        features: Tensor,
        hq: Tensor | None,
        sparse: Tensor,
        dense: Tensor,
        asked: Asked,
    ) -> Iterator[Drawn]:
        """See :class:`Engine`."""
        rows = None if hq is None else hq[0].permute(1, 2, 0).to(self.dtype)
        plain = self.model.mask_decoder
        tokens, image = self.decoder.transform(features, sparse, dense)
        kernels = plain.kernels(tokens[:, 1:5], asked.which)
        scores = plain.iou(tokens[:, 0])
        if asked.best:
            kernels = best_of(kernels, scores[:, asked.which], asked.prior)
        hf = plain.hf_mlp(tokens[:, 5]) if plain.has_hq else None
        for i in rows_above(scores, asked):
            one = slice(i, i + 1)
            given = image[one], kernels[one], None if hf is None else hf[one], rows
            if asked.boxes is None:
                drawn = self.decoder.draw(*given)
            else:
                drawn = self.decoder.draw_within(*given, (asked.boxes[i] / 16).tolist())
            yield Drawn([i], *drawn, scores[one])

    def objects_at_once(self) -> int:
        """See :class:`Engine`."""
        return 4

    def describe(self) -> dict[str, str]:
        """See :class:`Engine`."""
        return {
            "engine": "one object at a time",
            "numbers": str(self.dtype).removeprefix("torch."),
        }


def rows_above(scores: Tensor, asked: Asked) -> list[int]:
    """Rows whose best score among ``which`` is above ``least``; all of them for minus infinity."""
    if asked.least == float("-inf"):
        return list(range(len(scores)))
    kept: list[int] = (scores[:, asked.which].amax(1) > asked.least).nonzero()[:, 0].tolist()
    return kept


def best_of(masks: Tensor, scores: Tensor, prior: Tensor | None) -> Tensor:
    """(N, M, ...) of M masks with (N, M) scores to (N, 1, ...): each row's best by score and prior together."""
    best = (scores if prior is None else scores + prior).argmax(1)
    return masks.take_along_dim(best.view(-1, *[1] * (masks.dim() - 1)), dim=1)


def make_engine(model: SamModel, *, compiled: bool = False) -> Engine:
    """The engine that ``model.mode`` asks for on the model's device.

    ``exact`` goes through the modules.

    On CUDA an engine must first show that it computes what the modules compute: bfloat16, fused kernels and
    recorded graphs depend on the card, its driver and the PyTorch build. Where one does not, the next more
    careful one is taken, with a warning.
    """
    if model.mode == "exact":
        return ExactEngine(model)
    if model.device.type != "cuda":
        return FastEngine(model)
    from vis.hqsam.runtime.batched import BatchedEngine, error_of

    small = fast_dtype("cuda")
    for dtype in (small, torch.float32) if small != torch.float32 else (small,):
        try:
            engine = BatchedEngine(model, dtype, compiled=compiled)
            error = error_of(engine, model)
        except RuntimeError as failure:
            reason = f"failed ({str(failure).splitlines()[0][:200]})"
        else:
            if error <= BatchedEngine.tolerance:
                return engine
            reason = (
                f"differs from exact by {error:.2g} of the signal, at most {BatchedEngine.tolerance} is sound"
            )
        warnings.warn(
            f"{model.size.name} in {str(dtype).removeprefix('torch.')} on {model.device} {reason}; "
            "going on with a more careful and slower way",
            FallbackWarning,
            stacklevel=3,
        )
    return ExactEngine(model)
