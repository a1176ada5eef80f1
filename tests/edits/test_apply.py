"""What each edit does, and the laws that hold for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from vis import masks as rle
from vis.edits import (
    Add,
    Brush,
    Correct,
    Delete,
    Follow,
    History,
    Merge,
    Relabel,
    Split,
    Swap,
    apply,
    describe,
    fingerprint,
    follow,
    from_json,
    needs_decode,
    replay,
    to_json,
)
from vis.errors import AnnotationError, PromptError

ALL = (
    Correct(1, 4, points=((20.0, 12.0), (3.5, 3.0)), point_labels=(1, 0)),
    Correct(2, 16, box=(2.0, 2.0, 9.0, 9.0)),
    Brush(3, 10, stroke=((5.0, 5.0), (15.0, 8.0)), radius=2.5),
    Brush(3, 10, stroke=((5.0, 5.0),), radius=1.0, erase=True),
    Correct(2, 6, points=((14.0, 12.0),), point_labels=(1,), candidate="part"),
    Add(9, 8, "bird", points=((30.0, 5.0),), point_labels=(1,)),
    Add(10, 8, "bird", points=((30.0, 5.0),), point_labels=(1,), candidate="subpart"),
    Follow(9, 8, 2, 14),
    Swap(1, 2, 6),
    Split(1, 10, 4),
    Merge(3, 2),
    Relabel(4, "horse"),
    Delete(9, 4, 6),
    Delete(2),
)


def tube(result, number):
    return next(tube for tube in result.tubes if tube.id == number)


def mask(result, number, frame):
    found = tube(result, number)
    return rle.decode(found.masks[found.frames.tolist().index(frame)])


def test_clicks_go_on_from_the_mask_and_touch_one_frame_of_one_tube(result, decode):
    edited = apply(result, ALL[0], decode=decode)
    assert decode.calls == [4]
    before, after = mask(result, 1, 4), mask(edited, 1, 4)
    assert after[12, 20]
    assert not after[3, 3]
    assert after[6, 6] == before[6, 6] == True  # noqa: E712 - far from both clicks
    assert edited.tubes[1] is result.tubes[1]
    assert edited.tubes[2] is result.tubes[2]
    same = [a is b for a, b in zip(tube(edited, 1).masks, tube(result, 1).masks, strict=True)]
    assert same.count(False) == 1


def test_a_box_starts_afresh_and_may_fill_a_frame_the_tube_missed(result, decode):
    edited = tube(apply(result, Correct(2, 16, box=(2.0, 2.0, 9.0, 9.0)), decode=decode), 2)
    assert edited.frames.tolist() == [0, 2, 4, 6, 8, 10, 16]
    assert edited.boxes[-1].tolist() == [2, 2, 9, 9]
    assert rle.area(edited.masks[-1]) == 49


def test_a_candidate_starts_afresh_and_is_left_out_of_the_file_where_none_is_named(result, decode):
    asked = []

    def ask(frame, prompt):
        asked.append(prompt)
        return decode(frame, prompt)

    click = {"points": ((20.0, 12.0),), "point_labels": (1,)}
    for edit in (Correct(1, 4, **click), Correct(1, 4, **click, candidate="part")):
        apply(result, edit, decode=ask)
        apply(result, Add(9, 4, "bird", **click, candidate=edit.candidate), decode=ask)
    assert [prompt.candidate for prompt in asked] == [None, None, "part", "part"]
    assert [prompt.mask is None for prompt in asked] == [False, True, True, True]
    assert "candidate" not in to_json(Correct(1, 4, **click))  # programs from before read it as they did
    assert to_json(edit)["candidate"] == "part"
    assert describe(edit) == "correct 1 on frame 4 (1 point, part)"
    assert describe(Add(9, 4, "bird", **click, candidate="whole")) == "add 9 (bird, whole) on frame 4"


def test_a_brush_of_radius_r_paints_the_disk_and_erasing_takes_it_away(result, decode):
    painted = apply(result, Brush(3, 10, stroke=((8.0, 8.0),), radius=2.0), decode=decode)
    gained = mask(painted, 3, 10) & ~mask(result, 3, 10)
    ys, xs = np.nonzero(gained)
    assert sorted(zip(xs.tolist(), ys.tolist(), strict=True)) == sorted(
        (x, y) for x in range(40) for y in range(24) if (x - 8) ** 2 + (y - 8) ** 2 <= 4
    )
    back = apply(painted, Brush(3, 10, stroke=((8.0, 8.0),), radius=2.0, erase=True), decode=decode)
    assert mask(back, 3, 10).tolist() == mask(result, 3, 10).tolist()
    assert decode.calls == []


def test_a_stroke_is_the_union_of_disks_along_it(result, decode):
    painted = apply(result, Brush(1, 0, stroke=((5.0, 15.0), (30.0, 15.0)), radius=1.0), decode=decode)
    gained = mask(painted, 1, 0) & ~mask(result, 1, 0)
    assert gained[15, 4:32].all()
    assert gained.sum() == 26 * 3 + 2


def test_delete_here_onwards_whole(result, decode):
    assert tube(apply(result, Delete(1, 4, 4), decode=decode), 1).frames.tolist() == [
        *(0, 2, 6, 8, 10, 12, 14, 16, 18),
    ]
    assert tube(apply(result, Delete(1, first=6), decode=decode), 1).frames.tolist() == [0, 2, 4]
    assert [t.id for t in apply(result, Delete(1), decode=decode).tubes] == [2, 3]


def test_split_then_merge_gives_the_tube_back(result, decode):
    halves = apply(result, Split(1, 10, 4), decode=decode)
    assert tube(halves, 1).frames.tolist() == [0, 2, 4, 6, 8]
    assert tube(halves, 4).frames.tolist() == [10, 12, 14, 16, 18]
    whole = apply(halves, Merge(4, 1), decode=decode)
    assert fingerprint(whole) == fingerprint(result)


def test_swap_twice_gives_the_same_result(result, decode):
    once = apply(result, Swap(1, 2, 6), decode=decode)
    assert tube(once, 1).frames.tolist() == [0, 2, 4, 6, 8, 10]
    assert mask(once, 2, 8).tolist() == mask(result, 1, 8).tolist()
    assert mask(once, 2, 4).tolist() == mask(result, 2, 4).tolist()
    twice = apply(once, Swap(1, 2, 6), decode=decode)
    for number in (1, 2):
        a, b = tube(twice, number), tube(result, number)
        assert a.frames.tolist() == b.frames.tolist()
        assert a.masks == b.masks


def test_swap_where_only_one_goes_on_hands_the_rest_over(result, decode):
    swapped = apply(result, Swap(1, 2, 14), decode=decode)
    assert tube(swapped, 1).frames.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert tube(swapped, 2).frames.tolist() == [0, 2, 4, 6, 8, 10, 14, 16, 18]


def test_merge_joins_masks_and_boxes_where_both_are(result, decode):
    merged = apply(result, Merge(3, 2), decode=decode)
    assert [t.id for t in merged.tubes] == [1, 2]
    assert mask(merged, 2, 8).tolist() == (mask(result, 2, 8) | mask(result, 3, 8)).tolist()
    joined = tube(merged, 2)
    assert joined.frames.tolist() == list(range(0, 20, 2))
    row = joined.frames.tolist().index(8)
    assert joined.boxes[row].tolist() == rle.bounding_box(joined.masks[row]).tolist()


def test_a_new_object_is_followed_both_ways_and_absent_where_it_is_lost(result, decode):
    added = apply(result, Add(9, 10, "bird", points=((25.0, 5.0),), point_labels=(1,)), decode=decode)
    assert added.class_names == ("cat", "dog", "bird")
    decode.calls.clear()
    states = list(follow(added, Follow(9, 10, 0, 14), decode=decode))
    assert [frame for frame, _ in states] == [12, 14, 8, 6, 4, 2, 0]  # ahead, then back from the same frame
    assert decode.calls == [12, 14, 8, 6, 4, 2, 0]
    bird = tube(states[-1][1], 9)
    assert bird.frames.tolist() == [0, 2, 4, 10, 12, 14]  # lost on 8 and 6, and found again
    assert bird.scores.tolist() == [0.5, 0.5, 0.5, 1.0, 0.75, 0.75]
    assert mask(states[-1][1], 9, 4).tolist() == np.roll(mask(added, 9, 10), -6, axis=1).tolist()
    applied = apply(added, Follow(9, 10, 0, 14), decode=decode)
    assert fingerprint(applied) == fingerprint(states[-1][1])


def test_following_replaces_what_the_tube_had_and_takes_away_where_it_is_lost(result, decode):
    followed = apply(result, Follow(1, 4, 0, 10), decode=decode)
    before, after = tube(result, 1), tube(followed, 1)
    assert after.frames.tolist() == [0, 2, 4, 10, 12, 14, 16, 18]
    for row, frame in ((5, 12), (6, 14)):
        assert after.masks[after.frames.tolist().index(frame)] is before.masks[row + 1]  # outside: untouched
    assert followed.tubes[1] is result.tubes[1]


def test_a_part_of_a_following_is_the_following_of_a_part(result, decode):
    """What a cancelled following leaves behind is what its edit replays to."""
    states = list(follow(result, Follow(1, 8, 0, 18), decode=decode))
    for stop in range(1, len(states)):
        reached = [8, *(frame for frame, _ in states[:stop])]
        part = apply(result, Follow(1, 8, min(reached), max(reached)), decode=decode)
        assert fingerprint(part) == fingerprint(states[stop - 1][1])


def test_boxes_alone_become_masks_not_known_yet(result, decode):
    import dataclasses

    bare = dataclasses.replace(result, tubes=(dataclasses.replace(result.tubes[0], masks=None),))
    edited = tube(apply(bare, Correct(1, 4, box=(2.0, 2.0, 9.0, 9.0)), decode=decode), 1)
    assert [rle.area(m) for m in edited.masks] == [0, 0, 49, 0, 0, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Delete(7), "there is no object 7; the objects are: 1, 2, 3"),
        (Correct(1, 5, box=(1.0, 1.0, 4.0, 4.0)), "frame 5 was not processed"),
        (Split(1, 0, 4), "split it inside of that"),
        (Split(1, 6, 2), "the id 2 is taken"),
        (Merge(1, 1), "cannot be merged into itself"),
        (Swap(2, 2, 4), "cannot be swapped with itself"),
        (Swap(2, 7, 4), "there is no object 7"),
        (Delete(2, 14, 18), "nothing to delete"),
        (Add(1, 4, "cat", box=(1.0, 1.0, 4.0, 4.0)), "the id 1 is taken"),
        (Follow(2, 16, 0, 18), "object 2 is not on frame 16"),
        (Brush(2, 16, ((1.0, 1.0),), 2.0, erase=True), "nothing to erase"),
    ],
)
def test_an_edit_that_does_not_fit_says_why(result, decode, edit, message):
    with pytest.raises(AnnotationError, match=message):
        apply(result, edit, decode=decode)


def test_an_empty_mask_is_refused_and_changes_nothing(result):
    history = History(result)
    with pytest.raises(PromptError, match="empty mask"):
        history.do(Correct(1, 4, box=(1.0, 1.0, 4.0, 4.0)), decode=lambda *_: np.zeros((24, 40), np.bool_))
    assert history.result is result
    assert history.edits == ()
    with pytest.raises(PromptError, match="nothing is left"):
        apply(result, Brush(1, 4, ((10.0, 10.0),), 100.0, erase=True), decode=lambda *_: None)


def test_all_edits_survive_json_and_describe_themselves():
    for edit in ALL:
        assert from_json(to_json(edit)) == edit
        assert str(edit.tube) in describe(edit)
    assert needs_decode(ALL)
    assert not needs_decode(ALL[2:4])


def test_replay_equals_live_and_names_the_edit_that_fails(result, decode):
    live = History(result)
    for edit in ALL:
        live.do(edit, decode=decode)
    assert fingerprint(replay(result, ALL, decode=decode)) == fingerprint(live.result)
    with pytest.raises(AnnotationError, match="edit 2: there is no object 1"):
        replay(result, [Delete(1), Delete(1)], decode=decode)
