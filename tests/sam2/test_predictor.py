"""SAM 2.1, EdgeTAM and SAM 3 on one image: what the library's own processor and model give on the same weights."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vis import refiners
from vis.edge_detection import detect_edges
from vis.errors import CheckpointError, PromptError, UsageError
from vis.interfaces import DenseFeatures, MaskPredictor, WeightsRecord
from vis.prompt_policies import POLICIES, HQSamRefiner
from vis.prompts import check_prompts
from vis.sam2 import StretchedPredictor
from vis.sam2.layout import padded_of, stretched_of
from vis.structures import Detections

transformers = pytest.importorskip("transformers")

FAMILIES = {
    "sam2": ("Sam2Model", "Sam2Processor", "Sam2ImageProcessor"),
    "edgetam": ("EdgeTamModel", "Sam2Processor", "Sam2ImageProcessor"),
    "sam3": ("Sam3TrackerModel", "Sam3TrackerProcessor", "Sam3ImageProcessor"),
}
BOXES = np.array([[10, 8, 50, 40], [60.5, 20, 95, 58], [2, 2, 99, 59]], np.float32)
POINTS = np.array([[[30, 20], [45, 33]], [[80, 40], [0, 0]], [[50, 30], [7, 7]]], np.float32)
LABELS = np.array([[1, 0], [1, -1], [1, 1]])


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def folder(family: str, request: pytest.FixtureRequest) -> Path:
    return Path(request.getfixturevalue(f"{family}_folder"))


@pytest.fixture(scope="module")
def predictor(folder: Path) -> StretchedPredictor:
    made = refiners.create(folder, device="cpu")
    assert isinstance(made, StretchedPredictor)
    return made


@pytest.fixture(scope="module")
def image() -> NDArray[np.uint8]:
    """A frame of 60 x 100 pixels: neither square nor a multiple of anything."""
    import cv2

    small = np.random.default_rng(0).integers(0, 255, (6, 10, 3)).astype(np.uint8)
    return np.asarray(cv2.resize(small, (100, 60), interpolation=cv2.INTER_CUBIC))


def librarys(family: str, folder: Path) -> tuple[Any, Any]:
    model, processor, images = (getattr(transformers, name) for name in FAMILIES[family])
    return model.from_pretrained(folder).eval(), processor(images.from_pretrained(folder))


@pytest.mark.parametrize("three", [False, True])
@pytest.mark.parametrize("kinds", ["boxes", "points", "boxes points", "masks", "boxes masks"])
def test_masks_and_scores_are_the_librarys(
    predictor: StretchedPredictor,
    family: str,
    folder: Path,
    image: NDArray[np.uint8],
    kinds: str,
    three: bool,
) -> None:
    side = predictor.mask_side
    model, processor = librarys(family, folder)
    generator = torch.Generator().manual_seed(4)
    prior = padded_of(3 * torch.randn(3, 3, 3, generator=generator).repeat_interleave(8, 1)[:, :side], (9, 9))
    prior = torch.nn.functional.interpolate(prior[None], (side, side), mode="bilinear")[0]
    given = {"boxes": BOXES, "points": POINTS, "masks": prior.numpy()}
    ours = {kind: given[kind] for kind in kinds.split()}
    if "points" in ours:
        ours["point_labels"] = LABELS
    out = predictor.decode(predictor.embed(image), multimask=three, **ours)
    for row in range(3):
        theirs = processor(
            images=image,
            input_boxes=[[BOXES[row].tolist()]] if "boxes" in ours else None,
            input_points=[[POINTS[row].tolist()]] if "points" in ours else None,
            input_labels=[[LABELS[row].tolist()]] if "points" in ours else None,
            return_tensors="pt",
        )
        if "masks" in ours:
            theirs["input_masks"] = stretched_of(prior[row][None, None], (60, 100))
        sizes = theirs.pop("original_sizes")
        with torch.inference_mode():
            answer = model(**theirs, multimask_output=three)
        masks = processor.post_process_masks(answer.pred_masks, sizes)[0][0].numpy()
        scores = answer.iou_scores[0, 0].numpy()
        assert masks.any()
        assert not masks.all()
        np.testing.assert_array_equal(out.masks[row], masks if three else masks[0])
        np.testing.assert_allclose(out.scores[row], scores if three else scores[0], atol=1e-6)


def test_one_embedding_answers_many_prompts_and_the_best_of_three(
    predictor: StretchedPredictor, image: NDArray[np.uint8]
) -> None:
    assert isinstance(predictor, (MaskPredictor, DenseFeatures, WeightsRecord))
    embedding = predictor.embed(image)
    boxes = np.concatenate([BOXES] * 7)  # more than the decoder takes at once
    three = predictor.decode(embedding, boxes=boxes, multimask=True)
    best = predictor.decode(embedding, boxes=boxes, best_of_three=True)
    np.testing.assert_allclose(three.scores, np.concatenate([three.scores[:3]] * 7), atol=1e-6)
    assert best.three_scores is not None
    np.testing.assert_allclose(best.three_scores, three.scores, atol=1e-6)
    rows = np.arange(len(boxes))
    np.testing.assert_array_equal(best.masks, three.masks[rows, three.scores.argmax(axis=1)])
    bias = np.tile(np.float32([0, 5, 0]), (len(boxes), 1))
    chosen = predictor.decode(embedding, boxes=boxes, best_of_three=True, iou_bias=bias)
    np.testing.assert_array_equal(chosen.masks, three.masks[:, 1])
    assert len(predictor.decode(embedding, boxes=[]).masks) == 0
    with pytest.raises(PromptError, match="choose one"):
        predictor.decode(embedding, boxes=boxes, best_of_three=True, multimask=True)
    with pytest.raises(PromptError, match="iou_bias"):
        predictor.decode(embedding, boxes=boxes, iou_bias=bias)


def test_four_masks_to_choose_among(predictor: StretchedPredictor, image: NDArray[np.uint8]) -> None:
    embedding = predictor.embed(image)
    prompts = check_prompts((60, 100), predictor.mask_side, boxes=BOXES)
    single = predictor.decode(embedding, boxes=BOXES)
    three = predictor.decode(embedding, boxes=BOXES, multimask=True)
    (part,) = predictor.predict_masks(embedding, prompts, slice(0, 4))
    assert part.rows == [0, 1, 2]
    assert part.residual is None
    np.testing.assert_allclose(part.scores[:, 0].numpy(), single.scores, atol=1e-6)
    np.testing.assert_allclose(part.scores[:, 1:].numpy(), three.scores, atol=1e-6)
    np.testing.assert_allclose(part.logits[:, 0].numpy(), single.low_res_logits, atol=1e-5)
    best = int(part.scores[:, 1:].amax(dim=1).argmax())
    limit = float(part.scores[:, 1:].amax(dim=1).sort().values[-2])
    (kept,) = predictor.predict_masks(embedding, prompts, slice(1, 4), min_iou=limit)
    assert kept.rows == [best]


@pytest.mark.parametrize("policy", POLICIES)
def test_every_prompt_policy_works(
    predictor: StretchedPredictor, image: NDArray[np.uint8], policy: str
) -> None:
    coarse = np.zeros((2, 60, 100), np.bool_)
    coarse[0, 12:36, 14:46] = coarse[1, 25:55, 62:92] = True
    found = Detections(BOXES[:2], np.ones(2, np.float32), np.zeros(2, np.int64), masks=coarse)
    refined = HQSamRefiner(predictor, policy=policy, gate=0.0, clean=True, overlap="resolve").refine(
        image, found
    )
    assert refined.masks is not None
    assert refined.masks.any()
    assert not np.array_equal(refined.masks, coarse)
    plain = HQSamRefiner(predictor, policy=policy, gate=0.0, multimask_selection="tube", zoom=True)
    assert plain.refine(image, found).masks is not None


@pytest.mark.parametrize("size", [(60, 100), (100, 60), (64, 64), (9, 250)])
def test_the_square_is_laid_out_as_the_house_has_it(size: tuple[int, int]) -> None:
    """A ramp over the frame is the same ramp over the frame's part of the square, and back again."""
    side, (height, width) = 64, size
    x = ((torch.arange(side) + 0.5) * width / side).expand(side, side)
    y = ((torch.arange(side) + 0.5) * height / side)[:, None].expand(side, side)
    padded = padded_of(torch.stack([x, y]), size)
    cell = max(size) / side
    centres = (torch.arange(side) + 0.5) * cell
    for ramp, length, turned in ((padded[0], width, False), (padded[1], height, True)):
        row = ramp.T[0] if turned else ramp[0]
        inside = (centres > cell) & (centres < length - cell)
        assert torch.allclose(row[inside], centres[inside], atol=1e-3)
    back = stretched_of(padded, size)
    assert (back[0] - x).abs().max() <= cell
    assert (back[1] - y).abs().max() <= cell


def test_logits_become_masks_of_the_frame(predictor: StretchedPredictor) -> None:
    """A disk of the stretched frame, there and back, at two levels."""
    side = predictor.mask_side
    at = (torch.arange(side) + 0.5) / side - 0.5
    stretched = 8 - 25 * (at[:, None] ** 2 + at**2).sqrt()
    (inside, above) = predictor.logits_to_masks(
        padded_of(stretched[None], (60, 100)), (60, 100), levels=(0.0, 4.0)
    )
    y, x = (np.arange(60) + 0.5) / 60 - 0.5, (np.arange(100) + 0.5) / 100 - 0.5
    distance = np.hypot(*np.meshgrid(x, y))
    for mask, radius in ((inside[0], 8 / 25), (above[0], 4 / 25)):
        sure = np.abs(distance - radius) > 0.5 / side
        np.testing.assert_array_equal(mask[sure], (distance < radius)[sure])


def test_features_lie_where_the_logits_do(predictor: StretchedPredictor, image: NDArray[np.uint8]) -> None:
    features = predictor.dense_features(predictor.embed(image))
    assert features.shape == (128, predictor.mask_side // 4, predictor.mask_side // 4)


def test_edges_need_no_more_than_a_mask_model(
    predictor: StretchedPredictor, image: NDArray[np.uint8]
) -> None:
    edges = detect_edges(predictor, image, points_per_side=2, box_nms=0.95, thin=False)
    assert edges.shape == image.shape[:2]
    assert edges.max() == 1


def test_device_dtype_and_files_are_told(folder: Path, family: str, image: NDArray[np.uint8]) -> None:
    half: Any = refiners.create(folder, device="cpu", dtype="bfloat16")
    described = half.describe()
    assert (described["mode"], described["device"], described["size"]) == (
        "bfloat16",
        "cpu",
        f"small-{family}",
    )
    assert half.embed(image).features[-1].dtype == torch.bfloat16
    prior = np.full((1, half.mask_side, half.mask_side), -3, np.float32)
    out = half.decode(
        half.embed(image), boxes=BOXES[:1], points=POINTS[:1], point_labels=LABELS[:1], masks=prior
    )
    assert out.low_res_logits.dtype == np.float32
    assert list(half.weights_sha256) == [f"small-{family}/model.safetensors"]
    assert refiners.checksums(folder) == half.weights_sha256
    with pytest.raises(UsageError, match="dtype 'int8' is unknown; choose one of float32"):
        refiners.create(folder, dtype="int8")
    with pytest.raises(UsageError, match="device 'abacus' is unknown"):
        refiners.create(folder, device="abacus")


def test_an_embedding_of_another_model_is_refused(
    predictor: StretchedPredictor, sam2_folder: Path, tmp_path: Path, image: NDArray[np.uint8]
) -> None:
    shutil.copytree(sam2_folder, tmp_path / "other")
    other = refiners.create(tmp_path / "other", device="cpu")
    with pytest.raises(PromptError, match=r"made by SAM 2\.1 other, the model is"):
        predictor.decode(other.embed(image), boxes=BOXES)


def test_keys_are_checked(sam2_folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    shutil.copytree(sam2_folder, tmp_path, dirs_exist_ok=True)
    state = load_file(tmp_path / "model.safetensors")
    taken = "mask_decoder.iou_token.weight"
    save_file({key: value for key, value in state.items() if key != taken}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"1 missing keys \({taken}\)"):
        refiners.create(tmp_path)
    save_file({**state, "mask_decoder.new.weight": state[taken].clone()}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"1 unexpected keys \(mask_decoder.new.weight\)"):
        refiners.create(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "model_type": "unheard_of"}))
    with pytest.raises(CheckpointError, match=r"says 'unheard_of'; expected .*sam2, edgetam or sam3"):
        refiners.create(tmp_path)
