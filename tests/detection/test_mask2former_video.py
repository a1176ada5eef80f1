"""Video Mask2Former: published key names, one frame equals the image model, a clip equals the paper's decoder."""

from __future__ import annotations

import json
import math
import pickle
import shutil

import numpy as np
import pytest
import torch

import detectors
from detectors.mask2former_checkpoint import load_original, rename_original
from detectors.mask2former_decoder import decode, mask_logits, pixel_features
from detectors.mask2former_video import top_pairs
from detectors.youtube_vis import YOUTUBE_VIS_2019, YOUTUBE_VIS_2021
from vis.errors import CheckpointError, UsageError


def test_every_original_key_finds_its_place_and_no_other_is_missing(original):
    kind, state, path = original
    model = load_original(path)
    assert model.config.num_labels == 40
    assert model.config.num_queries == 10
    assert model.config.backbone_config.depths == ([2, 2, 6, 2] if kind == "swin" else [3, 4, 6, 3])
    values = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    for layer in range(9):
        source = f"sem_seg_head.predictor.transformer_self_attention_layers.{layer}.self_attn.in_proj_weight"
        fused = [
            values[f"model.transformer_module.decoder.layers.{layer}.self_attn.{part}_proj.weight"]
            for part in "qkv"
        ]
        np.testing.assert_array_equal(np.concatenate(fused), state[source])
        np.testing.assert_array_equal(
            values[f"model.transformer_module.decoder.layers.{layer}.cross_attn.in_proj_weight"],
            state[
                source.replace("self_attention", "cross_attention").replace(
                    "self_attn.in", "multihead_attn.in"
                )
            ],
        )
    np.testing.assert_array_equal(
        values["class_predictor.weight"], state["sem_seg_head.predictor.class_embed.weight"]
    )
    encoder = "model.pixel_level_module.encoder."
    if kind == "resnet":
        np.testing.assert_array_equal(
            values[encoder + "encoder.stages.2.layers.5.layer.1.convolution.weight"],
            state["backbone.res4.5.conv2.weight"],
        )
    else:
        np.testing.assert_array_equal(
            values[encoder + "hidden_states_norms.stage3.weight"], state["backbone.norm2.weight"]
        )
    # The multisets of all values agree, but for the buffers and the norm that only the library has.
    ours = sum(
        value.size
        for name, value in values.items()
        if "swin.layernorm" not in name and "num_batches" not in name
    )
    theirs = sum(value.size for name, value in state.items() if not name.endswith("relative_position_index"))
    assert ours == theirs


def test_keys_of_another_model_are_named(original, tmp_path):
    _, state, _ = original
    with pytest.raises(KeyError, match=r"backbone\.extra\.weight"):
        rename_original(
            {**{k: torch.from_numpy(v) for k, v in state.items()}, "backbone.extra.weight": torch.ones(1)}
        )
    lacking = dict(state)
    del lacking["sem_seg_head.predictor.decoder_norm.bias"]
    path = tmp_path / "lacking.pkl"
    path.write_bytes(pickle.dumps({"model": lacking}))
    with pytest.raises(
        CheckpointError, match=r"1 missing keys \(model.transformer_module.decoder.layernorm.bias\)"
    ):
        load_original(path)


def test_a_pickle_that_could_run_code_is_refused(tmp_path):
    class Payload:
        def __reduce__(self):
            import os

            return os.system, (f"touch {tmp_path / 'hit'}",)

    path = tmp_path / "evil.pkl"
    path.write_bytes(pickle.dumps({"model": {"backbone.x": Payload()}}))
    with pytest.raises(CheckpointError, match="which an array file has no use for"):
        load_original(path)
    assert not (tmp_path / "hit").exists()
    path.write_bytes(b"not a pickle")
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_original(path)


def older_names(state):
    """Parameter names as every published conversion has them, read off what transformers 4.44 saves."""
    older = {}
    for name, value in state.items():
        if "encoder.swin.layernorm" in name:
            continue  # not in the older library's backbone
        if name.startswith("model.pixel_level_module.encoder."):
            for new, old in (
                ("encoder.swin.", "encoder."),
                ("attention.q_proj", "attention.self.query"),
                ("attention.k_proj", "attention.self.key"),
                ("attention.v_proj", "attention.self.value"),
                ("attention.o_proj", "attention.output.dense"),
                ("attention.relative_position_bias.", "attention.self."),
                ("mlp.fc1", "intermediate.dense"),
                ("mlp.fc2", "output.dense"),
            ):
                name = name.replace(new, old)
        older[name] = value
    return older


def test_a_published_image_checkpoint_loads_with_its_older_names(mask2former_folder, tmp_path, film):
    from safetensors.torch import load_file, save_file

    shutil.copytree(mask2former_folder, tmp_path / "repo")
    state = load_file(mask2former_folder / "model.safetensors")
    assert len(state) - len(older_names(state)) == 2
    save_file(older_names(state), tmp_path / "repo/model.safetensors", {"format": "pt"})
    older, newer = (
        detectors.create("mask2former", weights=folder, device="cpu")
        for folder in (tmp_path / "repo", mask2former_folder)
    )
    for one, other in zip(older.detect(film(2)), newer.detect(film(2)), strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        np.testing.assert_array_equal(one.masks, other.masks)


def test_an_orphaned_conversion_loads_whatever_class_it_names(mask2former_folder, tmp_path, film):
    """As on the hub: a class that does not exist, and the library's older parameter names."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(mask2former_folder, tmp_path / "repo")
    config = json.loads((tmp_path / "repo/config.json").read_text())
    config |= {"architectures": ["VideoMask2FormerForVideoSegmentation"], "model_type": "video_mask2former"}
    (tmp_path / "repo/config.json").write_text(json.dumps(config))
    older = older_names(load_file(mask2former_folder / "model.safetensors"))
    save_file(older, tmp_path / "repo/model.safetensors", {"format": "pt"})
    detector = detectors.create(
        "mask2former-video", weights=tmp_path / "repo", short_side=64, device="cpu", score=0.5
    )
    image_model = detectors.create("mask2former", weights=mask2former_folder, device="cpu")
    assert detector.class_names == image_model.class_names
    pixels = torch.rand(1, 3, 64, 96)
    with torch.inference_mode():
        for ours, theirs in zip(
            pixel_features(detector._model, pixels), pixel_features(image_model._model, pixels), strict=True
        ):
            torch.testing.assert_close(ours, theirs)
    assert len(detector.detect(film(2))) == 2


@pytest.fixture(scope="module")
def double_model(mask2former_folder):
    pytest.importorskip("transformers")
    from transformers import Mask2FormerForUniversalSegmentation

    return Mask2FormerForUniversalSegmentation.from_pretrained(mask2former_folder).double().eval()


def paper_decode(model, levels, pixels, frames):
    """The video paper's decoder in its own order: 3-D sine positions, full masks, then resized to keys."""
    module, decoder = model.model.transformer_module, model.model.transformer_module.decoder
    clips = pixels.shape[0] // frames
    sources, positions, sizes = [], [], []
    for index, level in enumerate(levels):
        _, channels, height, width = level.shape
        ones = torch.ones(clips, frames, height, width, dtype=level.dtype)
        z, y, x = (ones.cumsum(axis) for axis in (1, 2, 3))
        z = z / (z[:, -1:] + 1e-6) * 2 * math.pi
        y = y / (y[:, :, -1:] + 1e-6) * 2 * math.pi
        x = x / (x[:, :, :, -1:] + 1e-6) * 2 * math.pi

        def sine(place, count):
            step = torch.arange(count, dtype=place.dtype)
            angle = place[..., None] / 10000 ** (2 * (step // 2) / count)
            return torch.stack((angle[..., 0::2].sin(), angle[..., 1::2].cos()), dim=5).flatten(4)

        position = torch.cat((sine(y, channels // 2), sine(x, channels // 2)), dim=4) + sine(z, channels)
        positions.append(position.flatten(1, 3).transpose(0, 1))
        source = (
            module.input_projections[index](level) + module.level_embed.weight[index][None, :, None, None]
        )
        source = source.view(clips, frames, channels, height * width)
        sources.append(source.permute(1, 3, 0, 2).flatten(0, 1))
        sizes.append((height, width))
    video_pixels = pixels.view(clips, frames, *pixels.shape[1:])
    output = module.queries_features.weight.unsqueeze(1).repeat(1, clips, 1)
    query_positions = module.queries_embedder.weight.unsqueeze(1).repeat(1, clips, 1)

    def predict(output):
        normed = decoder.layernorm(output).transpose(0, 1)
        masks = torch.einsum("bqc,btchw->bqthw", decoder.mask_predictor.mask_embedder(normed), video_pixels)
        return normed, model.class_predictor(normed), masks

    for index, layer in enumerate(decoder.layers):
        _, _, masks = predict(output)
        size = sizes[index % 3]
        small = torch.nn.functional.interpolate(
            masks.flatten(0, 1), size=size, mode="bilinear", align_corners=False
        )
        closed = small.view(clips, -1, frames * size[0] * size[1]).sigmoid() < 0.5
        closed = closed.unsqueeze(1).repeat(1, decoder.mask_predictor.num_heads, 1, 1).flatten(0, 1)
        closed[torch.where(closed.sum(-1) == closed.shape[-1])] = False
        output = layer(
            output, index % 3, None, positions, query_positions, sources, encoder_attention_mask=closed
        )[0]
    return predict(output)


@pytest.mark.parametrize(("clips", "frames"), [(1, 1), (1, 4), (2, 3)])
def test_a_clip_is_decoded_as_the_paper_does(double_model, clips, frames):
    torch.manual_seed(1)
    pixels = torch.rand(clips * frames, 3, 64, 96, dtype=torch.double)
    with torch.inference_mode():
        levels, per_pixel = pixel_features(double_model, pixels)
        embeddings, classes, masks = paper_decode(double_model, levels, per_pixel, frames)
        ours = decode(double_model, levels, per_pixel, frames=frames)
        torch.testing.assert_close(ours.embeddings, embeddings)
        torch.testing.assert_close(ours.class_logits, classes)
        for clip in range(clips):
            torch.testing.assert_close(
                mask_logits(double_model, ours.embeddings[clip], ours.pixels[clip]), masks[clip]
            )


def test_a_clip_of_one_frame_equals_the_image_model(double_model):
    torch.manual_seed(2)
    pixels = torch.rand(1, 3, 64, 96, dtype=torch.double)
    with torch.inference_mode():
        expected = double_model(pixel_values=pixels)
        # The paper's decoder with its time axis: one frame's is the same for every key.
        _, classes, masks = paper_decode(double_model, *pixel_features(double_model, pixels), 1)
    torch.testing.assert_close(classes, expected.class_queries_logits)
    torch.testing.assert_close(masks[:, :, 0], expected.masks_queries_logits)


def test_frames_of_a_clip_see_each_other(double_model):
    torch.manual_seed(3)
    pixels = torch.rand(3, 3, 64, 96, dtype=torch.double)
    with torch.inference_mode():
        features = pixel_features(double_model, pixels)
        joint = decode(double_model, *features, frames=3)
        alone = decode(double_model, *features, frames=1)
    assert joint.embeddings.shape[0] == 1
    assert (joint.embeddings - alone.embeddings[:1]).abs().max() > 1e-3


def test_joint_tubes_have_ids_that_hold_and_go_on(mask2former_folder, film):
    detector = detectors.create(
        "mask2former-video",
        weights=mask2former_folder,
        joint=True,
        short_side=64,
        max_detections=5,
        device="cpu",
    )
    first = detector.detect(film(4))
    ids = set().union(*(found.track_ids.tolist() for found in first))
    assert ids
    assert ids <= {1, 2, 3, 4, 5}
    for found in first:
        np.testing.assert_array_equal(found.boxes >= 0, True)
        assert len(set(found.track_ids.tolist())) == len(found)
    by_id = {
        i: {(f.labels[f.track_ids == i][0], f.scores[f.track_ids == i][0]) for f in first if i in f.track_ids}
        for i in ids
    }
    assert all(len(values) == 1 for values in by_id.values()), "a tube has one label and one score"
    second = detector.detect(film(4, seed=9))
    assert min(i for found in second for i in found.track_ids.tolist()) >= 6, "another clip, other objects"
    detector.reset()
    again = detector.detect(film(4))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.track_ids, other.track_ids)
        np.testing.assert_array_equal(one.masks, other.masks)


def test_clips_that_do_not_fit_are_refused(mask2former_folder, film):
    detector = detectors.create(
        "mask2former-video", weights=mask2former_folder, joint=True, short_side=64, max_clip=2, device="cpu"
    )
    with pytest.raises(UsageError, match=r"3 frames at once are more than max_clip=2.*joint=False"):
        detector.detect(film(3))
    with pytest.raises(UsageError, match="one size"):
        detector.detect([*film(1), *film(1, size=(90, 60))])


def test_top_pairs_are_the_best_query_and_class_pairs():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.6, 0.3]]))
    scores, labels, queries = top_pairs(logits, 3)
    torch.testing.assert_close(scores, torch.tensor([0.6, 0.5, 0.3]))
    assert (labels.tolist(), queries.tolist()) == ([1, 0, 1], [1, 0, 0])
    assert len(top_pairs(logits, 10)[0]) == 4


def test_class_names_follow_the_year(original):
    _, _, path = original
    detector = detectors.create("mask2former-video", weights=path, device="cpu")
    assert detector.class_names == YOUTUBE_VIS_2021
    assert list(detector.weights_sha256) == [path.name]
    with pytest.raises(UsageError, match="tells 40 classes apart, 2 names"):
        detectors.create("mask2former-video", weights=path, class_names=["a", "b"])
    for names in (YOUTUBE_VIS_2019, YOUTUBE_VIS_2021):
        assert len(set(names)) == 40
    assert tuple(sorted(YOUTUBE_VIS_2021)) == YOUTUBE_VIS_2021
