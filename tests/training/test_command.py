"""``vistubes train``: fit, resume, export through the command's own functions; many processes as one."""

from __future__ import annotations

import argparse
import json
import os
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


PROCESS = """
import os, sys
from dataclasses import replace
import torch
from PIL import Image
torch.set_num_threads(1)
from vis.hqsam import SIZES, SamModel
from vis.training.export import save_head
from vis.training.frozen import initial_head
from vis.training.loop import HeadTrainer, Recipe
from vis.training.sources import CachedSource
if int(os.environ["WORLD_SIZE"]) > 1:
    torch.distributed.init_process_group("gloo")
state = torch.load(sys.argv[1], weights_only=True)
model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=True)
model.load_state_dict({**state, **initial_head(state)})
trainer = HeadTrainer(model, Recipe(steps=2, batch=5, chunk=5, warmup=1))
source = CachedSource({sys.argv[2]: 1.0}, window=16, least_iou=0.0)
for _ in range(2):
    trainer.train_step(source)
if os.environ["RANK"] == "0":
    save_head(sys.argv[3], {name: p.detach() for name, p in trainer.head.items()})
"""


@pytest.mark.slow
def test_two_processes_give_the_head_of_one(sam_file, cache, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    running = []
    for world, rank in ((1, 0), (2, 0), (2, 1)):
        place = {"WORLD_SIZE": str(world), "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        words = [
            sys.executable,
            "-c",
            PROCESS,
            str(sam_file),
            str(cache),
            str(tmp_path / f"{world}.safetensors"),
        ]
        root = Path(train.__file__).parents[1]
        running.append(subprocess.Popen(words, env={**os.environ, **place}, cwd=root))
    assert [process.wait(timeout=120) for process in running] == [0, 0, 0]
    one, two = read_head(tmp_path / "1.safetensors"), read_head(tmp_path / "2.safetensors")
    for name, tensor in one.items():
        # Adam divides by the gradient's size, so rounding shows where a gradient is nearly zero.
        torch.testing.assert_close(two[name], tensor, rtol=1e-3, atol=2e-4)
