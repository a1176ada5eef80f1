"""Mask2Former for images: what transformers says of the same weights, frame by frame."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import detectors
from detectors.mask2former_decoder import decode, mask_logits, pixel_features
from vis.errors import CheckpointError, UsageError


@pytest.fixture(scope="module")
def library(mask2former_folder):
    """transformers' own model and processor, in double precision so that roundings flip no pixel."""
    pytest.importorskip("transformers")
    from transformers import Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessorPil

    model = Mask2FormerForUniversalSegmentation.from_pretrained(mask2former_folder).double().eval()
    return model, Mask2FormerImageProcessorPil.from_pretrained(mask2former_folder)


@pytest.fixture
def detector(mask2former_folder):
    def make(**settings):
        made = detectors.create("mask2former", weights=mask2former_folder, device="cpu", **settings)
        made._model.double()
        return made

    return make


def library_objects(library, images, threshold):
    model, processor = library
    inputs = processor(images=images, return_tensors="pt")
    with torch.inference_mode():
        outputs = model(pixel_values=inputs["pixel_values"].double())
    sizes = [image.shape[:2] for image in images]
    results = processor.post_process_instance_segmentation(
        outputs, threshold=threshold, target_sizes=sizes, return_binary_maps=True
    )
    return [
        sorted(
            (
                (round(info["score"], 5), info["label_id"], mask.numpy() > 0)
                for info, mask in zip(result["segments_info"], result["segmentation"], strict=True)
            ),
            key=lambda item: -item[0],
        )
        for result in results
    ]


def test_objects_equal_the_librarys_own_frame_by_frame(library, detector, film):
    images = film(4)
    found = detector(score=0.5, smooth_masks=False).detect(images)
    expected = library_objects(library, images, 0.5)
    assert sum(map(len, expected)) >= 8, "the random model must decide on something, or nothing is compared"
    for ours, theirs in zip(found, expected, strict=True):
        assert len(ours) == len(theirs)
        np.testing.assert_allclose(ours.scores, [score for score, _, _ in theirs], atol=2e-5)
        for mask, label in zip(ours.masks, ours.labels, strict=True):
            assert any(label == other and (mask == theirs_mask).all() for _, other, theirs_mask in theirs)


def test_the_decoder_equals_the_librarys_on_every_query(library, film):
    model, processor = library
    pixels = processor(images=film(2), return_tensors="pt")["pixel_values"].double()
    with torch.inference_mode():
        expected = model(pixel_values=pixels)
        decoded = decode(model, *pixel_features(model, pixels))
        for row in range(2):
            masks = mask_logits(model, decoded.embeddings[row], decoded.pixels[row])[:, 0]
            torch.testing.assert_close(masks, expected.masks_queries_logits[row])
    torch.testing.assert_close(decoded.class_logits, expected.class_queries_logits)


def test_smooth_masks_are_nearly_the_stepped_ones(detector, film):
    images = film(2, size=(200, 300))
    for smooth, stepped in zip(
        detector().detect(images), detector(smooth_masks=False).detect(images), strict=True
    ):
        assert len(smooth) == len(stepped) > 0
        np.testing.assert_array_equal(smooth.scores, stepped.scores)
        for one, other in zip(smooth.masks, stepped.masks, strict=True):
            assert (one & other).sum() / (one | other).sum() > 0.95
            assert (one != other).any()


def test_masks_are_made_for_kept_queries_only(detector, film, monkeypatch):
    counts = []

    def counted(model, embeddings, pixels):
        counts.append(len(embeddings))
        return mask_logits(model, embeddings, pixels)

    monkeypatch.setattr("detectors.mask2former.mask_logits", counted)
    found = detector(score=0.5).detect(film(3))
    assert len(counts) == 3
    assert all(len(objects) <= count < 12 for objects, count in zip(found, counts, strict=True))


def test_batches_single_frames_and_sizes(detector, film):
    images = [*film(2), *film(2, size=(90, 60), seed=3)]
    made = detector()
    together = made.detect(images)
    for image, found in zip(images, together, strict=True):
        alone = made.detect([image])[0]
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-6)
        np.testing.assert_array_equal(found.masks, alone.masks)
        assert found.masks.shape[1:] == image.shape[:2]
        assert found.embeddings.shape == (len(found), 32)
    assert made.detect([]) == []


def test_a_high_score_leaves_nothing_and_that_is_fine(detector, film):
    found = detector(score=1.0).detect(film(1))[0]
    assert len(found) == 0


def test_class_names_and_checksums_come_from_the_checkpoint(detector, mask2former_folder):
    made = detector()
    assert made.class_names == tuple(f"thing {i}" for i in range(5))
    (name,) = made.weights_sha256
    assert name == f"{mask2former_folder.name}/model.safetensors"


def test_wrong_settings_and_checkpoints(detector, mask2former_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    with pytest.raises(UsageError, match="0 <= score <= 1"):
        detector(score=-1)
    with pytest.raises(UsageError, match="device 'gpu9' is unknown"):
        detectors.create("mask2former", weights=mask2former_folder, device="gpu9")
    for file in mask2former_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    state["some.other.weight"] = state.pop("class_predictor.bias")
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"1 missing keys \(class_predictor.bias\); 1 unexpected keys"):
        detectors.create("mask2former", weights=tmp_path)
