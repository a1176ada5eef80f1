"""Objects carried between key frames: what is looked at, how well the rest is known, and what is held."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vis.evaluation.davis import region_j
from vis.follow.grid import Grid
from vis.follow.keyframes import keyframe_groups
from vis.structures import Detections, Frame, TrackedFrame


def objects_of(*given: Any, **options: Any) -> Iterator[TrackedFrame]:
    return chain.from_iterable(keyframe_groups(*given, **options))


IDS = {"red": 3, "blue": 5}


class Looking:
    """Finds the squares of a scene as they are, and notes on which frames it was asked."""

    def __init__(self, scene: Any, *, masks: bool = True, born: int = 0) -> None:
        self.scene, self.masks, self.born = scene, masks, born
        self.asked: list[int] = []

    def __call__(self, frame: Frame) -> TrackedFrame:
        self.asked.append(frame.index)
        seen = ["red"] + ["blue"] * (frame.index >= self.born)
        masks = np.stack([self.scene.truth(colour, frame.index) for colour in seen])
        boxes = []
        for colour in seen:
            x, y = self.scene.corner(colour, frame.index)
            boxes.append([x, y, x + self.scene.side, y + self.scene.side])
        found = Detections(
            boxes=np.array(boxes, np.float32),
            scores=np.array([0.9, 0.7][: len(seen)], np.float32),
            labels=np.zeros(len(seen), np.int64),
            masks=masks if self.masks else None,
            track_ids=np.array([IDS[colour] for colour in seen], np.int64),
        )
        return TrackedFrame(frame, found)


def test_frames_between_are_known_by_motion(scene: Any) -> None:
    pictures = scene(19)
    look = Looking(pictures)
    told: list[int] = []
    out = list(objects_of(pictures, look, interval=3, carried=lambda frame, _: told.append(frame.index)))
    assert [item.frame.index for item in out] == list(range(19))
    assert look.asked == [0, 3, 6, 9, 12, 15, 18]
    assert told == [index for index in range(19) if index % 3]
    for item in out:
        found = item.detections
        assert found.track_ids is not None
        assert found.track_ids.tolist() == [3, 5]
        for row, colour in enumerate(IDS):
            truth = pictures.truth(colour, item.frame.index)
            assert region_j(found.masks[row], truth) > 0.9, (colour, item.frame.index)
            x, y = pictures.corner(colour, item.frame.index)
            np.testing.assert_allclose(found.boxes[row], [x, y, x + 36, y + 36], atol=0.01)  # an even path
        np.testing.assert_allclose(found.scores, [0.9, 0.7], atol=1e-6)


def test_a_tracker_is_told_where_the_boxes_went(scene: Any) -> None:
    pictures = scene(4)
    moved = {}
    stream = objects_of(
        pictures,
        Looking(pictures),
        interval=3,
        carried=lambda frame, found: moved.update({frame.index: found}),
    )
    list(stream)
    for index, found in moved.items():
        assert found.track_ids.tolist() == [3, 5]
        assert found.masks is None
        for row, colour in enumerate(IDS):
            x, y = pictures.corner(colour, index)
            np.testing.assert_allclose(found.boxes[row], [x, y, x + 36, y + 36], atol=5)


def test_an_interval_of_one_is_looking_everywhere(scene: Any) -> None:
    pictures = scene(5)
    look = Looking(pictures)
    out = list(objects_of(pictures, look, interval=1))
    assert look.asked == [0, 1, 2, 3, 4]
    for item in out:
        np.testing.assert_array_equal(item.detections.masks[0], pictures.truth("red", item.frame.index))


def test_what_only_one_key_frame_shows_is_carried_half_of_the_way(scene: Any) -> None:
    pictures = scene(5)
    out = list(objects_of(pictures, Looking(pictures, born=4), interval=4))
    assert [5 in item.detections.track_ids for item in out] == [False, False, True, True, True]
    assert region_j(out[3].detections.masks[1], pictures.truth("blue", 3)) > 0.9


def test_motion_that_cannot_be_told_makes_a_key_frame(scene: Any) -> None:
    pictures = list(scene(9))
    noise = np.random.default_rng(2).integers(0, 256, pictures[0].image.shape).astype(np.uint8)
    pictures[2] = Frame(2, pictures[2].pts_seconds, noise)
    look = Looking(scene(9))
    list(objects_of(pictures, look, interval=6))
    assert 2 in look.asked
    assert 1 not in look.asked


def test_where_motion_does_not_explain_two_key_frames_the_network_looks_between(scene: Any) -> None:
    pictures = scene(13)
    look, asked = Looking(pictures), []

    def half_of_it_from_frame_6_on(frame: Frame) -> TrackedFrame:
        found = look(frame)
        if frame.index >= 6:
            found.detections.masks[0, :, : int(found.detections.boxes[0, 0]) + 18] = False
        return found

    def refine(frame: Frame, objects: Detections) -> Detections:
        asked.append(frame.index)
        assert objects.masks is None
        assert objects.track_ids.tolist() == [3]  # the blue one is as motion says
        return replace(objects, masks=look(frame).detections.masks[:1])

    out = list(objects_of(pictures, half_of_it_from_frame_6_on, interval=6, refine=refine))
    assert look.asked[:3] == [0, 6, 7]
    assert asked == [3, 5]  # halves, down to where motion explains both sides
    for item in out:
        found = dict(zip(item.detections.track_ids.tolist(), item.detections.masks, strict=True))
        right = region_j(found[3], pictures.truth("red", item.frame.index))
        assert (right > 0.9) == (item.frame.index < 6), item.frame.index
        assert region_j(found[5], pictures.truth("blue", item.frame.index)) > 0.9
    asked.clear()
    list(objects_of(pictures, half_of_it_from_frame_6_on, interval=6, refine=refine, look_within=3))
    assert asked == [3]
    asked.clear()
    list(objects_of(pictures, look, interval=6, refine=refine))
    assert asked == []


@pytest.mark.parametrize("fault", ["half of it", "missing"])
def test_a_fault_of_one_key_frame_is_bridged_by_motion(scene: Any, fault: str) -> None:
    pictures = scene(14)
    look = Looking(pictures)

    def wrong_on_frame_6(frame: Frame) -> TrackedFrame:
        seen = look(frame)
        if frame.index != 6:
            return seen
        if fault == "missing":
            return replace(seen, detections=seen.detections.select(np.array([1])))
        seen.detections.masks[0, :, : int(seen.detections.boxes[0, 0]) + 18] = False
        seen.detections.boxes[0, 0] += 18
        return seen

    def refine(frame: Frame, objects: Detections) -> Detections:
        raise AssertionError("motion explains everything")

    out = list(objects_of(pictures, wrong_on_frame_6, interval=6, refine=refine, resolve=True))
    assert look.asked == [0, 6, 7, 13]
    for item in out:
        found, index = item.detections, item.frame.index
        assert sorted(found.track_ids.tolist()) == [3, 5]
        row = found.track_ids.tolist().index(3)
        assert region_j(found.masks[row], pictures.truth("red", index)) > 0.9, index
        x, y = pictures.corner("red", index)
        np.testing.assert_allclose(found.boxes[row], [x, y, x + 36, y + 36], atol=0.01)


def test_a_detector_is_told_the_motion_since_it_looked(scene: Any) -> None:
    """Where the red square is on a key frame, the motion leads back to where it was on the one before."""
    pictures = scene(14)
    look, told = Looking(pictures), []

    def wrong_on_frame_6(frame: Frame) -> TrackedFrame:
        seen = look(frame)
        return seen if frame.index != 6 else replace(seen, detections=seen.detections.select(np.array([1])))

    def refine(frame: Frame, objects: Detections) -> Detections:
        raise AssertionError("motion explains everything")

    list(objects_of(pictures, wrong_on_frame_6, interval=6, refine=refine, moved=told.append))
    looks = [0, 6, 7, 13]
    height, width = next(iter(pictures)).size
    for (before, now), back in zip(pairwise(looks), told, strict=True):
        (x0, y0), (x1, y1) = pictures.corner("red", before), pictures.corner("red", now)
        rows, columns = back.shape[:2]
        middle = back[int((y1 + 18) / height * rows), int((x1 + 18) / width * columns)]
        np.testing.assert_allclose(middle * [width, height], [x0 - x1, y0 - y1], atol=1.5)


def test_boxes_without_masks_stay_so(scene: Any) -> None:
    pictures = scene(7)
    out = list(objects_of(pictures, Looking(pictures, masks=False), interval=3))
    assert all(item.detections.masks is None and len(item.detections) == 2 for item in out)


def test_no_more_than_an_interval_of_frames_is_held(scene: Any) -> None:
    held: list[weakref.ref[Any]] = []
    most = 0

    def frames() -> Any:
        for frame in scene(30):
            held.append(weakref.ref(frame.image))
            yield frame

    for _ in objects_of(frames(), Looking(scene(30)), interval=4):
        gc.collect()
        most = max(most, sum(one() is not None for one in held))
    assert most <= 6  # an interval, the key frame that ends it, and the one read ahead


@pytest.mark.parametrize("size", [(144, 256), (97, 131), (480, 854), (300, 200)])
def test_a_mask_comes_back_from_its_logits(size: tuple[int, int]) -> None:
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    mask = ((rows / height - 0.6) / 0.3) ** 2 + ((columns / width - 0.5) / 0.4) ** 2 < 1
    grid = Grid(size, 256)
    assert region_j(grid.mask_of(grid.logits_of(mask)), mask) > 0.98


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_masks_and_logits_are_those_of_whole_frames(height: int, width: int, seed: int) -> None:
    """Only the object's place is looked at; OpenCV resizes the whole frame in the test."""
    chance, grid = np.random.default_rng(seed), Grid((height, width), 32)
    rows, columns = grid.valid
    logits = cv2.GaussianBlur(chance.normal(size=(32, 32)).astype(np.float32), (0, 0), 2.0) * 20
    logits += np.float32(chance.normal())
    whole = grid.enlarged(logits)
    sure = np.abs(whole) > 1e-4
    np.testing.assert_array_equal(grid.mask_of(logits)[sure], (whole > 0)[sure])

    mask = np.zeros((height, width), np.bool_)
    low, high = sorted(chance.integers(0, height + 1, 2)), sorted(chance.integers(0, width + 1, 2))
    mask[low[0] : low[1], high[0] : high[1]] = chance.random((low[1] - low[0], high[1] - high[0])) < 0.7
    if (
        height >= rows and width >= columns
    ):  # OpenCV has no shares of pixels where cells are smaller than they
        share = cv2.resize(mask.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA)
        np.testing.assert_allclose(grid.logits_of(mask)[:rows, :columns], (2 * share - 1) * 8, atol=1e-4)
    assert (grid.logits_of(mask)[rows:] == -8).all()
