"""Gaps of tubes filled from both sides, sparse detections, and tubes that were two objects."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from vis import masks as rle
from vis.errors import CancelledError, InputError
from vis.evaluation.davis import region_j
from vis.follow import Follower, fill_gaps, find_gaps
from vis.structures import Tube, VideoInfo, VideoResult

HEIGHT, WIDTH = 144, 256
INFO = VideoInfo("scene", HEIGHT, WIDTH)


def tube_of(scene, colour, frames, *, number=1, masks=True, score=0.8):
    truth = [scene.truth(colour, index) for index in frames]
    return Tube(
        id=number,
        label=0,
        score=score,
        frames=np.array(frames, np.int64),
        boxes=np.array([rle.bounding_box(rle.encode(mask)) for mask in truth], np.float32),
        scores=np.full(len(frames), score, np.float32),
        masks=tuple(rle.encode(mask) for mask in truth) if masks else None,
    )


def result_of(tubes, covered):
    frames = np.array(sorted(covered), np.int64)
    return VideoResult(INFO, ("object",), tuple(tubes), frames, frames / 10)


def fill(scene, predictor, result, **options):
    return fill_gaps(result, scene, lambda: Follower(predictor), backwards=scene.backwards, **options)


def agreement(scene, colour, tube, frames):
    masks = dict(zip(tube.frames.tolist(), tube.masks, strict=True))
    return [region_j(rle.decode(masks[index]), scene.truth(colour, index)) for index in frames]


def test_gaps_are_what_lies_between_a_tubes_frames(scene):
    result = result_of([tube_of(scene(), "red", [2, 3, 7, 20])], range(24))
    assert [(gap.before, gap.after) for gap in find_gaps(result)] == [(3, 7), (7, 20)]
    assert [(gap.before, gap.after) for gap in find_gaps(result, longest=3)] == [(3, 7)]
    assert find_gaps(result_of([tube_of(scene(), "red", [2, 3, 4])], range(24))) == ()


def test_a_gap_is_filled_and_the_rest_stays_as_it_was(scene, predictor):
    video = scene()
    whole = tube_of(video, "red", [2, 3, 4, 11, 12])
    filled = fill(video, predictor, result_of([whole], range(1, 14)))
    (tube,) = filled.tubes
    assert tube.frames.tolist() == list(range(2, 13))
    assert filled.frames.tolist() == list(range(1, 14))
    assert min(agreement(video, "red", tube, range(5, 11))) > 0.85
    kept = dict(zip(tube.frames.tolist(), tube.masks, strict=True))
    for index, mask in zip(whole.frames.tolist(), whole.masks, strict=True):
        assert kept[index] == mask
    assert tube.score == whole.score
    assert (tube.scores <= np.float32(0.8)).all()
    assert (tube.scores[3:9] < np.float32(0.8)).any()


@pytest.mark.slow
def test_detections_of_every_sixth_frame_become_whole_tubes(scene, predictor):
    video = scene(19)
    sparse = [0, 6, 12, 18]
    tubes = [tube_of(video, "red", sparse), tube_of(video, "blue", sparse, number=2)]
    filled = fill(video, predictor, result_of(tubes, sparse))
    assert filled.frames.tolist() == list(range(19))
    np.testing.assert_allclose(filled.pts_seconds, np.arange(19) / 10)
    for tube, colour in zip(filled.tubes, ("red", "blue"), strict=True):
        assert tube.frames.tolist() == list(range(19))
        assert np.mean(agreement(video, colour, tube, range(19))) > 0.85


def test_tubes_of_boxes_get_masks_at_the_gaps_and_between_them(scene, predictor):
    video = scene()
    filled = fill(video, predictor, result_of([tube_of(video, "red", [3, 8], masks=False)], range(12)))
    (tube,) = filled.tubes
    assert tube.frames.tolist() == list(range(3, 9))
    assert min(agreement(video, "red", tube, range(3, 9))) > 0.85


def test_an_object_hidden_in_the_gap_is_not_invented(scene, predictor):
    video = scene(24, pillar=True)
    hidden = [index for index in range(24) if not video.truth("red", index).any()]
    assert hidden
    tube = tube_of(video, "red", [hidden[0] - 5, hidden[-1] + 5])
    filled = fill(video, predictor, result_of([tube], range(24)))
    for piece in filled.tubes:
        for index, mask in zip(piece.frames.tolist(), piece.masks, strict=True):
            outside = rle.decode(mask) & ~video.truth("red", index)
            assert outside.sum() < 0.5 * video.side**2


def test_two_objects_taken_for_one_are_cut_apart(scene, predictor):
    video = scene()
    red, blue = tube_of(video, "red", [2, 3]), tube_of(video, "blue", [9, 10])
    chained = replace(
        red,
        frames=np.array([2, 3, 9, 10], np.int64),
        boxes=np.concatenate([red.boxes, blue.boxes]),
        scores=np.concatenate([red.scores, blue.scores]),
        masks=red.masks + blue.masks,
    )
    other = tube_of(video, "blue", [5], number=4)
    result = result_of([chained, other], range(12))
    pieces = fill(video, predictor, result).tubes
    assert [(tube.id, tube.frames.tolist()) for tube in pieces] == [(1, [2, 3]), (4, [5]), (5, [9, 10])]
    uncut = fill(video, predictor, result, cut_below=0.0).tubes
    assert uncut[0].frames.tolist() == list(range(2, 11))


def test_only_frames_of_gaps_are_embedded(scene, predictor):
    video = scene()
    fill(video, predictor, result_of([tube_of(video, "red", [4, 5, 6, 9, 10])], range(24)))
    # forwards 6, 7; backwards 9, 8, 7
    assert predictor.embedded <= 6


def test_a_result_without_gaps_costs_nothing(scene, predictor):
    video = scene()
    result = result_of([tube_of(video, "red", [4, 5, 6])], range(12))
    assert fill(video, predictor, result).tubes == result.tubes
    assert predictor.embedded == 0


def test_another_video_and_a_stop_are_told(scene, predictor):
    video = scene(8)
    result = result_of([tube_of(video, "red", [2, 20])], [2, 20])
    with pytest.raises(InputError, match="frame 20"):
        fill(video, predictor, result)
    with pytest.raises(CancelledError):
        fill(video, predictor, result, cancelled=lambda: True)
