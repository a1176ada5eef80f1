"""EoMT, D-FINE and MM Grounding DINO: what the library's own processing gives on the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import detectors
from vis.errors import UsageError

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module", params=["dinov2", "dinov3"])
def eomt(request: Any, tmp_path_factory: Any) -> tuple[Path, str]:
    """A random EoMT of 5 classes, and the class that reads it."""
    torch.manual_seed(2)
    common: Any = {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 2,
        "image_size": 64,
        "patch_size": 16,
        "num_blocks": 2,
        "num_queries": 12,
        "num_upscale_blocks": 1,
        "id2label": {i: f"thing {i}" for i in range(5)},
    }
    name = "EomtForUniversalSegmentation"
    if request.param == "dinov2":
        model = transformers.EomtForUniversalSegmentation(transformers.EomtConfig(mlp_ratio=2, **common))
    else:
        name = "EomtDinov3ForUniversalSegmentation"
        config = transformers.EomtDinov3Config(intermediate_size=32, **common)
        model = transformers.EomtDinov3ForUniversalSegmentation(config)
    with torch.no_grad():
        model.class_predictor.weight.normal_(0, 3)
        for value in model.mask_head.parameters():
            value.mul_(8)
    folder = tmp_path_factory.mktemp(request.param)
    model.save_pretrained(folder)
    size = {"shortest_edge": 64, "longest_edge": 64}
    transformers.EomtImageProcessor(size=size, do_pad=True).save_pretrained(folder)
    return folder, name


@pytest.mark.parametrize("size", [(60, 90), (90, 61)])
def test_eomt_gives_the_librarys_objects(eomt: tuple[Path, str], film: Any, size: tuple[int, int]) -> None:
    folder, name = eomt
    images = film(2, size=size)
    ours = detectors.create("eomt", weights=folder, score=0.2, device="cpu").detect(images)
    processor = transformers.EomtImageProcessor.from_pretrained(folder)
    model = getattr(transformers, name).from_pretrained(folder).eval()
    inputs = processor(images=images, return_tensors="pt")
    with torch.inference_mode():
        output = model(pixel_values=inputs["pixel_values"])
    expected = processor.post_process_instance_segmentation(output, [size] * 2, threshold=0.2)
    assert sum(map(len, ours)) >= 4
    for found, theirs in zip(ours, expected, strict=True):
        order = sorted(theirs["segments_info"], key=lambda one: -one["score"])
        assert found.labels.tolist() == [one["label_id"] for one in order]
        np.testing.assert_allclose(found.scores, [one["score"] for one in order], atol=2e-6)
        # The library paints later objects over earlier ones; what it shows of one lies inside of its mask.
        shown = theirs["segmentation"].numpy()
        for mask, one in zip(found.masks, order, strict=True):
            assert mask[shown == one["id"]].all()
        painted = np.any(found.masks, axis=0) if len(found) else np.zeros(size, np.bool_)
        np.testing.assert_array_equal(painted, shown >= 0)


def test_dfine_gives_the_librarys_boxes(tmp_path: Path, film: Any) -> None:
    torch.manual_seed(0)
    backbone = transformers.HGNetV2Config(
        embedding_size=8,
        stem_channels=[3, 8, 8],
        hidden_sizes=[16, 16, 32, 32],
        depths=[1, 1, 1, 1],
        stage_in_channels=[8, 16, 16, 32],
        stage_mid_channels=[8, 8, 16, 16],
        stage_out_channels=[16, 16, 32, 32],
        stage_num_blocks=[1, 1, 1, 1],
        stage_numb_of_layers=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )
    config = transformers.DFineConfig(
        backbone_config=backbone,
        encoder_hidden_dim=32,
        encoder_in_channels=[16, 32, 32],
        encoder_ffn_dim=32,
        encoder_layers=1,
        encoder_attention_heads=4,
        d_model=32,
        num_queries=20,
        decoder_in_channels=[32, 32, 32],
        decoder_ffn_dim=32,
        decoder_layers=2,
        decoder_attention_heads=4,
        decoder_n_points=[2, 2, 2],
        num_denoising=0,
        id2label={i: f"thing {i}" for i in range(4)},
    )
    model = transformers.DFineForObjectDetection(config).eval()
    with torch.no_grad():
        for head in model.model.decoder.class_embed:
            head.weight.normal_(0, 0.5)
            head.bias.zero_()
    model.save_pretrained(tmp_path)
    transformers.RTDetrImageProcessor(size={"height": 64, "width": 64}).save_pretrained(tmp_path)
    images = film(2)
    processor = transformers.RTDetrImageProcessor.from_pretrained(tmp_path)
    with torch.inference_mode():
        output = model(**processor(images=images, return_tensors="pt"))
    # Of pairs of a query and a class the library keeps as many as there are queries: fewer are asked for.
    limit = float(output.logits.sigmoid().flatten(1).topk(15).values[:, -1].max())
    ours = detectors.create("dfine", weights=tmp_path, score=limit, device="cpu").detect(images)
    theirs = processor.post_process_object_detection(output, threshold=limit, target_sizes=[(60, 90)] * 2)
    assert sum(map(len, ours)) >= 2
    assert all(len(one["scores"]) < 20 for one in theirs)
    for found, expected in zip(ours, theirs, strict=True):
        boxes = expected["boxes"].numpy().clip(0, [90, 60, 90, 60])
        for box, score, label in zip(found.boxes, found.scores, found.labels, strict=True):
            same = np.abs(boxes - box).max(axis=1) < 1e-3
            row = int(np.argmax(np.where(same, expected["scores"].numpy(), -1)))
            assert same[row]
            assert expected["labels"][row] == label
            assert float(expected["scores"][row]) == pytest.approx(float(score), abs=1e-6)
        assert (np.diff(found.scores) <= 0).all()


def test_wrong_settings_are_told(eomt: tuple[Path, str]) -> None:
    for name in ("eomt", "dfine"):
        with pytest.raises(UsageError, match="score 2"):
            detectors.create(name, weights=eomt[0], score=2)
