"""Semantic networks: what torchvision's own preset and network say of the same random weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

import detectors
from vis.errors import CheckpointError, WeightsError

NETWORK = "lraspp_mobilenet_v3_large"  # the smallest of the registry


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    from torchvision.models import get_model

    torch.manual_seed(0)
    model = get_model(NETWORK, weights=None, weights_backbone=None)
    for part in model.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            part.momentum = 1.0  # what it sees once is its statistics: random weights then tell places apart
    with torch.no_grad():
        model.train()(2 * torch.rand(2, 3, 64, 96) - 1)
    path = tmp_path_factory.mktemp("semantic") / "small.pth"
    torch.save(model.state_dict(), path)
    return path


def test_a_file_is_told_by_its_keys_and_gives_the_librarys_regions(weights_file, monkeypatch):
    monkeypatch.setattr("detectors.semantic.SHORTER_SIDE", 64)
    monkeypatch.setattr("detectors.semantic.LONGER_SIDE", 256)
    from torchvision.models import get_model, get_model_weights

    y, x = np.mgrid[:64, :96]  # no resizing: theirs rounds to whole grey values
    image = np.stack([127 + 120 * np.sin(x / 9), 127 + 120 * np.cos(y / 7), (3 * x + y) % 256], 2)
    image = image.astype(np.uint8)
    detector = detectors.create("semantic", weights=weights_file, device="cpu")
    assert detector.describe() == NETWORK
    assert len(detector.class_names) == 20
    assert detector.class_names[-1] == "tvmonitor"
    (found,) = detector.detect([image])

    table = get_model_weights(NETWORK).DEFAULT
    model = get_model(NETWORK, weights=None, weights_backbone=None).eval()
    model.load_state_dict(torch.load(weights_file, weights_only=True))
    with torch.inference_mode():
        logits = model(table.transforms(resize_size=64)(Image.fromarray(image))[None])["out"]
    logits = torch.nn.functional.interpolate(logits, image.shape[:2], mode="bilinear")[0]
    wanted = logits.argmax(0).numpy()
    drawn = np.zeros(image.shape[:2], np.int64)
    for label, mask, box in zip(found.labels, found.masks, found.boxes, strict=True):
        assert mask.any()
        assert not drawn[mask].any()
        drawn[mask] = label + 1
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
    assert len(found) > 1
    assert (drawn == wanted).mean() > 0.999
    assert (np.diff(found.scores) <= 0).all()
    (larger,) = detector.detect([image.repeat(2, 0).repeat(2, 1)])
    assert larger.masks.shape[1:] == (128, 192)
    (banner,) = detector.detect([np.zeros((2, 3000, 3), np.uint8)])
    assert banner.masks is None or banner.masks.shape[1:] == (2, 3000)
    (few,) = detectors.create("semantic", weights=weights_file, score=0.999999, device="cpu").detect([image])
    assert len(few) < len(found)


def test_without_weights_it_says_where_they_go(weights_file, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("VISTUBES_OFFLINE", "1")
    with pytest.raises(
        WeightsError, match=r"deeplabv3_resnet101's weights .*OFFLINE is set; .*`curl .*pth https://.*pth`"
    ):
        detectors.create("semantic")
    with pytest.raises(
        WeightsError, match=r"no file .*none\.pth; give a state dict, or one of .*fcn_resnet50"
    ):
        detectors.create("semantic", weights=tmp_path / "none.pth")
    (tmp_path / "other.pth").write_bytes(b"no checkpoint")
    with pytest.raises(CheckpointError, match="no state dict"):
        detectors.create("semantic", weights=tmp_path / "other.pth")
    state = torch.load(weights_file, weights_only=True)
    state.popitem()
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(CheckpointError, match="its keys are those of none of"):
        detectors.create("semantic", weights=tmp_path / "less.pth")
