"""Which tubes are taken for a training set, and why the others are left."""

from __future__ import annotations

import numpy as np
import pytest

from vis import masks as rle
from vis.structures import Frame, Tube, VideoInfo, VideoResult
from vis.training.labelling import only, pairs, select_pseudo_labels, stability, tube_iou

SIZE = (60, 80)


def block(x: int, y: int = 10, width: int = 20, height: int = 20) -> np.ndarray:
    mask = np.zeros(SIZE, np.bool_)
    mask[y : y + height, x : x + width] = True
    return mask


def tube(number: int, masks: list[np.ndarray], *, score: float = 0.9, first: int = 0) -> Tube:
    stored = rle.encode_many(np.stack(masks))
    boxes = np.stack([rle.bounding_box(mask) for mask in stored])
    count = len(masks)
    return Tube(
        number, 0, score, np.arange(first, first + count), boxes, np.full(count, score, np.float32), stored
    )


def result_of(*tubes: Tube, frames: int = 12) -> VideoResult:
    info = VideoInfo("clip", *SIZE, 10.0, frames)
    return VideoResult(info, ("object",), tubes, np.arange(frames), np.arange(frames) / 10)


def test_a_shape_that_only_moves_is_stable_and_one_that_flickers_is_not() -> None:
    assert stability(tube(1, [block(2 * k) for k in range(10)])) == 1.0
    # Half of the block comes and goes: IoU 1/2 from frame to frame, wherever it is laid.
    assert stability(tube(1, [block(5, width=20 if k % 2 else 10) for k in range(10)])) == 0.5
    assert np.isnan(stability(tube(1, [block(5)])))


def test_tube_iou_counts_frames_of_either() -> None:
    a, b = tube(1, [block(0)] * 4), tube(2, [block(10)] * 4, first=2)
    # 400 pixels each; two frames are shared, with 200 pixels of each overlap.
    assert tube_iou(a, b) == pytest.approx(400 / (1600 + 1600 - 400))
    assert tube_iou(a, a) == 1.0


def test_every_reason_is_said_and_the_better_double_is_taken() -> None:
    steady = [block(2 * k) for k in range(10)]
    flicker = [block(30, y=35, width=20 if k % 2 else 10) for k in range(10)]
    bare = Tube(7, 0, 0.9, np.arange(9), np.tile(np.float32([0, 0, 9, 9]), (9, 1)), np.ones(9, np.float32))
    result = result_of(
        tube(1, steady, score=0.8),
        tube(2, steady, score=0.9),
        tube(3, flicker),
        tube(4, [block(40)] * 3),
        tube(5, [block(60, y=40)] * 9, score=0.3),
        tube(6, [block(60, width=1, height=1)] * 9),
        bare,
    )
    found = {candidate.tube: candidate for candidate in select_pseudo_labels(result)}
    assert [number for number, candidate in found.items() if candidate.kept] == [2]
    assert {number: candidate.reason for number, candidate in found.items()} == {
        1: "is the same as object 2",
        2: "",
        3: "changes its shape (0.50)",
        4: "is on 3 frames only",
        5: "is unsure (0.30)",
        6: "is too small",
        7: "has no masks",
    }


def test_pairs_are_the_masks_of_the_chosen_tubes_on_every_nth_frame() -> None:
    result = result_of(tube(1, [block(k) for k in range(8)], first=2), tube(2, [block(0, y=35)] * 12))
    frames = [Frame(k, k / 10, np.full((*SIZE, 3), k, np.uint8)) for k in range(12)]
    found = list(pairs(frames, only(result, [1]), every=3))
    assert [frame.index for frame, _ in found] == [3, 6, 9]
    for frame, ((number, mask),) in found:
        assert number == 1
        assert np.array_equal(mask, block(frame.index - 2))
