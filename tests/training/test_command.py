"""``vistubes train``: fit, resume, export through the command's own functions; many processes as one."""

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

from apps import train
from vis.errors import UsageError
from vis.hqsam import load_model
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
    assert list((out / "logs").glob("events.out.tfevents.*"))
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
    with pytest.raises(UsageError, match="expected one of images, taught"):
        command(*live, "--mix", "photos=1")
    with pytest.raises(UsageError, match="needs --targets"):
        command(*live, "--mix", "taught=1")
    with pytest.raises(UsageError, match="needs --cutouts"):
        command(*live, "--mix", "images", "art=0.5")
    with pytest.raises(UsageError, match="box and mask"):
        command(*live, "--prompts", "clicks=1")
    with pytest.raises(UsageError, match="--coco"):
        command("prepare", "--model", sam_file, "--out", tmp_path / "e")


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
