"""Masks that fall to a part of their object, in closed form."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vis import masks
from vis.structures import Tube
from vis.tube_checks import collapsed_frames

SIZE = (60, 100)


def tube(
    areas: list[tuple[int, int]], *, x: float = 20, step: float = 1, frames: list[int] | None = None
) -> Tube:
    """Rectangles of (height, width), moving right."""
    stack = np.zeros((len(areas), *SIZE), np.bool_)
    for row, (height, width) in enumerate(areas):
        left = int(x + step * row)
        stack[row, 10 : 10 + height, max(0, left) : left + width] = True
    shapes = masks.encode_many(stack)
    boxes = np.stack([masks.bounding_box(shape) for shape in shapes])
    at = np.array(frames if frames is not None else range(len(areas)))
    return Tube(1, 0, 1.0, at, boxes, np.ones(len(areas), np.float32), tuple(shapes))


def found(one: Tube, processed: list[int] | None = None) -> list[int]:
    frames = one.frames if processed is None else np.array(processed)
    return collapsed_frames(one, frames, SIZE).tolist()


def test_a_mask_that_falls_to_a_part_is_found_until_it_is_whole_again() -> None:
    whole, head = (20, 20), (8, 8)
    assert found(tube([whole] * 4 + [head] * 3 + [whole] * 4)) == [4, 5, 6]
    assert found(tube([whole] * 4 + [head] * 6)) == [4, 5, 6, 7, 8, 9]
    assert found(tube([whole, head, whole])) == [1]
    assert found(tube([whole] * 10)) == []
    assert found(tube([head] * 3 + [whole] * 4)) == []  # growing is no loss
    assert found(tube([whole] * 3 + [(0, 0)] + [whole] * 2)) == [3]  # an empty mask is one too


def test_a_collapse_that_takes_two_frames_is_found() -> None:
    assert found(tube([(20, 20)] * 5 + [(16, 16), (10, 10)] + [(10, 10)] * 3)) == [6, 7, 8, 9]


def test_motion_explains_a_loss() -> None:
    # Going away: a seventh less each frame, down to a twentieth in all.
    sides = [round(40 * 0.93**k) for k in range(20)]
    assert found(tube([(side, side) for side in sides], step=0)) == []
    # Leaving the picture to the right.
    leaving = tube([(20, max(2, min(20, 100 - (70 + 8 * k)))) for k in range(4)], x=70, step=8)
    assert leaving.boxes[-1, 2] == 100
    assert found(leaving) == []
    # Hidden for long, it may come back smaller.
    assert found(tube([(20, 20)] * 3 + [(8, 8)] * 2, frames=[0, 1, 2, 9, 10]), list(range(11))) == []
    # ... and a stride is no gap.
    assert found(tube([(20, 20)] * 3 + [(8, 8)], frames=[0, 10, 20, 30])) == [30]


def test_the_table_of_a_run_says_where_to_look() -> None:
    from apps.report import tube_table
    from vis.structures import VideoInfo, VideoResult

    one = tube([(20, 20)] * 4 + [(8, 8)] * 2)
    result = VideoResult(VideoInfo("clip", *SIZE), ("dog",), (one,), one.frames, one.frames / 10.0)
    assert "1.00" in tube_table(result)
    assert "look: the mask falls to a part on 2 frames, from frame 4 on" in tube_table(result)
    fine = tube([(20, 20)] * 4)
    result = VideoResult(VideoInfo("clip", *SIZE), ("dog",), (fine,), fine.frames, fine.frames / 10.0)
    assert "look" not in tube_table(result)


def test_a_table_of_nothing_speaks_of_a_threshold_where_there_is_one() -> None:
    from apps.plan import Plan
    from apps.report import tube_table
    from vis.structures import VideoInfo, VideoResult

    def told(plan: Plan) -> str:
        made = {"options": plan.record()}
        result = VideoResult(VideoInfo("clip", *SIZE), (), (), np.arange(2), np.arange(2.0), made_with=made)
        refined = replace(result, made_with={"options": {"model": "hq-tiny"}, "association": made})
        assert tube_table(refined) == tube_table(result)
        return tube_table(result)

    assert "try a lower --score, another --detector" in told(Plan.of("quick"))
    assert "try another --detector, or" in told(Plan.of("quick", score=0.0))
    assert "point at objects with 'vistubes follow'" in told(Plan.of("quick", detector="none"))
    assert "--score" not in told(Plan.of("quick", detector="none"))


@pytest.mark.parametrize("count", [0, 1])
def test_tubes_without_masks_or_of_one_frame_have_none(count: int) -> None:
    boxes = Tube(1, 0, 1.0, np.arange(3), np.ones((3, 4), np.float32), np.ones(3, np.float32))
    assert found(boxes if count == 0 else tube([(20, 20)])) == []
