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
