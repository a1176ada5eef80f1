"""Weight files: official names in both directions, recognition by keys, errors that name the fix."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from vis import weights
from vis.errors import CheckpointError, FallbackWarning, UsageError
from vis.hqsam import SIZES, Predictor, SamModel, build_model, hq_parameter_names, load_model
from vis.hqsam.network import checkpoints
from vis.hqsam.network.huggingface import from_transformers, to_transformers


def shapes(name: str, *, hq: bool = True) -> dict[str, list[int]]:
    with torch.device("meta"):
        model = SamModel(SIZES[name], hq=hq)
    return {key: list(value.shape) for key, value in model.state_dict().items()}


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_tiny"])
def test_names_and_shapes_are_the_official_ones(name: str, shared_data: Path) -> None:
    official = json.loads((shared_data / "keys" / f"keys_{name}.json").read_text())
    assert shapes(name) == official
    assert set(official) - set(shapes(name, hq=False)) == set(hq_parameter_names(name))
    assert len(hq_parameter_names(name)) == 25


@pytest.mark.parametrize("name", sorted(SIZES))
def test_names_and_shapes_are_the_reference_packages(name: str, reference: Any) -> None:
    if name == "vit_tiny":
        theirs = reference.build(SIZES[name]).state_dict()
    else:
        with torch.device("meta"):
            theirs = reference.build(SIZES[name]).state_dict()
    assert shapes(name) == {key: list(value.shape) for key, value in theirs.items()}


@pytest.mark.parametrize("name", sorted(SIZES))
@pytest.mark.parametrize("hq", [False, True])
def test_size_and_kind_are_told_by_the_keys(name: str, hq: bool) -> None:
    with torch.device("meta"):
        state = SamModel(SIZES[name], hq=hq).state_dict()
    assert checkpoints.recognise(state) == (name, hq)


@pytest.fixture(scope="module")
def tiny(make_model: Callable[..., SamModel]) -> SamModel:
    return make_model(SIZES["vit_tiny"], seed=5)


def test_a_file_is_loaded_whole_in_either_format(tiny: SamModel, tmp_path: Path) -> None:
    torch.save(tiny.state_dict(), tmp_path / "model.pth")
    save_file(tiny.state_dict(), tmp_path / "model.safetensors")
    for name in ("model.pth", "model.safetensors"):
        loaded = load_model(tmp_path / name, device="cpu")
        assert loaded.has_hq
        assert not loaded.training
        assert loaded.describe()["files"] == [name]
        for key, value in tiny.state_dict().items():
            assert torch.equal(value, loaded.state_dict()[key]), key


def test_biases_loaded_into_an_eval_model_count_at_once(tiny: SamModel, make_model: Any) -> None:
    """The reference forgets loaded attention biases until eval() is called again: ours never does."""
    other = make_model(SIZES["vit_tiny"], seed=6)
    x = torch.randn(1, 3, 256, 256)
    with torch.no_grad():
        before = other.image_encoder(x)[0]
        other.load_state_dict(tiny.state_dict())
        after = other.image_encoder(x)[0]
        again = other.eval().image_encoder(x)[0]
    assert not torch.allclose(before, after)
    assert torch.equal(after, again)


def test_an_hq_head_is_laid_over_a_plain_sam(tiny: SamModel, tmp_path: Path) -> None:
    names = set(hq_parameter_names("vit_tiny"))
    state = tiny.state_dict()
    torch.save({k: v for k, v in state.items() if k not in names}, tmp_path / "sam.pt")
    head = {k: v for k, v in state.items() if k in names}
    save_file(head, tmp_path / "head.safetensors")
    assert not load_model(tmp_path / "sam.pt", device="cpu").has_hq
    both = load_model(tmp_path / "sam.pt", device="cpu", head=tmp_path / "head.safetensors")
    assert both.has_hq
    assert torch.equal(both.mask_decoder.hf_token.weight, state["mask_decoder.hf_token.weight"])
    with pytest.raises(CheckpointError, match="holds only an HQ head; give it as head="):
        load_model(tmp_path / "head.safetensors", device="cpu")
    head.pop("mask_decoder.hf_token.weight")
    save_file(head, tmp_path / "half.safetensors")
    with pytest.raises(CheckpointError, match="is no HQ head; 1 of its 25 tensors are missing"):
        load_model(tmp_path / "sam.pt", device="cpu", head=tmp_path / "half.safetensors")


def test_a_named_model_without_its_packaged_head_says_so(
    tiny: SamModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set(hq_parameter_names("vit_tiny"))
    state = {k: v for k, v in tiny.state_dict().items() if k not in names}
    torch.save(state, tmp_path / "mobile_sam.pt")
    entry = replace(weights.MODELS["hq-tiny"], head=tmp_path / "hq_tiny.safetensors")
    monkeypatch.setitem(weights.MODELS, "hq-tiny", entry)
    monkeypatch.setattr(weights, "path", lambda name: tmp_path / "mobile_sam.pt")
    with pytest.warns(FallbackWarning, match=r"HQ head hq_tiny\.safetensors is missing, so masks are plain"):
        assert not load_model("hq-tiny", device="cpu").has_hq
    save_file({k: v for k, v in tiny.state_dict().items() if k in names}, entry.head)
    model = load_model("hq-tiny", device="cpu")
    assert model.has_hq
    assert model.describe()["files"] == ["mobile_sam.pt", "hq_tiny.safetensors"]


def wrong(state: dict[str, torch.Tensor], what: str) -> dict[str, torch.Tensor]:
    key = "mask_decoder.iou_token.weight"
    if what == "missing":
        return {k: v for k, v in state.items() if k != key}
    if what == "unknown":
        return state | {"mask_decoder.surprise": state[key]}
    return state | {key: torch.zeros(1, 128)}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("missing", r"looks like HQ-SAM vit_tiny, but 1 tensors are missing, first mask_decoder\.iou_token"),
        ("unknown", r"looks like HQ-SAM vit_tiny, but 1 are unknown, first mask_decoder\.surprise"),
        (
            "shape",
            r"1 have another shape, first mask_decoder\.iou_token\.weight \[1, 128\], expected \[1, 256\]",
        ),
    ],
)
def test_loading_is_strict(tiny: SamModel, what: str, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        build_model(wrong(dict(tiny.state_dict()), what))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"image_encoder.trunk.pos_embed": torch.zeros(1)}, "is a SAM 2 checkpoint; expected SAM or HQ-SAM"),
        ({"layer.weight": torch.zeros(1)}, r"is no SAM or HQ-SAM checkpoint \(found layer\.weight\)"),
        ({}, "found no tensors at all"),
        ({"image_encoder.pos_embed": torch.zeros(1, 4, 4, 384)}, r"a ViT of width 384; expected 768 \(b\)"),
        ({"epoch": 3}, "holds dict, expected names with tensors"),
        ([1, 2], "holds list, expected names with tensors"),
    ],
)
def test_other_files_are_named_for_what_they_are(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=message):
        load_model(tmp_path / "other.pth", device="cpu")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_an_error(suffix: str, tiny: SamModel, tmp_path: Path) -> None:
    path = tmp_path / f"model{suffix}"
    if suffix == ".pth":
        torch.save(tiny.state_dict(), path)
    else:
        save_file(tiny.state_dict(), path)
    path.write_bytes(path.read_bytes()[: 2**20])
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint; it may be truncated"):
        load_model(path, device="cpu")


def test_code_in_a_pickle_is_not_run(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"image_encoder.pos_embed": Payload()}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
        load_model(tmp_path / "evil.pth", device="cpu")
    assert not (tmp_path / "ran").exists()


def test_names_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither a file nor a known model; known models: .*hq-tiny"):
        load_model("hq-huge")
    with pytest.raises(UsageError, match="mode 'quick' is unknown; choose one of exact, fast, fastest"):
        load_model("hq-tiny", mode="quick")
    with pytest.raises(UsageError, match="device 'gpu' is unknown; choose auto, cpu"):
        load_model("hq-tiny", device="gpu")


@pytest.mark.parametrize("hq", [False, True])
def test_transformers_names_map_both_ways(hq: bool) -> None:
    transformers = pytest.importorskip("transformers")
    with torch.device("meta"):
        theirs = (
            transformers.SamHQModel(transformers.SamHQConfig())
            if hq
            else transformers.SamModel(transformers.SamConfig())
        )
        ours = SamModel(SIZES["vit_b"], hq=hq).state_dict()
    named = to_transformers(ours)
    assert {k: v.shape for k, v in named.items()} == {k: v.shape for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in from_transformers(named).items()} == {k: v.shape for k, v in ours.items()}
    assert checkpoints.recognise(from_transformers(theirs.state_dict())) == ("vit_b", hq)


def test_tiny_has_no_name_in_transformers(tiny: SamModel) -> None:
    with pytest.raises(CheckpointError, match="vit_tiny has no counterpart in transformers"):
        to_transformers(tiny.state_dict())


def feed_the_transformed_image(theirs: Any) -> None:
    """Mend transformers' HQ decoder: it upscales the image embedding from *before* its own transformer.

    What the transformer returns for the image is dropped there (5.x), unlike in its plain SAM and in the
    official code. Here it is put back, so that all weights are compared where they belong.
    """
    decoder, kept = theirs.mask_decoder, []
    decoder.transformer.register_forward_hook(lambda module, given, out: kept.append(out[1]))

    def instead(module: Any, given: Any) -> Any:
        image = kept.pop().flatten(0, 1).transpose(1, 2)
        return (image.reshape(len(image), 256, *given[0].shape[-2:]),)

    decoder.upscale_conv1.register_forward_pre_hook(instead)


def test_transformers_computes_the_same(make_model: Any, sizes: Any, photo: np.ndarray) -> None:
    transformers = pytest.importorskip("transformers")
    model = make_model(sizes("vit_b"), seed=9)
    vision = {"num_hidden_layers": 2, "global_attn_indexes": [1], "image_size": 256}
    config = transformers.SamHQConfig(vision_config=vision, prompt_encoder_config={"image_size": 256})
    theirs = transformers.SamHQModel(config).eval()
    theirs.load_state_dict(to_transformers(model.state_dict()), strict=True)
    feed_the_transformed_image(theirs)
    predictor = Predictor(model)
    embedding = predictor.embed(photo)
    boxes = np.array([[20, 30, 150, 120], [80, 60, 290, 190]], np.float32)
    network = torch.as_tensor(boxes.reshape(1, 2, 2, 2) * (256 / 300, 171 / 200), dtype=torch.float32)
    options: dict[str, Any] = {"pixel_values": predictor._prepare(photo), "input_boxes": network.flatten(2)}
    with torch.no_grad():
        one = theirs(**options, multimask_output=False, hq_token_only=False)
        three = theirs(**options, multimask_output=True, hq_token_only=False)
    have = predictor.decode(embedding, boxes=boxes)
    np.testing.assert_allclose(have.scores, one.iou_scores[0, :, 0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(have.low_res_logits, one.pred_masks[0, :, 0], rtol=1e-4, atol=1e-4)
    have = predictor.decode(embedding, boxes=boxes, multimask=True)
    assert have.hq_low_res_logits is not None
    order = np.argsort(-have.scores, axis=1)  # they sort by score, SAM does not
    summed = have.low_res_logits + have.hq_low_res_logits[:, None]
    for row in range(2):
        np.testing.assert_allclose(
            have.scores[row, order[row]], three.iou_scores[0, row], rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(summed[row, order[row]], three.pred_masks[0, row], rtol=1e-4, atol=1e-4)
