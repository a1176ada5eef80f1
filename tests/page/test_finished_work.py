"""What a visitor has stays: results before pictures, the result of before until there is a new one."""

from __future__ import annotations

import warnings
from dataclasses import replace

import av
import numpy as np
import pytest

from apps.demo.command import Form
from apps.demo.handlers import Handlers
from apps.demo.session import Sessions
from vis import edits, video
from vis.errors import FallbackWarning, OutputError, VideoError


def opened(handlers, path):
    token, _, _ = handlers.start(None)
    update, card = handlers.upload(token, str(path), Form())
    assert "vt-error" not in update.text, update.text
    return token, update, card


def result_of(handlers, token):
    return handlers.sessions.get(token).history.result


def cut_off(clip, path):
    """The clip's first four fifths: its header promises more frames than there are."""
    whole = clip.read_bytes()
    path.write_bytes(whole[: int(len(whole) * 0.8)])
    return path


def test_a_warning_shows_neither_path_nor_token_and_bears_the_visitors_name(model_cache, clip, tmp_path):
    root = tmp_path / "pages of visitors"
    handlers = Handlers(Sessions(root), model_cache, cache=tmp_path / "cache")
    token, _, _ = opened(handlers, cut_off(clip, tmp_path / "my Clip (1).mp4"))
    text = list(handlers.run(token, Form()))[-1].text
    assert "Note: my Clip (1).mp4: " in text
    assert " frames decode" in text
    for secret in (token, str(root), "pages of visitors", "sessions", "my-clip-1", "/tmp"):
        assert secret not in text


def test_a_name_keeps_its_letters_in_a_message(handlers, tmp_path):
    token, _, _ = handlers.start(None)
    for name in ("holiday.mp4", "e mail.webm", "iPhone.MOV"):
        (tmp_path / name).write_bytes(b"no video at all" * 99)
        assert f">{name}: " in handlers.upload(token, str(tmp_path / name), Form())[0].text
    assert ">Nothing is chosen" in list(handlers.download(token, []))[-1].text


def test_a_clip_that_reads_no_further_keeps_what_was_found(handlers, tmp_path):
    parts = []
    for number, width in enumerate((160, 96)):
        parts.append(tmp_path / f"{number}.ts")
        with av.open(str(parts[-1]), "w", format="mpegts") as container:
            stream = container.add_stream("libx264", rate=12)
            stream.width, stream.height, stream.pix_fmt = width, 64, "yuv420p"
            for _ in range(10):
                image = np.full((64, width, 3), 120, np.uint8)
                image[10:40, 20:60] = (210, 40, 40)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
            container.mux(stream.encode())
    both = tmp_path / "both.mpg"
    both.write_bytes(b"".join(part.read_bytes() for part in parts))
    token, _, _ = opened(handlers, both)
    last = list(handlers.run(token, Form()))[-1]
    assert "Stopped after 10 frames; 1 object found so far are kept." in last.text
    assert "Note: both.mpg: frame 10 is 96x64 pixels" in last.text
    assert result_of(handlers, token).frames.tolist() == list(range(10))
    assert "--end 10 " in handlers.commands(token)
    assert last.timeline["total"] == 10


def test_a_run_that_fails_leaves_the_result_and_its_edits(handlers, model_cache, visit, tmp_path):
    handlers.act(visit, {"name": "delete", "scope": "tube"})
    before = edits.fingerprint(result_of(handlers, visit))

    def fail(index):
        if index == 3:
            raise RuntimeError("the network broke")

    model_cache.before_frame = fail
    updates = list(handlers.run(visit, Form(stride=1, start=0.2)))
    assert "Something went wrong" in updates[-1].text
    assert edits.fingerprint(result_of(handlers, visit)) == before
    assert len(updates[-1].timeline["rows"]) == 1
    assert updates[-1].view["edits"] == 1
    shelf = {path.name for path in handlers.sessions.get(visit).shelf.iterdir()}
    assert shelf == {f"{index}.jpg" for index in range(24)}
    restarted = Handlers(Sessions(tmp_path / "page"), model_cache, cache=tmp_path / "cache2")
    assert "open again" in restarted.start(visit)[1].text
    assert edits.fingerprint(result_of(restarted, visit)) == before
    model_cache.before_frame = lambda index: None
    list(handlers.run(visit, Form(end=0.9)))
    assert len(result_of(handlers, visit).frames) == 11
    assert len(list(handlers.sessions.get(visit).shelf.iterdir())) == 11


def test_a_full_disk_on_the_shelf_costs_no_run(handlers, clip, monkeypatch):
    token, _, _ = opened(handlers, clip)
    shelf = handlers.sessions.get(token).shelf
    shelf.write_bytes(b"in the way")
    assert "2 objects in 24 frames" in list(handlers.run(token, Form()))[-1].text


def test_a_film_that_fails_or_warns_costs_no_other_file(handlers, visit, monkeypatch):
    def broken(*_args):
        yield 0.5
        raise OutputError(
            f"{handlers.cache}/x/overlay.mp4: the video could not be encoded (Invalid argument)"
        )

    monkeypatch.setattr("apps.demo.video_exports.overlay", broken)
    seen = list(handlers.download(visit, ["overlay", "tubes", "csv"]))[-1]
    assert [file.name for file in seen.files] == ["tubes.json", "two-squares-csv.csv"]
    assert seen.overlay is None
    left_out = (
        "Note: Overlay video (MP4, with sound) is left out: overlay.mp4: the video could not be encoded"
    )
    assert left_out in seen.text
    assert str(handlers.cache) not in seen.text

    def silent(session, result, path):
        warnings.warn(
            f"{session.video}: its sound is odd; the video is without", FallbackWarning, stacklevel=2
        )
        path.write_bytes(b"film")
        yield 1.0

    monkeypatch.setattr("apps.demo.video_exports.overlay", silent)
    seen = list(handlers.download(visit, ["overlay"]))[-1]
    assert "1 file ready. Note: two squares.mp4: its sound is odd; the video is without." in seen.text
    assert visit not in seen.text


def test_limits_are_about_the_chosen_part(handlers, clip, monkeypatch):
    monkeypatch.setattr(video, "WEB_LIMITS", replace(video.WEB_LIMITS, seconds=1.0))  # the clip has two
    token, update, card = opened(handlers, clip)
    assert "Opened two squares.mp4" in update.text
    note = "This part: 2 s long, over the limit of 1 s; choose a shorter part with From and To"
    assert "24 frames" in card
    assert note in card
    assert note in list(handlers.run(token, Form()))[-1].text
    assert handlers.seek(token, {"to": 23}).view["frame"] == 23
    late = Form(start=1.25, end=2.0)
    assert "To process: 9 frames" in handlers.card(token, late)
    assert "objects in 9 frames" in list(handlers.run(token, late))[-1].text
    assert result_of(handlers, token).frames.tolist() == list(range(15, 24))
    assert "1 file ready" in list(handlers.download(token, ["cutouts"]))[-1].text
    list(handlers.run(token, Form(), quick_look=True))
    assert len(result_of(handlers, token).frames) > 0


@pytest.mark.parametrize("field", ["start", "end", "stride", "score"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1e300])
def test_no_number_of_the_form_is_a_fault_of_the_server(handlers, clip, field, value):
    token, _, _ = opened(handlers, clip)
    form = Form(**{field: value})
    assert "Something went wrong" not in handlers.card(token, form)
    text = list(handlers.run(token, form))[-1].text
    assert "Something went wrong" not in text


def test_following_keeps_what_it_reached_before_the_clip_breaks_off(
    handlers, visit, stand_in_decoder, monkeypatch
):
    real = stand_in_decoder.carry

    def carry(self, index, mask, onto):
        for place, found in enumerate(real(self, index, mask, onto)):
            if place == 3:
                raise VideoError(
                    f"{handlers.sessions.root}/{visit}/two-squares.mp4: this frame does not decode"
                )
            yield found

    monkeypatch.setattr(stand_in_decoder, "carry", carry)
    handlers.seek(visit, {"to": 0, "tube": 1})
    last = list(handlers.follow(visit, {}))[-1]
    assert (
        "Followed object 1 over frames 0 to 3. Note: two squares.mp4: this frame does not decode."
        in last.text
    )
    assert len(handlers.sessions.get(visit).history.edits) == 1
