"""Runs of the page's server: what is told while they last, how they end, and what cannot go wrong meanwhile."""

from __future__ import annotations

import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from apps.demo import upload
from apps.demo.command import Form, read_words


def result_of(handlers, token):
    return handlers.sessions.get(token).history.result


def test_a_run_streams_pictures_and_rows_and_ends_with_a_sentence(handlers, clip):
    token, update, card = handlers.start(None)
    assert update.view["total"] == 0
    assert "Nothing is open" in card
    _, card = handlers.upload(token, str(clip), Form())
    assert "320 × 180" in card
    assert "24 frames" in card
    updates = list(handlers.run(token, Form()))
    assert "Loading" in updates[0].text
    first = next(update for update in updates[1:] if update.view is not None)
    assert first.view["src"].startswith("data:image/jpeg;base64,")
    assert "frames/s" in first.text or "s a frame" in first.text
    assert " left" in first.text
    assert updates[-1].timeline["total"] == 24
    blue = next(row for row in updates[-1].timeline["rows"] if row["label"] == "blue thing")
    assert [bar[:2] for bar in blue["bars"]] == [[0, 9], [14, 23]]


def test_trim_and_stride_choose_frames_and_are_in_the_command(handlers, clip):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    form = Form(start=0.5, end=1.5, stride=3)
    assert "To process: 4 frames" in handlers.card(token, form)
    list(handlers.run(token, form))
    assert result_of(handlers, token).frames.tolist() == [6, 9, 12, 15]
    line, *_ = handlers.commands(token).splitlines()
    assert line == (
        "vistubes run 'two squares.mp4' --preset quick --start 0.5s --end 1.5s --stride 3 --out runs/two-squares"
    )


def test_the_quick_look_takes_a_few_frames(handlers, clip):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    list(handlers.run(token, Form(), quick_look=True))
    assert len(result_of(handlers, token).frames) == 8


def test_a_long_wait_for_the_networks_or_a_frame_is_told_while_it_lasts(
    handlers, model_cache, clip, monkeypatch
):
    monkeypatch.setattr("apps.demo.running.SILENT_SECONDS", 0.01)
    loaded, finished = threading.Event(), threading.Event()
    job_of = model_cache.job_of
    monkeypatch.setattr(model_cache, "job_of", lambda plan: (loaded.wait(60), job_of(plan))[1])
    model_cache.before_frame = lambda index: finished.wait(60) if index == 3 else None
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    updates = handlers.run(token, Form(), quick_look=True)
    assert "Loading the networks …</p>" in next(updates).text
    for _ in range(2):  # nothing is loaded as yet
        assert "Loading the networks … 0 s</p>" in next(updates).text
    loaded.set()
    for update in updates:
        if "1 of 8 frames" in update.text and " · the next: 0 s</p>" in update.text:
            break  # the second frame is not there as yet
    assert "value='0.125'" in update.text
    finished.set()
    assert "objects in 8 frames" in list(updates)[-1].text


def test_who_leaves_while_a_frame_is_in_hand_leaves_nothing_running(handlers, model_cache, clip, monkeypatch):
    monkeypatch.setattr("apps.demo.running.SILENT_SECONDS", 0.01)
    finished = threading.Event()
    model_cache.before_frame = lambda index: finished.wait(60)
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    updates = handlers.run(token, Form())
    for update in updates:
        if "0 of 24 frames" in update.text:
            break
    threading.Timer(0.05, finished.set).start()
    updates.close()  # as when the tab is closed
    assert not handlers.sessions.get(token).running
    assert "objects in 24 frames" in list(handlers.run(token, Form()))[-1].text


def test_cancel_stops_within_a_frame_and_the_command_repeats_the_part(handlers, model_cache, clip):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    seen = []

    def before(index):
        seen.append(index)
        if index == 4:
            assert "Stopping" in handlers.cancel(token)

    model_cache.before_frame = before
    text = list(handlers.run(token, Form(end=1.9)))[-1].text
    assert "Stopped after 5 frames" in text
    assert seen == [0, 1, 2, 3, 4]
    assert "--end 5 --out" in handlers.commands(token)
    assert "1.9" not in handlers.commands(token)
    _, selection = read_words(handlers.sessions.get(token).options["words"])
    assert [frame.index for frame in selection.open(clip)] == result_of(handlers, token).frames.tolist()
    assert "Nothing is running" in handlers.cancel(token)


def test_a_visitor_runs_one_thing_at_a_time(handlers, model_cache, clip):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    answers = []
    model_cache.before_frame = lambda index: (
        answers.append(list(handlers.run(token, Form()))[-1].text) if index == 0 else None
    )
    assert "2 objects" in list(handlers.run(token, Form()))[-1].text
    assert "a run is going on" in answers[0].lower()


def test_who_sees_that_something_has_ended_is_not_refused(handlers, clip):
    """The browser may ask before the server has taken the step after the last update."""
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    steps = [lambda: handlers.run(token, Form()), lambda: handlers.follow(token, {"on": 3})]
    for number, step in enumerate([*steps, lambda: handlers.download(token, ["tubes"])]):
        updates = step()
        while "<progress" in (update := next(updates)).text or getattr(update, "share", None) is not None:
            pass
        assert handlers.seek(token, {"to": number, "request_id": number}).view["request_id"] == number


def test_a_run_asked_for_while_a_clip_comes_in_is_about_that_clip(
    handlers, visit, clip, tmp_path, monkeypatch
):
    shorter, inspecting, go_on = tmp_path / "next.mp4", threading.Event(), threading.Event()
    shutil.copyfile(clip, shorter)
    real = upload.inspect

    def slow(path):
        inspecting.set()
        assert go_on.wait(30)
        return real(path)

    monkeypatch.setattr(upload, "inspect", slow)
    with ThreadPoolExecutor(2) as pool:
        coming = pool.submit(handlers.upload, visit, str(shorter), Form())
        assert inspecting.wait(30)
        ran = pool.submit(lambda: list(handlers.run(visit, Form())))
        time.sleep(0.2)  # long enough for a run that does not wait to begin with the clip from before
        go_on.set()
        assert "Opened next.mp4" in coming.result(30)[0].text
        assert "objects in 24 frames" in ran.result(60)[-1].text
    assert result_of(handlers, visit).video.name == "next"


def test_an_error_inside_a_run_shows_no_path_and_frees_the_page(handlers, model_cache, clip, caplog):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())

    def fail(index):
        raise RuntimeError(f"cannot open {handlers.sessions.root}/secret")

    model_cache.before_frame = fail
    text = list(handlers.run(token, Form()))[-1].text
    assert "Something went wrong on the server" in text
    assert str(handlers.sessions.root) not in text
    assert "secret" in caplog.text
    model_cache.before_frame = lambda index: None
    assert "2 objects" in list(handlers.run(token, Form()))[-1].text


def test_once_cancelled_a_run_says_so_until_the_frame_in_hand_is_done(handlers, model_cache, clip):
    gate = threading.Event()
    model_cache.before_frame = lambda index: None if index < 2 else gate.wait(30)
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    updates = handlers.run(token, Form())
    while "the next:" not in next(updates).text:  # a frame takes long
        pass
    assert "Stopping after this frame" in handlers.cancel(token)
    assert "Stopping after this frame" in next(updates).text
    gate.set()
    assert "Stopped after 3 frames" in list(updates)[-1].text
