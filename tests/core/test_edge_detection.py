"""Edges of a mask model whose masks are known, and thinning by closed forms."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from vis.edge_detection import detect_edges, suppress_non_maxima
from vis.follow.grid import Grid
from vis.interfaces import MaskPredictor
from vis.mask_prediction import LowResMasks
from vis.prompts import Prompts


class Discs:
    """A mask model that answers a click with the disc that it hits: the sure mask, an unsure one, and an empty one.

    ``discs``: x, y and radius in pixels, and how many logits a pixel's distance from the outline is worth.
    """

    mask_side = 64

    def __init__(self, *discs: tuple[float, float, float, float]) -> None:
        self.discs = discs
        self.clicks = 0

    def embed(self, image: np.ndarray) -> Grid:
        return Grid((image.shape[0], image.shape[1]), self.mask_side)

    def predict_masks(
        self, embedding: Grid, prompts: Prompts, masks: slice, *, min_iou: float = float("-inf")
    ) -> Iterator[LowResMasks]:
        assert masks == slice(1, 4)
        cell = max(embedding.frame) / self.mask_side
        y, x = (np.indices((self.mask_side, self.mask_side)) + 0.5) * cell
        nothing = np.full_like(x, -20.0)
        self.clicks += prompts.count
        for row, (at_x, at_y) in enumerate(prompts.points[:, 0]):
            logits = nothing
            for cx, cy, radius, slope in self.discs:
                if np.hypot(at_x - cx, at_y - cy) < radius:
                    logits = (radius - np.hypot(x - cx, y - cy)) * slope
            three = torch.tensor(np.stack([logits, logits, nothing]), dtype=torch.float32)
            yield LowResMasks([row], three[None], None, torch.tensor([[0.5, 0.9, -3.0, -9.0]]))

    def logits_to_masks(self, logits: Any, frame_size: tuple[int, int], *, levels: Any = (0.0,)) -> Any:
        grid = Grid(frame_size, self.mask_side)
        large = np.stack([grid.enlarged(one.numpy()) for one in logits])
        return tuple(large > level for level in levels)

    def decode(self, *given: Any, **options: Any) -> Any:
        raise NotImplementedError

    def describe(self) -> dict[str, Any]:
        return {"network": "discs", "size": "64", "mode": "exact", "device": "cpu"}


def from_outline(size: tuple[int, int], *disc: float) -> np.ndarray:
    """How far each pixel lies from a disc's outline, in pixels."""
    y, x = np.indices(size) + 0.5
    return np.abs(np.hypot(x - disc[0], y - disc[1]) - disc[2])


@pytest.mark.parametrize("size", [(120, 160), (160, 120), (64, 64)])
def test_edges_lie_on_the_outlines_of_what_is_found_and_nowhere_else(size: tuple[int, int]) -> None:
    disc = (size[1] / 2, size[0] / 2, 22.0, 1.0)
    assert isinstance(Discs(), MaskPredictor)
    edges = detect_edges(Discs(disc), np.zeros((*size, 3), np.uint8), points_per_side=8)
    assert edges.shape == size
    assert edges.dtype == np.float32
    assert 0 <= edges.min() <= edges.max() <= 1
    far = from_outline(size, *disc)
    assert (edges[far > 4] == 0).all()
    rows, columns = np.nonzero(edges > 0.3)
    around = np.unique(np.round(np.degrees(np.arctan2(rows - size[0] / 2, columns - size[1] / 2)) / 10))
    assert len(around) >= 36  # all the way around


def test_the_sharper_outline_is_the_brighter_edge_and_unthinned_it_is_one() -> None:
    sharp, soft = (40.0, 60.0, 20.0, 4.0), (120.0, 60.0, 20.0, 0.2)
    model = Discs(sharp, soft)
    edges = detect_edges(model, np.zeros((120, 160, 3), np.uint8), points_per_side=8, thin=False)
    assert model.clicks == 64
    assert edges.max() == 1
    assert edges[:, :80].max() > 2 * edges[:, 80:].max() > 0
    thin = detect_edges(model, np.zeros((120, 160, 3), np.uint8), points_per_side=8)
    assert (thin > 0).sum() < (edges > 0).sum()


def test_nothing_found_is_no_edge() -> None:
    edges = detect_edges(Discs(), np.zeros((50, 70, 3), np.uint8), points_per_side=3)
    assert edges.shape == (50, 70)
    assert not edges.any()


def test_a_ridge_becomes_its_crest_and_fades_out_at_the_border() -> None:
    x = np.arange(60)
    ridge = np.tile(np.maximum(0, 1 - np.abs(x - 30) / 6), (40, 1)).astype(np.float32)
    thin = suppress_non_maxima(ridge)
    kept = thin > 0
    assert kept[1:-1, 30].all()
    assert not np.delete(kept, 30, axis=1).any()
    np.testing.assert_allclose(thin[5:-5, 30], 11 / 12, rtol=1e-6)  # smoothed by 1/4, 1/2, 1/4
    np.testing.assert_allclose(thin[:6, 30], 11 / 12 * np.arange(6) / 5, rtol=1e-6)
    np.testing.assert_allclose(suppress_non_maxima(ridge.T), thin.T, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 40)])
def test_maps_without_room_are_thinned_too(size: tuple[int, int]) -> None:
    thin = suppress_non_maxima(np.ones(size, np.float32))
    assert thin.shape == size
    assert np.isfinite(thin).all()
