"""The starting head, and what is kept of a frozen network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vis.hqsam import hq_parameter_names
from vis.training.cache import cache_view, cropped_sample, load_view, save_view
from vis.training.frozen import FrozenSam, frozen_fingerprint, head_parameters, initial_head
from vis.training.prompts import sample_prompt
from vis.training.samples import hq_logits, random_window, stack


def sample_of_view(frozen, view, rng, mix=None):
    (mask,) = view.masks[:1]
    prompt = sample_prompt(mask, rng, mask_side=frozen.side // 4, mix=mix)
    return cropped_sample(frozen, frozen.embed(view.image), mask, prompt)[1]


def test_initial_head_has_the_official_names_and_shapes(small_model, sam_state):
    head = initial_head(sam_state)
    assert set(head) == set(hq_parameter_names("vit_tiny"))
    for name, parameter in head_parameters(small_model).items():
        assert head[name].shape == parameter.shape, name


def test_initial_head_draws_sams_own_mask(small_model, sam_state, drawn, view_of, monkeypatch):
    monkeypatch.setattr("vis.training.frozen._FUSION_GAIN", 0.0)
    monkeypatch.setattr("vis.training.frozen._PASS_GAIN", 1.0)
    small_model.load_state_dict({**small_model.state_dict(), **initial_head(sam_state)})
    frozen = FrozenSam(small_model)
    sample = sample_of_view(frozen, view_of(*drawn(1)), np.random.default_rng(0), mix={"box": 1.0})
    # A trained SAM's upscaled features have a root mean square of about 0.1; random weights do not.
    upscaled = sample.upscaled * (0.1 / sample.upscaled.square().mean().sqrt())
    kernel = small_model.mask_decoder.hf_mlp(sample.hf_token[None])[0]
    sam = torch.einsum("c,chw->hw", kernel, upscaled)
    hq = hq_logits(small_model.mask_decoder, stack([replace(sample, upscaled=upscaled)]))[0]
    assert torch.corrcoef(torch.stack([hq.flatten(), sam.flatten()]))[0, 1] > 0.9
    assert 0.7 < hq.std() / sam.std() < 1.3


def test_fingerprint_sees_frozen_bytes_only(small_model):
    before = frozen_fingerprint(small_model)
    with torch.no_grad():
        small_model.mask_decoder.hf_token.weight += 1
    assert frozen_fingerprint(small_model) == before
    small_model.image_encoder.patch_embed.seq[0].bn.running_mean += 1e-3
    assert frozen_fingerprint(small_model) != before


def test_cached_sample_is_the_live_one_in_half_precision(small_model, drawn, view_of, tmp_path):
    frozen = FrozenSam(small_model)
    view = view_of(*drawn(2))
    save_view(tmp_path / "v.pt", cache_view(frozen, view, np.random.default_rng(5)))
    (cached,) = load_view(tmp_path / "v.pt")
    live = sample_of_view(frozen, view, np.random.default_rng(5))
    assert cached.kind == live.kind
    assert torch.equal(cached.probability, live.probability)
    for name in ("features", "early", "upscaled", "sam_logits"):
        torch.testing.assert_close(getattr(cached, name).float(), getattr(live, name), rtol=2e-3, atol=2e-3)


def test_views_cached_by_version_0_1_are_read(cache, tmp_path):
    view = torch.load(cache / "0.pt", weights_only=True)
    for item in view["objects"]:
        item["trust"] = item.pop("pixel_weight")
    torch.save(view, tmp_path / "old.pt")
    (old,), (new,) = load_view(tmp_path / "old.pt"), load_view(cache / "0.pt")
    assert torch.equal(old.pixel_weight, new.pixel_weight)
    assert torch.equal(old.sam_logits, new.sam_logits)


def test_window_aligns_every_field(small_model, drawn, view_of):
    frozen = FrozenSam(small_model)
    sample = sample_of_view(frozen, view_of(*drawn(4)), np.random.default_rng(1))
    window = random_window(sample, np.random.default_rng(2), 16)
    assert window.sam_logits.shape == (16, 16)
    assert window.features.shape[1:] == (4, 4)
    assert window.probability.shape == (64, 64)
    h, w = sample.sam_logits.shape
    places = [
        (y, x)
        for y in range(0, h - 15, 4)
        for x in range(0, w - 15, 4)
        if torch.equal(sample.sam_logits[y : y + 16, x : x + 16], window.sam_logits)
    ]
    assert len(places) == 1
    y, x = places[0]
    assert torch.equal(sample.upscaled[:, y : y + 16, x : x + 16], window.upscaled)
    assert torch.equal(sample.probability[4 * y : 4 * y + 64, 4 * x : 4 * x + 64], window.probability)
    assert torch.equal(sample.features[:, y // 4 : y // 4 + 4, x // 4 : x // 4 + 4], window.features)
    assert not window.pixel_weight[:8].any()
    assert not window.pixel_weight[:, -8:].any()
