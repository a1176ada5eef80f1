"""Training on a GPU: views made by worker processes, embedded once, and kept for a while on the device.

::

    ViewSource -- worker processes --> PreparedView -- frozen encoder --> pool of the newest views --> samples

A view's embedding serves several samples, each with a prompt of its own. The pool turns over at a fixed
rate counted in samples, never in time, so a run is repeatable and can be gone on from: what is in the pool
before sample n follows from n alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vis.errors import UsageError
from vis.hqsam.resize import shrink
from vis.training.cache import on_network
from vis.training.frozen import FrozenSam
from vis.training.prompts import MIX, Prompt, sample_prompt
from vis.training.samples import HeadSample, joined, random_window, stack, unstack
from vis.training.views import ViewSource

__all__ = ["PooledSource", "PreparedView", "prepare_view"]

_PROMPTS = 4
"""Of each object of a view."""


@dataclass(frozen=True, slots=True, eq=False)
class PreparedView:
    """A view at the network's size, still on the CPU."""

    image: Tensor
    """uint8 (3, h, w), the longer side as long as the network's input."""
    frame_size: tuple[int, int]
    """(height, width) of the view in pixels."""
    prompts: tuple[tuple[Prompt, ...], ...]
    """For each object several prompts, in the view's pixels; a sample takes one of them."""
    probability: Tensor
    """uint8 (objects, side, side)"""
    pixel_weight: Tensor
    """uint8 (objects, side, side); 0 on the padding."""


@dataclass(frozen=True, slots=True, eq=False)
class _EmbeddedView:
    view: PreparedView
    features: Tensor
    early: Tensor
    probability: Tensor
    pixel_weight: Tensor


class _Views(torch.utils.data.Dataset[PreparedView]):
    def __init__(self, source: ViewSource, side: int, mix: Mapping[str, float]) -> None:
        self.source, self.side, self.mix = source, side, dict(mix)

    def __getitem__(self, number: int) -> PreparedView:
        return prepare_view(self.source, number, self.side, mix=self.mix)


def prepare_view(
    source: ViewSource, number: int, side: int, *, mix: Mapping[str, float] | None = None
) -> PreparedView:
    """View ``number`` of a source at the network's size, with some prompts of each of its objects."""
    view = source.view(number)
    rng = source.generator(number, purpose=2)
    maps = [on_network(mask, side) for mask in view.masks]
    return PreparedView(
        torch.from_numpy(np.ascontiguousarray(shrink(view.image, side).transpose(2, 0, 1))),
        (view.image.shape[0], view.image.shape[1]),
        tuple(
            tuple(sample_prompt(mask, rng, mask_side=side // 4, mix=mix) for _ in range(_PROMPTS))
            for mask in view.masks
        ),
        torch.from_numpy(np.stack([probability for probability, _ in maps])),
        torch.from_numpy(np.stack([pixel_weight for _, pixel_weight in maps])),
    )


def _single_thread(_: int) -> None:
    """One thread per worker: there are as many workers as cores, and OpenCV would start as many again."""
    import cv2

    cv2.setNumThreads(0)


class PooledSource:
    """Samples decoded live from a pool of embedded views."""

    def __init__(
        self,
        views: ViewSource,
        frozen: FrozenSam,
        *,
        pool: int = 512,
        reuse: float = 4.0,
        workers: int = 0,
        encode: int = 16,
        window: int = 0,
        train_token: bool = True,
        mix: Mapping[str, float] | None = None,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """Start worker processes; nothing is embedded before the first sample is asked for.

        Args:
            views: what is drawn from.
            frozen: the network.
            pool: views kept on the device, about 5 MB each.
            reuse: samples drawn for each new view.
            workers: processes that make views; 0 makes them in this one.
            encode: views in one pass of the encoder.
            window: side of a sample in mask cells, a multiple of 4, as ``samples.random_window`` cuts it; 0
                keeps the whole grid.
            train_token: keep the decoder's gradients.
            mix: chances of prompt kinds (``prompts.MIX``).
            rank: number of this training process; each has views and a pool of its own.
            processes: how many there are.
        """
        if pool < 1 or reuse <= 0 or encode < 1:
            raise UsageError(f"pool {pool}, encode {encode} and reuse {reuse} must be above 0")
        self._views, self._frozen = views, frozen
        self._encode = min(encode, pool)
        self._size = -(-pool // self._encode) * self._encode
        self._reuse, self._workers, self._window = reuse, workers, window
        self._train_token, self._mix = train_token, dict(mix or MIX)
        self._rank, self._processes = rank, processes
        self._pool: dict[int, _EmbeddedView] = {}
        self._made = -1  # own views embedded so far; the pool holds the newest of them
        self._coming: Iterator[list[PreparedView]] | None = None

    def samples(self, indices: Sequence[int]) -> HeadSample:
        """The samples of these numbers, stacked, on the device."""
        # Whole encoder passes at a time, so that a resumed run has the very pool of the uninterrupted one.
        turns = int(min(indices) // self._processes / (self._reuse * self._encode))
        self._refill(self._size + turns * self._encode)
        groups: dict[tuple[str, int], list[tuple[_EmbeddedView, int, Prompt]]] = {}
        for index in indices:
            rng = self._views.generator(index, purpose=1)
            held = self._pool[int(rng.integers(self._size))]
            row = int(rng.integers(len(held.view.prompts)))
            choices = held.view.prompts[row]
            prompt = choices[int(rng.integers(len(choices)))]
            points = 0 if prompt.points is None else len(prompt.points)
            key = ("+".join(n for n in ("box", "points", "mask") if getattr(prompt, n) is not None), points)
            groups.setdefault(key, []).append((held, row, prompt))
        with torch.set_grad_enabled(self._train_token):
            parts = [self._decode(group) for group in groups.values()]
        whole = joined(parts)
        if not self._window:
            return whole
        rng = self._views.generator(min(indices), purpose=3)
        return stack([random_window(row, rng, self._window) for row in unstack(whole)])

    def _decode(self, group: Sequence[tuple[_EmbeddedView, int, Prompt]]) -> HeadSample:
        """Samples whose prompts have one form, in one pass."""
        features = torch.stack([held.features for held, _, _ in group]).float()
        sizes = [held.view.frame_size for held, _, _ in group]
        out = self._frozen.decode_batch(features, sizes, [prompt for _, _, prompt in group])
        return HeadSample(
            features,
            torch.stack([held.early for held, _, _ in group]).float(),
            out.upscaled,
            out.sam_logits,
            out.hf_token,
            torch.stack([held.probability[row] for held, row, _ in group]),
            torch.stack([held.pixel_weight[row] for held, row, _ in group]),
            group[0][2].kind,
        )

    def _refill(self, wanted: int) -> None:
        """Embed views until the pool holds number ``wanted - size`` to ``wanted``; slots follow numbers."""
        oldest = wanted - self._size
        if self._made < oldest or self._coming is None:  # at the start, or gone on from a saved state
            self._made = oldest
            self._coming = self._loader(oldest)
        while self._made < wanted:
            batch = next(self._coming)
            features, early = self._frozen.embed_batch([view.image for view in batch])
            for i, view in enumerate(batch):
                self._pool[self._made % self._size] = _EmbeddedView(
                    view,
                    features[i].to(torch.bfloat16),
                    early[i].to(torch.bfloat16),
                    view.probability.to(features.device),
                    view.pixel_weight.to(features.device),
                )
                self._made += 1

    def _loader(self, first: int) -> Iterator[list[PreparedView]]:
        numbers = range(1 << 40)[first * self._processes + self._rank :: self._processes]
        loader = torch.utils.data.DataLoader(
            _Views(self._views, self._frozen.side, self._mix),
            batch_size=self._encode,
            sampler=numbers,
            num_workers=self._workers,
            collate_fn=list,
            prefetch_factor=2 if self._workers else None,
            multiprocessing_context="forkserver" if self._workers else None,
            worker_init_fn=_single_thread,
        )
        return iter(loader)
