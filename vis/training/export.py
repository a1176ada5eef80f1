"""Heads as files: alone as safetensors with a model card, and merged with their SAM under official names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vis.files import whole_file, write_text
from vis.hqsam.network.checkpoints import State, build_model, check_head, read_state

__all__ = ["model_card", "read_head", "save_head", "save_merged"]


def save_head(path: str | Path, head: Mapping[str, Tensor]) -> str:
    """Write the 25 tensors alone, float32, by official names; returns the file's SHA-256.

    Equal heads give equal bytes.
    """
    from safetensors.torch import save_file

    check_head(head, str(path))
    tensors = {name: head[name].detach().float().cpu().contiguous() for name in sorted(head)}
    with whole_file(path) as part:
        save_file(tensors, part)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_head(path: str | Path) -> dict[str, Tensor]:
    """The 25 tensors of a file that :func:`save_head` wrote."""
    head = dict(read_state(Path(path)))
    check_head(head, str(path))
    return head


def save_merged(path: str | Path, sam: State, head: Mapping[str, Tensor]) -> None:
    """Write SAM and head as one official HQ-SAM state dict (``.pth`` or ``.safetensors``)."""
    check_head(head, "the head")
    state = {**sam, **head}
    build_model(state, mode="exact", origin="SAM with this head")  # strict: raises CheckpointError
    with whole_file(path) as part:
        if Path(path).suffix == ".safetensors":
            from safetensors.torch import save_file

            save_file({name: tensor.contiguous() for name, tensor in state.items()}, part)
        else:
            torch.save(state, part)


def model_card(
    path: str | Path, *, title: str, recipe: Mapping[str, Any], scores: Mapping[str, Any], command: str
) -> None:
    """Write a short card: what the head belongs to, how it was trained, and what it reached."""
    lines = [
        f"# {title}",
        "",
        "The 25 tensors that HQ-SAM adds to a frozen SAM, by their official names.",
        "",
        "## Made with",
        "",
        "```",
        command,
        "```",
        "",
        "| setting | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in recipe.items()),
        "",
        "## Scores",
        "",
        "| measure | value |",
        "|---|---|",
        *(f"| {key} | {value} |" for key, value in scores.items()),
        "",
    ]
    write_text(path, "\n".join(lines))
