"""A small world with exact identities, seen by a detector that shuffles its rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from vis.structures import Detections

HEIGHT, WIDTH = 120, 160


@dataclass
class World:
    """Objects that move evenly, each with its own size, embedding and id."""

    count: int = 5
    fps: float = 30.0
    seed: int = 0

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        lane = HEIGHT / self.count
        self.start = np.stack([rng.uniform(20, 50, self.count), lane * (np.arange(self.count) + 0.5)], 1)
        self.speed = np.stack([rng.uniform(-12, 36, self.count), np.zeros(self.count)], 1)
        self.half = np.stack([rng.uniform(8, 14, self.count), np.full(self.count, lane * 0.45)], 1)
        self.looks = rng.normal(size=(self.count, 16)).astype(np.float32)

    def seen(self, second: float, objects=None, score: float | None = None, seed: int = 0) -> Detections:
        """What the detector gives at a time; rows in an order of chance; ``track_ids`` are the truth."""
        objects = np.arange(self.count) if objects is None else np.asarray(objects, np.int64)
        rng = np.random.default_rng([seed, int(second * 1000)])
        objects = rng.permutation(objects)
        centre = self.start[objects] + self.speed[objects] * second
        boxes = np.concatenate([centre - self.half[objects], centre + self.half[objects]], 1)
        x, y = np.arange(WIDTH)[None, None] + 0.5, np.arange(HEIGHT)[None, :, None] + 0.5
        x0, y0, x1, y1 = (boxes[:, k, None, None] for k in range(4))
        # An ellipse that fills its box.
        masks = ((2 * x - x0 - x1) / (x1 - x0)) ** 2 + ((2 * y - y0 - y1) / (y1 - y0)) ** 2 <= 1
        scores = rng.uniform(0.8, 1, len(objects)) if score is None else np.full(len(objects), score)
        detections = Detections(
            boxes.astype(np.float32),
            scores.astype(np.float32),
            objects % 3,
            masks,
            objects + 1,
            self.looks[objects] + rng.normal(0, 0.02, (len(objects), 16)).astype(np.float32),
        )
        for name in Detections.__dataclass_fields__:
            getattr(detections, name).flags.writeable = False  # a tracker that writes is caught at once
        return detections


@pytest.fixture
def make_world():
    return World
