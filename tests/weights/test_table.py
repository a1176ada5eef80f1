"""Laws of the tables."""

from __future__ import annotations

import re

import pytest

from vis import weights
from vis.errors import UsageError
from vis.weights.table import HUB_MODELS, MODELS, QUICK, WEIGHTS, NpmMember, Url, WheelMember


@pytest.mark.parametrize("weight", WEIGHTS.values(), ids=WEIGHTS)
def test_every_weight_can_be_told_apart_and_had_from_somewhere(weight):
    assert re.fullmatch("[0-9a-f]{64}", weight.sha256)
    assert weight.bytes > 100_000
    assert weight.licence
    assert weight.sources
    for source in weight.sources:
        if isinstance(source, WheelMember):
            assert re.fullmatch(r"[\w-]+==[\w.]+", source.requirement), "a wheel is pinned"
        elif isinstance(source, NpmMember):
            assert re.fullmatch(r"@[\w-]+/[\w-]+@[\d.]+", source.package), "a package is pinned"
            assert source.stop - source.start == weight.bytes
        else:
            assert source.address().startswith("https://")
            assert source.address().endswith(weight.filename)


def test_names_files_and_checksums_are_unique():
    for values in ({w.filename for w in WEIGHTS.values()}, {w.sha256 for w in WEIGHTS.values()}):
        assert len(values) == len(WEIGHTS)
    assert not set(WEIGHTS) & set(MODELS), "find() takes names of both tables"
    assert not set(HUB_MODELS) & {*WEIGHTS, *MODELS}


def test_a_repository_is_no_file_to_fetch():
    for name, model in HUB_MODELS.items():
        assert model.name == name
        with pytest.raises(UsageError, match=f"`hf download {model.repository}`"):
            weights.find(name)


def test_quick_needs_no_more_than_package_indexes():
    for name in QUICK:
        assert isinstance(WEIGHTS[name].sources[-1], (WheelMember, NpmMember))
        assert all(isinstance(source, (WheelMember, NpmMember, Url)) for source in WEIGHTS[name].sources)


def test_every_model_names_weights_of_its_size():
    for model in MODELS.values():
        assert model.weights in WEIGHTS
        assert weights.find(model.name) is WEIGHTS[model.weights]
        assert model.hq == model.name.startswith("hq-")
        if model.size != "vit_tiny":
            assert model.weights.endswith(model.size.replace("_", "-"))
        if model.head is not None:
            assert model.hq
