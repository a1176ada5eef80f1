"""``vistubes train``: prepare, fit, resume, export through the command's own functions; many processes as one."""

from __future__ import annotations

import argparse
import json
import os
import runpy
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from apps.verbs import train
from apps.verbs.train import _event_log
from vis.errors import UsageError
from vis.hqsam import load_model
from vis.training import frozen
from vis.training.export import read_head

TWO_STEPS = Path(__file__).with_name("two_steps.py")


@pytest.fixture(scope="module")
def sam_file(sam_state, tmp_path_factory):
    path = tmp_path_factory.mktemp("sam") / "sam.pth"
    torch.save(sam_state, path)
    return path


def command(*words):
    parser = argparse.ArgumentParser()
    train.configure(parser)
    args = parser.parse_args([str(word) for word in words])
    return train.run(args)


@pytest.fixture
def pictures(tmp_path, drawn):
    folder = tmp_path / "pictures"
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True)
    picture, mask = drawn(0)
    Image.fromarray(picture).save(folder / "images" / "a.png")
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(folder / "masks" / "a.png")
    return folder


def fit(sam_file, cache, out, *more):
    # Random SAM masks meet the truth by chance only, hence least_iou is lowered by the fixture below.
    options = ("--steps", 3, "--batch", 4, "--window", 16, "--save-every", 2, "--device", "cpu")
    return command("fit", "--model", sam_file, "--cache", cache, "--out", out, "--json", *options, *more)


def logged(folder, tag):
    """The steps of a value in TensorBoard's log."""
    found = EventAccumulator(str(folder)).Reload()
    return [row.step for row in found.Scalars(tag)]


@pytest.fixture
def any_overlap(monkeypatch):
    from vis.training import sources

    monkeypatch.setattr(sources, "sam_iou", lambda sample: 1.0)


@pytest.mark.usefixtures("any_overlap")
def test_fit_leaves_a_head_a_card_a_merged_model_and_logs(sam_file, cache, tmp_path, capsys):
    out = tmp_path / "run"
    assert fit(sam_file, cache, out) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["steps"] == 3
    head = read_head(out / "hq.safetensors")
    merged = load_model(out / "hq.pth", device="cpu", mode="exact")
    for name, tensor in head.items():
        assert torch.equal(merged.state_dict()[name], tensor), name
    assert "frozen weights (SHA-256)" in (out / "MODEL_CARD.md").read_text()
    assert logged(out / "logs", "train/sum_bce") == [1, 2, 3]
    with pytest.raises(UsageError, match="--resume"):
        fit(sam_file, cache, out)
    assert fit(sam_file, cache, out, "--resume") == 0  # nothing is left to do
    assert (
        command("export", "--model", sam_file, "--head", out / "hq.safetensors", "--out", tmp_path / "m.pth")
        == 0
    )
    assert load_model(tmp_path / "m.pth", device="cpu").has_hq


def test_bad_options_say_what_to_do(sam_file, cache, pictures, tmp_path):
    with pytest.raises(UsageError, match="known models"):
        fit(tmp_path / "nothing.pth", cache, tmp_path / "a")
    with pytest.raises(UsageError, match="NAME=SHARE"):
        fit(sam_file, f"{cache}=much", tmp_path / "b")
    with pytest.raises(UsageError, match="needs images"):
        fit(sam_file, cache, tmp_path / "c", "--train-token")
    with pytest.raises(UsageError, match="needs data"):
        command("fit", "--model", sam_file, "--out", tmp_path / "d", "--device", "cpu")
    live = ("fit", "--model", sam_file, "--images", pictures, "--out", tmp_path / "f", "--device", "cpu")
    with pytest.raises(UsageError, match="--mix photos: expected images"):
        command(*live, "--mix", "images=0.5", "photos=1")
    with pytest.raises(UsageError, match="NAME=SHARE"):
        command(*live, "--mix", "images=much")
    with pytest.raises(UsageError, match="box and mask"):
        command(*live, "--prompts", "clicks=1")
    with pytest.raises(UsageError, match="--coco"):
        command("prepare", "--model", sam_file, "--out", tmp_path / "e")


@pytest.mark.parametrize(
    "words",
    [
        ("prepare", "--composites", 300),
        ("prepare", "--cutouts", "art"),
        ("prepare", "--per-image", 3),
        ("fit", "--targets", "cache"),
        ("fit", "--cutouts=art"),
        *[("fit", "--mix", "images", f"{kind}=0.5") for kind in ("taught", "merged", "art", "photographs")],
        ("fit", "--mix", "drawn"),
    ],
)
def test_what_version_0_2_removed_is_said_to_be_removed(sam_file, pictures, tmp_path, words):
    given = ("--model", sam_file, "--images", pictures, "--out", tmp_path / "out", "--device", "cpu")
    with pytest.raises(UsageError, match=r"removed in version 0\.2.*--hqseg44k.*MODEL_CARD"):
        command(words[0], *given, *words[1:])
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("any_overlap")
def test_images_are_prepared_once_and_trained_on(
    sam_file, small_model, pictures, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(
        frozen, "with_head", lambda state, head, device: small_model
    )  # pictures of 128 pixels
    words = ("prepare", "--model", sam_file, "--images", pictures, "--out", tmp_path / "cache", "--json")
    assert command(*words) == 0
    assert json.loads(capsys.readouterr().out) == {"cache": str(tmp_path / "cache"), "views": 2}
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()}
    assert len(files) == 2
    assert command(*words) == 0
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache").iterdir()} == files
    assert fit(sam_file, tmp_path / "cache", tmp_path / "run") == 0


@pytest.mark.usefixtures("any_overlap")
def test_a_resumed_log_hides_the_steps_done_again(sam_file, cache, tmp_path):
    out = tmp_path / "run"
    fit(sam_file, cache, out)
    log = _event_log(out / "logs", 2)  # gone on with after step 2, as if step 3 had not been saved
    log.add_scalar("train/sum_bce", 7.0, 3)
    log.close()
    assert logged(out / "logs", "train/sum_bce") == [1, 2, 3]


@pytest.mark.usefixtures("any_overlap")
def test_without_tensorboard_there_is_no_log_and_that_is_said(sam_file, cache, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert fit(sam_file, cache, tmp_path / "run") == 0
    assert "no log is written: tensorboard is not installed" in capsys.readouterr().err
    assert not (tmp_path / "run" / "logs").exists()


@pytest.mark.slow
def test_two_processes_give_the_head_of_one(sam_file, cache, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    files = [sam_file, cache, tmp_path / "two.safetensors"]
    running = []
    for rank in ("0", "1"):
        place = {"WORLD_SIZE": "2", "RANK": rank, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environment = {**os.environ, **place, "PYTHONPATH": str(Path(train.__file__).parents[1])}
        running.append(subprocess.Popen([sys.executable, TWO_STEPS, *files], env=environment))
    head = runpy.run_path(str(TWO_STEPS))["two_steps"](sam_file, cache)
    assert [process.wait(timeout=120) for process in running] == [0, 0]
    two = read_head(tmp_path / "two.safetensors")
    assert head.keys() == two.keys()
    for name, tensor in head.items():
        # Adam divides by the gradient's size, so rounding shows where a gradient is nearly zero.
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=2e-4)
