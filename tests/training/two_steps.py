"""Two steps of training, alone or as one of several processes: ``two_steps.py SAM CACHE OUT``; see test_command.py."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from vis.hqsam import SIZES, SamModel
from vis.training.export import save_head
from vis.training.frozen import initial_head
from vis.training.loop import HeadTrainer, Recipe
from vis.training.sources import CachedSource


def two_steps(sam: Path, cache: Path) -> dict[str, torch.Tensor]:
    """The head after two steps on the cached views."""
    state = torch.load(sam, weights_only=True)
    model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=True)
    model.load_state_dict({**state, **initial_head(state)})
    trainer = HeadTrainer(model, Recipe(steps=2, batch=5, chunk=5, warmup=1))
    source = CachedSource({cache: 1.0}, window=16, least_iou=0.0)
    for _ in range(2):
        trainer.train_step(source)
    return {name: value.detach() for name, value in trainer.head.items()}


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo")
    head = two_steps(Path(sys.argv[1]), Path(sys.argv[2]))
    if os.environ["RANK"] == "0":
        save_head(sys.argv[3], head)
