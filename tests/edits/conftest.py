"""A result of three tubes drawn by hand, and a decode that needs no network."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from vis import masks as rle
from vis.edits import Prompt
from vis.structures import Tube, VideoInfo, VideoResult

SIZE = (24, 40)
FRAMES = range(0, 20, 2)  # a stride of 2: indices are the source's, not positions


def _square(x: int, y: int) -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    mask[y : y + 6, x : x + 6] = True
    return mask


def _tube(number: int, label: int, frames: list[int], x: int, y: int) -> Tube:
    masks = tuple(rle.encode(_square(x + step // 4, y)) for step in frames)
    return Tube(
        id=number,
        label=label,
        score=0.25 * number,
        frames=np.array(frames, np.int64),
        boxes=np.array([rle.bounding_box(mask) for mask in masks], np.float32),
        scores=np.linspace(0.5, 0.9, len(frames)).astype(np.float32),
        masks=masks,
    )


@pytest.fixture
def result() -> VideoResult:
    frames = list(FRAMES)
    return VideoResult(
        video=VideoInfo("hand", *SIZE, num_frames=20, fps=10.0),
        class_names=("cat", "dog"),
        tubes=(
            _tube(1, 0, frames, 1, 1),
            _tube(2, 1, frames[:6], 12, 10),
            _tube(3, 1, frames[4:], 24, 16),
        ),
        frames=np.array(frames, np.int64),
        pts_seconds=np.array(frames, np.float64) / 10,
        made_with={"version": "test"},
    )


class DiskDecode:
    """Squares around plus clicks, without those around minus clicks; boxes whole. Remembers its calls."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def __call__(self, frame: int, prompt: Prompt) -> np.ndarray:
        self.calls.append(frame)
        mask = np.zeros(SIZE, np.bool_) if prompt.mask is None else prompt.mask.copy()
        if prompt.box is not None:
            x0, y0, x1, y1 = (int(n) for n in prompt.box)
            mask[y0:y1, x0:x1] = True
        for (x, y), inside in zip(prompt.points, prompt.point_labels, strict=True):
            mask[max(0, int(y) - 2) : int(y) + 3, max(0, int(x) - 2) : int(x) + 3] = bool(inside)
        return mask

    def carry(self, frame: int, mask: np.ndarray, onto: Sequence[int]):
        """One pixel to the right per frame; lost on frames 6 and 8, and surer forwards than back."""
        for other in onto:
            self.calls.append(other)
            found = None if other in (6, 8) else np.roll(mask, other - frame, axis=1)
            yield other, found, 0.75 if other > frame else 0.5


@pytest.fixture
def decode() -> Callable[[int, Prompt], np.ndarray]:
    return DiskDecode()
