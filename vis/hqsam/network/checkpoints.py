"""Weight files to models: what a file holds is told by its keys, and it is loaded strictly.

A key too many, a key too few or a shape that differs is an error that says what the file seems to be.
Knows the official ``.pth`` names, and Hugging Face's through :mod:`vis.hqsam.network.huggingface`.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vis import weights
from vis.devices import pick_device
from vis.errors import CheckpointError, FallbackWarning, UsageError
from vis.hqsam.network.huggingface import from_transformers, is_transformers
from vis.hqsam.network.model import MODES, SamModel
from vis.hqsam.network.sizes import SIZES, hq_parameter_names

__all__ = ["build_model", "check_head", "load_model", "read_state", "recognise"]

State = Mapping[str, Tensor]


def load_model(
    name_or_path: str | Path,
    *,
    device: str = "auto",
    mode: str = "fast",
    head: str | Path | None = None,
) -> SamModel:
    """A model that is ready for a predictor, in evaluation mode.

    Args:
        name_or_path: a name of ``vis.weights.MODELS`` ("hq-tiny", "sam-tiny", "hq-l", ...), fetched on
            first use, or a ``.pth``, ``.pt`` or ``.safetensors`` file. Size and kind of a file are
            recognised by its keys.
        device: "auto" (CUDA, else CPU), "cpu", "cuda", "cuda:1", "mps".
        mode: "fast", "exact" or "fastest", see :class:`SamModel`.
        head: a safetensors file with the 25 HQ tensors, laid over a plain SAM.

    Raises:
        UsageError: unknown name, mode or device.
        WeightsError: the named weights could not be fetched.
        CheckpointError: the file is truncated, or is not a SAM or HQ-SAM of a known size.
    """
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; choose one of {', '.join(MODES)}")
    target = pick_device(device)
    drop_hq = False
    path = Path(name_or_path)
    if str(name_or_path) in weights.MODELS:
        entry = weights.MODELS[str(name_or_path)]
        path = weights.path(entry.weights)
        drop_hq = not entry.hq
        if head is None and entry.head is not None:
            head = _packaged_head(entry.name, entry.head)
    elif not path.is_file():
        known = ", ".join(weights.MODELS)
        raise UsageError(f"{name_or_path} is neither a file nor a known model; known models: {known}")
    state = dict(read_state(path))
    sources = [path.name]
    if head is not None:
        state.update(_read_head(Path(head)))
        sources.append(Path(head).name)
    if drop_hq:
        state = {key: value for key, value in state.items() if key not in hq_parameter_names("vit_b")}
    model = build_model(state, mode=mode, origin=str(path))
    model.sources = tuple(sources)
    return model.to(target)


def build_model(state: State, *, mode: str = "fast", origin: str = "the given weights") -> SamModel:
    """A model of the size and kind that the keys of ``state`` (official names) tell, loaded strictly."""
    size, hq = recognise(state, origin)
    model = SamModel(SIZES[size], hq=hq, mode=mode)
    _require_same(model.state_dict(), state, origin, f"{'HQ-SAM' if hq else 'SAM'} {size}")
    model.load_state_dict(dict(state), strict=True)
    return model.eval()


def recognise(state: State, origin: str = "the given weights") -> tuple[str, bool]:
    """(size, is it HQ-SAM) told by the keys; raises CheckpointError that says what it is instead."""
    keys = set(state)
    hq = "mask_decoder.hf_token.weight" in keys
    if "image_encoder.pos_embed" in keys:
        width = state["image_encoder.pos_embed"].shape[-1]
        for name, size in SIZES.items():
            if size.widths == (width,):
                return name, hq
        raise CheckpointError(f"{origin}: a ViT of width {width}; expected 768 (b), 1024 (l) or 1280 (h)")
    if "image_encoder.patch_embed.seq.0.c.weight" in keys:
        return "vit_tiny", hq
    if keys and keys <= set(hq_parameter_names("vit_b")):
        raise CheckpointError(
            f"{origin}: holds only an HQ head; give it as head=..., with the SAM that it was trained on"
        )
    if any(key.startswith(("image_encoder.trunk.", "sam_mask_decoder.")) for key in keys):
        raise CheckpointError(
            f"{origin}: is a SAM 2 checkpoint; expected SAM or HQ-SAM (vit_b, l, h or tiny)"
        )
    some = ", ".join(sorted(keys)[:3]) or "no tensors at all"
    raise CheckpointError(
        f"{origin}: is no SAM or HQ-SAM checkpoint (found {some}); expected keys such as "
        "image_encoder.pos_embed; the known models are " + ", ".join(weights.MODELS)
    )


def read_state(path: Path) -> State:
    """Tensors by official names from a .pth, .pt or .safetensors file; only tensors are unpickled."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state: Any = load_file(path, device="cpu")
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except Exception as error:  # torch and safetensors raise a dozen kinds for a broken file
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: cannot be read as a checkpoint; it may be truncated or of another kind ({reason}). "
            "Fetch it again, or compare its sha256"
        ) from error
    for wrapper in ("model", "state_dict"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: holds {type(state).__name__}, expected names with tensors")
    return from_transformers(state) if is_transformers(state) else state


def _packaged_head(name: str, head: Path) -> Path | None:
    if head.is_file():
        return head
    warnings.warn(
        f"{name}: the packaged HQ head {head.name} is missing, so masks are plain SAM's. Train one with "
        "`vistubes train`, or choose a model with official HQ weights (hq-tiny-official)",
        FallbackWarning,
        stacklevel=3,
    )
    return None


def _read_head(path: Path) -> State:
    state = read_state(path)
    named = {k if k.startswith("mask_decoder.") else f"mask_decoder.{k}": v for k, v in state.items()}
    check_head(named, str(path))
    return named


def check_head(head: State, where: str) -> None:
    """Raise CheckpointError unless the names are those of the 25 HQ tensors."""
    wanted = set(hq_parameter_names("vit_b"))
    if set(head) != wanted:
        missing, extra = sorted(wanted - set(head)), sorted(set(head) - wanted)
        raise CheckpointError(
            f"{where}: is no HQ head; {len(missing)} of its 25 tensors are missing {missing[:2]}, "
            f"{len(extra)} are unknown {extra[:2]}"
        )


def _require_same(want: State, have: State, origin: str, what: str) -> None:
    """Raise unless both have the same keys and shapes."""
    missing = sorted(set(want) - set(have))
    extra = sorted(set(have) - set(want))
    shapes = [k for k in want if k in have and want[k].shape != have[k].shape]
    if not (missing or extra or shapes):
        return
    parts = []
    if missing:
        parts.append(f"{len(missing)} tensors are missing, first {missing[0]}")
    if extra:
        parts.append(f"{len(extra)} are unknown, first {extra[0]}")
    if shapes:
        key = shapes[0]
        parts.append(
            f"{len(shapes)} have another shape, first {key} {list(have[key].shape)}, "
            f"expected {list(want[key].shape)}"
        )
    raise CheckpointError(f"{origin}: looks like {what}, but " + "; ".join(parts))
