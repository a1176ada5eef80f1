"""A predictor that knows colours only, and pictures made for it: what follows is tested, not the network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from vis.hqsam import SIZES, ImageEmbedding, Predictor
from vis.hqsam.resize import network_size
from vis.mask_prediction import LowResMasks
from vis.structures import Frame

HEIGHT, WIDTH = 144, 256
SIZE = replace(SIZES["vit_tiny"], image_size=512)
"""Half the published input: a quarter of the cells to move, and a sixteenth of the pairs of cells to compare."""


class ColourPredictor(Predictor):
    """Masks are the cells of the prompted colour, within the box if there is one.

    The embedding's first three channels are the colours, so that matching by features works too.
    """

    def __init__(self) -> None:
        self.model: Any = SimpleNamespace(size=SIZE, has_hq=True, device=torch.device("cpu"), mode="exact")
        self.embedded = 0

    def embed_batch(self, images: Any) -> list[ImageEmbedding]:
        out = []
        for image in images:
            self.embedded += 1
            height, width = network_size(image.shape[:2], SIZE.image_size)
            padded = np.zeros((SIZE.grid, SIZE.grid, 3), np.float32)
            small = cv2.resize(image, (width // 16, height // 16), interpolation=cv2.INTER_AREA)
            padded[: height // 16, : width // 16] = small
            # Three channels where a network has 256: the search through the memory costs that much less.
            features = torch.from_numpy(padded).permute(2, 0, 1)[None] / 32
            cells = np.zeros((3, 4 * SIZE.grid, 4 * SIZE.grid), np.float32)
            cells[:, : height // 4, : width // 4] = cv2.resize(
                image, (width // 4, height // 4), interpolation=cv2.INTER_AREA
            ).transpose(2, 0, 1)
            out.append(ImageEmbedding(image.shape[:2], features, torch.from_numpy(cells)[None], "vit_tiny"))
        return out

    def predict_masks(
        self, embedding: ImageEmbedding, prompts: Any, masks: slice, **_: Any
    ) -> Iterator[LowResMasks]:
        colours = embedding.hq_features[0].numpy()
        scale = 4 * SIZE.grid / max(embedding.frame_size)
        for row in range(prompts.count):
            inside = np.ones(colours.shape[1:], np.bool_)
            wanted = None
            if prompts.boxes is not None:
                x0, y0, x1, y1 = prompts.boxes[row] * scale
                inside[:] = False
                inside[max(0, int(y0) - 3) : int(y1) + 4, max(0, int(x0) - 3) : int(x1) + 4] = True
                wanted = colours[:, int((y0 + y1) / 2), int((x0 + x1) / 2)]
            if prompts.masks is not None and (prompts.masks[row] > 0).any():
                wanted = np.median(colours[:, prompts.masks[row] > 0], axis=1)
            if prompts.points is not None and 1 in prompts.labels[row]:
                x, y = prompts.points[row][list(prompts.labels[row]).index(1)] * scale
                wanted = colours[:, int(y), int(x)]
            alike = inside & (np.abs(colours - wanted[:, None, None]).max(axis=0) < 40)
            logits = torch.from_numpy(np.where(alike, 4.0, -4.0).astype(np.float32))
            score = torch.full((4,), 0.95 if alike.any() else 0.05)
            sam = logits.repeat(4, 1, 1)[masks]
            yield LowResMasks([row], sam[None], logits[None], score[None])


@pytest.fixture
def predictor() -> ColourPredictor:
    return ColourPredictor()


COLOURS = {"red": (230, 40, 40), "blue": (40, 60, 230)}


class Scene:
    """Frames on demand: textured ground, squares on straight paths, and maybe a pillar in front."""

    def __init__(self, count: int = 24, *, pillar: bool = False, side: int = 36) -> None:
        self.count, self.pillar, self.side = count, pillar, side
        noise = np.random.default_rng(0).integers(90, 170, (HEIGHT // 4, WIDTH // 4)).astype(np.uint8)
        grey = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        self._ground = np.repeat(grey[:, :, None], 3, axis=2)
        skin = np.random.default_rng(1).integers(-25, 26, (side // 6, side // 6)).astype(np.float32)
        self._skin = cv2.resize(skin, (side, side), interpolation=cv2.INTER_CUBIC)[:, :, None]

    def corner(self, colour: str, index: int) -> tuple[int, int]:
        """Left and top of a square."""
        return (12 + 7 * index, 20) if colour == "red" else (200 - 5 * index, 90)

    def truth(self, colour: str, index: int) -> np.ndarray:
        """The visible part of a square."""
        x, y = self.corner(colour, index)
        mask = np.zeros((HEIGHT, WIDTH), np.bool_)
        mask[y : y + self.side, max(0, x) : max(0, x + self.side)] = True
        if self.pillar:
            mask[:, 90:140] = False
        return mask

    def __getitem__(self, index: int) -> Frame:
        image = self._ground.copy()
        for colour, value in COLOURS.items():
            x, y = self.corner(colour, index)
            shown = np.clip(np.array(value) + self._skin, 0, 255)
            left, right = max(0, x), min(WIDTH, x + self.side)
            if right > left:
                image[y : y + self.side, left:right] = shown[:, left - x : right - x]
        if self.pillar:
            image[:, 90:140] = self._ground[:, 90:140]
        return Frame(index, index / 10, image)

    def __iter__(self) -> Iterator[Frame]:
        return (self[index] for index in range(self.count))

    def backwards(self, high: int, low: int) -> Iterator[Frame]:
        return (self[index] for index in range(min(high, self.count - 1), max(low, 0) - 1, -1))


@pytest.fixture
def scene() -> Callable[..., Scene]:
    return Scene
