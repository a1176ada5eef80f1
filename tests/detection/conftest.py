"""Tiny ONNX models with known answers, and pictures with known objects."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest


def save_onnx(path: Path, nodes, inputs, outputs, constants=()) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    def info(name, shape):
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes,
        "toy",
        [info(*item) for item in inputs],
        [info(*item) for item in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)
    return path


@pytest.fixture
def red_saliency(tmp_path: Path) -> Path:
    """An ONNX model of U2Net's form whose saliency is the red channel: 255 -> 1, 0 -> 0, 128 -> about 1/2."""
    from onnx import helper

    nodes = [
        helper.make_node("Slice", ["x", "first", "second", "axis"], ["red"]),
        helper.make_node("Mul", ["red", "std"], ["scaled"]),
        helper.make_node("Add", ["scaled", "mean"], ["saliency"]),
    ]
    constants = [
        ("first", np.array([0], np.int64)),
        ("second", np.array([1], np.int64)),
        ("axis", np.array([1], np.int64)),
        ("std", np.float32(0.229)),
        ("mean", np.float32(0.485)),
    ]
    shape = [1, 3, 320, 320]
    return save_onnx(
        tmp_path / "red.onnx", nodes, [("x", shape)], [("saliency", [1, 1, 320, 320])], constants
    )


@pytest.fixture
def constant_yolox(tmp_path: Path):
    """Make a YOLOX-like export that answers the same rows whatever it sees."""
    from onnx import helper

    def make(rows: np.ndarray, size=(64, 96)) -> Path:
        nodes = [
            helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0),
            helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
            helper.make_node("Add", ["rows", "nothing"], ["output"]),
        ]
        rows = np.asarray(rows, np.float32)[None]
        constants = [("rows", rows), ("zero", np.float32(0))]
        path = tmp_path / "yolox.onnx"
        return save_onnx(path, nodes, [("images", [1, 3, *size])], [("output", list(rows.shape))], constants)

    return make


@pytest.fixture
def picture():
    """A dark picture with red rectangles (x0, y0, x1, y1)."""

    def make(*boxes: tuple[int, int, int, int], size=(320, 320), red: int = 255) -> np.ndarray:
        image = np.zeros((*size, 3), np.uint8)
        for x0, y0, x1, y1 in boxes:
            image[y0:y1, x0:x1, 0] = red
        return image

    return make


def _peaked(model, factor: float = 60.0):
    """Random class heads are undecided; scaled up, they decide, and scores pass thresholds."""
    import torch

    with torch.no_grad():
        model.class_predictor.weight *= factor
    return model.eval()


@pytest.fixture(scope="session")
def mask2former_folder(tmp_path_factory) -> Path:
    """A random Mask2Former of 5 classes and 12 queries, saved as a hub repository looks."""
    import torch

    pytest.importorskip("transformers")
    from transformers import (
        Mask2FormerConfig,
        Mask2FormerForUniversalSegmentation,
        Mask2FormerImageProcessorPil,
        SwinConfig,
    )

    torch.manual_seed(0)
    backbone = SwinConfig(
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        image_size=64,
        out_features=["stage1", "stage2", "stage3", "stage4"],
    )
    config = Mask2FormerConfig(
        backbone_config=backbone,
        feature_size=32,
        mask_feature_size=32,
        hidden_dim=32,
        encoder_feedforward_dim=32,
        dim_feedforward=32,
        encoder_layers=1,
        decoder_layers=4,
        num_attention_heads=4,
        num_queries=12,
        id2label={i: f"thing {i}" for i in range(5)},
    )
    folder = tmp_path_factory.mktemp("mask2former")
    model = _peaked(Mask2FormerForUniversalSegmentation(config))
    with torch.no_grad():  # masks of both signs, whatever the random features are
        model.model.pixel_level_module.decoder.mask_projection.weight *= 20
    model.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 128}
    Mask2FormerImageProcessorPil(size=size, ignore_index=255).save_pretrained(folder)
    return folder


@pytest.fixture
def film():
    """Make n frames of smooth random colour that drifts, RGB uint8 (H, W, 3)."""

    def make(frames: int, size=(60, 90), seed: int = 0) -> list[np.ndarray]:
        import cv2

        random = np.random.default_rng(seed)
        large = random.integers(0, 255, (8, 14, 3)).astype(np.uint8)
        scene = cv2.resize(large, (size[1] + 4 * frames, size[0]), interpolation=cv2.INTER_CUBIC)
        return [np.ascontiguousarray(scene[:, 4 * t : 4 * t + size[1]]) for t in range(frames)]

    return make


@pytest.fixture(scope="session")
def videomt_folder(tmp_path_factory) -> Path:
    """A random VidEoMT of 4 classes and 10 queries."""
    import torch

    pytest.importorskip("transformers")
    from transformers import VideomtConfig, VideomtForUniversalSegmentation, VideomtVideoProcessor

    torch.manual_seed(0)
    config = VideomtConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=4,
        image_size=64,
        patch_size=16,
        num_blocks=2,
        num_queries=10,
        num_upscale_blocks=1,
        num_register_tokens=2,
        id2label={i: f"thing {i}" for i in range(4)},
    )
    folder = tmp_path_factory.mktemp("videomt")
    _peaked(VideomtForUniversalSegmentation(config), 8).save_pretrained(folder)
    VideomtVideoProcessor(size={"height": 64, "width": 64}).save_pretrained(folder)
    return folder


class OriginalShapes(dict[str, tuple[int, ...]]):
    """Key list of a detectron2 file of a video Mask2Former, from the original modules; widths small, depths real."""

    width, mask, feature, hidden, queries, classes = 32, 32, 32, 64, 10, 40

    def __init__(self, backbone: str) -> None:
        super().__init__()
        channels = self.swin() if backbone == "swin" else self.resnet()
        self.pixel_decoder(channels)
        self.predictor()
        self["criterion.empty_weight"] = (self.classes + 1,)

    def linear(self, name, out, inp, bias=True):
        self[f"{name}.weight"] = (out, inp)
        if bias:
            self[f"{name}.bias"] = (out,)

    def norm(self, name, channels, *, frozen=False):
        for part in ("weight", "bias", *(("running_mean", "running_var") if frozen else ())):
            self[f"{name}.{part}"] = (channels,)

    def conv(self, name, out, inp, size, *, bias):
        self[f"{name}.weight"] = (out, inp, size, size)
        if bias:
            self[f"{name}.bias"] = (out,)

    def swin(self) -> list[int]:
        channels = [8, 16, 32, 64]
        self.conv("backbone.patch_embed.proj", 8, 3, 4, bias=True)
        self.norm("backbone.patch_embed.norm", 8)
        for i, (depth, c) in enumerate(zip((2, 2, 6, 2), channels, strict=True)):
            for j in range(depth):
                block = f"backbone.layers.{i}.blocks.{j}"
                self.norm(f"{block}.norm1", c)
                self[f"{block}.attn.relative_position_bias_table"] = (13 * 13, 2**i)
                self[f"{block}.attn.relative_position_index"] = (49, 49)
                self.linear(f"{block}.attn.qkv", 3 * c, c)
                self.linear(f"{block}.attn.proj", c, c)
                self.norm(f"{block}.norm2", c)
                self.linear(f"{block}.mlp.fc1", 4 * c, c)
                self.linear(f"{block}.mlp.fc2", c, 4 * c)
            if i < 3:
                self.linear(f"backbone.layers.{i}.downsample.reduction", 2 * c, 4 * c, bias=False)
                self.norm(f"backbone.layers.{i}.downsample.norm", 4 * c)
            self.norm(f"backbone.norm{i}", c)
        return channels

    def resnet(self) -> list[int]:
        channels = [16, 32, 48, 64]
        self.conv("backbone.stem.conv1", 8, 3, 7, bias=False)
        self.norm("backbone.stem.conv1.norm", 8, frozen=True)
        before = 8
        for i, (depth, c) in enumerate(zip((3, 4, 6, 3), channels, strict=True)):
            for j in range(depth):
                block = f"backbone.res{i + 2}.{j}"
                if j == 0:
                    self.conv(f"{block}.shortcut", c, before, 1, bias=False)
                    self.norm(f"{block}.shortcut.norm", c, frozen=True)
                for k, (out, inp, size) in enumerate(
                    ((c // 4, before, 1), (c // 4, c // 4, 3), (c, c // 4, 1))
                ):
                    self.conv(f"{block}.conv{k + 1}", out, inp, size, bias=False)
                    self.norm(f"{block}.conv{k + 1}.norm", out, frozen=True)
                before = c
        return channels

    def pixel_decoder(self, channels: list[int]) -> None:
        pixel = "sem_seg_head.pixel_decoder"
        for i, c in enumerate(reversed(channels[1:])):
            self.conv(f"{pixel}.input_proj.{i}.0", self.feature, c, 1, bias=True)
            self.norm(f"{pixel}.input_proj.{i}.1", self.feature)
        self[f"{pixel}.transformer.level_embed"] = (3, self.feature)
        for i in range(6):
            layer = f"{pixel}.transformer.encoder.layers.{i}"
            self.linear(f"{layer}.self_attn.sampling_offsets", 8 * 3 * 4 * 2, self.feature)
            self.linear(f"{layer}.self_attn.attention_weights", 8 * 3 * 4, self.feature)
            self.linear(f"{layer}.self_attn.value_proj", self.feature, self.feature)
            self.linear(f"{layer}.self_attn.output_proj", self.feature, self.feature)
            self.norm(f"{layer}.norm1", self.feature)
            self.linear(f"{layer}.linear1", self.hidden, self.feature)
            self.linear(f"{layer}.linear2", self.feature, self.hidden)
            self.norm(f"{layer}.norm2", self.feature)
        self.conv(f"{pixel}.mask_features", self.mask, self.feature, 1, bias=True)
        self.conv(f"{pixel}.adapter_1", self.feature, channels[0], 1, bias=False)
        self.norm(f"{pixel}.adapter_1.norm", self.feature)
        self.conv(f"{pixel}.layer_1", self.feature, self.feature, 3, bias=False)
        self.norm(f"{pixel}.layer_1.norm", self.feature)

    def predictor(self) -> None:
        predictor = "sem_seg_head.predictor"
        for i in range(9):
            for kind, attention in (("self", "self_attn"), ("cross", "multihead_attn")):
                layer = f"{predictor}.transformer_{kind}_attention_layers.{i}"
                self[f"{layer}.{attention}.in_proj_weight"] = (3 * self.width, self.width)
                self[f"{layer}.{attention}.in_proj_bias"] = (3 * self.width,)
                self.linear(f"{layer}.{attention}.out_proj", self.width, self.width)
                self.norm(f"{layer}.norm", self.width)
            self.linear(f"{predictor}.transformer_ffn_layers.{i}.linear1", self.hidden, self.width)
            self.linear(f"{predictor}.transformer_ffn_layers.{i}.linear2", self.width, self.hidden)
            self.norm(f"{predictor}.transformer_ffn_layers.{i}.norm", self.width)
        self.norm(f"{predictor}.decoder_norm", self.width)
        for name in ("query_feat", "query_embed"):
            self[f"{predictor}.{name}.weight"] = (self.queries, self.width)
        self[f"{predictor}.level_embed.weight"] = (3, self.width)
        self.linear(f"{predictor}.class_embed", self.classes + 1, self.width)
        for i in range(3):
            self.linear(f"{predictor}.mask_embed.layers.{i}", self.width if i < 2 else self.mask, self.width)


def original_state(backbone: str) -> dict[str, np.ndarray]:
    random = np.random.default_rng(5)
    state = {}
    for name, shape in OriginalShapes(backbone).items():
        value = random.normal(0, 0.1, shape).astype(np.float32)
        state[name] = np.abs(value) + 0.5 if name.endswith("running_var") else value
    return state


@pytest.fixture(scope="module", params=["swin", "resnet"])
def original(request, tmp_path_factory):
    """(kind, state, file): a detectron2 checkpoint with random values."""
    pytest.importorskip("transformers")
    state = original_state(request.param)
    path = tmp_path_factory.mktemp("original") / f"video_{request.param}_2021.pkl"
    path.write_bytes(pickle.dumps({"model": state, "__author__": "test", "matching_heuristics": True}))
    return request.param, state, path
