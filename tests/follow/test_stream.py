"""Legs, both directions of time, several objects, corrections, and what stays in memory."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import vis.follow
from vis import masks as rle
from vis.errors import CancelledError, PromptError
from vis.evaluation.davis import region_j
from vis.follow import Follower, Prompt, Segment, changed_segments, follow, follow_again, segments
from vis.follow.prompts import CANDIDATES, first_mask
from vis.pipeline import collect
from vis.structures import Frame, VideoInfo

HEIGHT, WIDTH = 144, 256
INFO = VideoInfo("scene", HEIGHT, WIDTH)
RED, BLUE = "red", "blue"


def click(x: float, y: float) -> Prompt:
    return Prompt(points=((x, y),), point_labels=(1,))


def on(scene, colour: str, index: int) -> Prompt:
    x, y = scene.corner(colour, index)
    return click(x + scene.side / 2, y + scene.side / 2)


def run(scene, predictor, prompts, **options):
    stream = follow(scene, lambda: Follower(predictor), prompts, backwards=scene.backwards, **options)
    return collect(stream, INFO, ("object", "thing"))


def masks_of(result, number):
    tube = next(tube for tube in result.tubes if tube.id == number)
    return dict(zip(tube.frames.tolist(), tube.masks, strict=True))


def test_segments_of_two_prompts_meet_in_the_middle() -> None:
    prompts = {7: {4: click(0, 0), 9: click(0, 0)}}
    assert segments(prompts, 0, 20) == (
        Segment(7, 4, -1, 0),
        Segment(7, 4, 1, 6),
        Segment(7, 9, -1, 7),
        Segment(7, 9, 1, 20),
    )


@given(st.sets(st.integers(0, 40), min_size=1, max_size=6), st.integers(0, 10))
def test_every_frame_belongs_to_one_leg_of_the_nearest_prompt(frames: set[int], more: int) -> None:
    last = max(frames) + more
    plan = segments({1: dict.fromkeys(frames, click(0, 0))}, 0, last)
    owners: dict[int, list[int]] = {frame: [frame] for frame in frames}
    for segment in plan:
        for frame in range(segment.prompt + segment.way, segment.last + segment.way, segment.way):
            owners.setdefault(frame, []).append(segment.prompt)
    assert sorted(owners) == list(range(last + 1))
    for frame, owner in owners.items():
        assert len(owner) == 1
        assert abs(owner[0] - frame) == min(abs(prompt - frame) for prompt in frames)


@pytest.mark.slow
def test_one_click_in_the_middle_gives_the_whole_tube(scene, predictor) -> None:
    pictures = scene()
    result = run(pictures, predictor, {1: {11: on(pictures, RED, 11)}})
    found = masks_of(result, 1)
    assert sorted(found) == list(range(24))
    for index, mask in found.items():
        assert region_j(rle.decode(mask), pictures.truth(RED, index)) > 0.85, index
    assert predictor.embedded == 24 + 1  # the prompt's frame is looked at in either direction


@pytest.mark.slow
def test_objects_share_the_embedding_and_do_not_disturb_each_other(scene, predictor) -> None:
    pictures = scene()
    alone = run(pictures, predictor, {1: {0: on(pictures, RED, 0)}})
    predictor.embedded = 0
    both = run(
        pictures,
        predictor,
        {1: {0: on(pictures, RED, 0)}, 2: {5: on(pictures, BLUE, 5)}},
        labels={2: 1},
    )
    # Frames 0 to 5 are followed backwards for the second object, and once forwards.
    assert predictor.embedded == 24 + 6
    assert masks_of(alone, 1) == masks_of(both, 1)
    assert [tube.label for tube in both.tubes] == [0, 1]
    assert len(masks_of(both, 2)) == 24


@pytest.mark.slow
def test_a_correction_changes_the_frames_of_its_legs_alone(scene, predictor) -> None:
    pictures = scene()
    first = {0: on(pictures, RED, 0), 20: on(pictures, RED, 20)}
    before = masks_of(run(pictures, predictor, {1: first}), 1)
    # The correction says that the object is the blue one: every frame it answers for must change.
    after = masks_of(run(pictures, predictor, {1: {**first, 8: on(pictures, BLUE, 8)}}), 1)
    changed = {index for index in before if before[index] != after.get(index)}
    own = {
        frame
        for segment in segments({1: {0: 0, 8: 0, 20: 0}}, 0, 23)
        if segment.prompt == 8
        for frame in range(min(segment.prompt, segment.last), max(segment.prompt, segment.last) + 1)
    }
    assert changed == own == set(range(5, 15))


def test_the_candidates_of_a_click_are_its_masks_by_falling_size_and_the_best_is_one_of_them(
    predictor,
) -> None:
    sides, scores = (8, 20, 14), (0.5, 0.6, 0.9)

    def decode(embedding, *, multimask=False, masks=None, **_):
        found = np.zeros((3, HEIGHT, WIDTH), np.bool_)
        for row, side in enumerate(sides):
            found[row, :side, :side] = True
        if multimask:
            logits = np.repeat(np.arange(3, dtype=np.float32)[:, None, None], 4, axis=1)
            return SimpleNamespace(masks=found[None], scores=np.array([scores]), low_res_logits=logits[None])
        row = int(masks[0, 0, 0])  # a look at one of them again gives that one
        return SimpleNamespace(masks=found[row][None], scores=np.ones(1), low_res_logits=masks)

    predictor.decode = decode
    one = Prompt(points=((3.0, 3.0),), point_labels=(1,))

    def side(candidate):
        return int(first_mask(predictor, None, replace(one, candidate=candidate)).mask[0].sum())

    assert [side(name) for name in CANDIDATES] == [20, 14, 8]
    assert side(None) == 14  # the best by SAM's own estimate
    with pytest.raises(PromptError, match="three masks of a single click; give one point alone"):
        first_mask(predictor, None, Prompt(box=(0, 0, 9, 9), candidate="part"))


def test_prompts_that_cannot_be_met_are_errors(scene, predictor) -> None:
    pictures = scene()
    with pytest.raises(PromptError, match="frame 99 of its prompt"):
        run(pictures, predictor, {1: {99: click(3, 3)}})
    empty = Prompt(mask=np.zeros((HEIGHT, WIDTH), np.bool_))
    with pytest.raises(PromptError, match="object 4: its prompt gives an empty mask"):
        run(pictures, predictor, {4: {0: empty}})
    with pytest.raises(CancelledError):
        run(pictures, predictor, {1: {0: on(pictures, RED, 0)}}, cancelled=lambda: True)


@pytest.mark.slow
@pytest.mark.usefixtures("quick_collection")
def test_pictures_do_not_pile_up(scene, predictor) -> None:
    pictures = scene()
    alive: list[weakref.ref[np.ndarray]] = []

    def watched():
        for frame in pictures:
            alive.append(weakref.ref(frame.image))
            yield frame

    most = 0
    for _ in follow(watched(), lambda: Follower(predictor), {1: {0: on(pictures, RED, 0)}}):
        gc.collect()
        most = max(most, sum(ref() is not None for ref in alive))
    assert most <= 4


@pytest.mark.slow
def test_hidden_behind_a_pillar_is_lost_and_then_found(scene, predictor) -> None:
    pictures = scene(pillar=True)
    found = masks_of(run(pictures, predictor, {1: {0: on(pictures, RED, 0)}}), 1)
    for index in range(24):
        truth = pictures.truth(RED, index)
        if not truth.any():
            assert index not in found
        elif truth.sum() == pictures.side**2:
            assert region_j(rle.decode(found[index]), truth) > 0.8, index


@pytest.mark.parametrize("way", ["forwards", "both"])
def test_between_looks_of_the_network_motion_carries(scene, predictor, way) -> None:
    pictures = scene()
    at = 0 if way == "forwards" else 13
    found = masks_of(run(pictures, predictor, {1: {at: on(pictures, RED, at)}}, keyframe_interval=4), 1)
    assert sorted(found) == list(range(24))
    for index, mask in found.items():
        assert region_j(rle.decode(mask), pictures.truth(RED, index)) > 0.8, index
    assert predictor.embedded <= 9  # 24 frames in steps of 4, and the ends of segments


def test_a_flow_step_changes_nothing_of_the_step_to_the_same_picture(scene, predictor) -> None:
    pictures = scene()
    straight, stepping = Follower(predictor), Follower(predictor)
    first = pictures[0].image
    for follower in (straight, stepping):
        follower.start(1, first, predictor.embed(first), on(pictures, RED, 0))
    for index in (1, 2, 3):
        image = pictures[index].image
        embedding = predictor.embed(image)
        (want,) = straight.step(image, embedding)
        stepping.flow_step(image)
        (have,) = stepping.step(image, embedding)
        assert np.array_equal(have.logits, want.logits)
        assert have.score == want.score
        assert stepping.interpolate() == []


def test_where_motion_cannot_be_told_the_network_looks_at_once(scene, predictor, monkeypatch) -> None:
    pictures, looked, embed = scene(), [], predictor.embed
    before, after = pictures[0].image, pictures[0].image[:, ::-1]
    frames = [Frame(index, index / 10, (before if index < 5 else after).copy()) for index in range(12)]

    def watched(image):
        looked.extend(frame.index for frame in frames if frame.image is image)
        return embed(image)

    monkeypatch.setattr(predictor, "embed", watched)
    list(follow(frames, lambda: Follower(predictor), {1: {0: on(pictures, RED, 0)}}, keyframe_interval=8))
    assert looked == [0, 5, 11]  # the cut is at 5; 11 is the end


def test_a_leg_ends_where_it_should_between_looks_too(scene, predictor) -> None:
    pictures = scene()
    prompts = {1: {0: on(pictures, RED, 0), 9: on(pictures, BLUE, 9)}}
    found = masks_of(run(pictures, predictor, prompts, keyframe_interval=4), 1)
    for index, mask in found.items():
        colour = RED if index <= 4 else BLUE  # 4 is as near to 0 as 5 is to 9
        assert region_j(rle.decode(mask), pictures.truth(colour, index)) > 0.8, index
    assert sorted(found) == list(range(24))


@pytest.mark.slow
def test_a_correction_follows_its_own_frames_and_ends_where_following_anew_ends(scene, predictor) -> None:
    pictures = scene()
    first, second, fix = on(pictures, RED, 0), on(pictures, BLUE, 3), on(pictures, BLUE, 12)
    before = {1: {0: first}, 2: {3: second}}
    after = {1: {0: first, 12: fix}, 2: {3: second}}
    result = run(pictures, predictor, before)
    whole = run(pictures, predictor, after)
    predictor.embedded = 0

    def frames(start: int, end: int):
        return (
            pictures[index]
            for index in range(start, end + (1 if end >= start else -1), 1 if end >= start else -1)
        )

    changed = follow_again(result, lambda: Follower(predictor), before, after, frames)
    assert masks_of(changed, 1) == masks_of(whole, 1)
    assert changed.tubes[1] is result.tubes[1]
    # Frames 7 to 23 belong to the correction; its own is looked at in either direction.
    assert predictor.embedded == 17 + 1
    # Taking it back gives its frames to the first prompt again.
    assert [segment.prompt for segment in changed_segments(after, before, 0, 23)] == [0]
    back = follow_again(changed, lambda: Follower(predictor), after, before, frames)
    assert masks_of(back, 1) == masks_of(result, 1)
    assert [
        tube.id
        for tube in follow_again(result, lambda: Follower(predictor), before, {2: before[2]}, frames).tubes
    ] == [2]


def test_former_names(scene, predictor) -> None:
    pictures = scene(3)
    prompts = {1: {0: on(pictures, RED, 0)}}
    with pytest.warns(DeprecationWarning, match="every is now called keyframe_interval"):
        list(follow(pictures, lambda: Follower(predictor), prompts, every=2))
    follower = Follower(predictor)
    embedding = predictor.embed(pictures[0].image)
    state = follower.start(1, pictures[0].image, embedding, prompts[1][0])
    for holder, former, present in (
        (state, "number", "object_id"),
        (follower, "numbers", "object_ids"),
        (follower, "between", "interpolate"),
        (vis.follow, "Followed", "ObjectState"),
        (vis.follow, "legs", "segments"),
    ):
        with pytest.warns(DeprecationWarning, match=f"{former} is now called {present}"):
            assert getattr(holder, former) == getattr(holder, present)
    with pytest.raises(AttributeError, match="has no attribute 'leg'"):
        _ = vis.follow.leg
