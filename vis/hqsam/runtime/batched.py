"""Many objects at once: how a fast mode runs on a graphics processor.

What a processor wants (one object at a time, strips that stay in cache) starves a graphics processor: here
frames and objects go through in batches as large as the free memory bears, attention is one fused kernel, and
a whole encoder or decoder is recorded once as a CUDA graph, so that a frame costs one launch and not five
hundred. Nothing here needs CUDA, though: without it the same functions run one by one.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from vis.hqsam.network.model import SamModel
from vis.hqsam.network.tiny_vit import TinyViT
from vis.hqsam.runtime.cuda_graphs import Recorded
from vis.hqsam.runtime.engine import Asked, Drawn, ExactEngine, best_of, rows_above
from vis.hqsam.runtime.mask_decoder import FastDecoder
from vis.hqsam.runtime.tiny_vit import FastTinyViT
from vis.hqsam.runtime.torch_ops import float32_products
from vis.hqsam.runtime.vit import FlashViT

__all__ = ["BatchedEngine", "error_of", "padded_count"]

_MOST = 64
"""Objects at once where memory bears them; more gain nothing."""
_BYTES_PER_CELL = 16 * 1024
"""Of one object, per cell of the embedding: measured peak of ``FastDecoder``, rounded up."""


class BatchedEngine:
    """The fast engine for CUDA. ``dtype`` is that of plain ViTs and of drawing.

    In mode ``fast`` TinyViT and the decoder's transformer keep float32 numbers, whose products may be
    rounded to TensorFloat-32 (11 bits): see :class:`vis.hqsam.runtime.engine.FastEngine` for why not to 8 bits.
    """

    tolerance = 0.1
    """Largest root mean square error, as a share of the signal's, that is sound; see :func:`error_of`."""

    def __init__(self, model: SamModel, dtype: torch.dtype, *, compiled: bool = False) -> None:
        self.model = model
        self.dtype = dtype
        careful = torch.float32 if model.mode == "fast" else dtype
        self.encoder: FastTinyViT | FlashViT
        if isinstance(model.image_encoder, TinyViT):
            self.encoder = FastTinyViT(model.image_encoder, careful, strips=False)
        else:
            self.encoder = FlashViT(model.image_encoder, dtype, compiled=compiled)
        position = model.prompt_encoder.dense_position()
        self.decoder = FastDecoder(model.mask_decoder, position, transform=careful, draw=dtype)
        self._compiled = compiled and isinstance(self.encoder, FlashViT)
        self._embed = Recorded(self._run_encoder, model.device)
        self._decode: dict[tuple[int, int, bool], Recorded] = {}
        """By which of SAM's masks are drawn: from the first to the one behind the last, and only the best?"""

    def embed(self, frames: Tensor) -> tuple[Tensor, Tensor | None]:
        """See :class:`Engine`."""
        features, *hq = self._embed(frames)
        return features, hq[0] if hq else None

    def decode(
        self,
        features: Tensor,
        hq: Tensor | None,
        sparse: Tensor,
        dense: Tensor,
        asked: Asked,
    ) -> Iterator[Drawn]:
        """See :class:`Engine`. All objects are drawn, and whole: it costs less than to ask which."""
        count = len(sparse)
        sparse, dense = (_padded(x, padded_count(count)) if len(x) == count else x for x in (sparse, dense))
        masks = asked.which.start, asked.which.stop, asked.best
        prior = sparse.new_zeros(count, masks[1] - masks[0]) if asked.prior is None else asked.prior
        given = [features, sparse, dense, _padded(prior, len(sparse))]
        if hq is not None:
            given.append(hq)
        if masks not in self._decode:
            self._decode[masks] = Recorded(lambda *given: self._run_decoder(masks, *given), self.model.device)
        scores, sam, *drawn = self._decode[masks](*given)
        rows = rows_above(scores[:count], asked)
        picked = slice(0, count) if len(rows) == count else torch.tensor(rows, device=sam.device).long()
        if rows:
            yield Drawn(rows, sam[picked], drawn[0][picked] if drawn else None, scores[picked])

    def objects_at_once(self) -> int:
        """See :class:`Engine`: by the memory that is free now."""
        device = self.model.device
        if device.type != "cuda":
            return 8
        free = torch.cuda.mem_get_info(device)[0]
        free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return objects_within(free, self.model.size.grid)

    def describe(self) -> dict[str, str]:
        """See :class:`Engine`."""
        recorded = self._embed.works and all(decode.works for decode in self._decode.values())
        return {
            "engine": "batched",
            "numbers": str(self.dtype).removeprefix("torch."),
            "cuda graphs": "yes" if recorded and self.model.device.type == "cuda" else "no",
            "compiled": "yes" if self._compiled else "no",
        }

    def _run_encoder(self, frames: Tensor) -> tuple[Tensor, ...]:
        with float32_products(frames.device.type, short=True):
            features, early = self.encoder(frames)
            rows = features.permute(0, 3, 1, 2)
            if not self.model.has_hq:
                return (rows,)
            return rows, self.decoder.hq_features(features, early).permute(0, 3, 1, 2)

    def _run_decoder(
        self,
        masks: tuple[int, int, bool],
        features: Tensor,
        sparse: Tensor,
        dense: Tensor,
        prior: Tensor,
        hq: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        plain = self.model.mask_decoder
        with float32_products(features.device.type, short=True):
            tokens, image = self.decoder.transform(features, sparse, dense)
            start, stop, best = masks
            kernels = plain.kernels(tokens[:, 1:5], slice(start, stop))
            scores = plain.iou(tokens[:, 0])
            kernels = best_of(kernels, scores[:, start:stop], prior) if best else kernels
            if hq is None:
                return scores, self.decoder.draw(image, kernels, None, None)[0]
            rows = hq[0].permute(1, 2, 0).to(self.dtype)
            sam, drawn = self.decoder.draw(image, kernels, plain.hf_mlp(tokens[:, 5]), rows)
            assert drawn is not None
            return scores, sam, drawn


def objects_within(free: int, grid: int) -> int:
    """Objects at once for ``free`` bytes and an embedding of ``grid`` cells a side: a count of graphs' sizes."""
    fit = free // 4 // (_BYTES_PER_CELL * grid * grid)
    return max((size for size in _SIZES if size <= fit), default=1)


_SIZES = (1, 2, 4, 8, 12, *range(16, _MOST + 1, 8))


def padded_count(count: int) -> int:
    """Objects to decode for ``count`` of them: few different numbers, since each is recorded by itself."""
    return min((size for size in _SIZES if size >= count), default=count)


def _padded(x: Tensor, count: int) -> Tensor:
    """Rows up to ``count`` by repeating the last one."""
    if not len(x):
        return x
    return torch.cat([x, x[-1:].expand(count - len(x), *x.shape[1:])]) if count > len(x) else x


def error_of(engine: BatchedEngine, model: SamModel) -> float:
    """How far ``engine`` is from the model's own modules in float32, on noise and two boxes.

    The root mean square of the difference, as a share of the signal's, of the embedding and of the mask
    logits: whichever is larger. Infinite when a number is not finite. bfloat16 that works gives about 0.01.
    """
    side = model.size.image_size
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, 3, 16, 16, generator=generator)
    frames = torch.nn.functional.interpolate(coarse, (side, side), mode="bilinear").to(model.device)
    boxes = torch.tensor([[0.1, 0.2, 0.6, 0.7], [0.4, 0.3, 0.9, 0.8]], device=model.device) * side
    sparse, dense = model.prompt_encoder(None, None, boxes, None)
    drawn = []
    for one in (ExactEngine(model), engine):
        features, hq = one.embed(frames)
        parts = list(one.decode(features, hq, sparse, dense, Asked(slice(0, 1))))
        logits = torch.cat(
            [part.sam[:, 0] if part.hq is None else part.sam[:, 0] + part.hq for part in parts]
        )
        drawn.append((features.float(), logits))
    return max(_relative(have, want) for want, have in zip(*drawn, strict=True))


def _relative(have: Tensor, want: Tensor) -> float:
    if not bool(torch.isfinite(have).all()):
        return float("inf")
    return float(((have - want).square().mean() / want.square().mean().clamp(min=1e-12)).sqrt())
