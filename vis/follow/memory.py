"""What was seen before: features of a few earlier pictures, with what lay where.

Each cell of a new picture asks the cells of the remembered pictures that look most like it whose they
were, object and background alike, as the memory readout of STM and XMem does (Oh et al., ICCV 2019;
Cheng and Schwing, ECCV 2022), but on the frozen encoder's features and without training. One search
serves all objects. Knows no motion and no masks at full size.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vis.follow.grid import Grid

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Memory"]

Float32 = NDArray[np.float32]

_PIECE = 512
"""Cells that ask at a time."""
_REACH = 20.0
"""Cells apart at which two cells of successive pictures must be wholly alike to count as much as a chance pair."""


@dataclass(slots=True, eq=False)
class _Entry:
    keys: Tensor
    """(P, C) unit vectors, one per feature cell."""
    labels: dict[int, Float32]
    """Object id -> (P,) share of each cell that is the object; objects not judged there are absent."""


class Memory:
    """Bounded: some pictures with prompts, the last picture, and some between.

    Args:
        pinned: pictures with prompts that are kept for good; beyond, the oldest but the first goes.
        spaced: earlier pictures kept besides, ``spacing`` steps apart.
        neighbours: cells that each cell asks.
        temperature: how much likeness counts: weights are softmax(cosine / temperature).
    """

    def __init__(
        self,
        grid: Grid,
        *,
        pinned: int = 4,
        spaced: int = 2,
        spacing: int = 6,
        neighbours: int = 8,
        temperature: float = 0.05,
    ) -> None:
        self.grid = grid
        self.limits = pinned, spaced
        self.spacing = spacing
        self.neighbours = neighbours
        self.temperature = temperature
        self._centre: Tensor | None = None
        self._pinned: list[_Entry] = []
        self._spaced: list[_Entry] = []
        self._last: _Entry | None = None
        self._coming: _Entry | None = None
        self._age = 0
        self._apart: Tensor | None = None

    def keys(self, features: Tensor) -> Tensor:
        """Unit vectors (P, C) of the cells of features (C, side/4, side/4) that hold the picture, row by row."""
        import torch
        from torch.nn import functional as F

        rows, columns = self.grid.coarse
        with torch.inference_mode():
            flat = features[:, :rows, :columns].float().flatten(1).T
            if self._centre is None:
                # What all cells share tells none of them apart.
                self._centre = flat.mean(dim=0)
            return F.normalize(flat - self._centre, dim=1)

    def cells_of(self, logits: Float32) -> Float32:
        """The share (P,) of each feature cell that low-resolution logits (side, side) call the object."""
        import cv2

        rows, columns = self.grid.valid
        down, across = self.grid.coarse
        inside = (logits[:rows, :columns] > 0).astype(np.float32)
        inside = np.pad(inside, ((0, 4 * down - rows), (0, 4 * across - columns)), mode="edge")
        share: Any = cv2.resize(inside, (across, down), interpolation=cv2.INTER_AREA)
        return np.asarray(share, np.float32).ravel()

    def pin(self, keys: Tensor, object_id: int, labels: Float32) -> None:
        """Remember for good what an object is: its cells on the picture of its prompt."""
        if self._pinned and self._pinned[-1].keys is keys:
            self._pinned[-1].labels[object_id] = labels
            return
        self._pinned.append(_Entry(keys, {object_id: labels}))
        if len(self._pinned) > self.limits[0]:
            del self._pinned[1]

    def add(self, keys: Tensor, labels: Mapping[int, Float32], sure: Collection[int]) -> None:
        """Remember a picture for a while.

        ``labels`` holds the objects in sight; those of them that are ``sure`` may be remembered for longer.
        """
        if self._coming is not None and self._age % self.spacing == 0:
            self._spaced = [*self._spaced, self._coming][-self.limits[1] :]
        self._age += 1
        self._last = _Entry(keys, dict(labels))
        certain = {object_id: cells for object_id, cells in labels.items() if object_id in sure}
        self._coming = _Entry(keys, certain) if certain else None

    def forget(self, object_id: int) -> None:
        """Forget an object everywhere; pictures that hold no object go."""
        for entry in self._entries():
            entry.labels.pop(object_id, None)
        self._pinned = [entry for entry in self._pinned if entry.labels]
        self._spaced = [entry for entry in self._spaced if entry.labels]
        self._last, self._coming = (
            entry if entry is not None and entry.labels else None for entry in (self._last, self._coming)
        )

    def read(self, keys: Tensor, object_ids: Sequence[int]) -> Float32:
        """Log odds (N, P) that each cell is each object; 0 where the memory has no say.

        The mean of two answers: of the pictures with prompts and those between, which do not drift, and
        of the last picture, where near cells count for more than far ones.
        """
        old = self._ask([*self._pinned, *self._spaced], keys, object_ids, None)
        new = self._ask([] if self._last is None else [self._last], keys, object_ids, self._distances(keys))
        spoke = (old != 0).astype(np.float32) + (new != 0)
        mean: Float32 = (old + new) / np.maximum(spoke, 1)
        return mean

    def _ask(
        self, entries: list[_Entry], keys: Tensor, object_ids: Sequence[int], penalty: Tensor | None
    ) -> Float32:
        """Log odds (N, P) by the cells of some pictures."""
        import torch

        entries = [entry for entry in entries if not entry.labels.keys().isdisjoint(object_ids)]
        if not entries:
            return np.zeros((len(object_ids), len(keys)), np.float32)
        bank = torch.cat([entry.keys for entry in entries])
        nothing = np.full(len(keys), np.nan, np.float32)
        known = np.concatenate(
            [
                np.stack([entry.labels.get(object_id, nothing) for object_id in object_ids], axis=1)
                for entry in entries
            ]
        )
        values = torch.from_numpy(np.nan_to_num(known)).to(keys.device)
        judged = torch.from_numpy(~np.isnan(known)).to(keys.device).float()
        out = []
        with torch.inference_mode():
            # In pieces, so that the table of likenesses stays small.
            for at in range(0, len(keys), _PIECE):
                likeness = keys[at : at + _PIECE] @ bank.T
                if penalty is not None:
                    likeness -= penalty[at : at + _PIECE]
                likeness, where = likeness.topk(min(self.neighbours, len(bank)), dim=1)
                weight = (likeness / self.temperature).softmax(dim=1)[..., None]
                total = (weight * judged[where]).sum(dim=1)
                share = (weight * values[where]).sum(dim=1) / total.clamp(min=1e-6)
                odds = share.clamp(0.02, 0.98).logit()
                out.append(torch.where(total > 0.05, odds, 0.0))
        return np.asarray(torch.cat(out).T.cpu().numpy(), np.float32)

    def _distances(self, keys: Tensor) -> Tensor:
        """(P, P): what likeness must outweigh between two cells that lie apart."""
        import torch

        if self._apart is None:
            rows, columns = self.grid.coarse
            places = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).float()
            self._apart = (torch.cdist(places, places) / _REACH).square().to(keys.device)
        return self._apart

    def _entries(self) -> list[_Entry]:
        more = [entry for entry in (self._last, self._coming) if entry is not None]
        return [*self._pinned, *self._spaced, *more]
