"""Heads as files: alone as safetensors with a model card, and merged with their SAM under official names."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vis.errors import CheckpointError
from vis.files import whole_file, write_text
from vis.hqsam import hq_parameter_names
from vis.hqsam.network.checkpoints import State, build_model, read_state

__all__ = ["model_card", "read_head", "save_head", "save_merged"]


def save_head(path: str | Path, head: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> str:
    """Write the 25 tensors alone, float32, by official names; returns the file's SHA-256.

    Equal heads and metadata give equal bytes.
    """
    from safetensors.torch import save_file

    _require_whole(head, str(path))
    tensors = {name: head[name].detach().float().cpu().contiguous() for name in sorted(head)}
    with whole_file(path) as part:
        save_file(tensors, part, dict(metadata or {}))
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def read_head(path: str | Path) -> dict[str, Tensor]:
    """The 25 tensors of a file that :func:`save_head` wrote."""
    head = dict(read_state(Path(path)))
    _require_whole(head, str(path))
    return head


def save_merged(path: str | Path, sam: State, head: Mapping[str, Tensor]) -> None:
    """Write SAM and head as one official HQ-SAM state dict (``.pth`` or ``.safetensors``)."""
    _require_whole(head, "the head")
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


def _require_whole(head: Mapping[str, Tensor], where: str) -> None:
    wanted = set(hq_parameter_names("vit_b"))
    if set(head) != wanted:
        missing, extra = sorted(wanted - set(head)), sorted(set(head) - wanted)
        raise CheckpointError(
            f"{where}: is no HQ head; {len(missing)} of its 25 tensors are missing {missing[:2]}, "
            f"{len(extra)} are unknown {extra[:2]}"
        )
