"""What ``prepare`` keeps of images with masks: a file per view, made once, the same every time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from vis.training.datasets import image_folder
from vis.training.frozen import FrozenSam
from vis.training.prepare import cache_views, view_path
from vis.training.sources import CachedSource


@pytest.fixture
def images(tmp_path, drawn):
    """Two folders with an image of one name; in the second, one more without an object."""
    for folder, stem, number in (("a", "x", 0), ("b", "x", 1), ("b", "none", 2)):
        picture, mask = drawn(number)
        for name, pixels in (("images", picture), ("masks", (mask & (stem == "x")) * np.uint8(255))):
            (tmp_path / folder / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(tmp_path / folder / name / f"{stem}.png")
    return [*image_folder(tmp_path / "a"), *image_folder(tmp_path / "b")]


def test_an_interrupted_run_goes_on_to_the_same_bytes(small_model, images, tmp_path):
    frozen = FrozenSam(small_model)
    lines = []
    assert cache_views(frozen, images, tmp_path / "whole", on_image=lines.append) == 4
    assert lines[-1].endswith("4 views so far")
    whole = {path.name: torch.load(path, weights_only=True) for path in (tmp_path / "whole").iterdir()}
    assert len(whole) == 4
    assert cache_views(frozen, images[:1], tmp_path / "part") == 2
    view_path(tmp_path / "part", images[0].path, 1).unlink()
    assert cache_views(frozen, images, tmp_path / "part") == 4
    for name, view in whole.items():
        again = torch.load(tmp_path / "part" / name, weights_only=True)
        assert torch.equal(again["features"], view["features"]), name
        assert torch.equal(again["objects"][0]["pixel_weight"], view["objects"][0]["pixel_weight"]), name


def test_prepared_views_are_samples(small_model, images, tmp_path):
    cache_views(FrozenSam(small_model), images, tmp_path / "out", views=1)
    source = CachedSource({tmp_path / "out": 1.0}, window=16, least_iou=0.0)
    assert source.samples(range(4)).sam_logits.shape == (4, 16, 16)
