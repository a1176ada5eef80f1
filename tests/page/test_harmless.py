"""What must be harmless: names, files, forms and clips that mean harm, and visitors apart from each other."""

from __future__ import annotations

import json
import time
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from apps.demo.command import Form, read_words
from apps.demo.labels import clean_message, display_name, slug
from apps.verbs.demo import _auth
from vis import edits
from vis.errors import UsageError, VideoError


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
        "caf\udce9.mp4",
    ],
)
def test_a_hostile_file_name_is_only_a_name(handlers, clip, tmp_path, name):
    from apps.demo.upload import open_clip

    token, _, _ = handlers.start(None)
    session = handlers.sessions.get(token)
    open_clip(session, clip, name)
    assert session.video.parent == session.folder
    assert session.video.name.removesuffix(".mp4").replace("-", "").isalnum()
    card = handlers.card(token, Form())
    assert "<img" not in card
    assert "\x00" not in card
    list(handlers.run(token, Form()))
    import shlex

    words = shlex.split(handlers.commands(token).splitlines()[0])
    assert words[:2] == ["vistubes", "run"]
    assert words[-1].startswith("runs/")
    assert ".." not in words[-1]


def test_what_is_no_video_too_big_or_a_bomb_is_refused_before_decoding(handlers, tmp_path, monkeypatch):
    token, _, _ = handlers.start(None)
    cases = {
        "noise.mp4": bytes(range(256)) * 40,
        "empty.mp4": b"",
        "program.exe": b"MZ" * 100,
        "page.html": b"<script>alert(1)</script>",
    }
    for name, data in cases.items():
        (tmp_path / name).write_bytes(data)
        update, card = handlers.upload(token, str(tmp_path / name), Form())
        assert "vt-error" in update.text
        assert str(tmp_path) not in update.text
        assert str(handlers.sessions.root) not in update.text
        assert "Nothing is open" in card
    assert [p.name for p in handlers.sessions.get(token).folder.iterdir()] == []

    from vis.video import VideoWriter

    bomb = tmp_path / "bomb.mp4"
    with VideoWriter(bomb, (4320, 7680), 10, preset="ultrafast") as writer:
        writer.write(np.zeros((4320, 7680, 3), np.uint8))
    update, _ = handlers.upload(token, str(bomb), Form())
    assert "7680x4320 pixels, over the limit" in update.text
    with bomb.open("ab") as file:
        file.truncate(2**28 + 1)  # sparse: it takes no room
    update, _ = handlers.upload(token, str(bomb), Form())
    assert "over the limit" in update.text


def test_the_server_decodes_nothing_itself(handlers, clip, monkeypatch):
    """Whatever the decoder does, it does in a process of its own."""
    import av

    def refuse(*_args, **_kwargs):
        raise AssertionError("the server opened a stranger's file itself")

    monkeypatch.setattr(av, "open", refuse)
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    assert handlers.seek(token, {"to": 20}).view["frame"] == 20
    assert "objects in 24 frames" in list(handlers.run(token, Form()))[-1].text
    handlers.seek(token, {"to": 3, "tube": 1})
    handlers.act(token, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    assert "1 file ready" in list(handlers.download(token, ["cutouts"]))[-1].text
    handlers.seek(token, {"to": 23})
    assert handlers.start(token)[1].view["total"] == 24


def test_a_clip_that_breaks_its_decoder_is_an_answer_and_the_page_goes_on(
    handlers, clip, tmp_path, monkeypatch
):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    # The child opens the file, then its decoder dies with a segmentation fault.
    monkeypatch.setattr(
        "vis.video.isolated._START",
        "import json, sys; sys.path[:] = json.loads(sys.argv[1]); import os, signal; "
        "import vis.video.reader as r; r.VideoReader.__iter__ = lambda s: os.kill(os.getpid(), signal.SIGSEGV); "
        "from vis.video.isolated_worker import serve; serve()",
    )
    text = list(handlers.run(token, Form()))[-1].text
    assert "broke the process that decoded it (signal 11)" in text
    assert "vt-error" in text
    assert str(handlers.sessions.root) not in text
    monkeypatch.undo()
    assert "objects in 24 frames" in list(handlers.run(token, Form()))[-1].text


@pytest.mark.parametrize("suffix", ["mkv", "avi"])
def test_frames_of_any_container_are_those_of_the_stream(clip, tmp_path, suffix):
    """Leaps, steps back and the end, against one pass from first to last."""
    import av

    from apps.demo.clip_frames import ClipFrames, inspect
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
    from apps.demo.clip_frames import ClipFrames, inspect

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


def test_a_zip_that_is_no_sound_project_is_refused_and_leaves_what_is_open(handlers, visit, tmp_path):
    before = edits.fingerprint(handlers.sessions.get(visit).history.result)
    folder = handlers.sessions.get(visit).folder
    kept = {path.name for path in folder.iterdir()}
    good = {name: (folder / name).read_bytes() for name in ("session.json", "base.json", "edits.json")}
    good["two-squares.mp4"] = (folder / "two-squares.mp4").read_bytes()
    note, made = json.loads(good["session.json"]), json.loads(good["edits.json"])
    # Its weights are not here, and must not be fetched.
    by_another = edits.to_json(edits.Follow(1, 0, 0, 1, engine="sam3"))

    def with_note(**change):
        return {**good, "session.json": json.dumps({**note, **change}).encode()}

    for members in (
        {"a.txt": b"x"},
        {**good, "session.json": b"[]"},
        {**with_note(video="../../evil.mp4"), "../../evil.mp4": good["two-squares.mp4"]},
        with_note(video="base.json"),
        with_note(model="/etc/passwd"),
        with_note(model="hq-h"),
        {**good, "edits.json": json.dumps({**made, "edits": [*made["edits"], by_another]}).encode()},
        {**good, "base.json": b"{}"},
        {**good, "two-squares.mp4": b"no video"},
    ):
        path = tmp_path / "project.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in members.items():
                archive.writestr(name, data)
        update, _ = handlers.upload(visit, str(path), Form())
        assert "vt-error" in update.text, members.keys()
        assert "Something went wrong" not in update.text
        assert edits.fingerprint(handlers.sessions.get(visit).history.result) == before
        assert {path.name for path in folder.iterdir()} == kept


def test_nonsense_from_the_browser_changes_nothing_and_is_answered(handlers, visit):
    before = edits.fingerprint(handlers.sessions.get(visit).history.result)
    for data in (
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
    ):
        update = handlers.act(visit, data)
        assert update.view["message"], data
        assert "Something went wrong" not in update.view["message"], data
        assert edits.fingerprint(handlers.sessions.get(visit).history.result) == before, data


def test_seeking_nonsense_stays_inside_of_the_clip(handlers, visit):
    for data in ({"to": 10**12}, {"by": -(10**9)}, {"to": None}, {"go": "x"}, {"tube": "a"}, 7):
        view = handlers.seek(visit, data).view
        assert 0 <= view["position"] < 24, data


def test_a_form_that_cannot_be_meant_so_is_answered(handlers, clip):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    for form, message in (
        (Form(start=9), "beyond the clip"),
        (Form(start=1, end=0.5), "not after the start"),
        (Form(stride=0.2), "choose a whole number"),
        (Form(preset="/etc/passwd"), "invalid choice"),
    ):
        assert message in handlers.card(token, form)
        text = list(handlers.run(token, form))[-1].text
        assert message in text
        assert str(handlers.sessions.root) not in text


def test_words_are_never_options_of_their_own():
    words = Form(classes=["--out=/tmp/x"], text="--weights=/etc/passwd").words()
    plan, _ = read_words(words)
    assert plan.detector_weights is None
    assert plan.text == "--weights=/etc/passwd"
    with pytest.raises(UsageError, match="invalid choice"):
        read_words(["--preset", "nope"])


def test_two_visitors_have_their_own_folders_and_a_guessed_token_opens_nothing(handlers, visit):
    other, update, _ = handlers.start(None)
    assert other != visit
    assert update.view["total"] == 0
    for guess in ("../" + visit, visit[:-1], "", None, 3, "x" * 32, visit + "/.."):
        token, _, _ = handlers.start(guess)
        assert token not in (visit, guess)
    assert handlers.start(visit)[0] == visit
    assert "Reload it" in handlers.commands("nobody")


def test_old_visits_are_removed_but_never_a_running_one(handlers, visit):
    handlers.start(None)
    handlers.sessions.get(visit).running = True
    handlers.sessions.clean(now=time.time() + 25 * 3600)
    names = {folder.name for folder in handlers.sessions.root.iterdir()}
    assert names == {visit}
    handlers.sessions.get(visit).running = False
    handlers.sessions.clean(now=time.time() + 50 * 3600)
    assert list(handlers.sessions.root.iterdir()) == []
    assert "idle for so long" in handlers.act(visit, {"name": "undo"}).view["message"]


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
