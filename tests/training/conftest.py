"""A SAM of real widths at 128 pixels with random weights, and drawings whose masks are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from vis.hqsam import SIZES, SamModel, hq_parameter_names
from vis.training.cache import cache_view, save_view
from vis.training.frozen import FrozenSam, initial_head
from vis.training.views import View


@pytest.fixture(scope="session")
def sam_state():
    """A plain vit_tiny with random weights; its shapes do not depend on the image size."""
    torch.manual_seed(0)
    hq = set(hq_parameter_names("vit_tiny"))
    state = SamModel(SIZES["vit_tiny"], hq=False).state_dict()
    return {name: tensor for name, tensor in state.items() if name not in hq}


@pytest.fixture
def small_model(sam_state):
    """The same SAM for 128-pixel images with a fresh head; a new one for every test."""
    model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=True)
    model.load_state_dict({**sam_state, **initial_head(sam_state)})
    return model.eval()


def disc(size, centre, radius):
    y, x = np.mgrid[0 : size[0], 0 : size[1]] + 0.5
    return (x - centre[0]) ** 2 + (y - centre[1]) ** 2 <= radius**2


@pytest.fixture(scope="session")
def drawn():
    """``drawn(number)``: a picture (96, 128, 3) of a bright disc on a dark ground, and its mask."""

    def draw(number):
        rng = np.random.default_rng(number)
        mask = disc((96, 128), rng.uniform((40, 35), (85, 60)), rng.uniform(18, 30))
        picture = np.where(mask[..., None], rng.uniform(150, 250, 3), rng.uniform(10, 90, 3))
        picture = picture + rng.normal(0, 5, picture.shape)
        return np.clip(picture, 0, 255).astype(np.uint8), mask

    return draw


@pytest.fixture(scope="session")
def view_of():
    def make(picture, mask):
        return View(picture, (mask,))

    return make


@pytest.fixture(scope="session")
def cache(tmp_path_factory, sam_state, drawn, view_of):
    """A folder with the frozen features of six drawings."""
    model = SamModel(replace(SIZES["vit_tiny"], image_size=128), hq=True)
    model.load_state_dict({**sam_state, **initial_head(sam_state)})
    frozen = FrozenSam(model)
    folder = tmp_path_factory.mktemp("cache")
    for number in range(6):
        rng = np.random.default_rng(number)
        save_view(folder / f"{number}.pt", cache_view(frozen, view_of(*drawn(number)), rng))
    return folder
