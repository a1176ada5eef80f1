"""Loading video Mask2Former: the original detectron2 files, and the orphaned hub conversions.

The video model has exactly the image model's parameters: what differs, the position encoding and
the attention over all frames, has none. So both kinds of file are loaded into transformers' image
Mask2Former, and every key must find its place.

* A detectron2 file (``.pkl`` or ``.pth``) carries its names but no configuration: sizes are read
  from the shapes. Its pickle is read with an unpickler that knows numpy arrays and nothing else.
* A hub conversion's ``config.json`` names a class that no released transformers has; the name is
  ignored and the sizes are used.
"""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vis.errors import CheckpointError
from vis.weights.hub import check_keys, quiet_library, require

__all__ = ["load_conversion", "load_original", "rename_original", "sizes_of"]

_ENCODER = "model.pixel_level_module.encoder"
_PIXELS = "model.pixel_level_module.decoder"
_QUERIES = "model.transformer_module"
_BLOCK = rf"{_ENCODER}.encoder.layers.\1.blocks.\2"

# Original name -> the library's. The library's newer names for Swin are its own loader's business.
_RULES = tuple(
    (re.compile(f"^{pattern}$"), replacement)
    for pattern, replacement in (
        # Swin
        (r"backbone\.patch_embed\.proj\.(\w+)", rf"{_ENCODER}.embeddings.patch_embeddings.projection.\1"),
        (r"backbone\.patch_embed\.norm\.(\w+)", rf"{_ENCODER}.embeddings.norm.\1"),
        (r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.norm1\.(\w+)", rf"{_BLOCK}.layernorm_before.\3"),
        (r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.norm2\.(\w+)", rf"{_BLOCK}.layernorm_after.\3"),
        (
            r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.(relative_position_bias_table)",
            rf"{_BLOCK}.attention.self.\3",
        ),
        (
            r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.(query|key|value)\.(\w+)",
            rf"{_BLOCK}.attention.self.\3.\4",
        ),
        (
            r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.attn\.proj\.(\w+)",
            rf"{_BLOCK}.attention.output.dense.\3",
        ),
        (r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.(\w+)", rf"{_BLOCK}.intermediate.dense.\3"),
        (r"backbone\.layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.(\w+)", rf"{_BLOCK}.output.dense.\3"),
        (r"backbone\.layers\.(\d+)\.downsample\.(.+)", rf"{_ENCODER}.encoder.layers.\1.downsample.\2"),
        (r"backbone\.norm0\.(\w+)", rf"{_ENCODER}.hidden_states_norms.stage1.\1"),
        (r"backbone\.norm1\.(\w+)", rf"{_ENCODER}.hidden_states_norms.stage2.\1"),
        (r"backbone\.norm2\.(\w+)", rf"{_ENCODER}.hidden_states_norms.stage3.\1"),
        (r"backbone\.norm3\.(\w+)", rf"{_ENCODER}.hidden_states_norms.stage4.\1"),
        # ResNet; its stages and convolutions, counted otherwise, are renumbered before (_resnet_name)
        (r"backbone\.stem\.conv1\.weight", rf"{_ENCODER}.embedder.embedder.convolution.weight"),
        (r"backbone\.stem\.conv1\.norm\.(\w+)", rf"{_ENCODER}.embedder.embedder.normalization.\1"),
        (
            r"backbone\.stages\.(\d+)\.(\d+)\.(shortcut|layer\.\d)\.weight",
            rf"{_ENCODER}.encoder.stages.\1.layers.\2.\3.convolution.weight",
        ),
        (
            r"backbone\.stages\.(\d+)\.(\d+)\.(shortcut|layer\.\d)\.norm\.(\w+)",
            rf"{_ENCODER}.encoder.stages.\1.layers.\2.\3.normalization.\4",
        ),
        # pixel decoder
        (r"sem_seg_head\.pixel_decoder\.input_proj\.(.+)", rf"{_PIXELS}.input_projections.\1"),
        (r"sem_seg_head\.pixel_decoder\.transformer\.level_embed", rf"{_PIXELS}.level_embed"),
        (
            r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.self_attn\.(.+)",
            rf"{_PIXELS}.encoder.layers.\1.self_attn.\2",
        ),
        (
            r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.norm1\.(\w+)",
            rf"{_PIXELS}.encoder.layers.\1.self_attn_layer_norm.\2",
        ),
        (
            r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.linear([12])\.(\w+)",
            rf"{_PIXELS}.encoder.layers.\1.fc\2.\3",
        ),
        (
            r"sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\.norm2\.(\w+)",
            rf"{_PIXELS}.encoder.layers.\1.final_layer_norm.\2",
        ),
        (r"sem_seg_head\.pixel_decoder\.mask_features\.(\w+)", rf"{_PIXELS}.mask_projection.\1"),
        (r"sem_seg_head\.pixel_decoder\.(adapter|layer)_(\d)\.weight", rf"{_PIXELS}.\1_\2.0.weight"),
        (r"sem_seg_head\.pixel_decoder\.(adapter|layer)_(\d)\.norm\.(\w+)", rf"{_PIXELS}.\1_\2.1.\3"),
        # transformer decoder
        (r"sem_seg_head\.predictor\.query_embed\.weight", rf"{_QUERIES}.queries_embedder.weight"),
        (
            r"sem_seg_head\.predictor\.(query_feat|static_query)\.weight",
            rf"{_QUERIES}.queries_features.weight",
        ),
        (r"sem_seg_head\.predictor\.level_embed\.weight", rf"{_QUERIES}.level_embed.weight"),
        (r"sem_seg_head\.predictor\.input_proj\.(.+)", rf"{_QUERIES}.input_projections.\1"),
        (
            r"sem_seg_head\.predictor\.transformer_self_attention_layers\.(\d+)\.self_attn\.(.+)",
            rf"{_QUERIES}.decoder.layers.\1.self_attn.\2",
        ),
        (
            r"sem_seg_head\.predictor\.transformer_self_attention_layers\.(\d+)\.norm\.(\w+)",
            rf"{_QUERIES}.decoder.layers.\1.self_attn_layer_norm.\2",
        ),
        (
            r"sem_seg_head\.predictor\.transformer_cross_attention_layers\.(\d+)\.multihead_attn\.(.+)",
            rf"{_QUERIES}.decoder.layers.\1.cross_attn.\2",
        ),
        (
            r"sem_seg_head\.predictor\.transformer_cross_attention_layers\.(\d+)\.norm\.(\w+)",
            rf"{_QUERIES}.decoder.layers.\1.cross_attn_layer_norm.\2",
        ),
        (
            r"sem_seg_head\.predictor\.transformer_ffn_layers\.(\d+)\.linear([12])\.(\w+)",
            rf"{_QUERIES}.decoder.layers.\1.fc\2.\3",
        ),
        (
            r"sem_seg_head\.predictor\.transformer_ffn_layers\.(\d+)\.norm\.(\w+)",
            rf"{_QUERIES}.decoder.layers.\1.final_layer_norm.\2",
        ),
        (r"sem_seg_head\.predictor\.decoder_norm\.(\w+)", rf"{_QUERIES}.decoder.layernorm.\1"),
        (
            r"sem_seg_head\.predictor\.mask_embed\.layers\.(\d)\.(\w+)",
            rf"{_QUERIES}.decoder.mask_predictor.mask_embedder.\1.0.\2",
        ),
        (r"sem_seg_head\.predictor\.class_embed\.(\w+)", r"class_predictor.\1"),
    )
)
# In the files, but not learned, or used in training only.
_DROPPED = re.compile(r"relative_position_index$|^criterion\.|^pixel_(mean|std)$|num_batches_tracked$")


def load_original(path: Path, *, heads: int = 8) -> Any:
    """Mask2Former from a detectron2 file. ``heads``: attention heads, the one size shapes do not show."""
    state = _read_original(path)
    library = require("transformers", "Mask2FormerForUniversalSegmentation", "Mask2FormerConfig")
    try:
        config = library.Mask2FormerConfig(**sizes_of(state, heads=heads))
        renamed = rename_original(state)
    except KeyError as error:
        raise CheckpointError(f"{path}: not a Mask2Former of detectron2: {error.args[0]}") from error
    return _load(library.Mask2FormerForUniversalSegmentation, config, renamed, str(path))


def load_conversion(folder: Path) -> Any:
    """Mask2Former from a hub conversion's folder, whatever class its configuration names."""
    library = require("transformers", "Mask2FormerForUniversalSegmentation", "Mask2FormerConfig")
    try:
        values = json.loads((folder / "config.json").read_text())
        known = {key: value for key, value in values.items() if key not in ("architectures", "model_type")}
        config = library.Mask2FormerConfig.from_dict(known)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{folder}: config.json does not describe a Mask2Former: {error}") from error
    return _load(library.Mask2FormerForUniversalSegmentation, config, _read_folder(folder), str(folder))


def _load(model_class: Any, config: Any, state: dict[str, Any], where: str) -> Any:
    with quiet_library():
        try:
            model, info = model_class.from_pretrained(
                None, config=config, state_dict=state, output_loading_info=True
            )
        except (RuntimeError, ValueError, OSError) as error:
            raise CheckpointError(f"{where} does not fit Mask2Former: {error}") from error
    check_keys(info, where)
    return model.eval()


def rename_original(state: Mapping[str, Any]) -> dict[str, Any]:
    """detectron2's names and fused projections -> the library's. ``KeyError`` names a key of no rule."""
    renamed = {}
    for name, value in _unfused(state).items():
        if _DROPPED.search(name):
            continue
        name = _resnet_name(name)
        for pattern, replacement in _RULES:
            if pattern.match(name):
                renamed[pattern.sub(replacement, name)] = value
                break
        else:
            raise KeyError(f"key {name!r} belongs to no part of Mask2Former")
    return renamed


def sizes_of(state: Mapping[str, Any], *, heads: int = 8) -> dict[str, Any]:
    """The configuration that the shapes of a detectron2 file imply; ``KeyError`` names what is missing."""
    predictor, pixels = "sem_seg_head.predictor", "sem_seg_head.pixel_decoder"
    queries, width = state[f"{predictor}.query_embed.weight"].shape
    mask_width, feature_width = state[f"{pixels}.mask_features.weight"].shape[:2]
    classes = state[f"{predictor}.class_embed.weight"].shape[0] - 1
    return {
        "backbone_config": _backbone_sizes(state),
        "num_queries": queries,
        "hidden_dim": width,
        "mask_feature_size": mask_width,
        "feature_size": feature_width,
        "dim_feedforward": state[f"{predictor}.transformer_ffn_layers.0.linear1.weight"].shape[0],
        # The library counts the prediction before the first layer, too.
        "decoder_layers": _count(state, predictor + r"\.transformer_ffn_layers\.(\d+)\.") + 1,
        "encoder_layers": _count(state, pixels + r"\.transformer\.encoder\.layers\.(\d+)\."),
        "encoder_feedforward_dim": state[f"{pixels}.transformer.encoder.layers.0.linear1.weight"].shape[0],
        "num_attention_heads": heads,
        "enforce_input_projection": f"{predictor}.input_proj.0.weight" in state,
        "id2label": {label: f"class {label}" for label in range(classes)},
    }


def _backbone_sizes(state: Mapping[str, Any]) -> Any:
    library = require("transformers", "SwinConfig", "ResNetConfig")
    stages = ["stage1", "stage2", "stage3", "stage4"]
    if "backbone.stem.conv1.weight" in state:
        return library.ResNetConfig(
            embedding_size=state["backbone.stem.conv1.weight"].shape[0],
            hidden_sizes=[state[f"backbone.res{i}.0.conv3.weight"].shape[0] for i in range(2, 6)],
            depths=[_count(state, rf"backbone\.res{i}\.(\d+)\.") for i in range(2, 6)],
            layer_type="bottleneck",
            out_features=stages,
        )
    tables = [
        state[f"backbone.layers.{i}.blocks.0.attn.relative_position_bias_table"].shape for i in range(4)
    ]
    window = (int(tables[0][0] ** 0.5) + 1) // 2  # the table has (2 window - 1)^2 rows
    return library.SwinConfig(
        embed_dim=state["backbone.patch_embed.proj.weight"].shape[0],
        depths=[_count(state, rf"backbone\.layers\.{i}\.blocks\.(\d+)\.") for i in range(4)],
        num_heads=[table[1] for table in tables],
        window_size=window,
        image_size=384 if window == 12 else 224,
        out_features=stages,
    )


def _count(state: Mapping[str, Any], pattern: str) -> int:
    found = {int(match.group(1)) for name in state if (match := re.match(pattern, name))}
    if not found:
        raise KeyError(f"no key like {pattern}")
    return max(found) + 1


def _resnet_name(name: str) -> str:
    """``backbone.res3.1.conv2`` -> ``backbone.stages.1.1.layer.1``: stages from 0, convolutions from 0."""
    match = re.match(r"^backbone\.res(\d)\.(\d+)\.(shortcut|conv(\d))(.*)$", name)
    if not match:
        return name
    part = "shortcut" if match[4] is None else f"layer.{int(match[4]) - 1}"
    return f"backbone.stages.{int(match[1]) - 2}.{match[2]}.{part}{match[5]}"


def _unfused(state: Mapping[str, Any]) -> dict[str, Any]:
    """Projections stored as one matrix, split where the library keeps three: Swin's, and self-attention's."""
    plain = {}
    for name, value in state.items():
        swin = re.match(r"^(backbone\.layers\.\d+\.blocks\.\d+\.attn)\.qkv\.(\w+)$", name)
        query = re.match(r"^(.*transformer_self_attention_layers\.\d+\.self_attn)\.in_proj_(\w+)$", name)
        if swin:
            for part, piece in zip(("query", "key", "value"), value.chunk(3), strict=True):
                plain[f"{swin[1]}.{part}.{swin[2]}"] = piece
        elif query:
            for part, piece in zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=True):
                plain[f"{query[1]}.{part}.{query[2]}"] = piece
        else:
            plain[name] = value
    return plain


def _read_original(path: Path) -> dict[str, Any]:
    import torch

    try:
        if path.suffix == ".pkl":
            with path.open("rb") as file:
                value = _ArrayUnpickler(file).load()
        else:
            value = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError, EOFError, RuntimeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path} cannot be read as a detectron2 checkpoint: {error}") from error
    state = value.get("model", value) if isinstance(value, Mapping) else None
    if not isinstance(state, Mapping) or not state:
        raise CheckpointError(f"{path} holds no model; expected detectron2's dict with 'model'")
    return {
        str(name): torch.from_numpy(np.array(array)) if isinstance(array, np.ndarray) else array
        for name, array in state.items()
        if isinstance(array, (np.ndarray, torch.Tensor))
    }


class _ArrayUnpickler(pickle.Unpickler):
    """Reads dicts of numpy arrays; a pickle that asks for anything else could run code, and is refused."""

    _ALLOWED = frozenset(
        {
            ("collections", "OrderedDict"),
            ("_codecs", "encode"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "scalar"),
            ("numpy.core.numeric", "_frombuffer"),
            ("numpy._core.numeric", "_frombuffer"),
        }
    )

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it wants {module}.{name}, which an array file has no use for")
        # numpy 2 moved its core; files keep the old name.
        return super().find_class(module.replace("numpy.core.", "numpy._core."), name)


def _read_folder(folder: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file

    files = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    state: dict[str, Any] = {}
    for file in files:
        try:
            part = (
                load_file(file)
                if file.suffix == ".safetensors"
                else torch.load(file, map_location="cpu", weights_only=True)
            )
        except Exception as error:  # safetensors' error type has no base of its own
            raise CheckpointError(f"{file} cannot be read: {error}") from error
        state.update(part)
    return state
