"""Everything mode gives the released generator's masks; its parts by closed forms."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vis import masks as rle
from vis import weights
from vis.automatic_masks import (
    crop_boxes,
    find_everything,
    find_proposals,
    point_grid,
    remove_small_regions,
)
from vis.errors import UsageError
from vis.hqsam import SIZES, Predictor, SamModel, load_model

LOOSE = {"predicted_iou": 0.7, "stability": 0.8}
"""Few points find few sure masks: looser limits leave enough of them to compare."""


@pytest.fixture(scope="module")
def mobile_sam() -> SamModel:
    entry = weights.WEIGHTS["mobile-sam"]
    if not weights.cached(entry):
        pytest.skip("mobile-sam is not in the cache; run `vistubes models fetch mobile-sam`")
    return load_model(weights.file_path(entry), device="cpu", mode="exact")


def matched(ours: list[Any], theirs: list[dict[str, Any]]) -> list[float]:
    """For each of their masks the best IoU among ours."""
    have = [rle.decode(item.mask) for item in ours]
    return [
        max((float((m & t["segmentation"]).sum() / (m | t["segmentation"]).sum()) for m in have), default=0.0)
        for t in theirs
    ]


@pytest.mark.slow
@pytest.mark.shared_data
def test_the_released_generators_masks_on_real_images(
    mobile_sam: SamModel, reference: Any, shared_data: Path
) -> None:
    from PIL import Image
    from segment_anything_hq.build_sam_baseline import MaskDecoder, TwoWayTransformer

    twin = reference.build(SIZES["vit_tiny"])
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    twin.mask_decoder = MaskDecoder(transformer_dim=256, transformer=transformer, num_multimask_outputs=3)
    twin.load_state_dict(mobile_sam.state_dict(), strict=True)
    twin.train()
    generator = reference.package.SamAutomaticMaskGenerator(
        twin.eval(),
        points_per_side=3,
        pred_iou_thresh=0.7,
        stability_score_thresh=0.8,
        min_mask_region_area=50,
    )
    predictor = Predictor(mobile_sam)
    ious: list[float] = []
    for clip in ("camel", "libby"):
        path = shared_data / "davis16" / "JPEGImages" / "480p" / clip / "00010.jpg"
        image = np.array(Image.open(path))
        theirs = generator.generate(image)
        ours = find_everything(predictor, image, points_per_side=3, min_area=50, **LOOSE)
        assert len(ours) == len(theirs)
        ious += matched(ours, theirs)
        assert [f.predicted_iou for f in ours] == pytest.approx(
            [t["predicted_iou"] for t in theirs], abs=1e-3
        )
    assert len(ious) >= 10
    assert np.mean(np.array(ious) >= 0.95) >= 0.95


def test_crops_and_hq_like_the_released_generator(
    toy_predictor: Predictor, reference: Any, photo: np.ndarray
) -> None:
    """Random weights are sure of nothing, so limits are off: what is compared is the whole machinery."""
    generator = reference.package.SamAutomaticMaskGenerator(
        reference.twin(toy_predictor.model),
        points_per_side=4,
        pred_iou_thresh=-100.0,
        stability_score_thresh=0.2,
        crop_n_layers=1,
        crop_n_points_downscale_factor=2,
    )
    theirs = generator.generate(photo)
    ours = find_everything(
        toy_predictor,
        photo,
        points_per_side=4,
        predicted_iou=-100.0,
        stability=0.2,
        crop_layers=1,
        crop_points_divisor=2,
    )
    assert len(ours) == len(theirs) > 0
    assert min(matched(ours, theirs)) > 0.999
    for have, want in zip(ours, theirs, strict=True):
        x, y, w, h = want["crop_box"]
        assert have.crop == (x, y, x + w, y + h)
        x, y, w, h = want["bbox"]
        assert have.box == (x, y, x + w + 1, y + h + 1)  # theirs ends on the last pixel
        assert have.point == pytest.approx(want["point_coords"][0])
        assert have.stability == pytest.approx(want["stability_score"], abs=2e-3)


def test_progress_counts_points_and_nothing_found_is_no_error(
    toy_predictor: Predictor, photo: np.ndarray
) -> None:
    calls: list[tuple[int, int]] = []
    found = find_everything(
        toy_predictor,
        photo,
        points_per_side=3,
        predicted_iou=1e6,
        progress=lambda done, total: calls.append((done, total)),
    )
    assert found == []
    assert calls[-1] == (9, 9)
    assert calls == sorted(calls)


def test_kept_logits_are_those_of_the_mask(toy_predictor: Predictor, photo: np.ndarray) -> None:
    from vis.follow.grid import Grid

    options: dict[str, Any] = {"points_per_side": 3, "predicted_iou": -100.0, "stability": 0.0}
    found = find_everything(toy_predictor, photo, **options, keep_logits=True)
    assert found == find_everything(toy_predictor, photo, **options)
    grid = Grid(photo.shape[:2], toy_predictor.mask_side)
    for one in found:
        assert one.logits is not None
        again = grid.enlarged(one.logits) > 0
        assert np.mean(rle.decode(one.mask) == again) > 0.98
    assert found


def test_point_grid_is_cell_centres() -> None:
    np.testing.assert_allclose(point_grid(2), [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])


def test_crops_cover_the_frame_and_overlap() -> None:
    crops = list(crop_boxes((720, 1280), 2, 512 / 1500))
    assert [layer for _, layer in crops] == [0] + [1] * 4 + [2] * 16
    assert crops[0][0] == (0, 0, 1280, 720)
    for layer in (1, 2):
        covered = np.zeros((720, 1280), int)
        for (x0, y0, x1, y1), at in crops:
            if at == layer:
                covered[y0:y1, x0:x1] += 1
        assert covered.min() == 1
        assert covered.max() > 1


def test_small_regions() -> None:
    mask = np.zeros((20, 20), bool)
    mask[2:12, 2:12] = True
    mask[5, 5] = False
    mask[16:18, 16:18] = True
    filled, changed = remove_small_regions(mask, 3, holes=True)
    assert changed
    assert filled[5, 5]
    assert filled[16, 16]
    alone, changed = remove_small_regions(filled, 5, holes=False)
    assert changed
    assert alone.sum() == 100
    same, changed = remove_small_regions(alone, 5, holes=False)
    assert not changed
    assert same.sum() == 100
    largest, _ = remove_small_regions(mask, 1000, holes=False)
    assert largest.sum() == 99


def test_settings_that_make_no_grid(toy_predictor: Predictor, photo: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"points_per_side 0, .* expected at least 1"):
        find_everything(toy_predictor, photo, points_per_side=0)


def test_the_detector_gives_masks_with_scores(toy_predictor: Predictor, photo: np.ndarray) -> None:
    from detectors.sam_automatic import Everything
    from vis.interfaces import Detector

    detector = Everything(
        predictor=toy_predictor, points_per_side=4, predicted_iou=-100, stability=0.2, most=5
    )
    assert isinstance(detector, Detector)
    assert detector.class_names == ("object",)
    one, other = detector.detect([photo, photo])
    assert 0 < len(one) <= 5
    assert one.masks is not None
    assert other.masks is not None
    np.testing.assert_array_equal(one.masks, other.masks)
    for mask, box in zip(one.masks, one.boxes.astype(int), strict=True):
        inside = mask[box[1] : box[3], box[0] : box[2]]
        assert inside.sum() == mask.sum() > 0
    assert not torch.is_inference_mode_enabled()


def test_proposals_are_every_mask_best_first(toy_predictor: Predictor, photo: np.ndarray) -> None:
    every = find_everything(
        toy_predictor, photo, points_per_side=3, predicted_iou=-np.inf, stability=0, box_nms=1
    )
    found = find_proposals(toy_predictor, photo, points_per_side=3, box_nms=1)
    filled = {item.mask: (item.predicted_iou + item.stability) / 2 for item in every if rle.area(item.mask)}
    assert {item.mask: score for item, score in found} == filled
    scores = [score for _, score in found]
    assert len(scores) > 2
    assert scores == sorted(scores, reverse=True)
    assert find_proposals(toy_predictor, photo, points_per_side=3, box_nms=1, max_proposals=2) == found[:2]
