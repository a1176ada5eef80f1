"""The ONNX files compute what the model computes, for any number of objects."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vis.hqsam import SIZES, Predictor, SamModel
from vis.hqsam.onnx_export import EncoderGraph, export_decoder, export_encoder

onnxruntime = pytest.importorskip("onnxruntime")


def session(path: Path) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("hq", [True, False])
def test_both_parts(
    hq: bool, make_model: Callable[..., SamModel], sizes: Any, photo: np.ndarray, tmp_path: Path
) -> None:
    model = make_model(sizes("vit_b"), hq=hq)
    predictor = Predictor(model)
    export_encoder(model, tmp_path / "encoder.onnx")
    export_decoder(model, tmp_path / "decoder.onnx")
    embedding = predictor.embed(photo)
    made = session(tmp_path / "encoder.onnx").run(None, {"frame": predictor._prepare(photo).numpy()})
    np.testing.assert_allclose(made[0], embedding.features, rtol=1e-3, atol=1e-4)
    assert len(made) == 1 + hq
    rng = np.random.default_rng(4)
    decoder = session(tmp_path / "decoder.onnx")
    for count in (1, 5):
        low = rng.uniform(0, 80, (count, 2))
        boxes = np.concatenate([low, low + 90], 1).astype(np.float32)
        clicks = rng.uniform(0, 150, (count, 2, 2)).astype(np.float32)
        masks = 5 * rng.standard_normal((count, 64, 64)).astype(np.float32)
        scale = np.array([256 / 300, 171 / 200], np.float32)
        for use_mask in (False, True):
            given = {
                "features": made[0],
                "points": np.concatenate([clicks, boxes.reshape(-1, 2, 2)], 1) * scale,
                "labels": np.tile(np.array([[1, 0, 2, 3]], np.float32), (count, 1)),
                "masks": masks[:, None],
                "has_mask": np.array([use_mask], np.float32),
            }
            if hq:
                given["hq_features"] = made[1]
            out = decoder.run(None, given)
            want = predictor.decode(
                embedding,
                boxes=boxes,
                points=clicks,
                point_labels=np.tile([1, 0], (count, 1)),
                masks=masks if use_mask else None,
            )
            logits = out[0][:, 0] + (out[2][:, 0] if hq else 0)
            np.testing.assert_allclose(logits, want.low_res_logits, rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(out[1][:, 0], want.scores, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_verb_on_tiny(
    make_model: Callable[..., SamModel], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from apps.verbs import export

    model = make_model(SIZES["vit_tiny"])
    torch.save(model.state_dict(), tmp_path / "mine.pth")
    parser = argparse.ArgumentParser()
    export.configure(parser)
    args = parser.parse_args([str(tmp_path / "mine.pth"), "--out", str(tmp_path), "--json"])
    assert export.run(args) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["model"]["network"] == "HQ-SAM"
    frame = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(0))
    features, hq = session(Path(said["encoder"])).run(None, {"frame": frame.numpy()})
    with torch.no_grad():
        want = EncoderGraph(model)(frame)
    np.testing.assert_allclose(features, want[0], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(hq, want[1], rtol=1e-3, atol=1e-3)
    assert Path(said["decoder"]).stat().st_size > 2**20
