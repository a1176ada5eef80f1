"""Same weights, same picture, same prompts: what the reference package computes, we compute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vis.hqsam import SIZES, Predictor

TOLERANCE = 1e-4


def relative(ours: Any, theirs: Any) -> float:
    ours, theirs = torch.as_tensor(ours), torch.as_tensor(theirs)
    assert ours.shape == theirs.shape
    return float((ours - theirs).abs().max() / theirs.abs().max())


def prompts(frame: tuple[int, int], side: int, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Every kind of prompt for three objects, and mixtures, in frame pixels."""
    rng = np.random.default_rng(seed)
    height, width = frame
    low = rng.uniform(0, 0.5, (3, 2)) * (width, height)
    high = low + rng.uniform(0.2, 0.5, (3, 2)) * (width, height)
    boxes = {"boxes": np.concatenate([low, high], 1).astype(np.float32)}
    points = {
        "points": (rng.uniform(0, 1, (3, 4, 2)) * (width, height)).astype(np.float32),
        "point_labels": np.array([[1, 0, 1, 1], [1, 1, 0, -1], [0, 1, -1, -1]]),
    }
    masks = {"masks": 6 * rng.standard_normal((3, side, side)).astype(np.float32)}
    return {
        "boxes": boxes,
        "points": points,
        "masks": masks,
        "boxes+points": boxes | points,
        "points+masks": points | masks,
        "all": boxes | points | masks,
    }


def ask_reference(
    predictor: Any, frame: tuple[int, int], given: dict[str, np.ndarray], **options: Any
) -> Any:
    scaled = {}
    if "points" in given:
        scaled["points"] = torch.as_tensor(
            predictor.transform.apply_coords(given["points"], frame), dtype=torch.float32
        )
    if "boxes" in given:
        scaled["boxes"] = torch.as_tensor(
            predictor.transform.apply_boxes(given["boxes"], frame), dtype=torch.float32
        )
    return predictor.predict_torch(
        scaled.get("points"),
        torch.as_tensor(given["point_labels"]) if "points" in given else None,
        scaled.get("boxes"),
        torch.as_tensor(given["masks"])[:, None] if "masks" in given else None,
        **options,
    )


def hold_against(reference: Any, predictor: Predictor, image: np.ndarray, kinds: tuple[str, ...]) -> None:
    model = predictor.model
    twin = reference.package.SamPredictor(reference.twin(model))
    twin.set_image(image)
    embedding = predictor.embed(image)
    assert relative(embedding.features, twin.features) < TOLERANCE
    frame = image.shape[:2]
    for kind, given in prompts(frame, 4 * model.size.grid, seed=1).items():
        if kind not in kinds:
            continue
        for hq_only in (False, True):
            want = ask_reference(twin, frame, given, multimask_output=False, hq_token_only=hq_only)
            have = predictor.decode(embedding, **given, hq_token_only=hq_only)
            assert relative(have.low_res_logits, want[2][:, 0]) < TOLERANCE, kind
            assert relative(have.scores, want[1][:, 0]) < TOLERANCE, kind
            assert (have.masks != want[0][:, 0].numpy()).mean() < 1e-5, kind
            assert 0.02 < have.masks.mean() < 0.98, "a mask that is all one value proves nothing"
        # The reference's multimask keeps the best of three and adds the HQ mask to it.
        want = ask_reference(twin, frame, given, multimask_output=True, hq_token_only=False)
        chosen = predictor.decode(embedding, **given, best_of_three=True)
        assert relative(chosen.low_res_logits, want[2][:, 0]) < TOLERANCE, kind
        assert relative(chosen.scores, want[1][:, 0]) < TOLERANCE, kind
        assert (chosen.masks != want[0][:, 0].numpy()).mean() < 1e-5, kind
        have = predictor.decode(embedding, **given, multimask=True)
        assert have.masks.shape == (3, 3, *frame)
        best = have.scores.argmax(axis=1)
        rows = np.arange(3)
        assert relative(have.scores[rows, best], want[1][:, 0]) < TOLERANCE, kind
        assert have.hq_low_res_logits is not None
        summed = have.low_res_logits[rows, best] + have.hq_low_res_logits
        assert relative(summed, want[2][:, 0]) < TOLERANCE, kind


EVERY = ("boxes", "points", "masks", "boxes+points", "points+masks", "all")


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_plain_vit_at_reduced_depth(
    name: str, reference: Any, make_model: Callable[..., Any], sizes: Any, photo: np.ndarray
) -> None:
    hold_against(reference, Predictor(make_model(sizes(name))), photo, EVERY)


@pytest.mark.slow
def test_tiny_in_full(reference: Any, make_model: Callable[..., Any], photo: np.ndarray) -> None:
    hold_against(reference, Predictor(make_model(SIZES["vit_tiny"])), photo, ("boxes", "all"))


@pytest.mark.slow
@pytest.mark.parametrize(
    "part",
    [{"image_size": 256}, {"depths": (2,), "global_blocks": (1,)}],
    ids=["every block", "the whole input"],
)
def test_vit_b_whole_in_depth_and_in_size(
    part: dict[str, Any], reference: Any, make_model: Callable[..., Any], photo: np.ndarray
) -> None:
    """All twelve blocks on a small input, then a global one behind a windowed one on 1024 pixels.

    Every block is one or the other of these two; all of them at that size take the reference most of a minute.
    """
    hold_against(reference, Predictor(make_model(replace(SIZES["vit_b"], **part))), photo, ("boxes",))


def test_upright_frames(reference: Any, toy_predictor: Predictor, photo: np.ndarray) -> None:
    """Padding to the right instead of below, and an odd size whose rounding differs per axis."""
    hold_against(
        reference, toy_predictor, np.ascontiguousarray(photo.swapaxes(0, 1))[:, :147], ("boxes+points",)
    )


def test_plain_sam_without_hq(
    make_model: Callable[..., Any], sizes: Any, photo: np.ndarray, reference: Any
) -> None:
    """A SAM has no HQ token among its tokens: the reference's baseline decoder is the twin."""
    from segment_anything_hq.build_sam_baseline import MaskDecoder, TwoWayTransformer

    model = make_model(sizes("vit_b"), hq=False)
    twin = reference.build(model.size)
    twin.mask_decoder = MaskDecoder(
        transformer_dim=256,
        transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
        num_multimask_outputs=3,
    )
    twin.load_state_dict(model.state_dict(), strict=True)
    theirs = reference.package.SamPredictor(twin.eval())
    theirs.set_image(photo)
    predictor = Predictor(model)
    embedding = predictor.embed(photo)
    assert embedding.hq_features is None
    for kind in ("boxes", "points"):
        given = prompts((200, 300), 64, seed=3)[kind]
        for multimask in (False, True):
            want = ask_reference(theirs, (200, 300), given, multimask_output=multimask, hq_token_only=False)
            have = predictor.decode(embedding, **given, multimask=multimask)
            assert have.hq_masks is None
            rows = slice(None) if multimask else 0
            assert relative(have.low_res_logits, want[2][:, rows]) < TOLERANCE
            assert relative(have.scores, want[1][:, rows]) < TOLERANCE
            assert (have.masks != want[0][:, rows].numpy()).mean() < 1e-5
