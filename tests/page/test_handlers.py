"""The handlers as plain functions: runs, cards, comparison and files, and what they leave on the disk."""

from __future__ import annotations

import argparse
import json
import shutil
import warnings
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest

from apps.demo.command import Form, read_words
from apps.demo.handlers import Handlers
from apps.demo.session import Sessions
from apps.plan import Plan
from apps.verbs import edit as edit_verb
from vis import edits
from vis import masks as rle
from vis.errors import UsageError
from vis.formats import tubes as tubes_format


def result_of(handlers, token):
    return handlers.sessions.get(token).history.result


def test_no_visitor_chooses_what_the_server_imports():
    for words in (["--detector", "os:system"], ["--tracker", "my.module:Tracker"]):
        with pytest.raises(UsageError, match="for the command line"):
            read_words(words)


def test_compare_shows_both_and_counts(handlers, visit):
    whole, text = handlers.compare(visit, False)
    assert whole["sam"].startswith("data:image/jpeg;base64,")
    assert whole["sam"] != whole["hq"]
    assert text.count("<tr>") == 3
    zoomed, _ = handlers.compare(visit, True)
    assert zoomed["sam"] != whole["sam"]
    token, _, _ = handlers.start(None)
    pictures, text = handlers.compare(token, True)
    assert pictures == {}
    assert "press Run first" in text


def test_of_three_masks_those_are_compared_that_the_run_chose():
    import torch

    from apps.demo.comparing import both_masks
    from vis.hqsam.resize import network_size, upsampler

    frame = (90, 160)
    up = upsampler(frame, network_size(frame, 256), 64, 256, torch.device("cpu"))
    three = torch.full((2, 3, 64, 64), -5.0)
    for row in range(2):
        for i in range(3):  # parts of one thing
            three[row, i, 4 : 14 + 7 * i, 6 + 20 * row : 26 + 20 * row] = 5.0
    added = torch.zeros(2, 64, 64)
    added[:, :40, 44] = 20.0  # what HQ adds to any of them
    asked = []

    def predict_masks(embedding, prompts, which):
        asked.append(which)
        for row in range(2):
            yield [row], three[row : row + 1, : which.stop - which.start], added[row : row + 1], None

    def logits_to_masks(logits, frame_size):
        assert frame_size == frame
        out = np.zeros((len(logits), *frame), np.bool_)
        up.masks(logits, out)
        return (out,)

    predictor = SimpleNamespace(mask_side=64, predict_masks=predict_masks, logits_to_masks=logits_to_masks)
    boxes = np.array([[5, 5, 60, 80], [60, 5, 120, 80]], np.float32)
    made = np.zeros((2, *frame), np.bool_)
    up.masks(torch.stack([three[0, 2], three[1, 1]]) + added, made)
    made[0, 60:64, 20:30] = False  # and a little of it was corrected since
    sam, hq = both_masks(predictor, None, frame, boxes, made)
    assert (hq != made).sum() == 40
    assert sam[0].sum() > sam[1].sum() > 0
    assert (hq & ~sam).any(axis=(1, 2)).all()
    both_masks(predictor, None, frame, boxes)
    assert asked == [slice(1, 4), slice(0, 1)]


def test_the_magnified_window_lies_on_the_difference_and_inside_of_the_frame():
    from apps.demo.comparing import magnify

    a = np.zeros((180, 320), np.bool_)
    a[40:140, 100:300] = True
    b = a.copy()
    b[130:150, 280:318] = True
    x0, y0, x1, y1 = magnify(a, b, np.array([100, 40, 300, 140], np.float32))
    assert x0 <= 300 < x1 <= 320
    assert y0 <= 142 < y1 <= 180


def test_a_truth_file_is_measured_with_the_evaluator(handlers, visit, tmp_path):
    assert "neither YTVIS" in handlers.measure(visit, str(_json(tmp_path, {"videos": 1})))
    truth = list(handlers.download(visit, ["tubes"]))[-1].files[0]
    text = handlers.measure(visit, str(truth))
    assert text.count("<td>100.0</td>") == 8  # the result is its own truth
    handlers.seek(visit, {"to": 0, "tube": 1})
    handlers.act(visit, {"name": "delete", "scope": "tube"})
    text = handlers.measure(visit, str(truth))
    # One of two truths found, above all thresholds: precision 1 up to recall 1/2, 51 of 101 points.
    assert f"<td>{100 * 51 / 101:.1f}</td>" in text
    assert "2 truth tubes, 1 found" in text
    list(handlers.run(visit, Form(end=1)))
    assert "he truth is of 24 frames, the result of 12" in handlers.measure(visit, str(truth))


def test_a_training_set_that_is_too_large_or_empty_is_refused(handlers, visit, monkeypatch):
    monkeypatch.setattr("apps.demo.video_exports.MAX_TRAINING_PAIRS", 40)
    assert "44 pairs is more than the 40" in list(handlers.download(visit, ["training"]))[-1].text
    for _ in range(2):
        handlers.act(visit, {"name": "delete", "scope": "tube"})
    assert "no mask for a training set" in list(handlers.download(visit, ["training"]))[-1].text


def test_the_card_tells_time_and_memory_before_the_first_run_and_how_far_to_trust_them(
    handlers, model_cache, clip
):
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    card = handlers.card(token, Form())
    assert "To process: 24 frames, in 0.9 GB of memory." in card
    model_cache.estimator.note_frame(Plan.of("quick"), 0.5)  # as the server does when it warms up
    assert "24 frames, roughly 12 s here, in 0.9 GB" in handlers.card(token, Form(speed="full"))
    assert "12 frames, roughly 6 s here" in handlers.card(token, Form(speed="full", stride=2))
    assert "24 frames, roughly 4 s here" in handlers.card(token, Form())  # the networks look at a third
    # A ViT-B takes six times as long; what Mask2Former takes beside it is not known.
    assert "24 frames, more than 1 min 12 s here." in handlers.card(token, Form(preset="balanced"))
    list(handlers.run(token, Form()))
    assert "24 frames, about " in handlers.card(token, Form())


def test_the_card_warns_when_the_memory_is_not_there(handlers, clip, monkeypatch):
    monkeypatch.setattr("apps.demo.estimating.free_memory_gb", lambda: 0.4)
    token, _, _ = handlers.start(None)
    handlers.upload(token, str(clip), Form())
    assert "in 0.9 GB of memory, of which only 0.4 GB are free; choose a smaller" in handlers.card(
        token, Form()
    )


def test_an_end_that_is_the_clips_own_is_no_end(handlers, clip):
    token, _, _ = handlers.start(None)
    assert handlers.length(token) == 0
    handlers.upload(token, str(clip), Form())
    assert handlers.length(token) == 2.0
    list(handlers.run(token, Form(end=2.0)))
    assert "--end" not in handlers.commands(token)
    assert len(result_of(handlers, token).frames) == 24


def _json(folder, value):
    path = folder / "value.json"
    path.write_text(json.dumps(value))
    return path


def test_cancelling_the_files_leaves_none(handlers, visit):
    seen = []
    for package in handlers.download(visit, ["overlay", "tubes"]):
        seen.append(package)
        if len(seen) == 4:
            handlers.cancel(visit)
    assert "Stopped" in seen[-1].text
    assert seen[-1].files == ()
    assert list(handlers.sessions.get(visit).downloads.iterdir()) == []
    assert "2 files ready" in list(handlers.download(visit, ["overlay", "tubes"]))[-1].text


def test_download_everything_and_open_the_project_again(handlers, visit, tmp_path, monkeypatch):
    from apps.demo.downloads import CHOICES
    from vis.training.datasets import image_folder
    from vis.video import read_alpha

    handlers.seek(visit, {"to": 3, "tube": 1})
    handlers.act(visit, {"name": "click", "x": 225.0, "y": 130.0, "inside": True})
    package = list(handlers.download(visit, list(CHOICES)))[-1]
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
    other, _, _ = handlers.start(None)
    monkeypatch.setattr("vis.weights.cached", lambda _: True)
    update, card = handlers.upload(other, str(project), Form())
    assert "project of" in update.text
    assert "two squares.mp4" in card
    assert edits.fingerprint(result_of(handlers, other)) == edits.fingerprint(result_of(handlers, visit))
    assert not list((handlers.cache).glob(f"*{visit}*"))


def test_a_server_restart_loses_no_finished_work(handlers, model_cache, visit, tmp_path, monkeypatch):
    monkeypatch.setattr("vis.weights.cached", lambda _: True)
    handlers.seek(visit, {"to": 3, "tube": 1})
    handlers.act(visit, {"name": "delete", "scope": "frame"})
    before = edits.fingerprint(result_of(handlers, visit))
    restarted = Handlers(Sessions(tmp_path / "page"), model_cache, cache=tmp_path / "cache2")
    token, update, card = restarted.start(visit)
    assert token == visit
    assert "open again" in update.text
    assert edits.fingerprint(result_of(restarted, token)) == before
    assert "two squares.mp4" in card
    restarted.act(token, {"name": "undo"})
    assert len(restarted.sessions.get(token).history.edits) == 0


@pytest.mark.slow
def test_the_real_quick_preset_on_the_sample_clip(tmp_path):
    """No stand-in: saliency, association, SAM, a corrected mask and its replay, on three frames of the sample clip."""
    from apps.demo.model_cache import ModelCache
    from vis import weights

    if not all(weights.cached(weights.WEIGHTS[name]) for name in weights.QUICK):
        pytest.skip("the quick preset's weights are not in the cache; run 'vistubes models fetch'")
    handlers = Handlers(Sessions(tmp_path / "page"), ModelCache(device="cpu"), cache=tmp_path / "cache")
    token, _, _ = handlers.start(None)
    _, card = handlers.sample(token, Form())
    assert "1280 × 720" in card
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = list(handlers.run(token, Form(end=0.5, stride=6)))[-1].text
        assert "1 object in 3 frames" in text
        update = handlers.act(token, {"name": "click", "x": 180.0, "y": 420.0, "inside": True})
    assert "Correct 1 on frame 0" in update.view["message"]
    tube = result_of(handlers, token).tubes[0]
    share = rle.area(tube.masks[0]) / (1280 * 720)
    assert 0.01 < share < 0.5

    live, edits_file = list(handlers.download(token, ["tubes", "edits"]))[-1].files
    parser = argparse.ArgumentParser()
    edit_verb.configure(parser)
    base, out = handlers.sessions.get(token).folder / "base.json", tmp_path / "edited.json"
    args = parser.parse_args([str(base), str(edits_file), "sample", "--out", str(out), "--device", "cpu"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert edit_verb.run(args) == 0
    assert out.read_bytes() == live.read_bytes()


@pytest.mark.parametrize(
    ("size", "shown"),
    [((4000, 10), (2560, 6)), ((10, 4000), (3, 1280)), ((60, 80), (60, 80)), ((1, 9000), (1, 1280))],
)
def test_previews_are_bounded_on_both_sides(size: tuple[int, int], shown: tuple[int, int]) -> None:
    import base64
    import io

    from PIL import Image

    from apps.demo.comparing import ZOOM_SIDE, _crop
    from apps.demo.views import data_url

    image = np.zeros((*size, 3), np.uint8)
    with Image.open(io.BytesIO(base64.b64decode(data_url(image).partition(",")[2]))) as picture:
        assert picture.size == shown[::-1]
    assert max(_crop(image, (0, 0, size[1], size[0])).shape) == ZOOM_SIDE
