"""Tiny ONNX models with known answers, and pictures with known objects."""

from __future__ import annotations

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
