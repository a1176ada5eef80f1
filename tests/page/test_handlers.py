"""The handlers as plain functions: what they answer, what they refuse, and what they leave on the disk."""

from __future__ import annotations

import argparse
import json
import shutil
import time
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from apps import edit as edit_verb
from apps.demo import _auth
from apps.demo.command import parse, plan_of, words_of
from apps.demo.correcting import problems
from apps.demo.handlers import Desk, Form
from apps.demo.pictures import row_of
from apps.demo.session import Sessions
from apps.demo.words import clean_message, display_name, slug
from vis import edits
from vis import masks as rle
from vis.errors import UsageError, VideoError
from vis.formats import tubes as tubes_format
from vis.structures import MaskRLE, Tube


def last(updates):
    return list(updates)[-1]


def session_of(desk, token):
    return desk.sessions.get(token)


def result_of(desk, token):
    return session_of(desk, token).history.result


def test_a_run_streams_pictures_and_rows_and_ends_with_a_sentence(desk, clip):
    token, update, card = desk.start(None)
    assert update.view["total"] == 0
    assert "Nothing is open" in card
    _, card = desk.upload(token, str(clip), Form())
    assert "320 × 180" in card
    assert "24 frames" in card
    updates = list(desk.run(token, Form()))
    assert "Loading" in updates[0].text
    assert updates[1].view["src"].startswith("data:image/jpeg;base64,")
    assert "frames a second" in updates[1].text or "s a frame" in updates[1].text
    assert updates[-1].timeline["total"] == 24
    assert " left" in updates[1].text
    blue = next(row for row in updates[-1].timeline["rows"] if row["label"] == "blue thing")
    assert [bar[:2] for bar in blue["bars"]] == [[0, 9], [14, 23]]


def test_trim_and_stride_choose_frames_and_are_in_the_command(desk, clip):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    form = Form(start=0.5, end=1.5, stride=3)
    assert "To process: 4 frames" in desk.card(token, form)
    last(desk.run(token, form))
    assert result_of(desk, token).frames.tolist() == [6, 9, 12, 15]
    line = desk.commands(token)
    assert line == (
        "vistubes run 'two squares.mp4' --preset quick --start 0.5s --end 1.5s --stride 3 --out runs/two-squares"
    )


def test_the_quick_look_takes_a_few_frames(desk, clip):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    last(desk.run(token, Form(), quick_look=True))
    assert len(result_of(desk, token).frames) == 8


def test_cancel_stops_within_a_frame_and_the_command_repeats_the_part(desk, engines, clip):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    seen = []

    def before(index):
        seen.append(index)
        if index == 4:
            assert "Stopping" in desk.cancel(token)

    engines.before_frame = before
    text = last(desk.run(token, Form(end=1.9))).text
    assert "Stopped after 5 frames" in text
    assert seen == [0, 1, 2, 3, 4]
    assert "--end 5 --out" in desk.commands(token)
    assert "1.9" not in desk.commands(token)
    args = parse(str(clip), session_of(desk, token).options["words"])
    from apps.assemble import source_arguments
    from vis.video import open_source

    path, options = source_arguments(args)
    assert [frame.index for frame in open_source(path, **options)] == result_of(desk, token).frames.tolist()
    assert "Nothing is running" in desk.cancel(token)


def test_a_visitor_runs_one_thing_at_a_time(desk, engines, clip):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    answers = []
    engines.before_frame = lambda index: (
        answers.append(last(desk.run(token, Form())).text) if index == 0 else None
    )
    assert "2 objects" in last(desk.run(token, Form())).text
    assert "a run is going on" in answers[0].lower()


def test_an_error_inside_a_run_shows_no_path_and_frees_the_page(desk, engines, clip, caplog):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())

    def fail(index):
        raise RuntimeError(f"cannot open {desk.sessions.root}/secret")

    engines.before_frame = fail
    text = last(desk.run(token, Form())).text
    assert "Something went wrong on the server" in text
    assert str(desk.sessions.root) not in text
    assert "secret" in caplog.text
    engines.before_frame = lambda index: None
    assert "2 objects" in last(desk.run(token, Form())).text


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
        before = len(session_of(desk, visit).history.edits)
        update = desk.act(visit, data)
        assert len(session_of(desk, visit).history.edits) == before + 1, update.view["message"]
        if data["name"] == "relabel":
            assert update.view["message"] == "Call 1 <Script>."
    count = len(session_of(desk, visit).history.edits)
    assert session_of(desk, visit).history.edits[1].point_labels == (1, 0)  # clicks add up
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
    assert session_of(desk, visit).history.edits[-1] == edits.Follow(3, 5, 5, 9)
    desk.act(visit, {"name": "undo"})
    last(desk.follow(visit))
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
    text = last(desk.follow(visit)).text
    assert "over frames 0 to 23; not seen on 4 of 24." in text
    desk.seek(visit, {"to": 6})
    desk.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": True})
    desk.seek(visit, {"to": 15})
    assert "over frames 7 to 19" in last(desk.follow(visit)).text
    assert session_of(desk, visit).history.edits[-1] == edits.Follow(3, 15, 7, 19)
    for frame in (14, 16):
        desk.seek(visit, {"to": frame})
        desk.act(visit, {"name": "click", "x": 5.0, "y": 5.0, "inside": True})
    desk.seek(visit, {"to": 15})
    count = len(session_of(desk, visit).history.edits)
    assert "set by hand" in last(desk.follow(visit)).text
    assert len(session_of(desk, visit).history.edits) == count


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
    last(desk.follow(visit))
    desk.seek(visit, {"to": 20})
    desk.act(visit, {"name": "new", "x": 190.0, "y": 130.0})
    last(desk.follow(visit))
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
    package = last(desk.take_home(visit, ["tubes", "edits"]))
    live, edits_file = package.files
    done = edits.read(edits_file).edits
    assert {type(edit) for edit in done} == set(edits.OPERATIONS.values())
    base = session_of(desk, visit).folder / "base.json"
    video = session_of(desk, visit).video

    monkeypatch.setattr("vis.hqsam.load_model", lambda *_, **__: None)
    monkeypatch.setattr("vis.hqsam.Predictor", lambda _: desk.engines.predictor_of("stub"))
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
    folder = session_of(desk, visit).folder
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


def test_compare_shows_both_and_counts(desk, visit):
    whole, text = desk.compare(visit, False)
    assert whole["sam"].startswith("data:image/jpeg;base64,")
    assert whole["sam"] != whole["hq"]
    assert text.count("<tr>") == 3
    zoomed, _ = desk.compare(visit, True)
    assert zoomed["sam"] != whole["sam"]
    token, _, _ = desk.start(None)
    pictures, text = desk.compare(token, True)
    assert pictures == {}
    assert "press Run first" in text


def test_the_magnified_window_lies_on_the_difference_and_inside_of_the_frame():
    from apps.demo.comparing import boundary_iou, magnify

    a = np.zeros((180, 320), np.bool_)
    a[40:140, 100:300] = True
    b = a.copy()
    b[130:150, 280:318] = True
    x0, y0, x1, y1 = magnify(a, b, np.array([100, 40, 300, 140], np.float32))
    assert x0 <= 300 < x1 <= 320
    assert y0 <= 142 < y1 <= 180
    assert boundary_iou(a, a) == 1
    assert 0 < boundary_iou(a, b) < 1


def test_a_truth_file_is_measured_with_the_evaluator(desk, visit, tmp_path):
    assert "neither YTVIS" in desk.measure(visit, str(_json(tmp_path, {"videos": 1})))
    truth = last(desk.take_home(visit, ["tubes"])).files[0]
    text = desk.measure(visit, str(truth))
    assert text.count("<td>100.0</td>") == 8  # the result is its own truth
    desk.seek(visit, {"to": 0, "tube": 1})
    desk.act(visit, {"name": "delete", "scope": "tube"})
    text = desk.measure(visit, str(truth))
    # One of two truths found, above all thresholds: precision 1 up to recall 1/2, 51 of 101 points.
    assert f"<td>{100 * 51 / 101:.1f}</td>" in text
    assert "2 truth tubes, 1 found" in text
    last(desk.run(visit, Form(end=1)))
    assert "he truth is of 24 frames, the result of 12" in desk.measure(visit, str(truth))


def test_a_training_set_that_is_too_large_or_empty_is_refused(desk, visit, monkeypatch):
    monkeypatch.setattr("apps.demo.films.MAX_TRAINING_PAIRS", 40)
    assert "44 pairs is more than the 40" in last(desk.take_home(visit, ["training"])).text
    for _ in range(2):
        desk.act(visit, {"name": "delete", "scope": "tube"})
    assert "no mask for a training set" in last(desk.take_home(visit, ["training"])).text


def test_the_card_tells_time_and_memory_before_the_first_run_and_how_far_to_trust_them(desk, engines, clip):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    card = desk.card(token, Form())
    assert "To process: 24 frames, in 0.9 GB of memory." in card
    engines.estimator.note_frame(plan_of(["--preset", "quick"]), 0.5)  # as the server does when it warms up
    assert "24 frames, roughly 12 s here, in 0.9 GB" in desk.card(token, Form())
    assert "12 frames, roughly 6 s here" in desk.card(token, Form(stride=2))
    # A ViT-B takes six times as long; what Mask2Former takes beside it is not known.
    assert "24 frames, more than 1 min 12 s here." in desk.card(token, Form(preset="balanced"))
    last(desk.run(token, Form()))
    assert "24 frames, about " in desk.card(token, Form())


def test_the_card_warns_when_the_memory_is_not_there(desk, clip, monkeypatch):
    monkeypatch.setattr("apps.demo.estimating.free_memory_gb", lambda: 0.4)
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    assert "in 0.9 GB of memory, of which only 0.4 GB are free; choose a smaller" in desk.card(token, Form())


def test_an_end_that_is_the_clips_own_is_no_end(desk, clip):
    token, _, _ = desk.start(None)
    assert desk.length(token) == 0
    desk.upload(token, str(clip), Form())
    assert desk.length(token) == 2.0
    last(desk.run(token, Form(end=2.0)))
    assert "--end" not in desk.commands(token)
    assert len(result_of(desk, token).frames) == 24


def test_a_click_selects_the_smallest_object_under_it_and_arrows_walk_through_the_rows(desk, visit):
    session = session_of(desk, visit)
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
    assert session_of(desk, visit).history.edits[-1].frame == 3
    assert session_of(desk, visit).position == 3


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


def _json(folder, value):
    path = folder / "value.json"
    path.write_text(json.dumps(value))
    return path


def test_cancelling_the_files_leaves_none(desk, visit):
    seen = []
    for package in desk.take_home(visit, ["overlay", "tubes"]):
        seen.append(package)
        if len(seen) == 4:
            desk.cancel(visit)
    assert "Stopped" in seen[-1].text
    assert seen[-1].files == ()
    assert list(session_of(desk, visit).take_home.iterdir()) == []
    assert "2 files ready" in last(desk.take_home(visit, ["overlay", "tubes"])).text


def test_take_home_everything_and_open_the_project_again(desk, visit, tmp_path, monkeypatch):
    from apps.demo.taking_home import CHOICES
    from vis.training.datasets import image_folder
    from vis.video import read_alpha

    desk.seek(visit, {"to": 3, "tube": 1})
    desk.act(visit, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    package = last(desk.take_home(visit, list(CHOICES)))
    assert len(package.files) == len(CHOICES)
    assert all(file.stat().st_size > 0 for file in package.files)
    assert package.overlay in package.files
    by_name = {file.name: file for file in package.files}
    again = tubes_format.read(by_name["tubes.json"])
    assert again.made_with["edits"]["count"] == 1
    with zipfile.ZipFile(by_name["two-squares-cutouts.zip"]) as archive:
        assert "object-1/000000.png" in archive.namelist()
    cut = list(read_alpha(by_name["two-squares-cutout.webm"]))
    assert len(cut) == 24
    _, first = cut[0]
    assert first.shape == (180, 320, 4)
    objects = np.any([rle.decode(tube.masks[0]) for tube in again.tubes], axis=0)
    assert np.abs(first[..., 3].astype(int) - 255 * objects).mean() < 3  # clear where no object is
    with zipfile.ZipFile(by_name["two-squares-training.zip"]) as archive:
        archive.extractall(tmp_path / "training")
    pairs = image_folder(tmp_path / "training")
    assert len(pairs) == sum(len(tube) for tube in again.tubes)
    own = next(pair for pair in pairs if pair.path.stem == "000005-1")
    assert np.array_equal(own.masks()[0], rle.decode(again.tubes[0].masks[5]))
    with zipfile.ZipFile(by_name["two-squares-davis.zip"]) as archive:
        assert len(archive.namelist()) == 24

    project = tmp_path / "two-squares-project.zip"
    shutil.copy(by_name["two-squares-project.zip"], project)
    other, _, _ = desk.start(None)
    monkeypatch.setattr("vis.weights.cached", lambda _: True)
    update, card = desk.upload(other, str(project), Form())
    assert "project of" in update.text
    assert "two squares.mp4" in card
    assert edits.fingerprint(result_of(desk, other)) == edits.fingerprint(result_of(desk, visit))
    assert not list((desk.cache).glob(f"*{visit}*"))


def test_a_server_restart_loses_no_finished_work(desk, engines, visit, tmp_path, monkeypatch):
    monkeypatch.setattr("vis.weights.cached", lambda _: True)
    desk.seek(visit, {"to": 3, "tube": 1})
    desk.act(visit, {"name": "delete", "scope": "frame"})
    before = edits.fingerprint(result_of(desk, visit))
    restarted = Desk(Sessions(tmp_path / "page"), engines, cache=tmp_path / "cache2")
    token, update, card = restarted.start(visit)
    assert token == visit
    assert "open again" in update.text
    assert edits.fingerprint(result_of(restarted, token)) == before
    assert "two squares.mp4" in card
    restarted.act(token, {"name": "undo"})
    assert len(restarted.sessions.get(token).history.edits) == 0


def test_problems_are_jumps_gaps_and_unsure_stretches(desk, visit):
    session = session_of(desk, visit)
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


# ---------------------------------------------------------------- what must be harmless


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd.mp4",
        "..\\..\\boot.mp4",
        "<img src=x onerror=alert(1)>.mp4",
        "a\nb\x00c.mp4",
        "-rf.mp4",
        "con.mp4",
        "x" * 300 + ".mp4",
        "'; rm -rf ~;'.mp4",
        "привет мир.mp4",
    ],
)
def test_a_hostile_file_name_is_only_a_name(desk, clip, tmp_path, name):
    from apps.demo.opening import open_clip

    token, _, _ = desk.start(None)
    session = session_of(desk, token)
    open_clip(session, clip, name)
    assert session.video.parent == session.folder
    assert session.video.name.removesuffix(".mp4").replace("-", "").isalnum()
    card = desk.card(token, Form())
    assert "<img" not in card
    assert "\x00" not in card
    last(desk.run(token, Form()))
    import shlex

    words = shlex.split(desk.commands(token))
    assert words[:2] == ["vistubes", "run"]
    assert words[-1].startswith("runs/")
    assert ".." not in words[-1]


def test_what_is_no_video_too_big_or_a_bomb_is_refused_before_decoding(desk, tmp_path, monkeypatch):
    token, _, _ = desk.start(None)
    cases = {
        "noise.mp4": bytes(range(256)) * 40,
        "empty.mp4": b"",
        "program.exe": b"MZ" * 100,
        "page.html": b"<script>alert(1)</script>",
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        update, card = desk.upload(token, str(tmp_path / name), Form())
        assert "vt-error" in update.text
        assert str(tmp_path) not in update.text
        assert str(desk.sessions.root) not in update.text
        assert "Nothing is open" in card
    assert [p.name for p in session_of(desk, token).folder.iterdir()] == []

    from vis.video import VideoWriter

    bomb = tmp_path / "bomb.mp4"
    with VideoWriter(bomb, (4320, 7680), 10, preset="ultrafast") as writer:
        writer.write(np.zeros((4320, 7680, 3), np.uint8))
    update, _ = desk.upload(token, str(bomb), Form())
    assert "7680x4320 pixels, over the limit" in update.text
    with bomb.open("ab") as file:
        file.truncate(2**28 + 1)  # sparse: it takes no room
    update, _ = desk.upload(token, str(bomb), Form())
    assert "over the limit" in update.text


def test_the_server_decodes_nothing_itself(desk, clip, monkeypatch):
    """Whatever the decoder does, it does in a process of its own."""
    import av

    def refuse(*_args, **_kwargs):
        raise AssertionError("the server opened a stranger's file itself")

    monkeypatch.setattr(av, "open", refuse)
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    assert desk.seek(token, {"to": 20}).view["frame"] == 20
    assert "objects in 24 frames" in last(desk.run(token, Form())).text
    desk.seek(token, {"to": 3, "tube": 1})
    desk.act(token, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    assert "1 file ready" in last(desk.take_home(token, ["cutouts"])).text
    desk.seek(token, {"to": 23})
    assert desk.start(token)[1].view["total"] == 24


def test_a_clip_that_breaks_its_decoder_is_an_answer_and_the_page_goes_on(desk, clip, tmp_path, monkeypatch):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    # The child opens the file, then its decoder dies with a segmentation fault.
    monkeypatch.setattr(
        "vis.video.isolated._START",
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import os, signal; "
        "import vis.video.reader as r; r.VideoReader.__iter__ = lambda s: os.kill(os.getpid(), signal.SIGSEGV); "
        "from vis.video.decoding_process import serve; serve()",
    )
    text = last(desk.run(token, Form())).text
    assert "broke the process that decoded it (signal 11)" in text
    assert "vt-error" in text
    assert str(desk.sessions.root) not in text
    monkeypatch.undo()
    assert "objects in 24 frames" in last(desk.run(token, Form())).text


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_frames_of_any_container_are_those_of_the_stream(clip, tmp_path, suffix):
    """Leaps, steps back and the end, against one pass from first to last."""
    import av

    from apps.demo.reading import ClipFrames, inspect
    from vis.video import open_source

    path = tmp_path / f"clip.{suffix}"
    with av.open(str(path), "w") as made:
        stream = made.add_stream("libx264", rate=12, options={"g": "7", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 180, 320, "yuv420p"
        for frame in open_source(clip):
            made.mux(stream.encode(av.VideoFrame.from_ndarray(frame.image, format="rgb24")))
        made.mux(stream.encode(None))
    info = inspect(path)
    expected = list(open_source(path))
    assert info.num_frames == len(expected) == 24
    frames = ClipFrames(path, info)
    assert len(frames) == 24
    for index in (0, 1, 20, 19, 18, 3, 23, 22, 0):
        got = frames[index]
        assert got.index == index
        assert got.pts_seconds == expected[index].pts_seconds
        assert np.array_equal(got.image, expected[index].image)
    frames.close()


@pytest.mark.filterwarnings("ignore::vis.errors.VisWarning")
@pytest.mark.parametrize("cut", [False, True])
def test_a_clip_shorter_than_it_says_ends_where_it_ends(clip, tmp_path, cut):
    from apps.demo.reading import ClipFrames, inspect

    info = inspect(clip)
    if cut:  # the index in front promises 24 frames, and the file ends before
        clip, whole = tmp_path / "cut.mp4", clip.read_bytes()
        clip.write_bytes(whole[: int(len(whole) * 0.8)])
        frames = ClipFrames(clip, inspect(clip))
        assert len(frames) == 24
        end = frames[23].index
        assert 3 < end < 23
        assert len(frames) == end + 1
        assert frames[end - 1].index == end - 1
        frames.close()
        return
    frames = ClipFrames(clip, replace(info, num_frames=99))
    assert len(frames) == 99
    assert frames[70].index == 23
    assert len(frames) == 24
    frames.close()


def test_a_zip_that_is_no_sound_project_is_refused_and_leaves_what_is_open(desk, visit, tmp_path):
    before = edits.fingerprint(result_of(desk, visit))
    folder = session_of(desk, visit).folder
    kept = {path.name for path in folder.iterdir()}
    good = {name: (folder / name).read_bytes() for name in ("session.json", "base.json", "edits.json")}
    good["two-squares.mp4"] = (folder / "two-squares.mp4").read_bytes()
    note = json.loads(good["session.json"])

    def with_note(**change):
        return {**good, "session.json": json.dumps({**note, **change}).encode()}

    for members in (
        {"a.txt": b"x"},
        {**good, "session.json": b"[]"},
        {**with_note(video="../../evil.mp4"), "../../evil.mp4": good["two-squares.mp4"]},
        with_note(video="base.json"),
        with_note(model="/etc/passwd"),
        with_note(model="hq-h"),
        {**good, "base.json": b"{}"},
        {**good, "two-squares.mp4": b"no video"},
    ):
        path = tmp_path / "project.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        update, _ = desk.upload(visit, str(path), Form())
        assert "vt-error" in update.text, members.keys()
        assert "Something went wrong" not in update.text
        assert edits.fingerprint(result_of(desk, visit)) == before
        assert {path.name for path in folder.iterdir()} == kept


@pytest.mark.parametrize(
    "data",
    [
        None,
        [],
        {"name": "explode"},
        {"name": "click"},
        {"name": "click", "x": "1", "y": 2, "inside": True},
        {"name": "click", "x": float("nan"), "y": 2, "inside": True},
        {"name": "box", "box": [1, 2, 3]},
        {"name": "merge", "other": "1; drop"},
        {"name": "swap", "other": 99},
        {"name": "relabel", "label": ""},
        {"name": "relabel", "label": {"a": 1}},
        {"name": "brush", "stroke": [[1, 1]], "radius": 1e9, "erase": False},
        {"name": "brush", "stroke": [[1, 1]] * 20_000, "radius": 2, "erase": False},
    ],
)
def test_nonsense_from_the_browser_changes_nothing_and_is_answered(desk, visit, data):
    before = edits.fingerprint(result_of(desk, visit))
    update = desk.act(visit, data)
    assert update.view["message"]
    assert "Something went wrong" not in update.view["message"]
    assert edits.fingerprint(result_of(desk, visit)) == before


@pytest.mark.parametrize(
    "data", [{"to": 10**12}, {"by": -(10**9)}, {"to": None}, {"go": "x"}, {"tube": "a"}, 7]
)
def test_seeking_nonsense_stays_inside_of_the_clip(desk, visit, data):
    view = desk.seek(visit, data).view
    assert 0 <= view["position"] < 24


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (Form(start=9), "beyond the clip"),
        (Form(start=1, end=0.5), "not after the start"),
        (Form(stride=0.2), "choose a whole number"),
        (Form(preset="/etc/passwd"), "invalid choice"),
    ],
)
def test_a_form_that_cannot_be_meant_so_is_answered(desk, clip, form, message):
    token, _, _ = desk.start(None)
    desk.upload(token, str(clip), Form())
    assert message in desk.card(token, form)
    text = last(desk.run(token, form)).text
    assert message in text
    assert str(desk.sessions.root) not in text


def test_words_are_never_options_of_their_own():
    words = words_of(classes="--out=/tmp/x", text="--weights=/etc/passwd")
    plan = plan_of(words)
    assert plan.detector_weights is None
    assert plan.text == "--weights=/etc/passwd"
    with pytest.raises(UsageError, match="invalid choice"):
        plan_of(["--preset", "nope"])


def test_two_visitors_have_their_own_folders_and_a_guessed_token_opens_nothing(desk, visit):
    other, update, _ = desk.start(None)
    assert other != visit
    assert update.view["total"] == 0
    for guess in ("../" + visit, visit[:-1], "", None, 3, "x" * 32, visit + "/.."):
        token, _, _ = desk.start(guess)
        assert token not in (visit, guess)
    assert desk.start(visit)[0] == visit
    assert "Reload it" in desk.commands("nobody")


def test_old_visits_are_removed_but_never_a_running_one(desk, visit):
    desk.start(None)
    session_of(desk, visit).running = True
    desk.sessions.clean(now=time.time() + 25 * 3600)
    names = {folder.name for folder in desk.sessions.root.iterdir()}
    assert names == {visit}
    session_of(desk, visit).running = False
    desk.sessions.clean(now=time.time() + 50 * 3600)
    assert list(desk.sessions.root.iterdir()) == []
    assert "idle for so long" in desk.act(visit, {"name": "undo"}).view["message"]


def test_messages_lose_folders_and_names_lose_nothing_else():
    error = VideoError("/srv/page/sessions/abc/clip.mp4: not one frame decodes; copy it again")
    assert clean_message(error) == "clip.mp4: not one frame decodes; copy it again"
    assert clean_message(VideoError("C:\\work\\clip.mp4: damaged")) == "clip.mp4: damaged"
    assert clean_message(VideoError("give 12 frames/s or 24")) == "give 12 frames/s or 24"
    assert display_name("/a/b/c d.mp4") == "c d.mp4"
    assert slug("Ünï cödé (1).mp4") == "uni-code-1"
    assert slug("...") == "clip"


def test_the_password_is_a_name_and_a_word():
    assert _auth(None) is None
    assert _auth("me:se:cret") == ("me", "se:cret")
    for bad in ("me", "me:", ":x"):
        with pytest.raises(UsageError, match="NAME:PASSWORD"):
            _auth(bad)


@pytest.mark.slow
def test_the_real_quick_preset_on_the_sample_clip(tmp_path):
    """No stand-in: saliency, association, SAM, a corrected mask and its replay, on three frames of the sample clip."""
    from apps.demo.engines import Engines
    from vis import weights

    if not all(weights.cached(weights.WEIGHTS[name]) for name in weights.QUICK):
        pytest.skip("the quick preset's weights are not in the cache; run 'vistubes models fetch'")
    desk = Desk(Sessions(tmp_path / "page"), Engines(device="cpu"), cache=tmp_path / "cache")
    token, _, _ = desk.start(None)
    _, card = desk.sample(token, Form())
    assert "1280 × 720" in card
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = last(desk.run(token, Form(end=0.5, stride=6))).text
        assert "1 object in 3 frames" in text
        update = desk.act(token, {"name": "click", "x": 180.0, "y": 420.0, "inside": True})
    assert "Correct 1 on frame 0" in update.view["message"]
    tube = result_of(desk, token).tubes[0]
    share = rle.area(tube.masks[0]) / (1280 * 720)
    assert 0.01 < share < 0.5

    live, edits_file = last(desk.take_home(token, ["tubes", "edits"])).files
    parser = argparse.ArgumentParser()
    edit_verb.configure(parser)
    base, out = session_of(desk, token).folder / "base.json", tmp_path / "edited.json"
    args = parser.parse_args([str(base), str(edits_file), "sample", "--out", str(out), "--device", "cpu"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert edit_verb.run(args) == 0
    assert out.read_bytes() == live.read_bytes()
