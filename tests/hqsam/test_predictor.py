"""The pixel layer: wrong input by message, batches, chunks, saved embeddings, upsampling, zoom."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vis.errors import InputError, PromptError
from vis.hqsam import ImageEmbedding, Predictor, load_embedding, save_embedding
from vis.zoom import crop_around, zoom_refine

BOXES = np.array([[20, 30, 150, 120], [80, 60, 290, 190], [5, 5, 60, 199]], np.float32)


@pytest.fixture(scope="module")
def embedding(toy_predictor: Predictor, photo: np.ndarray) -> ImageEmbedding:
    return toy_predictor.embed(photo)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.float32), r"expected uint8 with values 0-255, got float32; multiply by 255"),
        (np.zeros((4, 4), np.uint8), r"expected three channels \(H, W, 3\) in RGB order, got shape \(4, 4\)"),
        (np.zeros((4, 4, 4), np.uint8), "drop the alpha channel"),
        (np.zeros((0, 4, 3), np.uint8), r"is empty, shape \(0, 4, 3\)"),
        ([[1, 2]], r"expected a numpy array uint8 \(H, W, 3\), got list"),
    ],
)
def test_wrong_images(image: Any, message: str, toy_predictor: Predictor) -> None:
    with pytest.raises(InputError, match=message):
        toy_predictor.embed(image)


@pytest.mark.parametrize(
    ("prompts", "message"),
    [
        ({}, "no prompt: give boxes"),
        ({"boxes": [[0, 0, 9, 9], [1, float("nan"), 5, 5]]}, r"boxes: row 1 is not finite: \[1\.0, nan"),
        ({"boxes": [[300, 0, 320, 9]]}, r"row 0 .* lies outside the frame of 300x200 pixels; drop it"),
        ({"boxes": [[-9, 0, 0, 9]]}, "lies outside the frame"),
        ({"boxes": [[5, 5, 5, 9]]}, r"row 0 \[5\.0, 5\.0, 5\.0, 9\.0\] has no area; expected x0 < x1"),
        ({"boxes": [[50, 50, 20, 20]]}, r"corners, not x, y, width, height"),
        ({"boxes": [[1, 2, 3]]}, r"boxes: expected shape \(N, 4\).*, got \(1, 3\)"),
        ({"boxes": "here"}, r"boxes: expected numbers \(N, 4\)"),
        ({"points": [[[1, 2]]]}, r"point_labels \(N, K\) are missing; 1 is inside"),
        ({"points": [[[1, 2]]], "point_labels": [[7]]}, r"expected 1 \(inside\), 0 \(outside\) or -1"),
        (
            {"points": [[[1, 2]]], "point_labels": [1]},
            r"expected shape \(1, 1\) for these points, got \(1,\)",
        ),
        ({"point_labels": [[1]], "boxes": BOXES[:1]}, "point_labels were given without points"),
        (
            {"masks": np.zeros((1, 32, 64))},
            r"expected low-resolution logits \(N, 64, 64\), got \(1, 32, 64\)",
        ),
        ({"boxes": BOXES, "masks": np.zeros((1, 64, 64))}, "one prompt of each kind .* got 3 boxes, 1 masks"),
        ({"boxes": BOXES, "multimask": True, "hq_token_only": True}, "choose one"),
        ({"boxes": BOXES, "multimask": True, "best_of_three": True}, "choose one"),
        ({"boxes": BOXES, "best_of_three": True, "hq_token_only": True}, "choose one"),
        ({"boxes": BOXES, "iou_bias": np.zeros((3, 3))}, "give best_of_three=True with it"),
        (
            {"boxes": BOXES, "best_of_three": True, "iou_bias": np.zeros((2, 3))},
            r"iou_bias: expected finite numbers \(3, 3\), one for each .* got \(2, 3\)",
        ),
        ({"boxes": BOXES, "best_of_three": True, "iou_bias": "first"}, "expected finite numbers .* got str"),
        ({"boxes": BOXES, "chunk": 0}, "chunk: expected at least 1 object at a time, got 0"),
    ],
)
def test_wrong_prompts(
    prompts: dict[str, Any], message: str, toy_predictor: Predictor, embedding: ImageEmbedding
) -> None:
    with pytest.raises(PromptError, match=message):
        toy_predictor.decode(embedding, **prompts)


def test_another_networks_embedding(toy_predictor: Predictor, embedding: ImageEmbedding) -> None:
    foreign = ImageEmbedding(embedding.frame_size, embedding.features, embedding.hq_features, "vit_h")
    with pytest.raises(PromptError, match="the embedding was made by vit_h, the model is vit_b"):
        toy_predictor.decode(foreign, boxes=BOXES)


def test_hq_embeddings_and_plain_models(
    toy_predictor: Predictor, embedding: ImageEmbedding, make_model: Any, sizes: Any
) -> None:
    plain = Predictor(make_model(sizes("vit_b"), hq=False))
    with pytest.raises(
        PromptError, match="made by an HQ-SAM, the model is a plain SAM; embed the frame again"
    ):
        plain.decode(embedding, boxes=BOXES)
    stripped = ImageEmbedding(embedding.frame_size, embedding.features, None, embedding.model)
    with pytest.raises(PromptError, match="made by a plain SAM, the model is an HQ-SAM"):
        toy_predictor.decode(stripped, boxes=BOXES)
    with pytest.raises(PromptError, match="hq_token_only: this model is a plain SAM"):
        plain.decode(stripped, boxes=BOXES, hq_token_only=True)
    assert plain.decode(stripped, boxes=BOXES).masks.shape == (3, 200, 300)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("nothing", [[], np.zeros((0, 4), np.float32)])
def test_no_boxes_are_no_masks(
    nothing: Any, multimask: bool, toy_predictor: Predictor, embedding: ImageEmbedding
) -> None:
    out = toy_predictor.decode(embedding, boxes=nothing, multimask=multimask)
    more = (3,) if multimask else ()
    assert out.masks.shape == (0, *more, 200, 300)
    assert out.scores.shape == (0, *more)
    assert out.low_res_logits.shape == (0, *more, 64, 64)


def test_objects_choose_among_the_three_one_by_one(make_model: Any, sizes: Any, photo: np.ndarray) -> None:
    boxes = np.array([[x, y, x + w, y + w] for x in (5, 90, 180) for y in (10, 60) for w in (25, 110)])
    model = make_model(sizes("vit_b"), seed=4)
    embedding = Predictor(model).embed(photo)
    usual = Predictor(model).decode(embedding, boxes=boxes, multimask=True).scores.mean(axis=0)
    with torch.no_grad():  # without what all boxes have in common, they choose differently
        model.mask_decoder.iou_prediction_head.layers[-1].bias[1:] -= torch.as_tensor(usual)
    predictor = Predictor(model)
    three = predictor.decode(embedding, boxes=boxes, multimask=True)
    best = three.scores.argmax(axis=1)
    assert set(best.tolist()) == {0, 1, 2}, "this proves nothing"
    chosen = predictor.decode(embedding, boxes=boxes, best_of_three=True)
    rows = np.arange(len(boxes))
    np.testing.assert_array_equal(chosen.scores, three.scores[rows, best])
    assert three.hq_low_res_logits is not None
    summed = three.low_res_logits[rows, best] + three.hq_low_res_logits
    np.testing.assert_allclose(chosen.low_res_logits, summed, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(chosen.three_scores, three.scores)
    # with something known beforehand, every object can be made to choose another
    other = (best + 1) % 3
    iou_bias = np.zeros((len(boxes), 3))
    iou_bias[rows, other] = 100
    led = predictor.decode(embedding, boxes=boxes, best_of_three=True, iou_bias=iou_bias)
    np.testing.assert_array_equal(led.scores, three.scores[rows, other])
    summed = three.low_res_logits[rows, other] + three.hq_low_res_logits
    np.testing.assert_allclose(led.low_res_logits, summed, rtol=1e-4, atol=1e-4)


def test_former_names_of_arguments(toy_predictor: Predictor, embedding: ImageEmbedding) -> None:
    bias = np.roll(np.eye(3), 1, axis=1) * 10
    with pytest.warns(DeprecationWarning, match=r"decode\(\): prior is now called iou_bias"):
        had = toy_predictor.decode(embedding, boxes=BOXES, best_of_three=True, prior=bias)  # type: ignore[call-arg]
    has = toy_predictor.decode(embedding, boxes=BOXES, best_of_three=True, iou_bias=bias)
    np.testing.assert_array_equal(had.masks, has.masks)
    with pytest.warns(DeprecationWarning, match="whole is now called full_frame"):
        toy_predictor.decode(embedding, boxes=BOXES[:1], whole=True)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="got full_frame twice: whole is its former name"):
        toy_predictor.decode(embedding, boxes=BOXES, whole=True, full_frame=True)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("former", "present", "name"),
    [
        ("everything", "vis.automatic_masks", "find_everything"),
        ("huggingface", "vis.hqsam.network.huggingface", "to_transformers"),
        ("zoom", "vis.zoom", "zoom_refine"),
    ],
)
def test_former_places(former: str, present: str, name: str) -> None:
    sys.modules.pop(f"vis.hqsam.{former}", None)
    with pytest.warns(DeprecationWarning, match=f"vis.hqsam.{former} is now {present}"):
        old = importlib.import_module(f"vis.hqsam.{former}")
    assert getattr(old, name) is getattr(importlib.import_module(present), name)


def test_chunks_change_nothing(toy_predictor: Predictor, embedding: ImageEmbedding) -> None:
    whole = toy_predictor.decode(embedding, boxes=BOXES, chunk=8)
    parts = toy_predictor.decode(embedding, boxes=BOXES, chunk=1)
    np.testing.assert_allclose(whole.low_res_logits, parts.low_res_logits, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(whole.masks, parts.masks)
    assert whole.masks.any(axis=(1, 2)).all()


def test_a_batch_of_unlike_frames(toy_predictor: Predictor, photo: np.ndarray) -> None:
    frames = [photo, np.ascontiguousarray(photo[:, :90])]
    together = toy_predictor.embed_batch(frames)
    assert toy_predictor.embed_batch([]) == []
    for frame, made in zip(frames, together, strict=True):
        alone = toy_predictor.embed(frame)
        assert made.frame_size == frame.shape[:2]
        torch.testing.assert_close(made.features, alone.features, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(made.hq_features, alone.hq_features, rtol=1e-4, atol=1e-4)


def test_an_embedding_on_disk(toy_predictor: Predictor, embedding: ImageEmbedding, tmp_path: Path) -> None:
    save_embedding(embedding, tmp_path / "frame.safetensors")
    numbers = embedding.features.numel() + embedding.hq_features.numel()  # type: ignore[union-attr]
    assert (tmp_path / "frame.safetensors").stat().st_size < 2 * numbers + 1000
    back = load_embedding(tmp_path / "frame.safetensors")
    assert (back.frame_size, back.model) == (embedding.frame_size, embedding.model)
    have = toy_predictor.decode(back, boxes=BOXES).masks
    want = toy_predictor.decode(embedding, boxes=BOXES).masks
    assert ((have & want).sum() / (have | want).sum()) > 0.99
    (tmp_path / "frame.safetensors").write_bytes(b"short")
    with pytest.raises(InputError, match="cannot be read as an embedding"):
        load_embedding(tmp_path / "frame.safetensors")
    from safetensors.torch import save_file

    save_file({"features": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="is no embedding; expected a file that save_embedding wrote"):
        load_embedding(tmp_path / "other.safetensors")


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 290), st.integers(0, 190), st.integers(1, 60), st.integers(1, 60), st.floats(0, 2))
def test_a_zoom_crop_holds_the_box_and_stays_in_the_frame(
    x: int, y: int, w: int, h: int, margin: float
) -> None:
    box = np.array([x, y, min(x + w, 300), min(y + h, 200)], np.float32)
    x0, y0, x1, y1 = crop_around(box, (200, 300), margin)
    assert 0 <= x0 <= box[0] < box[2] <= x1 <= 300
    assert 0 <= y0 <= box[1] < box[3] <= y1 <= 200


def test_zoom_redraws_small_objects_and_leaves_large_ones(
    toy_predictor: Predictor, photo: np.ndarray, embedding: ImageEmbedding
) -> None:
    boxes = np.array([[100, 80, 140, 120], [10, 10, 290, 190]], np.float32)
    out = toy_predictor.decode(embedding, boxes=boxes)
    masks = zoom_refine(toy_predictor, photo, boxes, out.low_res_logits, agreement=0.0)
    np.testing.assert_array_equal(masks[1], out.masks[1])
    x0, y0, x1, y1 = crop_around(boxes[0], (200, 300), 0.5)
    crop = toy_predictor.embed(np.ascontiguousarray(photo[y0:y1, x0:x1]))
    drawn = toy_predictor.decode(crop, boxes=boxes[:1] - np.array([x0, y0, x0, y0], np.float32)).masks[0]
    np.testing.assert_array_equal(masks[0, y0:y1, x0:x1], drawn)
    outside = np.ones((200, 300), bool)
    outside[y0:y1, x0:x1] = False
    np.testing.assert_array_equal(masks[0][outside], out.masks[0][outside])
    strict = zoom_refine(toy_predictor, photo, boxes, out.low_res_logits, agreement=1.01)
    np.testing.assert_array_equal(strict, out.masks)
