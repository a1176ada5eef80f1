"""Corrections as plain functions: every edit, following, replay from the command line, and rows of tubes."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

from apps.demo.command import Form
from apps.demo.editing import problems
from apps.demo.views import row_of
from apps.verbs import edit as edit_verb
from detectors.none import Nothing
from vis import edits
from vis import masks as rle
from vis.errors import UsageError
from vis.structures import MaskRLE, Tube


def result_of(handlers, token):
    return handlers.sessions.get(token).history.result


def test_every_edit_through_the_page_and_back(handlers, visit):
    start = edits.fingerprint(result_of(handlers, visit))
    handlers.seek(visit, {"to": 2, "tube": 1})
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
            handlers.seek(visit, {"to": 8, "tube": 1})
        if data["name"] == "merge":
            handlers.seek(visit, {"to": 8, "tube": 1})
        before = len(handlers.sessions.get(visit).history.edits)
        update = handlers.act(visit, data)
        assert len(handlers.sessions.get(visit).history.edits) == before + 1, update.view["message"]
        if data["name"] == "relabel":
            assert update.view["message"] == "Call 1 <Script>."
    count = len(handlers.sessions.get(visit).history.edits)
    assert handlers.sessions.get(visit).history.edits[1].point_labels == (1, 0)  # clicks add up
    end = edits.fingerprint(result_of(handlers, visit))
    for _ in range(count):
        handlers.act(visit, {"name": "undo"})
    assert edits.fingerprint(result_of(handlers, visit)) == start
    assert "Nothing to undo" in handlers.act(visit, {"name": "undo"}).view["message"]
    for _ in range(count):
        handlers.act(visit, {"name": "redo"})
    assert edits.fingerprint(result_of(handlers, visit)) == end


def test_following_a_new_object_stops_when_cancelled_and_is_one_edit(handlers, visit, monkeypatch):
    monkeypatch.setattr("apps.demo.editing.SHOW_SECONDS", 0.0)
    handlers.seek(visit, {"to": 5})
    handlers.act(visit, {"name": "new", "box": [20 + 4 * 5, 40, 60 + 4 * 5, 80]})
    updates = []
    for update in handlers.follow(visit):
        updates.append(update)
        if len(updates) == 4:
            handlers.cancel(visit)
    assert updates[3].view["state"] == "running"
    assert updates[3].view["frame"] == 9
    assert updates[-1].view["state"] == "done"
    assert updates[-1].view["frame"] == 5
    tube = next(t for t in result_of(handlers, visit).tubes if t.id == 3)
    assert tube.frames.tolist() == [5, 6, 7, 8, 9]
    assert handlers.sessions.get(visit).history.edits[-1] == edits.Follow(3, 5, 5, 9)
    handlers.act(visit, {"name": "undo"})
    list(handlers.follow(visit))
    tube = next(t for t in result_of(handlers, visit).tubes if t.id == 3)
    assert tube.frames.tolist() == list(range(24))
    for frame in (0, 20):
        truth = np.zeros((180, 320), np.bool_)
        truth[40:80, 20 + 4 * frame : 60 + 4 * frame] = True
        found = rle.decode(tube.masks[frame])
        assert (truth & found).sum() / (truth | found).sum() > 0.9
    assert tube.scores[5] == 1.0  # where a person pointed
    assert tube.scores[6] == np.float32(0.75)


def test_following_says_where_the_object_was_not_seen_and_spares_frames_set_by_hand(handlers, visit):
    handlers.seek(visit, {"to": 20})
    handlers.act(visit, {"name": "new", "x": 190.0, "y": 130.0})  # the blue square, away for frames 10 to 13
    text = list(handlers.follow(visit))[-1].text
    assert "over frames 0 to 23; not seen on 4 of 24." in text
    handlers.seek(visit, {"to": 6})
    handlers.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": True})
    handlers.seek(visit, {"to": 15})
    assert "over frames 7 to 19" in list(handlers.follow(visit))[-1].text
    assert handlers.sessions.get(visit).history.edits[-1] == edits.Follow(3, 15, 7, 19)
    for frame in (14, 16):
        handlers.seek(visit, {"to": frame})
        handlers.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": True})
    handlers.seek(visit, {"to": 15})
    count = len(handlers.sessions.get(visit).history.edits)
    assert "set by hand" in list(handlers.follow(visit))[-1].text
    assert len(handlers.sessions.get(visit).history.edits) == count


def test_the_edits_of_the_page_replay_to_the_same_bytes_from_the_command_line(
    handlers, visit, tmp_path, monkeypatch, stand_in_decoder
):
    """Every operation that there is, by the page's own handlers, and again by ``vistubes edit``."""
    handlers.seek(visit, {"to": 3, "tube": 1})
    handlers.act(visit, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    handlers.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": False})
    handlers.act(visit, {"name": "box", "box": [30.0, 38.0, 75.0, 82.0]})
    handlers.act(visit, {"name": "brush", "stroke": [[40, 50], [60, 66.5]], "radius": 6, "erase": False})
    handlers.act(visit, {"name": "brush", "stroke": [[50, 60]], "radius": 2.5, "erase": True})
    handlers.act(visit, {"name": "new", "box": [100.0, 5.0, 200.0, 30.0], "label": "wall"})
    list(handlers.follow(visit))
    handlers.seek(visit, {"to": 20})
    handlers.act(visit, {"name": "new", "x": 190.0, "y": 130.0})
    handlers.act(visit, {"name": "candidate", "step": 1})
    list(handlers.follow(visit))
    handlers.seek(visit, {"to": 9, "tube": 2})
    handlers.act(visit, {"name": "split"})
    handlers.act(visit, {"name": "swap", "other": 1})
    handlers.act(visit, {"name": "undo"})
    handlers.act(visit, {"name": "redo"})
    handlers.act(visit, {"name": "merge", "other": 4})
    handlers.act(visit, {"name": "relabel", "label": "two things"})
    handlers.seek(visit, {"to": 12, "tube": 3})
    handlers.act(visit, {"name": "delete", "scope": "frame"})
    handlers.seek(visit, {"to": 20})
    handlers.act(visit, {"name": "delete", "scope": "onwards"})
    handlers.seek(visit, {"tube": 5})
    handlers.act(visit, {"name": "delete", "scope": "tube"})
    package = list(handlers.download(visit, ["tubes", "edits"]))[-1]
    live, edits_file = package.files
    done = edits.read(edits_file).edits
    assert {type(edit) for edit in done} == set(edits.OPERATIONS.values())
    assert "part" in [getattr(edit, "candidate", None) for edit in done]
    base = handlers.sessions.get(visit).folder / "base.json"
    video = handlers.sessions.get(visit).video

    monkeypatch.setattr("vis.refiners.create", lambda *_, **__: handlers.model_cache.predictor_of("stub"))
    monkeypatch.setattr("vis.edits.FrameDecoder", stand_in_decoder)
    parser = argparse.ArgumentParser()
    edit_verb.configure(parser)
    out = tmp_path / "edited.json"
    args = parser.parse_args([str(base), str(edits_file), str(video), "--out", str(out)])
    assert edit_verb.run(args) == 0
    assert out.read_bytes() == live.read_bytes()
    lines = handlers.commands(visit).splitlines()
    assert any(line.startswith("vistubes edit runs/two-squares/tubes.json edits.json") for line in lines)
    assert "vistubes convert runs/two-squares-edited/tubes.json two-squares.json --to coco" in lines
    assert lines[-1].startswith("vistubes cutout runs/two-squares-edited/tubes.json ")


def test_the_masks_of_a_click_are_stepped_through_as_one_edit(handlers, visit):
    def step(by):
        update = handlers.act(visit, {"name": "candidate", "step": by})
        tube = next(tube for tube in result_of(handlers, visit).tubes if tube.id == session.selected)
        return update.view["candidate"], rle.area(tube.masks[tube.frames.tolist().index(5)])

    session = handlers.sessions.get(visit)
    handlers.seek(visit, {"to": 5, "tube": 1})
    assert (
        "there is no click" in handlers.act(visit, {"name": "candidate", "step": 1}).view["message"].lower()
    )
    assert handlers.act(visit, {"name": "new", "x": 50.0, "y": 60.0}).view["candidate"] == "best of 3"
    count = len(session.history.edits)
    # The best of the stand-in is the whole square; its part is the left half, the subpart a quarter.
    shown = [step(1), step(1), step(1), step(-1)]
    assert [text for text, _ in shown] == [
        "2 of 3: part",
        "3 of 3: subpart",
        "1 of 3: whole",
        "3 of 3: subpart",
    ]
    areas = [area for _, area in shown]
    assert areas[3] == areas[1] < areas[0] < areas[2]
    assert len(session.history.edits) == count
    assert session.clicks == (session.selected, 5, [[50.0, 60.0, 1]])
    assert handlers.seek(visit, {"by": 1}).view["candidate"] == ""
    assert handlers.seek(visit, {"by": -1}).view["candidate"] == "3 of 3: subpart"
    handlers.act(visit, {"name": "undo"})
    assert len(session.history.edits) == count - 1

    handlers.seek(visit, {"tube": 1})
    # A click goes on from the mask that is there, so that the mask is none of the three yet.
    assert (
        handlers.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": True}).view["candidate"]
        == "best of 3"
    )
    assert step(-1)[0] == "3 of 3: subpart"
    assert (
        handlers.act(visit, {"name": "click", "x": 50.0, "y": 60.0, "inside": True}).view["candidate"] == ""
    )


def test_a_mask_of_a_click_that_is_empty_leaves_the_one_before(handlers, visit, monkeypatch):
    session = handlers.sessions.get(visit)
    monkeypatch.setattr(
        type(handlers.model_cache.decoder_of(session)),
        "__call__",
        lambda self, index, prompt: np.full((180, 320), prompt.candidate != "part"),
    )
    handlers.act(visit, {"name": "new", "x": 50.0, "y": 60.0})
    before = session.history.result, session.history.edits
    assert "empty mask" in handlers.act(visit, {"name": "candidate", "step": 1}).view["message"]
    assert (session.history.result, session.history.edits) == before


def test_the_edit_verb_says_what_is_missing(handlers, visit, tmp_path, capsys):
    from vis.errors import OutputError

    handlers.seek(visit, {"to": 3, "tube": 1})
    handlers.act(visit, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    folder = handlers.sessions.get(visit).folder
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


def test_a_click_selects_the_smallest_object_under_it_and_arrows_walk_through_the_rows(handlers, visit):
    session = handlers.sessions.get(visit)
    assert session.selected == 1
    handlers.seek(visit, {"at": [260.0, 130.0]})
    assert session.selected == 2
    handlers.seek(visit, {"at": [2.0, 2.0]})  # nothing is there
    assert session.selected == 2
    handlers.seek(visit, {"to": 0, "tube": 1})
    handlers.act(
        visit, {"name": "box", "box": [0.0, 0.0, 320.0, 180.0]}
    )  # the grey wall, all around the blue one
    handlers.act(visit, {"name": "brush", "stroke": [[0, 90], [320, 90]], "radius": 90, "erase": False})
    handlers.seek(visit, {"at": [260.0, 130.0]})
    assert session.selected == 2
    assert handlers.seek(visit, {"pick": -5}).view["selected"] == 1
    assert handlers.seek(visit, {"pick": 1, "request_id": 7}).view["request_id"] == 7
    assert session.selected == 2
    # Where one class alone is shown, its rows are those that the arrows walk through.
    assert handlers.seek(visit, {"pick": 1, "label": "red thing"}).view["selected"] == 1
    assert handlers.seek(visit, {"pick": 1, "label": "red thing"}).view["selected"] == 1


def test_an_edit_is_made_on_the_frame_that_was_seen(handlers, visit):
    handlers.seek(visit, {"to": 20, "tube": 1})
    handlers.act(visit, {"name": "click", "on": 3, "x": 225.0, "y": 130.0, "inside": True})
    assert handlers.sessions.get(visit).history.edits[-1].frame == 3
    assert handlers.sessions.get(visit).position == 3


def test_the_ruler_has_round_seconds_between_its_ends():
    from apps.demo.views import ticks

    seconds = [step / 10 for step in range(53)]
    assert ticks(seconds) == [
        *([0, "0 s"], [10, "1 s"], [20, "2 s"], [30, "3 s"], [40, "4 s"]),
        [52, "5.20 s"],
    ]
    assert ticks([]) == []
    assert ticks([4.0]) == [[0, "4 s"]]
    assert len(ticks([float(s) for s in range(600)])) < 12


def test_problems_are_jumps_gaps_and_unsure_stretches(handlers, visit):
    session = handlers.sessions.get(visit)
    assert 10 in problems(session)  # where the blue square is gone
    handlers.seek(visit, {"to": 0})
    assert handlers.seek(visit, {"go": "problem+"}).view["position"] == problems(session)[0]
    assert handlers.seek(visit, {"go": "last"}).view["position"] == 23
    handlers.seek(visit, {"tube": 2})
    assert handlers.seek(visit, {"go": "tube-"}).view["frame"] == 0


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


def test_a_mask_that_falls_to_a_part_is_hatched_though_its_score_is_one():
    stack = np.zeros((6, 40, 60), np.bool_)
    for row in range(6):
        side = 6 if row in (3, 4) else 16
        stack[row, 5 : 5 + side, 5 + row : 5 + row + side] = True
    masks = tuple(rle.encode_many(stack))
    tube = Tube(1, 0, 1.0, np.arange(6), np.zeros((6, 4), np.float32), np.ones(6, np.float32), masks)
    assert row_of(tube, {frame: frame for frame in range(6)})["low"] == [[3, 4]]


def test_by_hand_every_object_is_one_that_was_drawn(handlers, clip):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    ended = list(handlers.run(token, Form(detector="none")))[-1]
    assert "24 frames are ready. Choose" in ended.text
    assert result_of(handlers, token).tubes == ()
    assert len(result_of(handlers, token).frames) == 24
    assert "Add 1" in handlers.act(token, {"name": "new", "x": 40, "y": 60}).view["message"]
    list(handlers.follow(token, {"on": 0}))
    (tube,) = result_of(handlers, token).tubes
    assert tube.frames.tolist() == list(range(24))
    run, edit, *_ = handlers.commands(token).splitlines()
    assert "--detector none" in run
    assert "edits.json" in edit


def test_a_run_that_finds_nothing_speaks_of_a_threshold_where_there_is_one(
    handlers, model_cache, clip, monkeypatch
):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    ended = list(handlers.run(token, Form(score=1)))[-1]
    assert "found in 24 frames. Try a lower threshold or another detector" in ended.text
    assert "run again with another detector" in ended.timeline["none"]

    def blind(plan):
        job = made(plan)
        job.detector = Nothing()
        return job

    made = model_cache.job_of
    monkeypatch.setattr(model_cache, "job_of", blind)
    ended = list(handlers.run(token, Form(score=0)))[-1]
    assert "found in 24 frames. Try another detector, or add it by hand." in ended.text
    ended = list(handlers.run(token, Form(detector="none")))[-1]
    assert "threshold" not in ended.text
    assert "nothing was looked for" in ended.timeline["none"]
    assert "nothing was looked for" in handlers.start(token)[1].timeline["none"]
