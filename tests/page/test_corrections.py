"""Corrections as plain functions: every edit, following, replay from the command line, and rows of tubes."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from apps.demo.correcting import problems
from apps.demo.handlers import Form
from apps.demo.pictures import row_of
from apps.verbs import edit as edit_verb
from vis import edits
from vis import masks as rle
from vis.errors import UsageError
from vis.structures import MaskRLE, Tube


def result_of(desk, token):
    return desk.sessions.get(token).history.result


def test_every_edit_through_the_page_and_back(desk, visit):
    start = edits.fingerprint(result_of(desk, visit))
    desk.seek(visit, {"to": 2, "tube": 1})
    for data in (
        {"name": "click", "x": 250.0, "y": 130.0, "inside": True},
        {"name": "click", "x": 5.0, "y": 5.0, "inside": False},
        {"name": "box", "box": [20.0, 35.0, 75.0, 85.0]},
        {"name": "brush", "stroke": [[10, 10], [30, 12]], "radius": 4, "erase": False},
        {"name": "new", "x": 200.0, "y": 10.0, "label": "wall"},
        {"name": "delete", "scope": "frame"},
        {"name": "split"},
        {"name": "swap", "other": 2},
        {"name": "relabel", "label": "<Script>"},
        {"name": "merge", "other": 2},
        {"name": "delete", "scope": "onwards"},
        {"name": "delete", "scope": "tube"},
    ):
        if data["name"] in ("split", "swap"):
            desk.seek(visit, {"to": 8, "tube": 1})
        if data["name"] == "merge":
            desk.seek(visit, {"to": 8, "tube": 1})
        before = len(desk.sessions.get(visit).history.edits)
        update = desk.act(visit, data)
        assert len(desk.sessions.get(visit).history.edits) == before + 1, update.view["message"]
        if data["name"] == "relabel":
            assert update.view["message"] == "Call 1 <Script>."
    count = len(desk.sessions.get(visit).history.edits)
    assert desk.sessions.get(visit).history.edits[1].point_labels == (1, 0)  # clicks add up
    end = edits.fingerprint(result_of(desk, visit))
    for _ in range(count):
        desk.act(visit, {"name": "undo"})
    assert edits.fingerprint(result_of(desk, visit)) == start
    assert "Nothing to undo" in desk.act(visit, {"name": "undo"}).view["message"]
    for _ in range(count):
        desk.act(visit, {"name": "redo"})
    assert edits.fingerprint(result_of(desk, visit)) == end


def test_following_a_new_object_stops_when_cancelled_and_is_one_edit(desk, visit, monkeypatch):
    monkeypatch.setattr("apps.demo.correcting.SHOW_SECONDS", 0.0)
    desk.seek(visit, {"to": 5})
    desk.act(visit, {"name": "new", "box": [20 + 4 * 5, 40, 60 + 4 * 5, 80]})
    updates = []
    for update in desk.follow(visit):
        updates.append(update)
        if len(updates) == 4:
            desk.cancel(visit)
    assert updates[3].view["state"] == "running"
    assert updates[3].view["frame"] == 9
    assert updates[-1].view["state"] == "done"
    assert updates[-1].view["frame"] == 5
    tube = next(t for t in result_of(desk, visit).tubes if t.id == 3)
    assert tube.frames.tolist() == [5, 6, 7, 8, 9]
    assert desk.sessions.get(visit).history.edits[-1] == edits.Follow(3, 5, 5, 9)
    desk.act(visit, {"name": "undo"})
    list(desk.follow(visit))
    tube = next(t for t in result_of(desk, visit).tubes if t.id == 3)
    assert tube.frames.tolist() == list(range(24))
    for frame in (0, 20):
        truth = np.zeros((180, 320), np.bool_)
        truth[40:80, 20 + 4 * frame : 60 + 4 * frame] = True
        found = rle.decode(tube.masks[frame])
        assert (truth & found).sum() / (truth | found).sum() > 0.9
    assert tube.scores[5] == 1.0  # where a person pointed
    assert tube.scores[6] == np.float32(0.75)


def test_following_says_where_the_object_was_not_seen_and_spares_frames_set_by_hand(desk, visit):
    desk.seek(visit, {"to": 20})
    desk.act(visit, {"name": "new", "x": 190.0, "y": 130.0})  # the blue square, away for frames 10 to 13
    text = list(desk.follow(visit))[-1].text
    assert "over frames 0 to 23; not seen on 4 of 24." in text
    desk.seek(visit, {"to": 6})
    desk.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": True})
    desk.seek(visit, {"to": 15})
    assert "over frames 7 to 19" in list(desk.follow(visit))[-1].text
    assert desk.sessions.get(visit).history.edits[-1] == edits.Follow(3, 15, 7, 19)
    for frame in (14, 16):
        desk.seek(visit, {"to": frame})
        desk.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": True})
    desk.seek(visit, {"to": 15})
    count = len(desk.sessions.get(visit).history.edits)
    assert "set by hand" in list(desk.follow(visit))[-1].text
    assert len(desk.sessions.get(visit).history.edits) == count


def test_the_edits_of_the_page_replay_to_the_same_bytes_from_the_command_line(
    desk, visit, tmp_path, monkeypatch, stand_in_decoder
):
    """Every operation that there is, by the page's own handlers, and again by ``vistubes edit``."""
    desk.seek(visit, {"to": 3, "tube": 1})
    desk.act(visit, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    desk.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": False})
    desk.act(visit, {"name": "box", "box": [30.0, 38.0, 75.0, 82.0]})
    desk.act(visit, {"name": "brush", "stroke": [[40, 50], [60, 66.5]], "radius": 6, "erase": False})
    desk.act(visit, {"name": "brush", "stroke": [[50, 60]], "radius": 2.5, "erase": True})
    desk.act(visit, {"name": "new", "box": [100.0, 5.0, 200.0, 30.0], "label": "wall"})
    list(desk.follow(visit))
    desk.seek(visit, {"to": 20})
    desk.act(visit, {"name": "new", "x": 190.0, "y": 130.0})
    list(desk.follow(visit))
    desk.seek(visit, {"to": 9, "tube": 2})
    desk.act(visit, {"name": "split"})
    desk.act(visit, {"name": "swap", "other": 1})
    desk.act(visit, {"name": "undo"})
    desk.act(visit, {"name": "redo"})
    desk.act(visit, {"name": "merge", "other": 4})
    desk.act(visit, {"name": "relabel", "label": "two things"})
    desk.seek(visit, {"to": 12, "tube": 3})
    desk.act(visit, {"name": "delete", "scope": "frame"})
    desk.seek(visit, {"to": 20})
    desk.act(visit, {"name": "delete", "scope": "onwards"})
    desk.seek(visit, {"tube": 5})
    desk.act(visit, {"name": "delete", "scope": "tube"})
    package = list(desk.take_home(visit, ["tubes", "edits"]))[-1]
    live, edits_file = package.files
    done = edits.read(edits_file).edits
    assert {type(edit) for edit in done} == set(edits.OPERATIONS.values())
    base = desk.sessions.get(visit).folder / "base.json"
    video = desk.sessions.get(visit).video

    monkeypatch.setattr("vis.refiners.create", lambda *_, **__: desk.engines.predictor_of("stub"))
    monkeypatch.setattr("vis.edits.FrameDecoder", stand_in_decoder)
    parser = argparse.ArgumentParser()
    edit_verb.configure(parser)
    out = tmp_path / "edited.json"
    args = parser.parse_args([str(base), str(edits_file), str(video), "--out", str(out)])
    assert edit_verb.run(args) == 0
    assert out.read_bytes() == live.read_bytes()
    assert "vistubes edit runs/two-squares/tubes.json edits.json" in desk.commands(visit)


def test_the_edit_verb_says_what_is_missing(desk, visit, tmp_path, capsys):
    from vis.errors import OutputError

    desk.seek(visit, {"to": 3, "tube": 1})
    desk.act(visit, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    folder = desk.sessions.get(visit).folder
    parser = argparse.ArgumentParser()
    edit_verb.configure(parser)
    start = [str(folder / "base.json"), str(folder / "edits.json")]
    assert edit_verb.run(parser.parse_args([*start, "--list"])) == 0
    assert "correct 1 on frame 3 (1 point)" in capsys.readouterr().out
    with pytest.raises(UsageError, match="--out is missing"):
        edit_verb.run(parser.parse_args(start))
    with pytest.raises(UsageError, match="give the video as third argument"):
        edit_verb.run(parser.parse_args([*start, "--out", str(tmp_path / "o.json")]))
    (tmp_path / "there.json").write_text("mine")
    with pytest.raises(OutputError, match="add --overwrite"):
        edit_verb.run(parser.parse_args([*start, "--out", str(tmp_path / "there.json")]))


def test_a_click_selects_the_smallest_object_under_it_and_arrows_walk_through_the_rows(desk, visit):
    session = desk.sessions.get(visit)
    assert session.selected == 1
    desk.seek(visit, {"at": [260.0, 130.0]})
    assert session.selected == 2
    desk.seek(visit, {"at": [2.0, 2.0]})  # nothing is there
    assert session.selected == 2
    desk.seek(visit, {"to": 0, "tube": 1})
    desk.act(
        visit, {"name": "box", "box": [0.0, 0.0, 320.0, 180.0]}
    )  # the grey wall, all around the blue one
    desk.act(visit, {"name": "brush", "stroke": [[0, 90], [320, 90]], "radius": 90, "erase": False})
    desk.seek(visit, {"at": [260.0, 130.0]})
    assert session.selected == 2
    assert desk.seek(visit, {"pick": -5}).view["selected"] == 1
    assert desk.seek(visit, {"pick": 1, "wish": 7}).view["wish"] == 7
    assert session.selected == 2


def test_an_edit_is_made_on_the_frame_that_was_seen(desk, visit):
    desk.seek(visit, {"to": 20, "tube": 1})
    desk.act(visit, {"name": "click", "on": 3, "x": 225.0, "y": 130.0, "inside": True})
    assert desk.sessions.get(visit).history.edits[-1].frame == 3
    assert desk.sessions.get(visit).position == 3


def test_the_ruler_has_round_seconds_between_its_ends():
    from apps.demo.pictures import ticks

    seconds = [step / 10 for step in range(53)]
    assert ticks(seconds) == [
        *([0, "0 s"], [10, "1 s"], [20, "2 s"], [30, "3 s"], [40, "4 s"]),
        [52, "5.20 s"],
    ]
    assert ticks([]) == []
    assert ticks([4.0]) == [[0, "4 s"]]
    assert len(ticks([float(s) for s in range(600)])) < 12


def test_problems_are_jumps_gaps_and_unsure_stretches(desk, visit):
    session = desk.sessions.get(visit)
    assert 10 in problems(session)  # where the blue square is gone
    desk.seek(visit, {"to": 0})
    assert desk.seek(visit, {"go": "problem+"}).view["position"] == problems(session)[0]
    assert desk.seek(visit, {"go": "last"}).view["position"] == 23
    desk.seek(visit, {"tube": 2})
    assert desk.seek(visit, {"go": "tube-"}).view["frame"] == 0


def test_rows_of_a_tube_in_closed_form():
    def square(x, side):
        mask = np.zeros((40, 60), np.bool_)
        mask[5 : 5 + side, x : x + side] = True
        return rle.encode(mask)

    masks: tuple[MaskRLE, ...] = (square(5, 10), square(6, 10), square(6, 20), square(35, 20))
    tube = Tube(
        *(1, 0, 0.7, np.array([0, 2, 4, 8])),
        boxes=np.zeros((4, 4), np.float32),
        scores=np.array([0.9, 0.4, 0.3, 0.8], np.float32),
        masks=masks,
    )
    row = row_of(tube, {0: 0, 2: 1, 4: 2, 6: 3, 8: 4})
    assert row["bars"] == [[0, 2, 0.533], [4, 4, 0.8]]
    assert row["low"] == [[1, 2]]
    assert row["jumps"] == [2]  # area times four; the leap after the gap is a gap


def test_by_hand_every_object_is_one_that_was_drawn(desk, clip):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    ended = list(desk.run(token, Form(detector="none")))[-1]
    assert "24 frames are ready. Choose" in ended.text
    assert result_of(desk, token).tubes == ()
    assert len(result_of(desk, token).frames) == 24
    assert "Add 1" in desk.act(token, {"name": "new", "x": 40, "y": 60}).view["message"]
    list(desk.follow(token, {"on": 0}))
    (tube,) = result_of(desk, token).tubes
    assert tube.frames.tolist() == list(range(24))
    run, edit = desk.commands(token).splitlines()
    assert "--detector none" in run
    assert "edits.json" in edit
